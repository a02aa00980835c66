"""The states of one deployment, and the one table of how they change.

A name that nothing demands is ``absent``. The first demand makes it ``deploying``: it waits for its dependencies, for
a free slot, and then for its connector. It becomes ``live`` when the connector's ``deploy`` returns, and stays so
until nothing demands it any more. Then it is ``undeploying``; so is a deployment whose deploy failed or was given up
half-way, because what may have been made has to be cleaned away just the same, and who comes meanwhile waits for that
and then starts afresh. If the teardown fails the deployment is ``stuck``: the environment may still exist, and it is
not forgotten until a later teardown succeeds.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from attrs import frozen


class DeploymentState(StrEnum):
    """Where a deployment stands (DESIGN, Terms)."""

    ABSENT = "absent"
    DEPLOYING = "deploying"
    LIVE = "live"
    UNDEPLOYING = "undeploying"
    STUCK = "stuck"

    #: Of events only: a live environment ended by itself. The deployment stays ``live`` until it is torn down in its
    #: turn, but the operations of its connector fail and say why.
    LOST = "lost"


class Step(StrEnum):
    """What can happen to a deployment."""

    DEMANDED = "is demanded"
    DROPPED = "is not to be started any more"
    DEPLOYED = "was deployed"
    GIVEN_UP = "failed to deploy, or its deploy is given up"
    RELEASED = "is no longer demanded"
    UNDEPLOYED = "was undeployed"
    UNDEPLOY_FAILED = "could not be undeployed"
    RETRIED = "is to be undeployed once more"


TRANSITIONS: Mapping[DeploymentState, Mapping[Step, DeploymentState]] = {
    DeploymentState.ABSENT: {
        Step.DEMANDED: DeploymentState.DEPLOYING,
    },
    DeploymentState.DEPLOYING: {
        Step.DROPPED: DeploymentState.ABSENT,
        Step.DEPLOYED: DeploymentState.LIVE,
        Step.GIVEN_UP: DeploymentState.UNDEPLOYING,
    },
    DeploymentState.LIVE: {
        Step.RELEASED: DeploymentState.UNDEPLOYING,
    },
    DeploymentState.UNDEPLOYING: {
        Step.UNDEPLOYED: DeploymentState.ABSENT,
        Step.UNDEPLOY_FAILED: DeploymentState.STUCK,
    },
    DeploymentState.STUCK: {
        Step.RETRIED: DeploymentState.UNDEPLOYING,
    },
}


def advance(state: DeploymentState, step: Step) -> DeploymentState:
    """The state that a step leads to.

    :raises RuntimeError: if the table does not allow the step in this state: a defect of the manager, never of a
        connector or a caller
    """
    try:
        return TRANSITIONS[state][step]
    except KeyError:
        raise RuntimeError(f"a deployment that is {state} was told that it {step}") from None


@frozen
class DeploymentEvent:
    """One change of state, as reported to ``on_event`` and to the ``anydeploy`` logger.

    :ivar name: the deployment
    :ivar state: the state it is in from now on, or ``lost``
    :ivar when: seconds on the clock of the event loop (:func:`anyio.current_time`)
    :ivar error: why, when something went wrong
    """

    name: str
    state: DeploymentState
    when: float
    error: BaseException | None = None


@frozen
class DeploymentStatus:
    """A deployment as it is at the moment of asking.

    :ivar name: the deployment
    :ivar state: where it stands
    :ivar since: when it came to that state, in seconds on the clock of the event loop; None if it never left ``absent``
    :ivar explicit: whether a ``deploy`` of its own stands for it
    :ivar waiting_for: the names it waits for: dependencies that are not live yet while it is deploying, dependents
        that are not down yet once it has to go
    :ivar error: what went wrong last, if anything did
    """

    name: str
    state: DeploymentState
    since: float | None = None
    explicit: bool = False
    waiting_for: tuple[str, ...] = ()
    error: BaseException | None = None
