"""The records that the engine decides about: deployments, and the calls that wait for them."""

from __future__ import annotations

import math
from typing import Any, Protocol

from attrs import define, field, frozen

from ..exceptions import DeployError, UndeployError, describe
from ..lifecycle import DeploymentStatus, Phase, Step


class Definition(Protocol):
    """The facts that the engine has to know of a deployment."""

    @property
    def name(self) -> str: ...

    @property
    def dependencies(self) -> tuple[str, ...]:
        """The names it depends on; the one that it wraps comes first."""
        ...

    @property
    def wraps(self) -> bool:
        """Whether it wraps the first of its dependencies."""
        ...

    @property
    def interruptible(self) -> bool: ...

    @property
    def retries(self) -> int: ...

    @property
    def restarts(self) -> int: ...


@frozen
class Failure:
    """The reason why a call came to nothing, from which each caller gets an exception of its own (rule D5).

    :ivar path: the names from the deployment that was asked for down to the one that failed
    :ivar problem: what happened to the last of them
    :ivar cause: the original error, if there is one
    :ivar note: what else has to be known, such as that the clean-up failed as well
    """

    path: tuple[str, ...]
    problem: str
    cause: BaseException | None = None
    note: str | None = None

    def error(self) -> DeployError:
        error = DeployError(self.path[0], self.problem, path=self.path)
        error.__cause__ = self.cause
        if self.note is not None:
            error.add_note(self.note)
        return error


@define(eq=False)
class Waiter:
    """Something that a call waits for.

    :ivar settled: there is nothing left to wait for
    :ivar event: set by the shell when it is settled; made when somebody has to wait, and of no interest to the engine
    """

    settled: bool = False
    event: Any = None


@define(eq=False)
class Claim(Waiter):
    """The demand of ``deploy`` calls that have not returned yet.

    All callers of one deployment share a claim. It stands among the claims of what it waits for until the last of its
    callers has left, so that nothing goes down between the moment when it is settled and the one when they wake up.
    """

    #: Granted to the callers: explicit from then on. A restart waits for its targets, and demands nothing for longer.
    targets: tuple[Deployment, ...] = field(default=(), repr=False)
    grants: bool = True
    #: The targets, and whatever below them was lost when it was asked for.
    awaited: tuple[Deployment, ...] = field(default=(), repr=False)
    #: How many of the awaited are not live.
    missing: int = 0
    #: How many callers have not left.
    waiters: int = 0
    failure: Failure | None = None


@define(eq=False)
class TeardownWait(Waiter):
    """The end of deployments, and of all that goes down with them, as an ``undeploy`` waits for it (rules U1, U7)."""

    #: How many of the deployments that it follows have not come to their end.
    pending: int = 0
    #: The deployments that got stuck, each with the reason.
    failures: list[tuple[str, BaseException]] = field(factory=list[tuple[str, BaseException]])

    def errors(self) -> list[UndeployError]:
        """Return fresh errors, one for each deployment that got stuck, in the order in which they did."""
        return [undeploy_error(name, cause) for name, cause in self.failures]


@define(eq=False)
class Deployment:
    """One name that is not absent, or that something live depends on.

    Every field is changed by the engine alone, except for ``task``, which is the shell's.
    """

    name: str
    definition: Definition
    #: Linked for as long as the record is kept; each of them has this one among its dependents.
    dependencies: tuple[Deployment, ...] = field(repr=False)
    #: The number of deployments on the longest path down from it: its urgency when it has to go.
    depth: int
    #: How many dependencies are not live, whatever the phase of this one: it can be started at 0.
    missing: int
    #: The number of deployments on the longest path up from it: its urgency while it has to come.
    height: int = 1
    phase: Phase = Phase.ABSENT

    #: The records that are linked to this one; a dict for its order, made when there is something to put in.
    dependents: dict[Deployment, None] | None = field(default=None, repr=False)
    #: How many of them are not absent: they demand this one.
    holders: int = 0
    #: How many of them may have an environment that stands on this one, and how many of those wrap it.
    standing: int = 0
    wrapping: int = 0

    #: A `deploy` was granted and not withdrawn since.
    explicit: bool = False
    #: `undeploy` was called since the last `deploy` (rule R1).
    withdrawn: bool = False
    #: Counts the times at which explicit demand ended, so that a caller can tell whether it did in between.
    epoch: int = 0
    claims: dict[Claim, None] | None = field(default=None, repr=False)
    #: The one of them that newcomers share.
    shared: Claim | None = field(default=None, repr=False)
    #: Claims that have failed with the deploy; their callers are told when it has been cleaned up.
    disappointed: list[Claim] | None = field(default=None, repr=False)
    #: The calls that wait for its end, and for that of what follows it.
    waits: list[TeardownWait] | None = field(default=None, repr=False)
    #: The one of them, present or past, that began with this deployment: newcomers share it.
    teardown: TeardownWait | None = field(default=None, repr=False)

    #: The number of the attempt that is under way or was made last, from 1.
    attempt: int = 0
    #: The life after a loss: when all its attempts have failed, `restarts` may allow for more.
    renewal: bool = False
    #: How many times it was renewed by itself since it was last live for long.
    restarts: int = 0
    #: How long it has been live at the most, and when what it waits for is due, on the clock of the event loop.
    live_since: float = math.nan
    due: float | None = None
    #: Seconds to wait before the next attempt.
    pause: float = 0.0

    #: The error that its callers are told: set when there is no further attempt, until the next life.
    failure: BaseException | None = None
    #: The dependency to blame for that, or for the loss.
    blamed: Deployment | None = field(default=None, repr=False)
    #: The way into the environment was lost, not the environment (rule X3).
    cut_off: bool = False
    #: The manager is closing, and this teardown is not followed by another one (rule U8).
    last_try: bool = False
    #: The object that `get_connector` gives for the present life. Opaque to the engine.
    connector: object = field(default=None, repr=False)

    #: For the status: the last step that was told, its time, and what went wrong last.
    step: Step | None = None
    when: float = math.nan
    since: float = math.nan
    because: str | None = None
    error: BaseException | None = None

    #: The number of its latest request to the slots; 0: none, or it was dropped.
    request: int = 0
    has_slot: bool = False
    task: Any = field(default=None, repr=False)

    @property
    def demanded(self) -> bool:
        """An environment exists while it is demanded, and no longer."""
        return self.explicit or self.holders > 0 or bool(self.claims)

    @property
    def pulled(self) -> bool:
        """Whether a call or a dependent waits for it to come up. Explicit demand does not renew what was lost."""
        return self.holders > self.standing or (
            self.claims is not None and any(not claim.settled for claim in self.claims)
        )

    @property
    def urgency(self) -> int:
        return self.depth if self.phase.stands else self.height

    @property
    def attempts(self) -> int:
        return self.definition.retries + 1

    def why(self) -> Failure:
        """Return the reason why it did not come up, and by whose fault."""
        path, culprit = [self.name], self
        while culprit.blamed is not None:
            culprit = culprit.blamed
            path.append(culprit.name)
        if culprit.failure is not None:
            return Failure(tuple(path), f"failed to deploy: {describe(culprit.failure)}", culprit.failure)
        return Failure(tuple(path), f"was lost: {describe(culprit.error)}", culprit.error)

    def status(self, missing: tuple[str, ...] = ()) -> DeploymentStatus:
        """Return what can be said of it at this moment.

        :param missing: the names below it that are not live
        """
        phase = self.phase
        if phase is Phase.WAITING:
            waiting = [each.name for each in self.dependencies if each.phase is not Phase.LIVE]
        elif phase is Phase.RETIRING or (phase is Phase.LIVE and self.withdrawn):
            waiting = [each.name for each in self.dependents or () if each.phase is not Phase.ABSENT]
        else:
            waiting = []
        return DeploymentStatus(
            name=self.name,
            state=phase.state,
            step=self.step,
            when=self.when,
            attempt=self.attempt,
            attempts=self.attempts,
            because=self.because,
            error=self.error,
            since=self.since,
            explicit=self.explicit or bool(self.claims),
            waiting_for=tuple(waiting),
            missing=missing if phase is Phase.LIVE else (),
            restarts=self.restarts,
            due=self.due if phase in {Phase.LOST, Phase.PAUSED} else None,
        )


def undeploy_error(name: str, cause: BaseException) -> UndeployError:
    """Return a fresh error for a teardown that failed."""
    error = UndeployError(name, describe(cause))
    error.__cause__ = cause
    return error
