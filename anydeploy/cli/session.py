"""One ``up`` or ``run``: up, stay or work, and down again, whatever happens."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from enum import StrEnum
from pathlib import Path
from shlex import join
from signal import Signals

from anyio import CancelScope, create_task_group, current_time, open_signal_receiver, sleep, sleep_forever
from anyio.abc import Process
from attrs import define, field, frozen

from ..connector import Connector
from ..connectors.local import LocalConnector
from ..exceptions import DeployError, UndeployError, WorkflowDefinitionException, WorkflowExecutionException
from ..lifecycle import DeploymentEvent, DeploymentState
from ..manager import DefaultDeploymentManager
from .board import Board, Entry, Failure, enumerate_names
from .loading import Misuse, Selection
from .output import seconds
from .progress import Progress
from .signals import Interrupts, ending_signals, ignore_from_now_on

#: Seconds that the command of ``run`` has to end by itself when a signal was passed on to it.
COMMAND_GRACE = 10.0

#: What a shell makes of a program that SIGPIPE has ended.
_STATUS_UNREAD = 128 + Signals.SIGPIPE


@frozen
class Guest:
    """The command of ``run``, and the deployment that it runs on; None: here."""

    argv: Sequence[str]
    on: str | None = None


class Reason(StrEnum):
    """Why a session ends before its time. The first one decides."""

    SIGNAL = "a signal"
    FAILED = "a deployment failed"
    LATE = "the timeout passed"
    LOST = "a deployment was lost"
    UNREAD = "nobody reads the output any more"
    NOT_RUN = "the command could not be started"


@define(eq=False)
class Session:
    """Everything goes through one manager, whose block is left only when all is down again or known to be stuck.

    :ivar timeout: seconds for bringing up
    :ivar guest: the command of ``run``; None: stay until a signal
    """

    selection: Selection
    board: Board
    progress: Progress
    config_dir: Path
    max_concurrent: int | None = None
    timeout: float | None = None
    guest: Guest | None = None
    _manager: DefaultDeploymentManager = field(init=False)
    _interrupts: Interrupts = field(init=False)
    #: Around all that happens between entering and leaving the manager's block; inside of that, so that the teardown
    #: does not run in a cancelled scope.
    _body: CancelScope = field(init=False)
    _reason: Reason | None = field(init=False, default=None)
    _process: Process | None = field(init=False, default=None)
    _local: LocalConnector | None = field(init=False, default=None)
    #: The command was killed, because it did not end when asked to.
    _killed: bool = field(init=False, default=False)
    #: The command has ended by itself.
    _done: bool = field(init=False, default=False)
    #: The exit status of the command, or what stands for it when it could not be started.
    _status: int = field(init=False, default=0)
    _left: list[UndeployError] = field(init=False, factory=list[UndeployError])

    async def run(self) -> int:
        """Returns the exit status.

        :raises Misuse: if the definitions turn out to be wrong only now
        """
        self._body = CancelScope()
        self._interrupts = Interrupts(self._stop, self._hurry, self._leave)
        self._manager = DefaultDeploymentManager(
            self.selection.eager(),
            config_dir=self.config_dir,
            max_concurrent=self.max_concurrent,
            on_event=self._on_event,
        )
        misuse: WorkflowDefinitionException | None = None
        numbers = ending_signals()
        try:
            with open_signal_receiver(*numbers) as received, self._interrupts.counting(numbers):
                async with create_task_group() as tasks:
                    tasks.start_soon(self._interrupts.listen, received)
                    tasks.start_soon(self.progress.keep_fresh)
                    misuse = await self._in_manager()
                    tasks.cancel_scope.cancel()
        finally:
            ignore_from_now_on(numbers)
        if misuse is not None:
            raise Misuse([str(misuse)])
        return self._finish()

    async def _in_manager(self) -> WorkflowDefinitionException | None:
        misuse = None
        self.progress.resume()
        try:
            async with self._manager:
                with self._body:
                    try:
                        await self._up_and_work()
                    except WorkflowDefinitionException as exc:
                        misuse = exc
                self._begin_teardown()
        except* UndeployError as group:
            self._left = [error for error in group.exceptions if isinstance(error, UndeployError)]
        self.progress.pause()
        return misuse

    def _begin_teardown(self) -> None:
        self.board.stopping = True
        self.progress.resume()

    # -- Up, and what for --------------------------------------------------------------------------------------------

    async def _up_and_work(self) -> None:
        if not await self._bring_up():
            return
        self.progress.pause()
        count = len(self.selection.order)
        text = f"ready: {count} deployment{'' if count == 1 else 's'} in {seconds(current_time() - self.board.began)}"
        if self.guest is not None:
            self.progress.notice("ready", text)
            await self._work(self.guest)
        else:
            self.progress.notice("ready", f"{text}; Ctrl-C stops")
            self._check_reader()
            await sleep_forever()

    async def _bring_up(self) -> bool:
        failure: DeployError | None = None
        misuse: WorkflowDefinitionException | None = None
        async with create_task_group() as tasks:
            if self.timeout is not None:
                tasks.start_soon(self._expire, self.timeout)
            # Raised in here, they would come out as a group.
            try:
                await self._manager.deploy_all(self.selection.names)
            except DeployError as exc:
                failure = exc
            except WorkflowDefinitionException as exc:
                misuse = exc
            tasks.cancel_scope.cancel()
        if misuse is not None:
            raise misuse
        if failure is not None:
            self._end(Reason.FAILED)
            self._tell_failures(failure)
        return failure is None

    async def _expire(self, timeout: float) -> None:
        await sleep(timeout)
        tree = self.board.starting_tree(current_time())
        self._end(Reason.LATE)
        self.progress.problem("timeout", f"not ready within {seconds(timeout)}; still starting:\n{tree}")

    def _tell_failures(self, error: DeployError) -> None:
        failed = self.board.failed()
        if not failed:
            self.progress.problem("failed", str(error))
        for entry in failed:
            self.progress.problem("failed", self._tell_failure(entry), name=entry.name, type=entry.type)

    def _tell_failure(self, entry: Entry) -> str:
        began = entry.deploying_since
        took = f" after {seconds(entry.failed_at - began)}" if began is not None and entry.failed_at is not None else ""
        above = [e.name for e in self.board.entries.values() if e.failure is Failure.BELOW and e.error is entry.error]
        waiting = f"\nnot started because of that: {enumerate_names(above)}" if above else ""
        return f"deployment '{entry.name}' ({entry.type}) failed to deploy{took}: {entry.problem}{waiting}"

    # -- The command of `run` ----------------------------------------------------------------------------------------

    async def _work(self, guest: Guest) -> None:
        connector = self._connector(guest)
        if connector is None:
            self._end(Reason.LOST)
            return
        workdir = self.selection.configs[guest.on].workdir if guest.on is not None else None
        try:
            async with self._started(connector, guest, workdir) as process:
                returncode = await process.wait()
                self._ended(returncode)
        except OSError as exc:
            self._not_run(str(exc), 127 if isinstance(exc.__cause__, FileNotFoundError) else 126)
        except WorkflowExecutionException as exc:
            self._not_run(str(exc), 1)

    @asynccontextmanager
    async def _started(self, connector: Connector, guest: Guest, workdir: str | None) -> AsyncGenerator[Process]:
        """The process that signals are passed on to: from here on they no longer cancel."""
        async with connector.start(
            guest.argv, stdin=None, stdout=None, stderr=None, workdir=workdir, grace=COMMAND_GRACE
        ) as process:
            self._process = process
            try:
                yield process
            finally:
                self._process = None

    def _ended(self, returncode: int) -> None:
        """The command has ended. If it has done so by itself, nothing that happens from now on changes the status."""
        if not self._killed:
            self._reason, self._done = None, True
            self._status = returncode if returncode >= 0 else 128 - returncode

    def _connector(self, guest: Guest) -> Connector | None:
        if guest.on is not None:
            return self._manager.get_connector(guest.on)
        self._local = LocalConnector(deployment_name="the command", config_dir=Path.cwd())
        return self._local

    def _not_run(self, problem: str, status: int) -> None:
        self._end(Reason.NOT_RUN)
        self._status = status
        self.progress.problem("not-run", problem)

    # -- What happens meanwhile --------------------------------------------------------------------------------------

    def _on_event(self, event: DeploymentEvent) -> None:
        self.progress.on_event(event)
        if event.state is DeploymentState.LOST and event.name in self.board.entries:
            self._lost(self.board.entries[event.name])
        self._check_reader()

    def _check_reader(self) -> None:
        if self.progress.unread:
            self._end(Reason.UNREAD)

    def _lost(self, entry: Entry) -> None:
        self.progress.problem(
            "lost", f"deployment '{entry.name}' ({entry.type}) was lost: {entry.problem}", name=entry.name
        )
        # A command that is running may well do without it.
        if self._process is None:
            self._end(Reason.LOST)

    def _end(self, reason: Reason) -> None:
        if self._reason is None and not self._done:
            self._reason = reason
        self._body.cancel()

    def _stop(self, number: Signals) -> None:
        process = self._process
        if process is None:
            self._end(Reason.SIGNAL)
            text = f"{number.name}: stopping; once more cuts grace periods short"
        else:
            self._reason = self._reason or Reason.SIGNAL
            process.send_signal(number)
            self._body.deadline = current_time() + COMMAND_GRACE
            text = f"{number.name}: passed on to the command; once more kills it"
        self.progress.notice("stopping", text, signal=number.name)

    def _hurry(self) -> None:
        self.progress.notice("hurrying", "grace periods are cut short; once more leaves at once")
        if self._process is not None:
            self._killed = True
            self._process.kill()
        if self._local is not None:
            self._local.hurry()
        self._manager.hurry()

    def _leave(self) -> None:
        self.progress.pause()
        left = [f"{entry.label}: {entry.shown_state}" for entry in self.board.present()]
        if self._process is not None and self.guest is not None:
            left.append(f"process {self._process.pid}: {join(self.guest.argv)}")
        names = [entry.name for entry in self.board.present()]
        text = "\n".join(["left at once; this may be left behind:", *left]) if left else "left at once"
        self.progress.problem("left-behind", text, names=names)

    # -- The end -----------------------------------------------------------------------------------------------------

    def _finish(self) -> int:
        for error in self._left:
            self.progress.problem("left-behind", str(error), name=error.deployment_name)
        status = self._exit_status()
        end = "some deployments may be left behind" if self._left else "everything is down"
        self.progress.notice("end", end, status=status)
        return status

    def _exit_status(self) -> int:
        if self._left:
            return 1
        if self._reason is Reason.SIGNAL and self._interrupts.first is not None:
            return 128 + self._interrupts.first
        if self._reason is None or self._reason is Reason.NOT_RUN:
            return self._status
        return _STATUS_UNREAD if self._reason is Reason.UNREAD else 1
