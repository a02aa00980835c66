"""``process``: a long-running program, such as a server, started and ended with its deployment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from shlex import join
from signal import Signals
from subprocess import DEVNULL, PIPE, STDOUT
from typing import Any

import attrs
from anyio import CancelScope, create_task_group, move_on_after
from anyio.abc import Process, TaskGroup
from attrs import define, field
from attrs.converters import optional

from ..command import Command
from ..connector import ConnectorWrapper
from ..duration import to_seconds
from ..exceptions import ConnectionLostError, WorkflowExecutionException
from ..streams import DRAIN
from ._output import Output, open_log
from ._ready import DEFAULT_INTERVAL, DEFAULT_TIMEOUT, LogProbe, NotReadyError, Readiness, Wait, poll, to_readiness
from ._ready import try_connect as connect
from ._settings import to_argv, to_environment, to_path
from .termination import EndRequests, Terminator, UnstoppableError

#: Seconds between SIGTERM and SIGKILL, where the settings do not say.
PROCESS_GRACE = 10.0


class ProgramEndedError(WorkflowExecutionException):
    """A program that was to stay has ended.

    :ivar command: its argv
    :ivar returncode: its exit status; negative is the signal that ended it
    :ivar output: the last lines that it printed
    """

    def __init__(self, command: Sequence[str], returncode: int, output: str, *, when: str) -> None:
        self.command = tuple(command)
        self.returncode = returncode
        self.output = output
        ended = f"was ended by signal {-returncode}" if returncode < 0 else f"ended with status {returncode}"
        shown = f"; its last output:\n{output}" if output.strip() else ", and printed nothing"
        super().__init__(f"`{join(self.command)}` {ended} {when}{shown}")


class PortInUseError(WorkflowExecutionException):
    """The port of a program is in use before the program is started."""


@define(eq=False)
class _Program:
    """The program while it is deployed.

    :ivar output: what it prints
    :ivar tasks: those that read its output and wait for its end
    :ivar waiting: around the wait until it is ready; cancelled when it has ended, or nothing is heard of it any more
    :ivar requests: the requests to end that it was sent by this connector
    """

    process: Process
    output: Output
    tasks: TaskGroup
    waiting: CancelScope = field(init=False, factory=CancelScope)
    requests: EndRequests = field(init=False, factory=EndRequests)

    def send_signal(self, number: int) -> None:
        self.requests.note(number)
        with suppress(ProcessLookupError):
            self.process.send_signal(Signals(number))

    async def wait_gone(self) -> None:
        """Wait for the program alone: what it has started is ended where the program was started.

        Of one whose connection is lost nothing will be heard any more. The environment that it runs in ends it.
        """
        with suppress(ConnectionLostError):
            await self.process.wait()


@define(kw_only=True, eq=False, slots=False)
class ProcessConnector(ConnectorWrapper):
    """A program that runs for as long as it is deployed, started through the environment that this one wraps.

    Durations are seconds, or strings such as ``500ms``, ``2s``, ``2m``. Commands run in this environment run in the
    wrapped one, with ``environment`` and ``workdir`` as defaults. ``ready`` has exactly one of ``tcp`` (host:port),
    ``http`` (an address), ``log`` (a regular expression that a line of its output matches) and ``command`` (an argv
    that ends with status 0), and optionally ``interval`` (100ms) and ``timeout`` (60s).

    :ivar command: the program and its arguments; it has to stay in the foreground
    :ivar environment: variables, in addition to those of the wrapped environment
    :ivar workdir: the directory to run in
    :ivar log: a file to which its output is appended; without one only the last lines are kept, for errors
    :ivar ready: how to tell that it is up; by default, as soon as it has been started
    :ivar grace: the time between SIGTERM and SIGKILL, for it and all that it has started
    """

    command: tuple[str, ...] = field(converter=to_argv)
    environment: Mapping[str, str] = field(factory=dict[str, str], converter=to_environment, repr=False)
    workdir: str | None = field(default=None, converter=optional(to_path))
    log: str | None = field(default=None, converter=optional(to_path))
    ready: Readiness | None = field(default=None, converter=optional(to_readiness))
    grace: float = field(default=PROCESS_GRACE, converter=to_seconds)
    _terminator: Terminator = field(init=False, factory=Terminator, repr=False)
    #: The program that was started last. Nothing is gone before it is, however its deploy or undeploy has ended.
    _program: _Program | None = field(init=False, default=None, repr=False)
    #: The blocks to be left when the program is taken down; None before the end of a deploy, and when they have been.
    _stack: AsyncExitStack | None = field(init=False, default=None, repr=False)
    #: True from the end of a successful deploy to the begin of undeploy: only then is an end of the program a loss.
    _live: bool = field(init=False, default=False, repr=False)

    @classmethod
    def services_of(cls, config: Mapping[str, Any]) -> Iterable[str]:  # noqa: ARG003
        """Return none: commands run in the wrapped environment."""
        return ()

    async def deploy(self, external: bool) -> None:
        """Start the program and wait until it is ready; with ``external`` only wait, unless a log would tell.

        If cancelled, the program is stopped as :meth:`undeploy` does, before the cancellation goes on.

        :raises PortInUseError: if something accepts connections where the program is to do so
        :raises ProgramEndedError: if it ends before it is ready
        :raises NotReadyError: if it is not ready in time
        :raises OSError: if it cannot be started, or its log not be written
        """
        if external:
            await self._wait_for_external()
            return
        await self._check_port()
        problem: Exception | None
        async with AsyncExitStack() as stack:
            program = self._program = await self._start_program(stack)
            # Raised in here, it would come out of the task group as a group.
            problem = await self._become_ready(program)
            if problem is None:
                self._stack = stack.pop_all()
                self._live = True
            else:
                await self._stop(program)
        if problem is not None:
            raise problem

    async def undeploy(self, external: bool) -> None:  # noqa: ARG002
        """End the program and everything in its process group: SIGTERM, the grace period, SIGKILL.

        If cancelled, it is killed at once.

        :raises UnstoppableError: if it is still there after that; the next call kills again
        """
        self._live = False
        program = self._program
        stack = self._stack
        self._stack = None
        if program is not None and stack is not None:
            async with stack:
                await self._stop(program)
        elif program is not None and not await self._terminator.kill(program):
            raise UnstoppableError(self.command, program.process.pid)

    def transform(self, command: Command) -> Command:
        workdir = self.workdir if command.workdir is None else command.workdir
        return attrs.evolve(command, environment={**self.environment, **command.environment}, workdir=workdir)

    def hurry(self) -> None:
        self._terminator.hurry()

    async def _wait_for_external(self) -> None:
        ready = self.ready
        if ready is not None and not isinstance(ready.probe, LogProbe):
            interval, timeout = ready.interval or DEFAULT_INTERVAL, ready.timeout or DEFAULT_TIMEOUT
            await poll(ready.probe, self, interval=interval, timeout=timeout)

    async def _check_port(self) -> None:
        endpoint = self.ready.probe.endpoint if self.ready is not None else None
        if self.ready is not None and endpoint is not None and await connect(*endpoint) is None:
            host, port = endpoint
            raise PortInUseError(
                f"port {port} of {host} is already in use before `{join(self.command)}` was started: its readiness "
                f"({self.ready.probe}) would be that of another program"
            )

    async def _start_program(self, stack: AsyncExitStack) -> _Program:
        log = stack.enter_context(open_log(self.config_dir / self.log)) if self.log is not None else None
        probe = self.ready.probe if self.ready is not None else None
        output = Output(log, probe.pattern if isinstance(probe, LogProbe) else None)
        process = await stack.enter_async_context(
            self.connector.start(
                self.command,
                environment=self.environment,
                workdir=self.workdir,
                stdin=DEVNULL,
                stdout=PIPE,
                stderr=STDOUT,
                grace=self.grace,
            )
        )
        tasks = await stack.enter_async_context(create_task_group())
        tasks.start_soon(output.follow, process.stdout)
        program = _Program(process, output, tasks)
        tasks.start_soon(self._watch, program)
        return program

    async def _watch(self, program: _Program) -> None:
        """See the program end. A task that lives as long as it does, and never raises."""
        await program.wait_gone()
        # A process that it leaves behind in its group would hold its port. Later the number may be another group's.
        if not program.requests.made:
            program.process.kill()
        program.waiting.cancel()
        error = await self._ended(program, "while it was deployed")
        if self._live:
            self.report_lost(error)

    async def _become_ready(self, program: _Program) -> Exception | None:
        """None when it is ready, else the reason why it is not."""
        ready, wait = self.ready, Wait()
        timeout = (ready and ready.timeout) or DEFAULT_TIMEOUT
        try:
            with program.waiting, move_on_after(timeout) as limit:
                if ready is not None:
                    await self._probe(ready, program, wait)
        except Exception as exc:  # noqa: BLE001 - an outcome: raised by deploy when the task group has been left
            return exc
        if program.waiting.cancel_called or program.process.returncode is not None:
            return await self._ended(program, "before it was ready")
        if ready is not None and limit.cancelled_caught:
            problem = f"`{join(self.command)}` was not ready within {timeout:g} s: {ready.probe}: {wait.last}"
            return NotReadyError(problem, program.output.last_lines())
        return None

    async def _probe(self, ready: Readiness, program: _Program, wait: Wait) -> None:
        if isinstance(ready.probe, LogProbe):
            wait.last = "no line of its output matched"
            await program.output.found.wait()
        else:
            # The commands of a probe run as those of users do.
            await wait.until(lambda: ready.probe.check(self), ready.interval or DEFAULT_INTERVAL)

    async def _ended(self, program: _Program, when: str) -> WorkflowExecutionException:
        """Return the reason why it does not run any more: its end, or that nothing is heard of it."""
        with move_on_after(DRAIN):
            await program.output.ended.wait()
        try:
            status = await program.process.wait()
        except ConnectionLostError as exc:
            return exc
        return ProgramEndedError(self.command, status, program.output.last_lines(), when=when)

    async def _stop(self, program: _Program) -> None:
        """Ask the program to end, and kill it after its grace, or at once if cancelled. Ends its tasks."""
        try:
            # If it does not vanish, leaving the block that it was started in raises.
            await self._terminator.end(program, self.grace)
            with move_on_after(DRAIN):
                await program.output.ended.wait()
        finally:
            program.tasks.cancel_scope.cancel()
