"""The phases of one deployment, the steps between them, and the one table that says which step leads where.

A name that nothing demands is *absent*. The first demand makes it *waiting*; when all its dependencies are live it is
*ready*, and asks for a slot. With a slot it is *starting*: its task is told to begin, and until the task does, nothing
exists that would have to be taken down. Then an attempt is under way (*attempting*). If the connector's ``deploy``
returns, the deployment is *live*. If it fails and may be tried again, the attempt is cleaned up (*cleaning*), the
deployment is *paused* for a while, and waits as before. If it fails for good it is *undeploying*: what the attempt may
have made is given to the connector's ``undeploy``. An attempt whose environment is lost, or the environment that it
wraps, is *aborting*: it is cancelled, and has failed as soon as it ends.

An attempt that nothing demands any more is *giving up*: it is cancelled, or allowed to finish if it must not be
interrupted, and then undeployed. If that happens while a failed attempt is cleaned up, the clean-up becomes the
teardown: *undeploying*.

A live deployment whose environment ends by itself is *lost* until somebody acts. Live and lost ones go down when
nothing demands them. They also go down, to come up again, when they are restarted (*retiring*) or renewed
(*renewing*); first, they wait for everything that stands on them: a restarted one for all its dependents, a renewed
one for its wrappers only. If one of those gets stuck, they are kept as they are.

On the way down a deployment is *leaving* while it waits for a slot, and *undeploying* while its connector works. If
the teardown fails it is *stuck*: the environment may still exist, and is not forgotten until a later teardown
succeeds.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, StrEnum

from attrs import frozen

from .exceptions import describe


class DeploymentState(StrEnum):
    """The public state of a deployment (DESIGN, Terms)."""

    ABSENT = "absent"
    DEPLOYING = "deploying"
    LIVE = "live"
    LOST = "lost"
    UNDEPLOYING = "undeploying"
    STUCK = "stuck"


class Step(Enum):
    """An event in the life of a deployment: the reason why its phase changes."""

    DEMANDED = "is demanded"
    READIED = "has all its dependencies"
    BLOCKED = "has lost a dependency before it was started"
    GRANTED = "has a slot"
    BEGUN = "begins an attempt"
    ATTEMPT_FAILED = "failed in this attempt and is tried again"
    CLEANED = "was cleaned up after a failed attempt"
    RESUMED = "is to be tried again"
    ABORTED = "has lost its environment before it was live"
    DEPLOYED = "was deployed"
    FAILED = "failed to deploy"
    FAILED_BELOW = "is not started"
    DROPPED = "is not to be started any more"
    GIVEN_UP = "is given up before it is live"
    ENDED = "has come to the end of an attempt that was given up"
    LOST = "has lost its environment"
    RENEWED = "is to be renewed"
    RESTARTED = "is to be restarted"
    KEPT = "stays as it is, because a dependent is stuck"
    RELEASED = "goes down"
    UNDEPLOYED = "was undeployed"
    UNDEPLOY_FAILED = "could not be undeployed"
    RETRIED = "is to be undeployed once more"

    # Steps are compared by identity; the hash of an enumeration's name would be computed at every transition.
    __hash__ = object.__hash__

    def __str__(self) -> str:
        return self.value


class Phase(Enum):
    """The exact state of a deployment, as the engine knows it.

    :ivar label: a word for messages
    :ivar state: the public state that it is part of
    :ivar stands: whether an environment may exist, which stands on what the deployment depends on
    :ivar works: whether the connector's constructor, ``deploy`` or ``undeploy`` is running, or is about to
    :ivar then: the phase that each possible step leads to
    """

    ABSENT = ("absent", DeploymentState.ABSENT, False, False)
    WAITING = ("waiting", DeploymentState.DEPLOYING, False, False)
    READY = ("ready", DeploymentState.DEPLOYING, False, False)
    STARTING = ("starting", DeploymentState.DEPLOYING, False, False)
    ATTEMPTING = ("attempting", DeploymentState.DEPLOYING, True, True)
    ABORTING = ("aborting", DeploymentState.DEPLOYING, True, True)
    CLEANING = ("cleaning", DeploymentState.DEPLOYING, True, True)
    PAUSED = ("paused", DeploymentState.DEPLOYING, False, False)
    LIVE = ("live", DeploymentState.LIVE, True, False)
    RETIRING = ("retiring", DeploymentState.LIVE, True, False)
    LOST = ("lost", DeploymentState.LOST, True, False)
    RENEWING = ("renewing", DeploymentState.LOST, True, False)
    RETIRING_LOST = ("retiring, lost", DeploymentState.LOST, True, False)
    GIVING_UP = ("giving up", DeploymentState.UNDEPLOYING, True, True)
    LEAVING = ("leaving", DeploymentState.UNDEPLOYING, True, False)
    UNDEPLOYING = ("undeploying", DeploymentState.UNDEPLOYING, True, True)
    STUCK = ("stuck", DeploymentState.STUCK, True, False)

    label: str
    state: DeploymentState
    stands: bool
    works: bool
    then: Mapping[Step, Phase]

    __hash__ = object.__hash__

    def __init__(self, label: str, state: DeploymentState, stands: bool, works: bool) -> None:
        self.label = label
        self.state = state
        self.stands = stands
        self.works = works

    def __str__(self) -> str:
        return self.label


TRANSITIONS: Mapping[Phase, Mapping[Step, Phase]] = {
    Phase.ABSENT: {
        Step.DEMANDED: Phase.WAITING,
    },
    Phase.WAITING: {
        Step.READIED: Phase.READY,
        Step.DROPPED: Phase.ABSENT,
        Step.FAILED_BELOW: Phase.ABSENT,
    },
    Phase.READY: {
        Step.GRANTED: Phase.STARTING,
        Step.BLOCKED: Phase.WAITING,
        Step.DROPPED: Phase.ABSENT,
        Step.FAILED_BELOW: Phase.ABSENT,
    },
    Phase.STARTING: {
        Step.BEGUN: Phase.ATTEMPTING,
        Step.BLOCKED: Phase.WAITING,
        Step.DROPPED: Phase.ABSENT,
        Step.FAILED_BELOW: Phase.ABSENT,
    },
    Phase.ATTEMPTING: {
        Step.DEPLOYED: Phase.LIVE,
        Step.ABORTED: Phase.ABORTING,
        Step.ATTEMPT_FAILED: Phase.CLEANING,
        Step.FAILED: Phase.UNDEPLOYING,
        Step.GIVEN_UP: Phase.GIVING_UP,
    },
    Phase.ABORTING: {
        Step.ATTEMPT_FAILED: Phase.CLEANING,
        Step.FAILED: Phase.UNDEPLOYING,
        Step.GIVEN_UP: Phase.GIVING_UP,
    },
    Phase.CLEANING: {
        Step.CLEANED: Phase.PAUSED,
        Step.FAILED: Phase.UNDEPLOYING,
        Step.GIVEN_UP: Phase.UNDEPLOYING,
    },
    Phase.PAUSED: {
        Step.RESUMED: Phase.WAITING,
        Step.DROPPED: Phase.ABSENT,
        Step.FAILED_BELOW: Phase.ABSENT,
    },
    Phase.LIVE: {
        Step.LOST: Phase.LOST,
        Step.RESTARTED: Phase.RETIRING,
        Step.RELEASED: Phase.LEAVING,
    },
    Phase.RETIRING: {
        Step.LOST: Phase.RETIRING_LOST,
        Step.KEPT: Phase.LIVE,
        Step.RELEASED: Phase.LEAVING,
    },
    Phase.LOST: {
        Step.RENEWED: Phase.RENEWING,
        Step.RESTARTED: Phase.RETIRING_LOST,
        Step.RELEASED: Phase.LEAVING,
    },
    Phase.RENEWING: {
        Step.RESTARTED: Phase.RETIRING_LOST,
        Step.KEPT: Phase.LOST,
        Step.RELEASED: Phase.LEAVING,
    },
    Phase.RETIRING_LOST: {
        Step.KEPT: Phase.LOST,
        Step.RELEASED: Phase.LEAVING,
    },
    Phase.GIVING_UP: {
        Step.ENDED: Phase.UNDEPLOYING,
    },
    Phase.LEAVING: {
        Step.GRANTED: Phase.UNDEPLOYING,
    },
    Phase.UNDEPLOYING: {
        Step.UNDEPLOYED: Phase.ABSENT,
        Step.UNDEPLOY_FAILED: Phase.STUCK,
    },
    Phase.STUCK: {
        Step.RETRIED: Phase.LEAVING,
    },
}

for _phase, _then in TRANSITIONS.items():
    _phase.then = _then

#: Steps that change nothing a listener could see: who waits for a slot, or for a task to begin, waits.
SILENT = frozenset({Step.READIED, Step.BLOCKED, Step.GRANTED, Step.CLEANED, Step.RESUMED, Step.ENDED})


def advance(phase: Phase, step: Step) -> Phase:
    """Return the phase that a step leads to.

    :raises RuntimeError: if the table does not allow the step in this phase: a defect of the engine, never of a
        connector or a caller
    """
    try:
        return phase.then[step]
    except KeyError:
        raise RuntimeError(f"a deployment that is {phase} was told that it {step}") from None


@frozen
class DeploymentEvent:
    """One step of one deployment, as reported to ``on_event`` and to the ``anydeploy`` logger.

    :ivar name: the deployment
    :ivar state: the state it is in from now on
    :ivar step: the reason: *demanded* and then *begun* tell waiting from working
    :ivar when: seconds on the clock of the event loop (:func:`anyio.current_time`)
    :ivar attempt: the number of the attempt that is under way or was made last, from 1; 0 before the first
    :ivar attempts: the number of attempts that it may take (one more than ``retries``)
    :ivar because: the deployment that is the reason, where it is another one: the failed or lost one to blame
    :ivar error: what went wrong, if anything did
    """

    name: str
    state: DeploymentState
    step: Step
    when: float
    attempt: int = 0
    attempts: int = 1
    because: str | None = None
    error: BaseException | None = None

    @property
    def told(self) -> str:
        """The event as the rest of a sentence that begins with the deployment."""
        number = f" ({self.attempt} of {self.attempts})" if self.step is Step.BEGUN and self.attempts > 1 else ""
        culprit = f" because of '{self.because}'" if self.because is not None else ""
        error = f": {describe(self.error)}" if self.error is not None else ""
        return f"{self.step}{number}{culprit}{error}"


@frozen
class DeploymentStatus:
    """A deployment as it is at the moment of asking.

    :ivar name: the deployment
    :ivar state: its state
    :ivar step: the last step that was reported; None if it never left ``absent``
    :ivar when: when that was, in seconds on the clock of the event loop; likewise None
    :ivar attempt: the number of the attempt that is under way or was made last, from 1; 0 before the first
    :ivar attempts: the number of attempts that it may take
    :ivar because: the deployment that is the reason for its state, where it is another one
    :ivar error: what went wrong last, if anything did
    :ivar since: when it came to its state, in seconds on the clock of the event loop; None if it never left ``absent``
    :ivar explicit: whether a ``deploy`` of its own stands for it
    :ivar waiting_for: the names it waits for: dependencies that are not live yet while it is deploying, dependents
        that are not down yet once it has to go
    :ivar missing: of a live deployment, the names below it that are not live, because they were lost
    :ivar restarts: how many times it has been renewed by itself since it was last up for a minute
    :ivar due: when it is renewed by itself, or tried again, on the clock of the event loop; None if that is not to come
    """

    name: str
    state: DeploymentState
    step: Step | None = None
    when: float | None = None
    attempt: int = 0
    attempts: int = 1
    because: str | None = None
    error: BaseException | None = None
    since: float | None = None
    explicit: bool = False
    waiting_for: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    restarts: int = 0
    due: float | None = None
