"""One deployment: its task, its demand, and the Event that its callers share."""

from __future__ import annotations

import math
from collections import deque
from contextlib import suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING

from anyio import CancelScope, Event, get_cancelled_exc_class, move_on_after
from anyio.lowlevel import checkpoint
from attrs import define, field

from .exceptions import DeployError, UndeployError, describe
from .lifecycle import DeploymentState, DeploymentStatus, Step, advance

if TYPE_CHECKING:
    from .connector import Connector
    from .definitions import ResolvedDefinition
    from .fleet import Fleet

_FIRST_DELAY = 1.0
_LONGEST_DELAY = 30.0
_DOUBLINGS = 5

#: Whose task this is, or whose connector started it; one of another manager's may come before it, and so on.
_around: ContextVar[tuple[Deployment, ...]] = ContextVar("anydeploy_deployments", default=())


def at_work(fleet: Fleet) -> Deployment | None:
    """The deployment of the fleet from within whose connector's ``deploy`` or ``undeploy`` this is called, if it is."""
    return next((each for each in _around.get() if each.fleet is fleet and each.at_work), None)


@define(eq=False)
class Claim:
    """The demand of ``deploy`` calls that are still waiting.

    Everyone who waits for the same single deployment shares one claim, and so one Event. It stands in the ``claims``
    of each of its targets until it is settled and the last of its waiters has gone.

    :ivar missing: how many of the targets are not live yet
    :ivar failed: the target that did not come up, or was taken back
    :ivar withdrawn: why the demand was taken back by others than its callers, if it was
    """

    targets: tuple[Deployment, ...]
    missing: int
    settled: bool
    waiters: int = 0
    failed: Deployment | None = None
    withdrawn: str | None = None
    _event: Event | None = None

    def settle(self) -> None:
        self.settled = True
        if self._event is not None:
            self._event.set()

    async def wait(self) -> None:
        """Wait until it is settled. A checkpoint in any case.

        :raises DeployError: if it came to nothing; each caller gets an exception object of its own (rule D5)
        """
        if self.settled:
            await checkpoint()
        else:
            if self._event is None:
                self._event = Event()
            await self._event.wait()
        if self.failed is not None:
            if self.withdrawn is not None:
                raise DeployError(self.failed.name, self.withdrawn)
            raise self.failed.deploy_error()


@define(eq=False)
class Teardown:
    """One try to take an environment down, as those see it who wait for its end and no other."""

    event: Event = field(factory=Event)
    error: BaseException | None = None


@define(eq=False)
class Descent:
    """The way down of many, as an ``undeploy_all`` waits for it.

    :ivar remaining: those that may still be on their way, dependents first: what is up when its turn has come, after
        everything above it, is wanted by somebody, or by what is stuck
    """

    remaining: deque[Deployment]
    event: Event = field(factory=Event)
    errors: list[UndeployError] = field(factory=list[UndeployError])

    def advance(self) -> bool:
        """Take note of those that have come to their end. Returns whether all have."""
        while self.remaining:
            deployment = self.remaining[0]
            if deployment.state is DeploymentState.UNDEPLOYING:
                return False
            if deployment.state is DeploymentState.STUCK:
                self.errors.append(deployment.undeploy_error(deployment.error))
            self.remaining.popleft()
        self.event.set()
        return True


@define(eq=False)
class Deployment:
    """One life of a name, from its first demand until it is absent again.

    Everything here is changed by the :class:`~anydeploy.fleet.Fleet`, synchronously, or by the deployment's own task,
    :meth:`run`, which is started when nothing but its connector is left to wait for.
    """

    fleet: Fleet = field(repr=False)
    blueprint: ResolvedDefinition
    #: What it stands on. Each of them lists this one among its dependents until this one is absent.
    dependencies: tuple[Deployment, ...] = field(repr=False)
    #: Before `predecessor` is gone this one must not start (rule D3). At most one deployment of a name has one.
    predecessor: Deployment | None = field(repr=False)
    #: How many dependencies are not live, and predecessors not gone; it is ready at 0.
    missing: int
    #: The number of deployments on the longest path down from it: its urgency when it has to go.
    depth: int
    #: The number of deployments on the longest path up from it: its urgency while it has to come.
    height: int = 1

    state: DeploymentState = DeploymentState.ABSENT
    since: float = math.nan
    #: Not yet absent, and standing on this one or waiting for it; a dict for its order.
    dependents: dict[Deployment, None] = field(factory=dict["Deployment", None], repr=False)
    successor: Deployment | None = field(default=None, repr=False)

    #: A `deploy` was granted and not withdrawn since.
    explicit: bool = False
    #: Settled or not, as long as somebody has still to wake up from it.
    claims: dict[Claim, None] = field(factory=dict[Claim, None], repr=False)
    #: The one of them that newcomers share.
    shared_claim: Claim | None = field(default=None, repr=False)
    #: `undeploy` was called since the last `deploy` (rule R1).
    hidden: bool = False

    connector: Connector | None = None
    #: What went wrong last.
    error: BaseException | None = None
    #: Why it did not come up; or else the dependency that is to blame for it.
    failure: BaseException | None = None
    blamed: Deployment | None = field(default=None, repr=False)

    #: Its task has been started.
    started: bool = False
    #: Its task has made its first step. Before that nothing exists that would have to be given up.
    begun: bool = False
    #: The number of its latest request to the slots; 0: none, or it was dropped.
    request: int = 0
    has_slot: bool = False
    #: The manager is closing and this is the last time that the teardown is tried (rule U8).
    last_try: bool = False

    _wake: Event = field(init=False, repr=False)
    _teardown: Teardown | None = field(default=None, repr=False)
    #: Open while the connector's `deploy` runs; cancelled to give it up.
    _attempt: CancelScope | None = field(default=None, repr=False)
    #: Open while the connector's `undeploy` runs.
    _ending: CancelScope | None = field(default=None, repr=False)
    _gone: bool = field(default=False, repr=False)
    #: Something like KeyboardInterrupt came out of the connector.
    _crashed: bool = field(default=False, repr=False)

    @property
    def name(self) -> str:
        return self.blueprint.config.name

    @property
    def demanded(self) -> bool:
        """An environment exists while it is demanded, and no longer."""
        return self.explicit or bool(self.dependents) or bool(self.claims)

    @property
    def joinable(self) -> bool:
        """Whether a new demand can still be met by this one, or has to wait for its end and start afresh."""
        return self.state is DeploymentState.DEPLOYING or self.state is DeploymentState.LIVE

    @property
    def visible(self) -> bool:
        return self.state is DeploymentState.LIVE and not self.hidden

    @property
    def at_work(self) -> bool:
        """Whether its connector's ``deploy`` or ``undeploy`` is running."""
        return self._attempt is not None or self._ending is not None

    @property
    def urgency(self) -> int:
        return self.height if self.state is DeploymentState.DEPLOYING else self.depth

    def step(self, step: Step, error: BaseException | None = None) -> None:
        self.state = advance(self.state, step)
        if error is not None:
            self.error = error
        if self.predecessor is None:
            self.tell(error)

    def tell(self, error: BaseException | None = None) -> None:
        """Report the state that the name is in now: as long as there is a predecessor, it is the predecessor's."""
        self.since = self.fleet.tell(self.name, self.state, error)

    def deploy_error(self) -> DeployError:
        """A fresh exception that tells why this did not come up, and by whose fault."""
        path, culprit = [self.name], self
        while culprit.blamed is not None:
            culprit = culprit.blamed
            path.append(culprit.name)
        error = DeployError(self.name, f"failed to deploy: {describe(culprit.failure)}", path=path)
        error.__cause__ = culprit.failure
        if culprit.state is DeploymentState.STUCK:
            error.add_note(str(culprit.undeploy_error(culprit.error)))
        return error

    def undeploy_error(self, cause: BaseException | None) -> UndeployError:
        error = UndeployError(self.name, describe(cause))
        error.__cause__ = cause
        return error

    def status(self) -> DeploymentStatus:
        if self.predecessor is not None:
            return self.predecessor.status()
        if self.state is DeploymentState.DEPLOYING:
            waiting = [d.name for d in self.dependencies if d.state is not DeploymentState.LIVE]
        else:
            waiting = [] if self.visible else [d.name for d in self.dependents]
        latest = self.successor or self
        explicit = latest.explicit or bool(latest.claims)
        return DeploymentStatus(self.name, self.state, self.since, explicit, tuple(waiting), self.error)

    # -- What the fleet tells the task -------------------------------------------------------------------------------

    def proceed(self) -> None:
        """Start the task, or let it go on: its turn has come, or there is nothing left to wait for."""
        if self.started:
            self._wake.set()
        else:
            self.started = True
            self._wake = Event()
            self.fleet.spawn(self)

    def give_up(self) -> None:
        """Stop bringing it up. A connector that cannot be interrupted is let finish (rule D6)."""
        if self._attempt is None:
            self._wake.set()
        elif self.blueprint.connector_type.interruptible:
            self._attempt.cancel()

    def limit(self, deadline: float) -> None:
        """Let neither ``deploy`` nor ``undeploy`` run beyond a moment on the clock of the event loop."""
        for scope in (self._attempt, self._ending):
            if scope is not None:
                scope.deadline = min(scope.deadline, deadline)

    # -- What callers wait for ---------------------------------------------------------------------------------------

    async def wait_gone(self) -> None:
        """Wait for the end of the teardown that is under way.

        :raises UndeployError: if it failed; a fresh one for each caller
        """
        if self._teardown is None:
            self._teardown = Teardown()
        teardown = self._teardown
        await teardown.event.wait()
        if teardown.error is not None:
            raise self.undeploy_error(teardown.error)

    def teardown_ended(self, error: BaseException | None) -> None:
        if self._teardown is not None:
            self._teardown.error = error
            self._teardown.event.set()
            self._teardown = None

    # -- The task ----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """The whole life of its connectors: deploy, stay for as long as it is demanded, undeploy.

        Nothing is raised into the task group, not even what no manager may keep for itself (KeyboardInterrupt and the
        like): asyncio would stop the event loop on the spot, under every other environment. Neither the task group's
        cancellation nor any other scope reaches the connector from outside; the fleet alone cancels, through
        :meth:`give_up` and :meth:`limit`.
        """
        if self.state is not DeploymentState.DEPLOYING:
            return
        self.begun = True
        _around.set((*_around.get(), self))
        error = await self._live()
        while error is not None:
            self._wake = Event()
            if not self.fleet.undeploy_failed(self, error):
                break
            await self._woken()
            error = await self._clean_up()
        else:
            self.fleet.undeployed(self)

    async def _woken(self) -> None:
        """Wait for the fleet, whatever else happens to this task.

        Something that the connector holds open may be cancelled, because it failed; and at its end ``asyncio.run``
        cancels every task that there is. Neither is a reason to go before the dependents are down.
        """
        try:
            await self._wake.wait()
        except get_cancelled_exc_class():
            while not self._wake.is_set():
                with suppress(get_cancelled_exc_class()), CancelScope(shield=True):
                    await self._wake.wait()

    async def _live(self) -> BaseException | None:
        """Attempt after attempt, until one has had its life or none is left. Returns why a teardown failed, if so."""
        retries = self.blueprint.retries
        for failures in range(retries + 1):
            error = await self._try(last=failures == retries)
            if error is not None:
                return error
            if self.state is DeploymentState.DEPLOYING:
                await self._back_off(min(_FIRST_DELAY * 2 ** min(failures, _DOUBLINGS), _LONGEST_DELAY))
            if self.state is not DeploymentState.DEPLOYING:
                break
        return None

    async def _try(self, *, last: bool) -> BaseException | None:
        """One connector, from its construction to its end. Returns why its teardown failed, if so."""
        failure = None
        self.connector, self._gone, deployed = None, False, False
        try:
            self.connector = self._build()
            deadline = self.fleet.deadline(self.blueprint.deploy_timeout)
            with CancelScope(deadline=deadline, shield=True) as attempt, CancelScope() as stay:
                self._attempt = attempt
                await self.connector.deploy(self.blueprint.external)
                # What the connector holds open lives inside both scopes, so the undeploy has to run there as well:
                # a cancellation of the attempt that comes too late must not reach it.
                stay.shield = deployed = True
                attempt.deadline, self._attempt = math.inf, None
                if self.state is DeploymentState.DEPLOYING and not attempt.cancel_called:
                    self.fleet.deployed(self)
                    await self._woken()
                elif self.state is DeploymentState.DEPLOYING and last:
                    # It came back in spite of its timeout, but what it holds open has been cancelled.
                    self.fleet.deploy_failed(self, self._timed_out("deploy", self.blueprint.deploy_timeout))
                await self._undeploy(stay)
        except BaseException as exc:  # noqa: BLE001 - no cancellation of ours leaves the scopes; the manager raises the rest
            failure = self._caught(exc)
        self._attempt = None
        if deployed:
            error = self._teardown_error(failure)
            if error is not None and self.state is DeploymentState.DEPLOYING:
                self.fleet.deploy_failed(self, error)
            return error
        failure = failure or self._timed_out("deploy", self.blueprint.deploy_timeout)
        if self.state is DeploymentState.DEPLOYING and (last or self._crashed):
            self.fleet.deploy_failed(self, failure)
        error = await self._clean_up() if self.connector is not None else None
        if error is not None and self.state is DeploymentState.DEPLOYING:
            self.fleet.deploy_failed(self, failure)
        return error

    def _build(self) -> Connector:
        wrapped = self.dependencies[0].connector if self.blueprint.wraps else None
        connector = self.blueprint.build(wrapped)
        connector.on_lost = self._lost
        return connector

    def _lost(self, error: Exception) -> None:
        self.fleet.lost(self, error)

    async def _undeploy(self, scope: CancelScope) -> None:
        assert self.connector is not None  # noqa: S101 - for the type checker
        self.connector.invalidate("its environment is being undeployed")
        self._ending = scope
        scope.deadline = self.fleet.deadline(self.blueprint.undeploy_timeout)
        try:
            await self.connector.undeploy(self.blueprint.external)
        finally:
            self._ending = None
        self._gone = True

    async def _clean_up(self) -> BaseException | None:
        """Undeploy after a failed deploy or a failed undeploy: nothing is held open, so a scope of its own will do."""
        failure = None
        try:
            with CancelScope(shield=True) as scope:
                await self._undeploy(scope)
        except BaseException as exc:  # noqa: BLE001 - as in _try
            failure = self._caught(exc)
        return self._teardown_error(failure)

    def _caught(self, exc: BaseException) -> BaseException:
        # A cancellation that is not ours is something within the connector that was cancelled: a failure like others.
        if not isinstance(exc, (Exception, get_cancelled_exc_class())):
            self._crashed = True
            self.fleet.crashed(exc)
        return exc

    def _teardown_error(self, failure: BaseException | None) -> BaseException | None:
        return None if self._gone else failure or self._timed_out("undeploy", self.blueprint.undeploy_timeout)

    def _timed_out(self, what: str, limit: float | None) -> TimeoutError:
        if limit is None or self.fleet.overdue():
            return TimeoutError(f"{what} was cut off by the shutdown timeout of the manager")
        return TimeoutError(f"{what} did not end within {limit:g} s ({what}_timeout)")

    async def _back_off(self, delay: float) -> None:
        with CancelScope(shield=True):
            self.fleet.pause(self)
            with suppress(get_cancelled_exc_class()), move_on_after(delay):
                await self._wake.wait()
            if self.state is DeploymentState.DEPLOYING:
                self.fleet.resume(self)
                await self._woken()
        self._wake = Event()
