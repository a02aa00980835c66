"""A session: one shell script inside a remote environment that watches over all commands there.

A client that brings a command into another environment (``ssh``, ``docker exec``, ``srun``) can neither signal it
reliably, nor tell its status from one of its own, nor clean up when this program is killed. The script does: it takes
orders on its stdin and reports on its stdout. Each command is started beside it, by a client of its own whose argv is
three plain words; what is to be run comes with an order::

    command T DATA    register a command: DATA is the shell text that becomes it, escaped as one word
    fifo T STREAM     STREAM, ``in`` or ``err``, comes by the FIFO ``T.STREAM``, because its client does not carry it
    relay T           it ends by itself when its input does, and is given the time for that at the end of the session
    signal T NAME     to the process group of the command
    end T NAME        likewise, and to what has left the group; a command that has not begun never will
    watch T           report `gone T` as soon as nothing of the command is left
    query T           report `still T` or, if the command has not begun and never will, `never T`
    done T            forget the command

Reports are ``up FACTS``, ``begun T PID``, ``missing T``, ``denied T``, ``nowhere T``, ``full T``, ``never T``,
``still T``, ``ended T STATUS [left]`` and ``gone T``. At the end of the orders the script ends everything that it
started.
"""

from __future__ import annotations

import math
import re
import secrets
import signal
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from importlib.resources import files
from itertools import count
from subprocess import PIPE
from typing import Any, Final, Protocol

import attrs
from anyio import (
    BrokenResourceError,
    CancelScope,
    ClosedResourceError,
    EndOfStream,
    Event,
    create_memory_object_stream,
    create_task_group,
    move_on_after,
)
from anyio.abc import ByteReceiveStream, ByteSendStream, Process, TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from attrs import define, field

from ..command import DEFAULT_GRACE, RELAY_GRACE, Command
from ..exceptions import ConnectionLostError, WorkflowExecutionException, describe
from ..quoting import escape
from ..streams import CUT_OFF, DRAIN, discard
from ._remote_process import Client, RemoteProcess, begin, is_special
from .termination import Terminator, UnstoppableError

#: Reads the script from the first line of its input: no shell on the way interprets more than this.
_BOOTSTRAP: Final = 'read -r anydeploy_script && eval "$(printf %b "$anydeploy_script")"'
_FACTS: Final = re.compile(r"(\w+)=(.*?)(?= \w+=|$)")

#: Seconds beyond its grace in which a script has to clean up.
_CLOSING: Final = 10.0
#: Seconds for the output of a command to arrive in a file, after its end.
_DELIVERY: Final = 10.0
#: Seconds in which a client has to end that is of no use any more.
_CLIENT_GRACE: Final = 1.0
_LONGEST_ERROR: Final = 4096
_LONGEST_REASON: Final = 500
#: Bytes of a line that are kept: reports are shorter, and what login files print may have no end.
_LONGEST_LINE: Final = 16384

Starter = Callable[[Command], AbstractAsyncContextManager[Client]]


class Spawner(Protocol):
    """Starts tasks: a task group, or what stands for one."""

    def start_soon(self, func: Callable[[], Coroutine[Any, Any, object]], /) -> object: ...


def read_script(name: str) -> str:
    """Return the text of a script of this package without what is there to be read by people only.

    A line that is the name of a script after ``@`` stands for the text of that.
    """
    lines = map(str.strip, files("anydeploy.connectors").joinpath(name).read_text().splitlines())
    kept = (line for line in lines if line and not line.startswith("#"))
    return "\n".join(read_script(line[1:]) if line.startswith("@") else line for line in kept)


_SCRIPT: Final = read_script("session.sh")


class SessionError(WorkflowExecutionException):
    """A session could not be opened.

    :ivar output: the last that its client printed as an error
    """

    def __init__(self, problem: str, output: str = "") -> None:
        self.output = output
        super().__init__(problem)


def _explain(output: str, status: int | None) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    ended = f" with status {status}" if status is not None else ""
    return f"the session in the environment has ended{ended}{f': {lines[-1]}' if lines else ''}"


@define(eq=False)
class Session:
    """One session, in a task of its own.

    ::

        session = Session(name=".anydeploy-4f2a", opener=way_in, beside=way_in, terminator=Terminator())
        await session.open(tasks)
        async with session.start(Command(["uname"])) as process:
            await process.wait()
        await session.close()

    :ivar name: that of its directory in the environment, letters and digits with ``.``, ``-`` and ``_``
    :ivar opener: starts its own command in the environment, which has neither environment nor workdir
    :ivar beside: likewise those that are started beside it
    :ivar explain: makes a sentence of the last errors of its client and its status, if there is one
    :ivar on_lost: told, once, when it has ended by itself after it was opened
    :ivar grace: seconds that commands have to end when the session ends
    :ivar patience: seconds that a client which is dropped has to end with its input, where telling it to end would kill
        the script, which then could not clean up
    :ivar pumped: output to files of this program is brought there by itself, since the clients go on where nothing
        reads it, or cannot write there
    :ivar script: the text that watches over the commands
    :ivar facts: ``dir``, ``setsid``, ``proc``, ``tar`` and ``uname`` of the environment, when it is open
    """

    name: str
    opener: Starter
    beside: Starter
    terminator: Terminator
    explain: Callable[[str, int | None], str] = _explain
    on_lost: Callable[[ConnectionLostError], None] | None = None
    grace: float = DEFAULT_GRACE
    patience: float = 0
    pumped: bool = False
    script: str = _SCRIPT
    facts: Mapping[str, str] = field(init=False, factory=dict[str, str])
    #: Set when it has been opened, or could not be.
    opened: Event = field(init=False, factory=Event)
    #: Set when its task has come to its end.
    ended: Event = field(init=False, factory=Event)
    #: The reason why it cannot be used (any more).
    problem: str | None = field(init=False, default=None)
    #: The commands that are running, by their tokens.
    commands: dict[str, RemoteProcess] = field(init=False, factory=dict[str, RemoteProcess])
    _numbers: count[int] = field(init=False, factory=lambda: count(1))
    _mark: str = field(init=False, factory=lambda: secrets.token_hex(16))
    _orders: MemoryObjectSendStream[bytes] | None = field(init=False, default=None)
    #: That of its own tasks, while it runs.
    _tasks: TaskGroup | None = field(init=False, default=None)
    #: Around its whole life.
    _scope: CancelScope = field(init=False, factory=CancelScope)
    #: Its end was asked for.
    _closing: bool = field(init=False, default=False)
    #: Its client has printed something before the script did, and so do those of commands.
    _is_noisy: bool = field(init=False, default=False)
    #: The last line that its client has printed before the script did.
    _said: str = field(init=False, default="")
    #: The last that its client has printed as an error.
    _errors: bytes = field(init=False, default=b"")
    _errors_ended: Event = field(init=False, factory=Event)

    @property
    def _setsid(self) -> str:
        """The program by which a command is to leave the group of its reporter, unless that is done for it."""
        return self.facts["setsid"] if self.facts["proc"] else ""

    @property
    def is_open(self) -> bool:
        return self.problem is None and self.opened.is_set()

    async def open(self, tasks: Spawner) -> None:
        """Open the session in a task of a group. If cancelled, or if it fails, nothing of it is left.

        :raises SessionError: with the reason
        """
        tasks.start_soon(self._run)
        try:
            await self.opened.wait()
        except BaseException:
            self._scope.cancel()
            with CancelScope(shield=True):
                await self.ended.wait()
            raise
        if self.problem is not None:
            await self.ended.wait()
            raise SessionError(self.problem, self._errors.decode(errors="replace"))

    async def close(self) -> None:
        """End the session, and everything that is still running in it.

        If cancelled, it drops the connection: the script then cleans up by itself. In a hurry it does that a little
        later, for a script that cleans up is killed with its connection where that is a command of another session.
        """
        self._closing = True
        if self._orders is not None:
            self._orders.close()
        try:
            with self.terminator.grace_period(self.grace + _CLOSING, RELAY_GRACE):
                await self.ended.wait()
        finally:
            self._scope.cancel()
            with CancelScope(shield=True):
                await self.ended.wait()

    @asynccontextmanager
    async def start(self, command: Command) -> AsyncGenerator[Process, None]:
        """Start a command, and end it when the block is left, as :meth:`Connector.start_command` does.

        :raises StartError: if there is no such program or workdir
        :raises NotBegunError: if its client has ended before it began; it never will
        :raises ConnectionLostError: if the session is lost
        :raises UnstoppableError: if it withstands even SIGKILL
        """
        if self.problem is not None:
            raise ConnectionLostError(self.problem)
        token = f"t{next(self._numbers)}"
        text = escape(begin(command, self._setsid))
        process = RemoteProcess(command, token, self.name, self.order)
        if self._is_noisy or self.pumped:
            process.pump_files(errors=self.pumped)
        self.order("command", token, text)
        if command.relay:
            self.order("relay", token)
        self.commands[token] = process
        is_attached = False
        try:
            async with self.beside(self._client(process)) as client:
                is_attached = True
                process.attach(client)
                try:
                    if self._tasks is not None:
                        self._tasks.start_soon(self._watch, process, client)
                        self._tasks.start_soon(process.deliver)
                    await process.wait_begun(noisy=self._is_noisy or bool(self._errors))
                    await process.check_begun()
                    yield process
                finally:
                    with CancelScope(shield=True):
                        await self._leave(process, client)
        except BaseException:
            if not is_attached:
                # The client was given up while it was started; the command may have begun all the same.
                with CancelScope(shield=True):
                    await self._end(process)
            raise
        finally:
            process.watching.cancel()
            process.give_up()
            del self.commands[token]
            # A client that has been given up may still arrive there, and has to find the mark.
            self.order(*(("done", token) if process.is_settled else ("end", token, "KILL")))

    def order(self, *words: str | bytes) -> None:
        """Send an order, unless the session has ended. Never waits."""
        if self._orders is not None:
            line = b" ".join(word.encode() if isinstance(word, str) else word for word in words) + b"\n"
            with suppress(BrokenResourceError, ClosedResourceError):
                self._orders.send_nowait(line)

    # -- Its life ----------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        """Live. Whatever happens is data: nothing is raised but a cancellation from outside."""
        command = Command(
            ("sh", "-c", _BOOTSTRAP, "anydeploy", self.name, str(math.ceil(self.grace)), self._mark),
            # The script itself may be its client.
            grace=self.grace + _CLOSING,
            relay=True,
        )
        status: int | None = None
        try:
            with self._scope:
                async with self.opener(command) as client:
                    try:
                        await self._live(client)
                        with move_on_after(DRAIN), suppress(ConnectionLostError):
                            status = await client.wait()
                    finally:
                        await self._drop(client)
        except Exception as exc:  # noqa: BLE001 - an outcome, whatever the wrapped connector raises
            self._over(describe(exc))
        finally:
            self._over(self.explain(self._last_words(), status))
            self.opened.set()
            self.ended.set()

    def _last_words(self) -> str:
        """Return the errors of its client, or else what it has said in place of the script."""
        is_silent = not self._errors.strip() and not self.opened.is_set()
        return self._said if is_silent else self._errors.decode(errors="replace")

    async def _live(self, client: Client) -> None:
        orders, received = create_memory_object_stream[bytes](math.inf)
        with orders, received:
            self._orders = orders
            self.order(escape(self.script))
            async with create_task_group() as self._tasks:
                self._tasks.start_soon(self._send, client.stdin, received)
                self._tasks.start_soon(self._collect, client.stderr)
                await self._read(client.stdout)
                with move_on_after(DRAIN):
                    await self._errors_ended.wait()
                self._tasks.cancel_scope.cancel()
            self._tasks = self._orders = None

    async def _drop(self, client: Client) -> None:
        """Let the script clean up, if its client has to be there for that."""
        if self.patience == 0 or client.returncode is not None:
            return
        with CancelScope(shield=True), suppress(ConnectionLostError):
            if client.stdin is not None:
                await client.stdin.aclose()
            with self.terminator.grace_period(self.patience, RELAY_GRACE):
                await client.wait()

    def _over(self, problem: str) -> None:
        """Take note that the session has ended, once."""
        if self.problem is not None:
            return
        self.problem = "the session was closed" if self._closing else problem
        for process in list(self.commands.values()):
            process.lose(self.problem)
        if self.opened.is_set() and not self._closing and not self._scope.cancel_called and self.on_lost is not None:
            self.on_lost(ConnectionLostError(self.problem))

    async def _send(self, stdin: ByteSendStream | None, orders: MemoryObjectReceiveStream[bytes]) -> None:
        assert stdin is not None  # noqa: S101 - it is a pipe
        with suppress(BrokenResourceError, ClosedResourceError):
            async for line in orders:
                await stdin.send(line)
            await stdin.aclose()

    async def _collect(self, stderr: ByteReceiveStream | None) -> None:
        if stderr is not None:
            with suppress(BrokenResourceError, ClosedResourceError):
                async for chunk in stderr:
                    self._errors = (self._errors + chunk)[-_LONGEST_ERROR:]
        self._errors_ended.set()

    async def _read(self, stdout: ByteReceiveStream | None) -> None:
        assert stdout is not None  # noqa: S101 - it is a pipe
        rest = b""
        with suppress(BrokenResourceError, ClosedResourceError, EndOfStream):
            while True:
                *lines, rest = (rest + await stdout.receive()).split(b"\n")
                for line in lines:
                    self._report(line.decode(errors="replace"))
                rest = rest[-_LONGEST_LINE:]
        self._hear(rest.decode(errors="replace"))

    def _report(self, line: str) -> None:
        if not self.opened.is_set():
            noise, found, facts = line.rpartition(f"{self._mark} up ")
            self._hear(noise if found else line)
            if found:
                self.facts = dict(_FACTS.findall(facts))
                self.opened.set()
            return
        kind, _, rest = line.partition(" ")
        token, _, details = rest.partition(" ")
        process = self.commands.get(token)
        if process is not None:
            process.told(kind, details)

    def _hear(self, noise: str) -> None:
        """Take note of what login files print, or of the reason why there is no script."""
        if not self.opened.is_set():
            self._is_noisy = self._is_noisy or bool(noise)
            self._said = noise.strip()[:_LONGEST_REASON] or self._said

    # -- Its commands ------------------------------------------------------------------------------------------------

    def _client(self, process: RemoteProcess) -> Command:
        """Return the command that brings one into the environment."""
        return attrs.evolve(
            process.command,
            argv=("sh", f"{self.facts['dir']}/run", process.token, process.framing),
            environment={},
            workdir=None,
            stdout=PIPE if process.pump is not None else process.command.stdout,
            # For errors of the client itself, where the command writes none.
            stderr=PIPE if is_special(process.command.stderr) or process.error_pump else process.command.stderr,
            grace=_CLIENT_GRACE,
        )

    async def _watch(self, process: RemoteProcess, client: Client) -> None:
        """Ask for a command whose client has ended without a word of it.

        Where nothing reads its output any more, a client may just go: then it is told what it would be told here.
        """
        with process.watching:
            status: int | None = None
            with suppress(WorkflowExecutionException, OSError):
                status = await client.wait()
            if status in CUT_OFF and not process.ended.is_set():
                process.send_signal(signal.SIGPIPE)
                with move_on_after(DRAIN):
                    await process.ended.wait()
            if not process.ended.is_set():
                self.order("query", process.token)

    async def _end(self, process: RemoteProcess) -> None:
        """End a command, and all that it has started.

        :raises UnstoppableError: if something of it is still there
        """
        gone = await self.terminator.end(process, process.command.grace, process.command.least_grace)
        await process.settle()
        if not gone:
            raise UnstoppableError(process.command.argv, process.pid)

    async def _leave(self, process: RemoteProcess, client: Client) -> None:
        problem: UnstoppableError | None = None
        async with create_task_group() as tasks:
            # A program that says good-bye must not hang because its output is not read any more.
            for pump, stream in ((process.pump, client.stdout), (process.error_pump, client.stderr)):
                if pump is None:
                    tasks.start_soon(discard, stream)
            if process.has_to_be_ended:
                try:
                    await self._end(process)
                except UnstoppableError as exc:
                    # Raised in here, it would come out of the task group as a group.
                    problem = exc
            else:
                with move_on_after(_DELIVERY):
                    await process.delivered()
            if process.returncode is not None and (process.fills_files or not process.left):
                if client.stdin is not None:
                    # Some clients do not end before.
                    await client.stdin.aclose()
                with move_on_after(_DELIVERY if process.fills_files and not process.left else DRAIN):
                    with suppress(ConnectionLostError):
                        await client.wait()
            tasks.cancel_scope.cancel()
        if problem is not None:
            raise problem
