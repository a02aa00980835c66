"""What becomes of the deployments, in the words that StreamFlow's own manager logs it in."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

from attrs import define, field
from streamflow.log_handler import logger

from ...config import DeploymentConfig
from ...exceptions import describe
from ...lifecycle import DeploymentEvent, DeploymentState

_SAID: Final[Mapping[DeploymentState, str]] = {
    DeploymentState.DEPLOYING: "DEPLOYING {}",
    DeploymentState.LIVE: "COMPLETED deployment of {}",
    DeploymentState.UNDEPLOYING: "UNDEPLOYING {}",
    DeploymentState.ABSENT: "COMPLETED undeployment of {}",
}
_FAILED: Final[Mapping[DeploymentState, str]] = {
    DeploymentState.UNDEPLOYING: "FAILED deployment of {}: {}",
    DeploymentState.ABSENT: "FAILED deployment of {}: {}",
    DeploymentState.STUCK: "FAILED undeployment of {}: {}",
}


@define(eq=False)
class Progress:
    """Logs what has changed, but for what is external and only connected to.

    :ivar definitions: by name
    """

    definitions: Mapping[str, DeploymentConfig]
    #: Those that have begun to go down: what had not been started when it was given up is absent at once.
    _going: set[str] = field(factory=set[str])

    def tell(self, event: DeploymentEvent) -> None:
        """A listener for anydeploy's manager."""
        was_going = event.name in self._going
        if event.state is DeploymentState.UNDEPLOYING:
            self._going.add(event.name)
        else:
            self._going.discard(event.name)
        if event.error is not None:
            self._say(logging.WARNING, _FAILED, event)
        elif not self.definitions[event.name].external and (was_going or event.state is not DeploymentState.ABSENT):
            self._say(logging.INFO, _SAID, event)

    def _say(self, level: int, texts: Mapping[DeploymentState, str], event: DeploymentEvent) -> None:
        if event.state in texts and logger.isEnabledFor(level):
            logger.log(level, texts[event.state].format(event.name, describe(event.error)))
