"""A command as a job of a queue, which StreamFlow's batch connectors run.

A job may run on another machine, and later. Its streams are files in the home directory of the user, which has to be
the same on all machines: its input is complete before it is submitted, and its output comes when it has ended. The job
itself looks for signals, once a second; one that does not end when it is killed is removed from the queue. The files
are written and read by commands in the environment that the queue wraps.
"""

from __future__ import annotations

import asyncio
import logging
import math
import signal
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from shlex import join, quote
from subprocess import DEVNULL, PIPE, CompletedProcess
from typing import Any, Final, cast
from uuid import uuid4

from anyio import CancelScope, EndOfStream, Event, create_memory_object_stream, create_task_group, move_on_after
from anyio.abc import ByteReceiveStream, ByteSendStream, Process
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from attrs import define, field
from streamflow.core.deployment import Connector as StreamFlowConnector
from streamflow.core.deployment import ExecutionLocation
from streamflow.deployment.connector.queue_manager import QueueManagerConnector

from ...command import Command
from ...connector import Connector
from ...connectors._remote_process import begin, is_special
from ...connectors.termination import EndRequests, Terminator
from ...exceptions import WorkflowExecutionException
from ...streams import ExactProcess
from .tasks import BackgroundTasks

_STDERR: Final = 2
#: Seconds until a running job has certainly looked for signals.
_LISTENING: Final = 2.0
#: The exit status of a job that was removed: that of a command that was ended by SIGKILL.
_REMOVED: Final = 137

_logger = logging.getLogger("anydeploy")

_SET_UP: Final = 'umask 077 && cd && mkdir "$1" && cd "$1" && : >in >out >err && cat >do && pwd -P'
#: A job that has not begun must not find its script any more.
_REMOVE: Final = 'rm -f "$1/do"; rm -rf "$1"'
_SIGNAL: Final = 'echo "$2" >>"$1/signals"'

#: Called by the queue it stays beside the command, which it calls again, and which ``begin`` has written the rest for.
_SCRIPT: Final = """\
d=${{0%/*}}
if [ "$1" = job ]; then
    exec </dev/null >/dev/null 2>&1
    setsid=$(command -v setsid) && group=- || group=
    while [ -e "$0" ]; do
        if [ -s "$d/pid" ] && mv "$d/signals" "$d/signals.now"; then
            read -r pid <"$d/pid"
            while read -r name; do kill "-$name" "$group$pid"; done <"$d/signals.now"
        fi
        sleep 1
    done &
    (exec $setsid sh "$0" <"$d/in" >"$d/out" 2>"$d/err")
    status=$?
    kill $!
    exit $status
fi
refuse() {{ echo {nowhere} >&2; exit 126; }}
check() {{ command -v -- "$1" >/dev/null 2>&1 || {{ echo "$1: there is no such program" >&2; exit 127; }}; }}
begun() {{ echo $$ >"$d/pid"; }}
{command}"""


@define(eq=False)
class _LateStream(ByteReceiveStream):
    """The output of a job, which is there when the job has ended."""

    source: ByteReceiveStream | None = None
    ready: Event = field(factory=Event)

    async def receive(self, max_bytes: int = 65536) -> bytes:
        await self.ready.wait()
        if self.source is None:
            raise EndOfStream
        return await self.source.receive(max_bytes)

    async def aclose(self) -> None:
        if self.source is not None:
            await self.source.aclose()


@define(eq=False)
class Job(ExactProcess):
    """One job from its submission to its end.

    ::

        async with Job(connector, location, command, host, tasks, terminator).run() as process:
            await process.wait()

    :ivar host: runs commands where the queue's own programs run
    :ivar requests: the requests to end that it was sent
    :ivar ended: set when it has ended, or cannot be seen any more
    """

    connector: StreamFlowConnector
    location: ExecutionLocation
    command: Command
    host: Connector
    tasks: BackgroundTasks
    terminator: Terminator
    requests: EndRequests = field(init=False, factory=EndRequests)
    ended: Event = field(init=False, factory=Event)
    _path: str = field(init=False, default="")
    _status: int = field(init=False, default=_REMOVED)
    #: Set when its input can be written, or it could not be prepared.
    _begun: Event = field(init=False, factory=Event)
    #: Set when its caller has left.
    _left: Event = field(init=False, factory=Event)
    #: Around the wait for its input: what is not complete when the caller leaves never will be.
    _feeding: CancelScope = field(init=False, factory=CancelScope)
    #: Raised where it was started.
    _failure: Exception | None = field(init=False, default=None)
    _stdin: ByteSendStream | None = field(init=False, default=None)
    _outputs: dict[str, _LateStream] = field(init=False)
    _signals: MemoryObjectSendStream[int] = field(init=False)
    _received: MemoryObjectReceiveStream[int] = field(init=False)

    def __attrs_post_init__(self) -> None:
        sinks = {"out": self.command.stdout, "err": self.command.stderr}
        self._outputs = {name: _LateStream() for name, sink in sinks.items() if sink == PIPE}
        self._signals, self._received = create_memory_object_stream[int](math.inf)

    @asynccontextmanager
    async def run(self) -> AsyncGenerator[Process, None]:
        """Run the job. Leaving the block ends it, and returns when it has ended.

        :raises StartError: if no shell can start the command
        :raises WorkflowExecutionException: if it cannot be submitted

        If cancelled it ends the job as well, before it lets the cancellation through. A second native cancellation is
        let through at once; the job is ended all the same.
        """
        nowhere = f"the workdir {self.command.workdir} does not exist, or cannot be used"
        script = _SCRIPT.format(nowhere=quote(nowhere), command=begin(self.command, ""))
        task = self.tasks.start(self._live(script))
        try:
            await self._begun.wait()
            if self._failure is None:
                yield self
        finally:
            self._left.set()
            self._feeding.cancel()
            with CancelScope(shield=True):
                await asyncio.shield(task)
            if self._failure is not None:
                raise self._failure

    async def _live(self, script: str) -> None:
        """Submit the job, and end it when its caller has left. Whatever goes wrong is a failure of the job."""
        try:
            made = await self._call(_SET_UP, f".anydeploy-{uuid4().hex}", stdin=script)
            self._path = made.stdout.decode().strip()
            async with create_task_group() as tasks:
                tasks.start_soon(self._deliver)
                tasks.start_soon(self._submit)
                await self._left.wait()
                if not self.ended.is_set() and not await self.terminator.end(self, self.command.grace):
                    problem = "the job of `%s` has not ended, and may still be in the queue"
                    _logger.warning(problem, join(self.command.argv))
                tasks.cancel_scope.cancel()
            await self._call(_REMOVE, self._path)
        except Exception as exc:  # noqa: BLE001 - an outcome
            self._fail(exc)
        finally:
            self.ended.set()
            self._begun.set()
            self._signals.close()
            self._received.close()

    async def _call(self, script: str, *words: str, stdin: str | None = None) -> CompletedProcess[bytes]:
        return await self.host.run(["sh", "-c", script, "sh", *words], stdin=stdin)

    def _fail(self, exc: Exception) -> None:
        if self._failure is None:
            self._failure = WorkflowExecutionException(f"`{join(self.command.argv)}` could not be run: {exc}")
            self._failure.__cause__ = exc

    async def _submit(self) -> None:
        async with AsyncExitStack() as stack:
            try:
                await self._feed()
                if not self._left.is_set():
                    await self._run_job()
                    await self._open_outputs(stack)
            except Exception as exc:  # noqa: BLE001 - an outcome
                self._fail(exc)
            finally:
                for output in self._outputs.values():
                    output.ready.set()
                self.ended.set()
                self._begun.set()
            await self._left.wait()

    async def _feed(self) -> None:
        """Bring the input to its file, where a command that inherits it has none."""
        if self.command.stdin in {DEVNULL, None}:
            return
        argv = ("sh", "-c", 'exec cat >"$1"', "sh", f"{self._path}/in")
        command = Command(argv, stdin=self.command.stdin, stdout=DEVNULL, stderr=DEVNULL)
        with self._feeding:
            async with self.host.start_command(command) as feeder:
                self._stdin = feeder.stdin
                self._begun.set()
                await feeder.wait()

    async def _run_job(self) -> None:
        self._begun.set()
        result = await self.connector.run(
            self.location,
            ["sh", quote(f"{self._path}/do"), "job"],
            stdout=f"{self._path}/log",
            job_name=self._path.rpartition(".")[2],
        )
        # The status that StreamFlow reports of a job that was removed means nothing.
        if result is not None and not self.ended.is_set():
            self._status = result[1]

    async def _open_outputs(self, stack: AsyncExitStack) -> None:
        """Bring the output where it goes to files, and open it where it is read."""
        # To the `cat` that writes it, the stderr that this program has inherited is its standard output.
        errors = _STDERR if self.command.stderr is None else self.command.stderr
        for name, sink in {"out": self.command.stdout, "err": errors}.items():
            if sink != PIPE and is_special(sink):
                continue
            command = Command(("cat", f"{self._path}/{name}"), stdin=DEVNULL, stdout=sink, stderr=DEVNULL)
            cat = await stack.enter_async_context(self.host.start_command(command))
            if name in self._outputs:
                self._outputs[name].source = cat.stdout
            else:
                await cat.wait()

    async def _deliver(self) -> None:
        """Hand the signals over to the job, one after the other."""
        async for number in self._received:
            try:
                await self._call(_SIGNAL, self._path, signal.Signals(number).name.removeprefix("SIG"))
                if number == signal.SIGKILL:
                    with move_on_after(_LISTENING):
                        await self.ended.wait()
                    if not self.ended.is_set():
                        await self._remove()
            except Exception as exc:  # noqa: BLE001 - whatever the connectors raise
                _logger.debug("a signal for the job of `%s` has failed: %r", join(self.command.argv), exc)

    async def _remove(self) -> None:
        """Remove the job from the queue. StreamFlow does that only when the connector is undeployed, and fails then."""
        connector: Any = self.connector
        if isinstance(connector, QueueManagerConnector):
            scheduled = cast("dict[str, object]", cast("Any", connector)._scheduled_jobs)  # noqa: SLF001
            # The location is the job's own: it was asked for when this began.
            jobs = [job for job, location in scheduled.items() if location is self.location]
            if jobs:
                await cast("Any", connector)._remove_jobs(self.location, jobs)  # noqa: SLF001
                self.ended.set()

    async def wait_gone(self) -> None:
        """Wait until the job has ended; the queue ends all that it has started."""
        await self.ended.wait()

    # -- Its caller's view -------------------------------------------------------------------------------------------

    async def wait(self) -> int:
        await self.ended.wait()
        return self._status

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def send_signal(self, signal: int) -> None:
        """Send a signal to the command and to all that it has started, when the job looks for it."""
        self.requests.note(signal)
        if not self.ended.is_set():
            self._signals.send_nowait(signal)

    async def aclose(self) -> None:
        """Close the streams and wait for the end. If cancelled it returns at once; the job goes on."""
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream is not None:
                await stream.aclose()
        await self.wait()

    @property
    def pid(self) -> int:
        return 0

    @property
    def returncode(self) -> int | None:
        return self._status if self.ended.is_set() else None

    @property
    def stdin(self) -> ByteSendStream | None:
        return self._stdin

    @property
    def stdout(self) -> ByteReceiveStream | None:
        return self._outputs.get("out")

    @property
    def stderr(self) -> ByteReceiveStream | None:
        return self._outputs.get("err")
