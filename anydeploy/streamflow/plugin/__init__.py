"""What StreamFlow loads. Nothing that can go wrong with anydeploy may keep it from working without."""

from __future__ import annotations

from streamflow.ext.plugin import StreamFlowPlugin
from streamflow.log_handler import logger


class AnydeployPlugin(StreamFlowPlugin):
    """Registers the deployment manager of type ``anydeploy``."""

    def register(self) -> None:
        try:
            from .manager import AnydeployDeploymentManager  # noqa: PLC0415 - StreamFlow does not catch what it raises
        except Exception as exc:  # noqa: BLE001 - whatever it is, who uses another manager does not need this one
            logger.warning(f"The deployment manager `anydeploy` cannot be used: {type(exc).__name__}: {exc}")
        else:
            self.register_deployment_manager("anydeploy", AnydeployDeploymentManager)
