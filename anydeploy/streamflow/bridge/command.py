"""A process at a location that one of StreamFlow's connectors reaches, with byte streams, signals and an exit status.

StreamFlow offers streams in one direction each, and short commands. A command with all that belongs to it is made of
these: see :mod:`._script`. It has a task of its own, its *keeper*: however its caller is cancelled, what the keeper is
at comes to its end, and so does the command.
"""

from __future__ import annotations

import asyncio
import logging
import re
import signal
from collections.abc import AsyncGenerator, Awaitable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from functools import partial
from shlex import join
from subprocess import DEVNULL, STDOUT
from typing import Any, ClassVar
from uuid import uuid4

from anyio import CancelScope, Event, Lock, current_time, move_on_after, sleep
from anyio.abc import Process
from attrs import define, field
from streamflow.core.deployment import Connector, ExecutionLocation

from ...connector import Command
from ...connectors.local import StartError
from ...connectors.termination import UnstoppableError
from ...exceptions import WorkflowExecutionException
from ...streams import DRAIN
from .process import RemoteProcess
from .pumps import Inlet, Outlet
from .script import set_up
from .tasks import Tasks

_STDERR = 2
_FIRST_LOOK, _LONGEST_PAUSE = 0.02, 0.5
#: Seconds that StreamFlow may take to close what is over.
_CLOSING = 5.0
#: What ssh makes of a command whose end it could not see.
_STATUS_LOST = 255

#: No argument of a program can be longer on Linux, and what a command is made from there is one.
_LONGEST_SCRIPT = 2**17

#: A path that is a word to every shell, and to who uses none.
_PLAIN = re.compile(r"/[A-Za-z0-9_@%+=:,./-]+")
_ENDING = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGKILL})

_logger = logging.getLogger("anydeploy")


@define(eq=False)
class Keeper:
    """One command from its beginning to its end.

    :cvar job: whether it is run by a queue
    :cvar vanishing: seconds that it may take to vanish when it has been sent SIGKILL
    :ivar beginning: held while a command begins: a connector may bound its streams, and of two that begin at once each
        could have those that the other one waits for
    :ivar pid: its number at the location
    :ivar status: its exit status, once it is over
    :ivar over: set when it has ended, or cannot be seen any more
    """

    job: ClassVar[bool] = False
    vanishing: ClassVar[float] = 5.0
    connector: Connector
    location: ExecutionLocation
    command: Command
    tasks: Tasks
    beginning: Lock
    stdin: Inlet | None = field(init=False)
    stdout: Outlet | None = field(init=False)
    stderr: Outlet | None = field(init=False)
    pid: int = field(init=False, default=0)
    status: int = field(init=False, default=_STATUS_LOST)
    over: Event = field(init=False, factory=Event)
    #: Made when the command begins, for its user only.
    _directory: str = field(init=False, factory=lambda: f"/tmp/.anydeploy-{uuid4().hex}")  # noqa: S108 - as above
    #: Set when the command has begun, or will not.
    _begun: Event = field(init=False, factory=Event)
    _failure: Exception | None = field(init=False, default=None)
    _left: Event = field(init=False, factory=Event)
    #: What a signal is sent to: its number, or that of its group, with a minus sign.
    _target: str = field(init=False, default="")
    _asked_at: float | None = field(init=False, default=None)
    _terminated: bool = field(init=False, default=False)
    _hurried: bool = field(init=False, default=False)
    #: What may be waited for that ends early when the caller leaves, and when everything is to hurry.
    _patience: CancelScope | None = field(init=False, default=None)
    _grace: CancelScope | None = field(init=False, default=None)
    #: Open while its input is read.
    _feeding: CancelScope | None = field(init=False, default=None)
    _setting_up: asyncio.Task[None] | None = field(init=False, default=None)
    _delivery: asyncio.Task[None] | None = field(init=False, default=None)
    _streams: list[asyncio.Task[None]] = field(init=False, factory=list["asyncio.Task[None]"])

    def __attrs_post_init__(self) -> None:
        self.stdin = None if self.command.stdin == DEVNULL else Inlet(self.command.stdin)
        self.stdout = None if self.command.stdout == DEVNULL else Outlet(self.command.stdout)
        # To the `cat` that writes it, that which this program has inherited is its standard output.
        errors = _STDERR if self.command.stderr is None else self.command.stderr
        self.stderr = None if errors in (DEVNULL, STDOUT) else Outlet(errors)

    @asynccontextmanager
    async def process(self) -> AsyncGenerator[Process, None]:
        """The command. Leaving the block ends it, and returns when it has ended.

        :raises StartError: if there is no such program or workdir
        :raises WorkflowExecutionException: if the connector cannot start commands
        :raises UnstoppableError: if it withstands even SIGKILL
        """
        task = self.tasks.start(self._keep())
        try:
            await self._begun.wait()
            if self._failure is None:
                yield RemoteProcess(self)
        finally:
            self._leave()
            with CancelScope(shield=True):
                await asyncio.shield(task)
        if self._failure is not None:
            raise self._failure

    def send_signal(self, number: int) -> None:
        if self.over.is_set():
            return
        if number in _ENDING and self._asked_at is None:
            self._asked_at = current_time()
        self._terminated = self._terminated or number == signal.SIGTERM
        self._signal(number)

    def hurry(self) -> None:
        self._hurried = True
        if self._grace is not None:
            self._grace.cancel()

    def _leave(self) -> None:
        self._left.set()
        if self._patience is not None:
            self._patience.cancel()

    def _signal(self, number: int) -> None:
        name = signal.Signals(number).name.removeprefix("SIG")
        self._send(self._run(self._words(name)))

    def _words(self, name: str) -> list[str]:
        # The only form that every shell understands when it is about a group.
        return ["kill", f"-{name}", self._target]

    def _send(self, delivery: Coroutine[Any, Any, object]) -> None:
        self._delivery = self.tasks.start(self._after(self._delivery, delivery))

    async def _after(self, before: asyncio.Task[None] | None, delivery: Coroutine[Any, Any, object]) -> None:
        if before is not None:
            await asyncio.wait([before])
        await delivery

    @property
    def _do(self) -> list[str]:
        return ["sh", f"{self._directory}/do"]

    # -- Its life ----------------------------------------------------------------------------------------------------

    async def _keep(self) -> None:
        try:
            with self._patient():
                await self._begin()
                await self._left.wait()
            await self._give_up_beginning()
            if self._target and self._failure is None:
                await self._end()
        except Exception as exc:  # noqa: BLE001 - an outcome: raised where the command was started
            self._failure = exc
        finally:
            try:
                await self._close()
            finally:
                self.over.set()
                self._begun.set()

    @contextmanager
    def _patient(self) -> Generator[None]:
        """What is waited for only until the caller leaves."""
        with CancelScope() as self._patience:
            if self._left.is_set():
                self._patience.cancel()
            yield
        self._patience = None

    async def _begin(self) -> None:
        script = self._script()
        async with self.beginning:
            self._setting_up = self.tasks.start(self._set_up(script))
            await asyncio.shield(self._setting_up)
            self._launch()
            await self._begun.wait()

    async def _give_up_beginning(self) -> None:
        """Tell a command that is just beginning not to; if it begins all the same, it has to be known what to end."""
        if self._streams and not self._begun.is_set():
            await self._within_limit(self.tasks.start(self._run([*self._do, "stop"])))
            with move_on_after(_CLOSING):
                await self._begun.wait()

    def _launch(self) -> None:
        for name, outlet in self._outlets():
            self._stream(outlet.follow(self._reader("read", name), partial(self._unread, name)))
        if self.stdin is not None:
            self._stream(self._feed(self.stdin))
        self._stream(self._follow())

    def _outlets(self) -> list[tuple[str, Outlet]]:
        """Where its output goes, by the names that its streams have at the location."""
        named = ("out", self.stdout), ("err", self.stderr)
        return [(name, outlet) for name, outlet in named if outlet is not None]

    def _script(self) -> str:
        argv = self.command.argv
        if not (argv and argv[0]):
            raise StartError(argv, "no program is given")
        if any("\0" in argument for argument in argv):
            raise StartError(argv, "an argument contains a null character")
        try:
            script = set_up(self._directory, self.command, job=self.job)
        except ValueError as exc:
            raise StartError(argv, str(exc)) from exc
        if len(script.encode(errors="surrogateescape")) >= _LONGEST_SCRIPT:
            raise StartError(argv, f"its arguments and variables are too long: quoted, {len(script)} characters")
        return script

    async def _set_up(self, script: str) -> None:
        output, status = await self._run([script])
        path = output.strip()
        if status or not _PLAIN.fullmatch(path):
            raise WorkflowExecutionException(
                f"`{join(self.command.argv)}` could not be started: the connector could not make a directory for it at "
                f"{self.location}: {path}"
            )
        self._directory = path

    async def _run(self, words: list[str]) -> tuple[str, int]:
        result = await self.connector.run(self.location, words, capture_output=True)
        return result if result is not None else ("", 0)

    def _reader(self, *words: str) -> Awaitable[AbstractAsyncContextManager[Any]]:
        return self.connector.get_stream_reader([*self._do, *words], self.location)

    def _unread(self, name: str) -> None:
        """Have nobody read this output at the location either: the command gets SIGPIPE when it goes on."""
        self._stream(self._stop_reading(name))

    async def _stop_reading(self, name: str) -> None:
        await self._run([*self._do, "unread", name])

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

    async def _feed(self, inlet: Inlet) -> None:
        async with inlet.open() as source:
            writer = await self.connector.get_stream_writer([*self._do, "write"], self.location)
            async with writer as stream:
                with CancelScope() as self._feeding:
                    if self._left.is_set():
                        self._feeding.cancel()
                    async for chunk in source:
                        with CancelScope(shield=True):
                            await stream.write(chunk)

    async def _follow(self) -> None:
        """Read what is said of the command, byte by byte: some connectors wait for as many as are asked for."""
        try:
            async with await self._reader("start") as stream:
                line = b""
                # What the command leaves behind may hold the stream open: on uvloop it inherits it.
                while not self.over.is_set() and (byte := await stream.read(1)):
                    line += byte
                    if byte == b"\n":
                        await self._take_note(line.decode().split())
                        line = b""
        finally:
            self.over.set()
            self._begun.set()

    async def _take_note(self, words: list[str]) -> None:
        match words:
            case ["started", pid, group]:
                self.pid = int(pid)
                self._target = f"-{pid}" if group == "group" else pid
                self._begun.set()
            case ["missing"]:
                self._failure = _not_there(self.command.argv)
            case ["nowhere"]:
                problem = f"its workdir {self.command.workdir} does not exist, or cannot be used"
                self._failure = StartError(self.command.argv, problem)
            case ["ended", status]:
                await self._delivered()
                self.status = int(status)
                self.over.set()
            case _:
                pass

    async def _delivered(self) -> None:
        """Wait until the output that is not the caller's has arrived where it goes."""
        files = [outlet for _, outlet in self._outlets() if outlet.stream is None]
        # That nothing has come for some time is no event.
        while not self._left.is_set() and not all(each.idle_for(DRAIN) for each in files):  # noqa: ASYNC110
            await sleep(_FIRST_LOOK)

    # -- Its end -----------------------------------------------------------------------------------------------------

    async def _end(self) -> None:
        """Ask the command to end, with all that it has started, unless it has ended by itself; kill it if need be."""
        if self.over.is_set() and self._asked_at is None:
            return
        if not self._terminated:
            self.send_signal(signal.SIGTERM)
        for _, outlet in self._outlets():
            # A program that says good-bye must not hang because nobody reads it any more.
            outlet.discard()
        asked_at = self._asked_at if self._asked_at is not None else current_time()
        with CancelScope(deadline=asked_at + self.command.grace) as self._grace:
            if self._hurried:
                self._grace.cancel()
            await self._gone()
            return
        self._signal(signal.SIGKILL)
        with move_on_after(self.vanishing):
            await self._gone()
        if not self.over.is_set():
            self._give_up()

    def _give_up(self) -> None:
        self._failure = UnstoppableError(self.command.argv, self.pid)

    async def _gone(self) -> None:
        await self.over.wait()
        pause = _FIRST_LOOK
        while self._target.startswith("-") and await self.tasks.finish(self._is_alive()):
            await sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _is_alive(self) -> bool:
        _, status = await self._run([*self._do, "alive", str(self.pid)])
        return status == 0

    async def _close(self) -> None:
        """Release what is still waiting at the location, and close all streams; by force when that takes too long."""
        for _, outlet in self._outlets():
            outlet.discard()
        if self._feeding is not None:
            self._feeding.cancel()
        if self._setting_up is not None:
            await self._within_limit(self._setting_up)
            await self._within_limit(self.tasks.start(self._run([*self._do, "end"])))
        for task in self._streams:
            await self._within_limit(task)
        for end in (self.stdin, self.stdout, self.stderr):
            if end is not None:
                end.close()

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
