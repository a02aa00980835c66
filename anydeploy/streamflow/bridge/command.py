"""A command at a location that a StreamFlow connector reaches, with byte streams, signals and an exit status.

StreamFlow offers streams in one direction each, and short commands. A command is made of these: see :mod:`.script`. It
has a task of its own, in which it is begun and ended. However its caller is cancelled, the task goes on until the
command has ended.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from shlex import join
from subprocess import DEVNULL, STDOUT
from typing import Any, ClassVar, Final
from uuid import uuid4

from anyio import CancelScope, Event, Lock, move_on_after, sleep, sleep_forever
from anyio.abc import Process
from attrs import define, field
from streamflow.core.deployment import Connector, ExecutionLocation

from ...command import Command
from ...connectors.local import StartError
from ...connectors.termination import EndRequests, Terminator, UnstoppableError
from ...exceptions import WorkflowExecutionException
from ...streams import DRAIN
from .directory import CommandDirectory
from .process import RemoteProcess
from .pumps import OutputPump, StdinPump
from .script import set_up
from .tasks import BackgroundTasks

_STDERR: Final = 2
_FIRST_LOOK, _LONGEST_PAUSE = 0.02, 0.5
#: Seconds that StreamFlow may take to close one thing that is over.
_CLOSING = 5.0

#: No argument of a program can be longer on Linux, and the script that makes the directory is one.
_LONGEST_SCRIPT: Final = 2**17

_logger = logging.getLogger("anydeploy")


@define(eq=False)
class RemoteCommand:
    """One command from its beginning to its end.

    ::

        async with RemoteCommand(connector, location, command, tasks, beginning, terminator).run() as process:
            await process.wait()

    :cvar job: whether it is run by a queue
    :cvar vanishing: seconds in which it has to be gone when it has been killed
    :ivar beginning: held while a command begins: a connector may bound its streams, and of two that begin at once each
        could hold those that the other one waits for
    :ivar requests: the requests to end that it was sent
    :ivar process: what its caller is given
    """

    job: ClassVar[bool] = False
    #: A signal and the look whether it has worked may be two round trips of a slow connection.
    vanishing: ClassVar[float] = 10.0

    connector: Connector
    location: ExecutionLocation
    command: Command
    tasks: BackgroundTasks
    beginning: Lock
    terminator: Terminator
    requests: EndRequests = field(init=False, factory=EndRequests)
    process: RemoteProcess = field(init=False)
    _directory: CommandDirectory = field(init=False)
    _stdin: StdinPump | None = field(init=False)
    #: By the names that their streams have at the location.
    _outputs: dict[str, OutputPump] = field(init=False)
    #: Around everything that is of no use any more when the caller has left; cancelled by that.
    _attended: CancelScope = field(init=False, factory=CancelScope)
    #: Around the reading of its input.
    _feeding: CancelScope = field(init=False, factory=CancelScope)
    #: Set when the command has begun, or will not.
    _begun: Event = field(init=False, factory=Event)
    #: The command has begun, and has to be ended.
    _started: bool = field(init=False, default=False)
    #: It leads a process group of its own.
    _leads_group: bool = field(init=False, default=False)
    #: Raised where the command was started.
    _failure: Exception | None = field(init=False, default=None)
    #: The making of the directory, once it has begun.
    _making: asyncio.Task[None] | None = field(init=False, default=None)
    #: The tasks of its streams.
    _streams: list[asyncio.Task[None]] = field(init=False, factory=list["asyncio.Task[None]"])

    def __attrs_post_init__(self) -> None:
        self._directory = CommandDirectory(self.connector, self.location, self.tasks, self._new_path())
        self._stdin = None if self.command.stdin == DEVNULL else StdinPump(self.command.stdin)
        # To the `cat` that writes it, the stderr that this program has inherited is its standard output.
        errors = _STDERR if self.command.stderr is None else self.command.stderr
        sinks = {"out": self.command.stdout, "err": errors}
        self._outputs = {name: OutputPump(sink) for name, sink in sinks.items() if sink not in (DEVNULL, STDOUT)}
        self.process = RemoteProcess(
            stdin=self._stdin.stream if self._stdin is not None else None,
            stdout=self._outputs["out"].stream if "out" in self._outputs else None,
            stderr=self._outputs["err"].stream if "err" in self._outputs else None,
            send=self.send_signal,
        )

    @asynccontextmanager
    async def run(self) -> AsyncGenerator[Process, None]:
        """Run the command. Leaving the block ends it, and returns when it has ended.

        :raises StartError: if there is no such program or workdir
        :raises WorkflowExecutionException: if the connector cannot start commands, or the command cannot be ended
        :raises UnstoppableError: if it is still there when it has been killed

        If cancelled it ends the command as well, before it lets the cancellation through. A second native cancellation
        is let through at once; the command is ended all the same.
        """
        task = self.tasks.start(self._live())
        try:
            await self._begun.wait()
            if self._failure is None:
                yield self.process
        finally:
            self._leave()
            with CancelScope(shield=True):
                await asyncio.shield(task)
            if self._failure is not None:
                raise self._failure

    def _leave(self) -> None:
        """Take note that the caller has left."""
        self._attended.cancel()

    @property
    def _left(self) -> bool:
        return self._attended.cancel_called

    async def _live(self) -> None:
        """Begin the command, and end it when its caller has left. Whatever goes wrong is a failure of the command."""
        try:
            with self._attended:
                await self._begin()
                await sleep_forever()
            await self._give_up_beginning()
            if self._started and self._failure is None:
                await self._end()
        except Exception as exc:  # noqa: BLE001 - an outcome
            self._failure = exc
        finally:
            try:
                await self._close()
            finally:
                self.process.ended.set()
                self._begun.set()

    # -- Its beginning -----------------------------------------------------------------------------------------------

    def _new_path(self) -> str:
        # Made when the command begins, for its user only.
        return f"/tmp/.anydeploy-{uuid4().hex}"  # noqa: S108 - as above

    async def _begin(self) -> None:
        """Start the command, and wait until it has begun. It is cancelled when the caller leaves.

        The tasks that it has started go on then: :meth:`_give_up_beginning` and :meth:`_close` see to them.
        """
        script = self._script()
        async with self.beginning:
            self._making = self.tasks.start(self._make_directory(script))
            await asyncio.shield(self._making)
            self._launch()
            await self._begun.wait()

    def _script(self) -> str:
        argv = self.command.argv
        if not (argv and argv[0]):
            raise StartError(argv, "no program is given")
        if any("\0" in argument for argument in argv):
            raise StartError(argv, "an argument contains a null character")
        try:
            script = set_up(self._directory.path, self.command, job=self.job)
        except ValueError as exc:
            raise StartError(argv, str(exc)) from exc
        if len(script.encode(errors="surrogateescape")) >= _LONGEST_SCRIPT:
            raise StartError(argv, f"its arguments and variables are too long: quoted, {len(script)} characters")
        return script

    async def _make_directory(self, script: str) -> None:
        try:
            await self._directory.make(script)
        except WorkflowExecutionException as exc:
            raise WorkflowExecutionException(f"`{join(self.command.argv)}` could not be started: {exc}") from exc

    def _launch(self) -> None:
        for name, output in self._outputs.items():
            # A command whose output goes to a file that nothing reads any more is to get SIGPIPE, as it would here.
            on_broken = partial(self._stop_reading, name)
            self._stream(output.run(partial(self._directory.open_reader, "read", name), on_broken))
        if self._stdin is not None:
            self._stream(self._feed(self._stdin))
        self._stream(self._follow())

    def _stop_reading(self, name: str) -> None:
        self._stream(self._call("unread", name))

    async def _call(self, *words: str) -> None:
        await self._directory.do(*words)

    def _stream(self, work: Coroutine[Any, Any, None]) -> None:
        self._streams.append(self.tasks.start(self._guarded(work)))

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as exc:  # noqa: BLE001 - whatever the connector raises
            if self._begun.is_set():
                _logger.debug("a stream of `%s` has failed: %r", join(self.command.argv), exc)
            else:
                self._failure = exc
                self._begun.set()

    async def _feed(self, stdin: StdinPump) -> None:
        async with stdin.open() as source, await self._directory.open_writer("write") as stream:
            with self._feeding:
                if self._left:
                    self._feeding.cancel()
                async for chunk in source:
                    with CancelScope(shield=True):
                        await stream.write(chunk)

    async def _follow(self) -> None:
        """Read what the script says of the command, byte by byte: some connectors wait for as many as are asked for."""
        ended = self.process.ended
        try:
            async with await self._directory.open_reader("start") as stream:
                line = b""
                # Processes that the command leaves behind may hold the stream open: on uvloop they inherit it.
                while not ended.is_set() and (byte := await stream.read(1)):
                    line += byte
                    if byte == b"\n":
                        await self._take_note(line.decode().split())
                        line = b""
        finally:
            ended.set()
            self._begun.set()

    async def _take_note(self, words: list[str]) -> None:
        match words:
            case ["started", pid, group]:
                self.process.pid = int(pid)
                self._leads_group = group == "group"
                self._started = True
                self._begun.set()
            case ["missing"]:
                self._failure = _not_there(self.command.argv)
            case ["nowhere"]:
                problem = f"its workdir {self.command.workdir} does not exist, or cannot be used"
                self._failure = StartError(self.command.argv, problem)
            case ["ended", status]:
                await self._delivered()
                self.process.status = int(status)
                self.process.ended.set()
            case _:
                pass

    async def _delivered(self) -> None:
        """Wait until the output that goes to files has arrived there, unless the caller has left."""
        files = [output for output in self._outputs.values() if output.stream is None]
        # That nothing has come for some time is no event.
        while not self._left and not all(each.idle_for(DRAIN) for each in files):  # noqa: ASYNC110
            await sleep(_FIRST_LOOK)

    async def _give_up_beginning(self) -> None:
        """Tell a command that is about to begin not to. If it begins all the same, wait until that is known."""
        if self._streams and not self._begun.is_set():
            await self._within_limit(self.tasks.start(self._directory.do("stop")))
            with move_on_after(_CLOSING):
                await self._begun.wait()

    # -- Its end -----------------------------------------------------------------------------------------------------

    async def _end(self) -> None:
        """End the command with all that it has started, unless it has ended without having been asked to."""
        if self.process.returncode is not None and not self.requests.made:
            return
        for output in self._outputs.values():
            # A program that says good-bye must not hang because its output is not read any more.
            output.discard()
        if not await self.terminator.end(self, self.command.grace):
            self._give_up()

    def _give_up(self) -> None:
        self._failure = UnstoppableError(self.command.argv, self.process.pid)

    def send_signal(self, number: int) -> None:
        """Send a signal to the command and to all that it has started, after those that were sent before."""
        self.requests.note(number)
        # The number of a command that leads no group is another's soon after its end.
        if self._leads_group or self.process.returncode is None:
            self._deliver(signal.Signals(number).name.removeprefix("SIG"))

    def _deliver(self, name: str) -> None:
        pid = self.process.pid
        # The only form that every shell understands when it is about a group.
        self._directory.send(self._directory.run("kill", f"-{name}", f"-{pid}" if self._leads_group else str(pid)))

    async def wait_gone(self) -> None:
        """Wait until the command, and every other member of its group, has ended."""
        await self.process.ended.wait()
        pause = _FIRST_LOOK
        while self._leads_group and await self.tasks.finish(self._is_alive()):
            await sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _is_alive(self) -> bool:
        _, status = await self._directory.do("alive", str(self.process.pid))
        return status == 0

    async def _close(self) -> None:
        """Release what is still waiting at the location, and close all streams; by force when that takes too long."""
        for output in self._outputs.values():
            output.discard()
        self._feeding.cancel()
        if self._making is not None:
            await self._within_limit(self._making)
            await self._within_limit(self.tasks.start(self._directory.do("end")))
        for task in self._streams:
            await self._within_limit(task)
        if self._stdin is not None:
            self._stdin.close()
        for output in self._outputs.values():
            output.close()

    async def _within_limit(self, task: asyncio.Task[Any]) -> None:
        done, _ = await asyncio.wait([task], timeout=_CLOSING)
        if not done:
            task.cancel()
            await asyncio.wait([task], timeout=_CLOSING)


def _not_there(argv: tuple[str, ...]) -> StartError:
    problem = f"{argv[0]}: there is no such program"
    error = StartError(argv, problem)
    error.__cause__ = FileNotFoundError(problem)
    return error
