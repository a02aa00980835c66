"""The log of what becomes of the deployments, in the words of StreamFlow's own manager."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

from streamflow.log_handler import logger

from ...config import DeploymentConfig
from ...exceptions import describe
from ...lifecycle import DeploymentEvent, Step

_PROGRESS: Final[Mapping[Step, str]] = {
    Step.BEGUN: "DEPLOYING {}",
    Step.DEPLOYED: "COMPLETED deployment of {}",
    Step.GIVEN_UP: "UNDEPLOYING {}",
    Step.RELEASED: "UNDEPLOYING {}",
    Step.RETRIED: "UNDEPLOYING {}",
    Step.UNDEPLOYED: "COMPLETED undeployment of {}",
}
_FAILURES: Final[Mapping[Step, str]] = {
    Step.ATTEMPT_FAILED: "FAILED deployment of {}, which is tried again: {}",
    Step.FAILED: "FAILED deployment of {}: {}",
    Step.FAILED_BELOW: "FAILED deployment of {}: {}",
    Step.UNDEPLOY_FAILED: "FAILED undeployment of {}: {}",
}


def log_progress(event: DeploymentEvent, definition: DeploymentConfig | None) -> None:
    """Log an event of anydeploy's manager. Of external environments, which are only connected to, log failures."""
    if event.step in _FAILURES and logger.isEnabledFor(logging.WARNING):
        logger.warning(_FAILURES[event.step].format(event.name, describe(event.error)))
    elif event.step in _PROGRESS and logger.isEnabledFor(logging.INFO) and not (definition and definition.external):
        logger.info(_PROGRESS[event.step].format(event.name))
