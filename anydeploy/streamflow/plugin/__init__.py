"""anydeploy's deployment manager for StreamFlow, which loads this package as a plugin."""

from __future__ import annotations

from streamflow.ext.plugin import StreamFlowPlugin
from streamflow.log_handler import logger


class AnydeployPlugin(StreamFlowPlugin):
    """Registers the deployment manager of type ``anydeploy``."""

    def register(self) -> None:
        """Register it; if it cannot be imported, log a warning: StreamFlow works without it."""
        try:
            from .manager import AnydeployDeploymentManager  # noqa: PLC0415 - StreamFlow does not catch what it raises
        except Exception as exc:  # noqa: BLE001 - a user of another manager does not need this one
            logger.warning(f"The deployment manager `anydeploy` cannot be used: {type(exc).__name__}: {exc}")
        else:
            self.register_deployment_manager("anydeploy", AnydeployDeploymentManager)
