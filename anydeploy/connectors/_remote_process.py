"""A command that a session watches over."""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import partial
from subprocess import DEVNULL, PIPE, STDOUT
from typing import Final, Protocol

from anyio import CancelScope, Event, create_task_group, move_on_after
from anyio.abc import ByteReceiveStream, ByteSendStream
from attrs import define, field

from ..command import Command, Stdio
from ..exceptions import ConnectionLostError, WorkflowExecutionException
from ..quoting import assignments, change_directory, encode, invocation, quote
from ..streams import DRAIN, ExactProcess, discard
from ._framed import FramedStream
from ._pump import OutputPump
from .local import StartError
from .termination import EndRequests, is_ending

_STDERR: Final = 2


def begin(command: Command, setsid: str) -> str:
    """Return the shell text that becomes a command, in the words of ``session.sh``.

    :param setsid: the path of a program that gives the command a process group of its own; empty if it has one
    :raises StartError: if it cannot be started anywhere
    """
    argv = command.argv
    if not (argv and argv[0]):
        raise StartError(argv, "no program is given")
    if command.workdir == "":
        raise StartError(argv, "its workdir is empty")
    # Variables of the command may have the names of those that these words use, so they come last; but the program is
    # found by its PATH.
    environment = dict(command.environment)
    path = {name: environment.pop(name) for name in ("PATH",) if name in environment}
    workdir = command.workdir
    try:
        text = "".join(
            (
                f"{change_directory(workdir)} 2>/dev/null || refuse nowhere\n" if workdir is not None else "",
                assignments(path),
                f"check {quote(argv[0])}\n",
                _redirections(command),
                "begun\n",
                assignments(environment),
                invocation(argv, through=setsid),
            )
        )
        encode(text)
    except ValueError as exc:
        raise StartError(argv, str(exc)) from exc
    return text


class Client(Protocol):
    """The program that brings a command into the environment: what a session uses of its process."""

    @property
    def stdin(self) -> ByteSendStream | None: ...

    @property
    def stdout(self) -> ByteReceiveStream | None: ...

    @property
    def stderr(self) -> ByteReceiveStream | None: ...

    @property
    def returncode(self) -> int | None: ...

    async def wait(self) -> int:
        """Wait until it has ended. Its status tells at most that nothing reads its output any more."""
        ...


def is_special(sink: Stdio) -> bool:
    """Return whether a sink is ``PIPE``, ``DEVNULL`` or ``STDOUT``, and no file."""
    return isinstance(sink, int) and sink < 0


def _redirections(command: Command) -> str:
    stdin = " </dev/null" if command.stdin == DEVNULL else ""
    stdout = " >/dev/null" if command.stdout == DEVNULL else ""
    stderr = {DEVNULL: " 2>/dev/null", STDOUT: " 2>&1"}.get(
        command.stderr if isinstance(command.stderr, int) else 0, ""
    )
    return f"exec{stdin}{stdout}{stderr}\n" if stdin or stdout or stderr else ""


class NotBegunError(WorkflowExecutionException):
    """The client of a command has ended before the command began, and it never will.

    :ivar command: its argv
    :ivar output: the last that the client printed as an error
    """

    def __init__(self, command: tuple[str, ...], output: str) -> None:
        self.command = command
        self.output = output
        lines = [line.strip() for line in output.splitlines() if line.strip()]
        super().__init__(f"`{command[0]}` did not begin{f': {lines[-1]}' if lines else ''}")


@define(eq=False)
class RemoteProcess(ExactProcess):
    """A command in a remote environment, with the streams of the client that brings it there.

    Its ``pid`` is that in the environment. ``wait`` raises a :class:`ConnectionLostError` where its status never came.

    :ivar requests: the requests to end that it was sent
    :ivar left: members of its process group remained when it ended
    """

    command: Command
    token: str
    _session_name: str
    _order: Callable[..., None]
    #: Brings its stdout to a file, where its client cannot: noise of login files would stand before it, for example.
    pump: OutputPump | None = field(init=False, default=None)
    #: Likewise for its stderr.
    error_pump: OutputPump | None = field(init=False, default=None)
    requests: EndRequests = field(init=False, factory=EndRequests)
    left: bool = field(init=False, default=False)
    #: Around the wait for its client.
    watching: CancelScope = field(init=False, factory=CancelScope)
    #: Set when it has begun, or never will.
    begun: Event = field(init=False, factory=Event)
    #: Set when its status is known, or never will be.
    ended: Event = field(init=False, factory=Event)
    #: Set when nothing of it is left, or that cannot be found out any more.
    gone: Event = field(init=False, factory=Event)
    _pid: int = field(init=False, default=0)
    _status: int | None = field(init=False, default=None)
    #: Why it did not begin: the word of the session.
    _refusal: str | None = field(init=False, default=None)
    #: Why nothing more will be heard of it.
    _lost: str | None = field(init=False, default=None)
    _signals: set[int] = field(init=False, factory=set[int])
    #: A signal to its group has taken its reporter with it.
    _is_unreported: bool = field(init=False, default=False)
    #: The session was told to watch for its end.
    _watched: bool = field(init=False, default=False)
    _stdin: ByteSendStream | None = field(init=False, default=None)
    _stdout: FramedStream | None = field(init=False, default=None)
    #: That of the client; the command's own as well if it has one.
    _stderr: FramedStream | None = field(init=False, default=None)

    def attach(self, client: Client) -> None:
        """Take over the streams of the client."""
        mark = f"\033\001{self._session_name}-{self.token}\002\n".encode()
        self._stdin = client.stdin
        self._stdout = FramedStream(client.stdout, mark, self.ended) if client.stdout is not None else None
        self._stderr = FramedStream(client.stderr, mark, self.ended) if client.stderr is not None else None

    def pump_files(self, *, errors: bool = True) -> None:
        """Prepare the ways to files of this program, which may be closed at any time after this.

        :param errors: to that of its stderr as well
        """
        if not is_special(self.command.stdout):
            self.pump = OutputPump.to(self.command.stdout)
        if errors and not is_special(self.command.stderr):
            self.error_pump = OutputPump.to(self.command.stderr, inherited=_STDERR)

    async def deliver(self) -> None:
        """Bring its output to files, as far as it has pumps: not before its caller can signal what it sees there."""
        async with create_task_group() as tasks:
            for pump, stream in ((self.pump, self._stdout), (self.error_pump, self._stderr)):
                if pump is not None and stream is not None:
                    tasks.start_soon(self._deliver, pump, stream)

    async def _deliver(self, pump: OutputPump, stream: FramedStream) -> None:
        await stream.skip_noise()
        await self.begun.wait()
        if not pump.ended.is_set():
            await pump.run(stream, partial(self.send_signal, signal.SIGPIPE))

    async def delivered(self) -> None:
        """Wait until all that is pumped has arrived."""
        for pump in (self.pump, self.error_pump):
            if pump is not None:
                await pump.ended.wait()

    def give_up(self) -> None:
        """Close the files to which nothing has come, and never will."""
        for pump in (self.pump, self.error_pump):
            if pump is not None:
                pump.give_up()
        self.begun.set()

    @property
    def framing(self) -> str:
        """The streams that are framed by marks, for the script."""
        stdout = "o" if self.command.stdout == PIPE or self.pump is not None else ""
        stderr = "e" if self.command.stderr == PIPE or self.error_pump is not None else ""
        return stdout + stderr or "-"

    @property
    def fills_files(self) -> bool:
        """Whether its client writes to files, where nothing tells when the output has arrived."""
        stdout = is_special(self.command.stdout) or self.pump is not None
        stderr = is_special(self.command.stderr) or self.error_pump is not None
        return not (stdout and stderr)

    # -- Reports of the session --------------------------------------------------------------------------------------

    def told(self, kind: str, details: str) -> None:
        """Take note of a report of the session."""
        match kind:
            case "begun":
                self._pid = int(details)
                self.begun.set()
            case "ended":
                status, _, left = details.partition(" ")
                self.left = bool(left)
                self._end(int(status))
            case "gone":
                self.gone.set()
                self._end_unreported()
            case "still" if self.requests.made:
                self._is_unreported = True
                self._watch()
                self._end_unreported()
            case "still":
                self.lose("its connection ended before it did", gone=False)
            case "missing" | "denied" | "nowhere" | "full" | "never":
                self._refusal = self._refusal or kind
                self.begun.set()
                self.ended.set()
                self.gone.set()
            case _:
                pass

    def lose(self, problem: str, *, gone: bool = True) -> None:
        """Take note that nothing more will be heard of it; with ``gone`` nothing can be done about it either."""
        self._lost = self._lost or problem
        self.begun.set()
        self.ended.set()
        if gone:
            self.gone.set()

    def _end(self, status: int) -> None:
        if self._status is None:
            # A shell cannot tell a signal from a status that is greater by 128.
            self._status = 128 - status if status - 128 in self._signals else status
        self.begun.set()
        self.ended.set()

    def _end_unreported(self) -> None:
        """Conclude how it has ended from its being gone, and from the signals that it was sent."""
        if self._is_unreported and self.gone.is_set():
            self._end(128 + (signal.SIGKILL if self.requests.killed else signal.SIGTERM))

    @property
    def is_settled(self) -> bool:
        """Whether it has begun, or is known not to: a client that is late cannot begin it any more."""
        return self._pid != 0 or self._refusal in ("missing", "denied", "nowhere")

    async def wait_begun(self, *, noisy: bool) -> None:
        """Wait until it has begun, or is known never to.

        :param noisy: its client prints something before that, which might not fit into the pipes
        """
        if not noisy:
            await self.begun.wait()
            return
        async with create_task_group() as skipping:
            for pump, stream in ((self.pump, self._stdout), (self.error_pump, self._stderr)):
                if pump is None and stream is not None:
                    skipping.start_soon(stream.skip_noise)
            await self.begun.wait()
            skipping.cancel_scope.cancel()

    async def check_begun(self) -> None:
        """Raise the reason why it has not begun, if there is one."""
        argv = self.command.argv
        if self._refusal == "missing":
            problem = f"{argv[0]}: there is no such program"
            raise StartError(argv, problem) from FileNotFoundError(problem)
        if self._refusal == "denied":
            raise StartError(argv, f"{argv[0]}: Permission denied")
        if self._refusal == "nowhere":
            raise StartError(argv, f"its workdir {self.command.workdir} does not exist, or cannot be used")
        if self._refusal == "full":
            raise StartError(argv, "no space is left for it in the directory of the session")
        if self._refusal is not None:
            with move_on_after(DRAIN):
                await discard(self._stderr)
            noise = self._stderr.noise if self._stderr is not None else b""
            raise NotBegunError(argv, noise.decode(errors="replace"))
        if self._lost is not None and self._pid == 0:
            raise ConnectionLostError(self._lost)

    # -- Its end -----------------------------------------------------------------------------------------------------

    @property
    def has_to_be_ended(self) -> bool:
        """Whether something of it may still run that its caller has asked to end, or has left."""
        return not self.gone.is_set() and (self._status is None or self.requests.made)

    async def wait_gone(self) -> None:
        """Wait until nothing of it is left: neither of its process group, nor of what has left that."""
        self._watch()
        await self.gone.wait()

    def _watch(self) -> None:
        if not self._watched:
            self._watched = True
            self._order("watch", self.token)

    async def settle(self) -> None:
        """Wait for the status of what is gone, which may be a little behind."""
        if self._pid != 0 and self._lost is None:
            with move_on_after(DRAIN):
                await self.ended.wait()

    # -- What its caller is given ------------------------------------------------------------------------------------

    async def wait(self) -> int:
        await self.ended.wait()
        if self._status is None:
            raise ConnectionLostError(f"the status of `{self.command.argv[0]}` is not known: {self._lost}")
        return self._status

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def send_signal(self, signal: int) -> None:
        """Send a signal to its process group, and where it asks for an end to all that has left the group."""
        self.requests.note(signal)
        self._signals.add(int(signal))
        self._order("end" if is_ending(signal) else "signal", self.token, _name(signal))

    async def aclose(self) -> None:
        """Close the streams, and wait for its end; if cancelled, kill it."""
        for stream in (self._stdin, self._stdout, self._stderr):
            if stream is not None:
                await stream.aclose()
        try:
            await self.ended.wait()
        except BaseException:
            self.kill()
            raise

    @property
    def pid(self) -> int:
        return self._pid

    @property
    def returncode(self) -> int | None:
        return self._status

    @property
    def stdin(self) -> ByteSendStream | None:
        return self._stdin

    @property
    def stdout(self) -> ByteReceiveStream | None:
        return self._stdout if self.pump is None else None

    @property
    def stderr(self) -> ByteReceiveStream | None:
        return self._stderr if self.command.stderr == PIPE else None


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name.removeprefix("SIG")
    except ValueError:
        return str(int(number))
