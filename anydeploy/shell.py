"""The asynchronous shell of the engine: it feeds it, carries out its effects, and starts the tasks of deployments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import Context
from functools import partial
from typing import Any

from anyio import CancelScope, Event, current_time, get_cancelled_exc_class
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint
from attrs import define, field

from .connector import Connector
from .engine.deployment import Claim, Deployment, TeardownWait
from .engine.engine import Engine
from .engine.state import Do
from .reporting import Reporter, logger
from .runner import OVERRUN, Runner


@define(eq=False)
class Shell:
    """Feeds the engine, and carries out what it answers.

    :ivar engine: the decisions
    :ivar reporter: the listener, the log, and the block that raises an interrupt
    :ivar presented: makes what ``get_connector`` gives of a connector that was deployed
    """

    engine: Engine
    reporter: Reporter
    presented: Callable[[Deployment, Connector], object]
    #: Set when the block is entered. Tasks run in copies of that context, no matter who is the reason for them.
    tasks: TaskGroup | None = None
    context: Context = field(factory=Context)
    _performing: bool = False

    def perform(self) -> None:
        """Carry out all effects.

        Others may run from within: asyncio's eager tasks run their first steps in the call that starts them, and so
        do those that a listener starts. The effects of what they decide are left to the loop that is under way.
        """
        if self._performing:
            return
        self._performing = True
        effects = self.engine.effects
        try:
            while effects:
                do, subject, detail = effects.popleft()
                _PERFORM[do](self, subject, detail)
        finally:
            self._performing = False

    def now(self) -> float:
        """Return the time for an input of the engine, which is told before that whether events are of interest."""
        self.engine.verbose = self.reporter.wants_all
        return current_time()

    async def wait(self, waiter: Claim | TeardownWait) -> None:
        """Wait until a claim or a teardown is settled; a checkpoint in any case.

        If cancelled, it returns at once and changes nothing.
        """
        if waiter.settled:
            await checkpoint()
            return
        if waiter.event is None:
            waiter.event = Event()
        event: Event = waiter.event
        await event.wait()

    def present(self, deployment: Deployment, connector: Connector) -> object:
        return self.presented(deployment, connector)

    def proceed(self, deployment: Deployment) -> None:
        runner: Runner | None = deployment.task
        if runner is not None:
            runner.wake()
            return
        assert self.tasks is not None  # noqa: S101 - nothing is demanded outside the block
        runner = deployment.task = Runner(self, deployment)
        self.context.run(partial(self.tasks.start_soon, runner.run, name=f"anydeploy: {deployment.name}"))

    def dismiss(self, deployment: Deployment) -> None:
        runner: Runner | None = deployment.task
        if runner is not None:
            deployment.task = None
            runner.dismissed = True
            runner.wake()

    async def drained(self) -> None:
        """Wait until a closing engine has nothing left that could be torn down."""
        await self.wait(self.engine.drained)

    async def report_overrun(self) -> None:
        """Log a warning when the end of the block has to wait for what no deadline can bound."""
        try:
            with CancelScope(deadline=self.engine.deadline + OVERRUN, shield=True):
                await self.drained()
        except get_cancelled_exc_class():
            # A native cancellation of this task: there is nothing to clean up, and the deployments go on.
            return
        for deployment in self.engine.deployments.values():
            logger.warning(
                "deployment '%s' is %s beyond the shutdown timeout: its connector cannot be cancelled, and the "
                "manager has to wait for it",
                deployment.name,
                deployment.phase,
            )


def _runner(deployment: Deployment) -> Runner:
    runner: Runner = deployment.task
    return runner


def _wake(waiter: Claim | TeardownWait) -> None:
    event: Event | None = waiter.event
    if event is not None:
        event.set()


_PERFORM: Mapping[Do, Callable[[Shell, Any, Any], None]] = {
    Do.PROCEED: lambda shell, deployment, _: shell.proceed(deployment),
    Do.DISMISS: lambda shell, deployment, _: shell.dismiss(deployment),
    Do.CANCEL: lambda _, deployment, __: _runner(deployment).cancel(),
    Do.LIMIT: lambda _, deployment, __: _runner(deployment).limit(),
    Do.WAIT_UNTIL: lambda _, deployment, __: _runner(deployment).wake(),
    Do.INVALIDATE: lambda _, deployment, reason: _runner(deployment).invalidate(reason),
    Do.WAKE: lambda _, waiter, __: _wake(waiter),
    Do.TELL: lambda shell, event, _: shell.reporter.report(event),
}
