"""The task of one deployment.

It is the only caller of its connector. Whatever foreign code raises becomes data for the engine (rule D7); nothing
is raised into the task group but the GeneratorExit of an event loop that gives the task up.
"""

from __future__ import annotations

import math
from contextlib import suppress
from contextvars import ContextVar
from typing import Protocol, cast

from anyio import CancelScope, Event, Lock, current_effective_deadline, current_time, get_cancelled_exc_class
from attrs import define

from .connector import Connector, ConnectorWrapper, admitted
from .engine.deployment import Definition, Deployment
from .engine.engine import Engine
from .exceptions import ConnectionLostError, WorkflowExecutionException
from .lifecycle import Phase
from .reporting import Reporter
from .typecheck import show

#: The tasks of deployments from within which this is called, those of other managers included.
_around: ContextVar[tuple[Runner, ...]] = ContextVar("anydeploy_runners", default=())

#: Seconds beyond its limit after which an operation is said not to have obeyed its cancellation.
OVERRUN = 1.0


class Buildable(Definition, Protocol):
    """The facts that a task has to know of a deployment."""

    @property
    def external(self) -> bool: ...

    @property
    def deploy_timeout(self) -> float | None: ...

    @property
    def undeploy_timeout(self) -> float | None: ...

    def build(self, wrapped: Connector | None) -> Connector: ...


class Feed(Protocol):
    """The way from a task to the engine."""

    engine: Engine
    reporter: Reporter

    def now(self) -> float:
        """Return the time for an input of the engine."""
        ...

    def perform(self) -> None:
        """Carry out what the engine has answered."""
        ...

    async def drained(self) -> None:
        """Wait until a closing engine has nothing left."""
        ...

    def present(self, deployment: Deployment, connector: Connector) -> object:
        """Return what ``get_connector`` gives of a connector that was deployed."""
        ...


def worker(engine: Engine) -> Deployment | None:
    """Return the deployment of an engine whose connector code is calling, or None."""
    for runner in _around.get():
        deployment = runner.deployment
        if runner.shell.engine is engine and deployment.task is runner and deployment.phase.works:
            return deployment
    return None


@define(eq=False)
class Runner:
    """The task of one deployment, from its first attempt until it is absent.

    Neither the task group's cancellation nor any other scope reaches the connector from outside. The engine alone
    cancels an attempt, and deadlines do.
    """

    shell: Feed
    deployment: Deployment
    connector: Connector | None = None
    #: The task has nothing left to do, whatever becomes of the deployment.
    dismissed: bool = False
    #: Open while the connector's `deploy` runs; cancelled to give it up.
    _attempt: CancelScope | None = None
    #: Open while the connector's `undeploy` runs, and before that while lost environments below are made usable for it.
    _ending: CancelScope | None = None
    _reaching: CancelScope | None = None
    #: The connector's `undeploy` has returned.
    _gone: bool = False
    #: The time at which the operation under way has to end: by its own timeout, or earlier, because of the shutdown.
    _own_limit: float = math.inf
    _limit: float = math.inf
    #: Set to wake the task when it is parked.
    _event: Event | None = None
    #: Held by the wrapper that reattaches this connector for its teardown; made when one does.
    _reattaching: Lock | None = None
    _reattached: bool = False
    #: The connector has left a scope open that surrounds this task from now on.
    _corrupted: bool = False

    @property
    def definition(self) -> Buildable:
        return cast("Buildable", self.deployment.definition)

    # -- The good path -----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Do what the phase of the deployment asks for, until there is nothing left to do."""
        _around.set((*_around.get(), self))
        while not self.dismissed:
            if self.deployment.phase is Phase.STARTING:
                await self._live()
            elif self.deployment.phase.works:
                await self._clean_up()
            else:
                await self._park()
        if self._corrupted:
            await self._outlast()

    async def _live(self) -> None:
        """Make an attempt; if it succeeds, stay until the deployment has to go, and undeploy.

        A connector may hold task groups, scopes and processes open between ``deploy`` and ``undeploy``, so both run
        inside the same two scopes.
        """
        engine, deployment, definition = self.shell.engine, self.deployment, self.definition
        # There before the listener hears of the attempt, for that may be the reason to give it up.
        attempt = self._attempt = CancelScope(shield=True)
        self._begin()
        attempt.deadline = self._limit
        if deployment.phase is not Phase.ATTEMPTING:
            engine.attempt_ended(self.shell.now(), deployment)
            self.shell.perform()
            return
        returned, error, raised = False, None, None
        try:
            self.connector = self._build()
            with attempt, CancelScope() as stay:
                try:
                    await self.connector.deploy(definition.external)
                    returned = True
                    # A cancellation of the attempt that comes too late must not reach `undeploy`.
                    stay.shield = True
                    if self._limit < math.inf:
                        attempt.deadline = math.inf
                    self._attempt = None
                    # An attempt that came back in spite of its timeout has failed: what it holds open was cancelled.
                    late = self._timed_out("deploy") if attempt.cancel_called else None
                    shown = self.shell.present(deployment, self.connector) if late is None else None
                    engine.attempt_ended(self.shell.now(), deployment, late, shown)
                    self.shell.perform()
                    while not deployment.phase.works:
                        await self._park()
                    await self._undeploy(stay)
                except BaseException as exc:
                    raised = exc
                    raise
        except BaseException as exc:
            # Neither scope lets a cancellation of ours through, so it is an outcome.
            if self._is_dropped(exc):
                raise
            error = self._outcome(exc, raised)
        self._attempt = None
        if returned:
            self._torn_down(error)
        else:
            engine.attempt_ended(self.shell.now(), deployment, error or self._timed_out("deploy"))
            self.shell.perform()

    def _begin(self) -> None:
        now = self.shell.now()
        self.connector = None
        self._gone = False
        self._reattached = False
        self._set_limit(now, self.definition.deploy_timeout)
        self.shell.engine.begun(now, self.deployment)
        self.shell.perform()

    def _build(self) -> Connector:
        inner = None
        if self.deployment.definition.wraps:
            wrapped: Runner = self.deployment.dependencies[0].task
            inner = wrapped.connector
        connector = cast("object", self.definition.build(inner))
        if not isinstance(connector, Connector):
            raise WorkflowExecutionException(f"its constructor made {show(connector)}, which is no connector")
        if not hasattr(connector, "deployment_name"):
            problem = f"the constructor of {type(connector).__name__} has not called super().__init__()"
            raise WorkflowExecutionException(problem)
        if connector.reported_loss is not None:
            raise connector.reported_loss
        connector.on_lost = self._lost
        return connector

    async def _park(self) -> None:
        """Wait for the engine, whatever else happens to this task.

        Something that the connector holds open may be cancelled, because it failed; and at its end ``asyncio.run``
        cancels every task that there is. Neither is a reason to go before the dependents are down.
        """
        event = self._event = Event()
        due = self.deployment.due
        try:
            if due is None:
                await event.wait()
            else:
                with CancelScope(deadline=due):
                    await event.wait()
        except get_cancelled_exc_class():
            while not event.is_set() and (due is None or current_time() < due):
                try:
                    with CancelScope(deadline=math.inf if due is None else due, shield=True):
                        await event.wait()
                except get_cancelled_exc_class():
                    # Another native cancellation of the task: as above.
                    continue
        self._event = None
        if due is not None and not event.is_set():
            self.shell.engine.due(max(self.shell.now(), due), self.deployment)
            self.shell.perform()

    async def _undeploy(self, scope: CancelScope) -> None:
        assert self.connector is not None  # noqa: S101 - for the type checker
        if self.deployment.connector is None:
            # It was never given out; any other one has been invalidated before.
            self.invalidate("its environment is being undeployed")
        self._set_limit(current_time(), self.definition.undeploy_timeout)
        scope.deadline = self._limit
        self._ending = scope
        try:
            inner = self.deployment.dependencies[0] if self.deployment.definition.wraps else None
            if inner is not None and inner.phase.state is not Phase.LIVE.state:
                await self._reach(inner, scope)
            await self.connector.undeploy(self.definition.external)
            if isinstance(self.connector, ConnectorWrapper):
                await self.connector.connector.release()
            self._gone = True
        finally:
            self._ending = None

    def _torn_down(self, error: BaseException | None) -> None:
        if self._gone:
            if error is not None:
                self.shell.reporter.failed(f"after the teardown of deployment '{self.deployment.name}'", error)
            error = None
        else:
            error = error or self._timed_out("undeploy")
        self.shell.engine.torn_down(self.shell.now(), self.deployment, error)
        self.shell.perform()

    # -- Failures ----------------------------------------------------------------------------------------------------

    async def _clean_up(self) -> None:
        """Undeploy after a failed attempt or a failed teardown. Nothing is held open, so a scope of its own will do."""
        error, raised = None, None
        if self.connector is None:
            self._gone = True
        else:
            try:
                with CancelScope(shield=True) as scope:
                    try:
                        await self._undeploy(scope)
                    except BaseException as exc:
                        raised = exc
                        raise
            except BaseException as exc:
                if self._is_dropped(exc):
                    raise
                error = self._outcome(exc, raised)
        self._torn_down(error)

    def _is_dropped(self, exc: BaseException) -> bool:
        """Whether the event loop gives the task up, closing its coroutine from outside of its context.

        A connector may raise a GeneratorExit of its own, which is a failure like others.
        """
        return isinstance(exc, GeneratorExit) and _around.get()[-1:] != (self,)

    def _outcome(self, exc: BaseException, raised: BaseException | None) -> BaseException:
        """Return what came out of a connector's operation as an outcome.

        A cancellation that is not ours is something within the connector that was cancelled: a failure like others.

        :param exc: the exception that came out of the scopes around the operation
        :param raised: the one that came out of the operation itself
        """
        self.shell.reporter.notice_interrupt(exc)
        if isinstance(exc, RuntimeError) and exc is not raised:
            # The scopes complain that the connector has left one of its own open inside of them.
            self._corrupted = True
            if isinstance(raised, Exception):
                return raised
            problem = WorkflowExecutionException(f"its connector has left a task group or a scope open ({exc})")
            problem.__cause__ = exc
            return problem
        return exc

    async def _outlast(self) -> None:
        """Wait until everything is down, and the error with which this task is going to end can cancel nothing more."""
        while not self.shell.engine.drained.settled:
            with suppress(get_cancelled_exc_class()), CancelScope(shield=True):
                await self.shell.drained()

    def _set_limit(self, now: float, seconds: float | None) -> None:
        self._own_limit = math.inf if seconds is None else now + seconds
        self._limit = min(self._own_limit, self.shell.engine.deadline)

    def _timed_out(self, operation: str) -> TimeoutError:
        definition, now = self.definition, current_time()
        seconds = definition.deploy_timeout if operation == "deploy" else definition.undeploy_timeout
        if seconds is None or self._limit < self._own_limit:
            problem = f"{operation} was cut off by the shutdown timeout of the manager"
        else:
            problem = f"{operation} did not end within {seconds:g} s ({operation}_timeout)"
        if now > self._limit + OVERRUN:
            problem += f"; it ignored its cancellation for {now - self._limit:.1f} s"
        return TimeoutError(problem)

    async def _reach(self, inner: Deployment, teardown: CancelScope) -> None:
        """Make the lost environments below usable for this teardown, those that are furthest below first (rule X3).

        They have half of the time: ``undeploy`` is called in any case.
        """
        chain = [inner]
        while chain[-1].definition.wraps:
            chain.append(chain[-1].dependencies[0])
        runners: list[Runner] = [each.task for each in reversed(chain)]
        admitted.set(frozenset(runner.connector for runner in runners if runner.connector is not None))
        asked: set[Runner] = set()
        now = current_time()
        self._reaching = CancelScope(deadline=now + (self._limit - now) / 2)
        with self._reaching:
            # While one of them reattaches, another one may be lost.
            while cut_off := [each for each in runners if each.is_cut_off and each not in asked]:
                for runner in cut_off:
                    asked.add(runner)
                    await runner.reattach(self.deployment.name, teardown)
        if self._reaching.cancelled_caught:
            error = TimeoutError("it took half of the time that there is for the teardown")
            self.shell.reporter.failed(f"reattaching for the teardown of deployment '{self.deployment.name}'", error)
        self._reaching = None

    @property
    def is_cut_off(self) -> bool:
        """Whether the way into its environment was lost, and not found again."""
        return self.deployment.cut_off and not self._reattached

    async def reattach(self, wrapper: str, teardown: CancelScope) -> None:
        """Ask the connector for a fresh way in, once, on behalf of the teardown of a wrapper.

        A failure is logged: the teardown is tried all the same. If it is cancelled, the next wrapper tries again.

        :param teardown: the scope of the teardown; whatever is raised when it is cancelled is the end of that
        """
        assert self.connector is not None  # noqa: S101 - it was live
        if self._reattaching is None:
            self._reattaching = Lock()
        async with self._reattaching:
            if self._reattached:
                return
            try:
                await self.connector.reattach()
                self._reattached = True
            except BaseException as exc:
                is_timeout = isinstance(exc, get_cancelled_exc_class()) and current_effective_deadline() == -math.inf
                if self._is_dropped(exc) or teardown.cancel_called or is_timeout:
                    raise
                doing = f"reattaching deployment '{self.deployment.name}' for the teardown of '{wrapper}'"
                self.shell.reporter.failed(doing, exc)

    # -- What the engine asks for ------------------------------------------------------------------------------------

    def wake(self) -> None:
        if self._event is not None:
            self._event.set()

    def cancel(self) -> None:
        """Give up the attempt that is under way."""
        if self._attempt is not None:
            self._attempt.cancel()

    def limit(self) -> None:
        """Let ``undeploy`` run until the shutdown deadline at most.

        A ``deploy`` that is allowed to finish has half of that time, so that what it has made can be undeployed.
        """
        now, deadline = current_time(), self.shell.engine.deadline
        halfway = now + (deadline - now) / 2
        self._limit = min(self._limit, deadline if self._attempt is None else halfway)
        for scope in (self._attempt, self._ending):
            if scope is not None:
                scope.deadline = min(scope.deadline, self._limit)
        if self._reaching is not None:
            self._reaching.deadline = min(self._reaching.deadline, halfway)

    def invalidate(self, reason: str) -> None:
        if self.connector is not None:
            try:
                self.connector.invalidate(reason)
            except BaseException as exc:  # noqa: BLE001 - foreign code, with no await inside
                self.shell.reporter.failed(f"invalidating the connector of deployment '{self.deployment.name}'", exc)

    def hurry(self) -> None:
        if self.connector is not None:
            try:
                self.connector.hurry()
            except BaseException as exc:  # noqa: BLE001 - as in invalidate
                self.shell.reporter.failed(f"hurrying the connector of deployment '{self.deployment.name}'", exc)

    def _lost(self, error: Exception) -> None:
        if self.deployment.task is self:
            cut_off = isinstance(error, ConnectionLostError)
            self.shell.engine.lost(self.shell.now(), self.deployment, error, cut_off=cut_off)
            self.shell.perform()
