"""anydeploy within StreamFlow, and StreamFlow's connectors within anydeploy. The only importers of streamflow.

Nothing is imported before it is asked for, so this package can be imported where streamflow is not installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .plugin.manager import AnydeployDeploymentManager

__all__ = ["AnydeployDeploymentManager"]


def __getattr__(name: str) -> object:
    if name == "AnydeployDeploymentManager":
        try:
            from .plugin.manager import AnydeployDeploymentManager  # noqa: PLC0415 - streamflow may be missing
        except ModuleNotFoundError as exc:
            if exc.name is None or exc.name.partition(".")[0] != "streamflow":
                raise
            raise ImportError("streamflow is not installed: pip install 'anydeploy[streamflow]'") from exc
        return AnydeployDeploymentManager
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
