"""What becomes of the deployments, in the words that StreamFlow's own manager logs it in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import define, field
from streamflow.log_handler import logger

from ..config import DeploymentConfig
from ..deployment import describe
from ..lifecycle import DeploymentEvent, DeploymentState

_SAID: Final[Mapping[DeploymentState, str]] = {
    DeploymentState.DEPLOYING: "DEPLOYING {}",
    DeploymentState.LIVE: "COMPLETED deployment of {}",
    DeploymentState.UNDEPLOYING: "UNDEPLOYING {}",
    DeploymentState.ABSENT: "COMPLETED undeployment of {}",
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
        if event.error is not None:
            logger.warning(f"FAILED {event.name}, which is {event.state}: {describe(event.error)}")
        if event.state is DeploymentState.UNDEPLOYING:
            self._going.add(event.name)
        elif event.state is DeploymentState.ABSENT and event.name not in self._going:
            return
        else:
            self._going.discard(event.name)
        if event.error is None and event.state in _SAID and not self.definitions[event.name].external:
            logger.info(_SAID[event.state].format(event.name))
