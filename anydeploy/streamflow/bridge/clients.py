"""The clients of a session at a location that a StreamFlow connector reaches.

StreamFlow offers streams in one direction each. A client is one of them: the other streams of its command come by FIFOs
of the session, and each is relayed by a command of its own, which has no other. All words that StreamFlow is given are
plain ones, because some connectors hand them to a shell and others do not.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from shlex import join, quote
from subprocess import DEVNULL, PIPE
from typing import Any, Final, cast
from uuid import uuid4

from anyio import (
    BrokenResourceError,
    ClosedResourceError,
    Event,
    Lock,
    create_memory_object_stream,
    current_effective_deadline,
    move_on_after,
)
from anyio.abc import ByteReceiveStream, ByteSendStream, Process
from anyio.streams.buffered import BufferedByteReceiveStream
from attrs import define, field
from streamflow.core.deployment import Connector, ExecutionLocation

from ...command import Command, Stdio
from ...connectors.local import LocalConnector
from ...connectors.session import Session
from ...connectors.termination import Terminator
from ...exceptions import WorkflowExecutionException, describe
from .tasks import BackgroundTasks

#: The most bytes that are read at a time.
CHUNK: Final = 65536
#: Seconds that StreamFlow may take to close a stream that is over.
_CLOSING: Final = 5.0

#: Makes what the script of a session is started by. A terminal sends its signals to clients on this machine, too.
_WAY: Final = """\
umask 077 && mkdir {way} && mkfifo {way}/fifo && \
printf %s "trap '' HUP INT QUIT TERM; exec cat {way}/fifo" >{way}/out && \
printf %s "trap '' HUP INT QUIT TERM; exec >{way}/fifo && rm -r {way} && exec "{argv} >{way}/in\
"""

_HERE = LocalConnector(deployment_name="this machine", config_dir=Path())
_logger = logging.getLogger("anydeploy")


@define(eq=False)
class StreamClient:
    """A client that StreamFlow has started, which tells neither its status nor its errors."""

    stdin: ByteSendStream | None = None
    stdout: ByteReceiveStream | None = None
    stderr: ByteReceiveStream | None = None
    ended: Event = field(factory=Event)

    @property
    def returncode(self) -> int | None:
        return 0 if self.ended.is_set() else None

    async def wait(self) -> int:
        await self.ended.wait()
        return 0


@define(eq=False)
class LocationClients:
    """Starts the clients of one session.

    ::

        clients = LocationClients(connector, location, tasks, beginning)
        await clients.session(name, terminator).open(tasks)

    :ivar beginning: held while a command begins: a connector may bound its streams, and of two that begin at once each
        could hold those that the other one waits for
    """

    connector: Connector
    location: ExecutionLocation
    tasks: BackgroundTasks
    beginning: Lock
    _session: Session = field(init=False)

    def session(self, name: str, terminator: Terminator) -> Session:
        """Return the session, which is not open yet."""
        self._session = Session(name=name, opener=self.open, beside=self.start, terminator=terminator, pumped=True)
        return self._session

    @asynccontextmanager
    async def open(self, command: Command) -> AsyncGenerator[StreamClient, None]:
        """Start the script of the session: its orders come by one stream, and its reports go by a FIFO to another one.

        :raises WorkflowExecutionException: if the connector cannot run commands, or has no such streams
        """
        way = f"/tmp/.anydeploy-{uuid4().hex}"  # noqa: S108 - for its user only
        making = self.tasks.start(self._run(_WAY.format(way=way, argv=quote(join(command.argv)))))
        try:
            output, status = await asyncio.shield(making)
            if status != 0:
                raise WorkflowExecutionException(output)
            async with self._reader(["sh", f"{way}/out"], 1) as reports, self._writer(["sh", f"{way}/in"]) as orders:
                yield StreamClient(orders.stdin, reports.stdout, ended=reports.ended)
        finally:
            if not self._session.opened.is_set():
                self.tasks.start(self._remove(way, making))

    @asynccontextmanager
    async def start(self, command: Command) -> AsyncGenerator[StreamClient, None]:
        """Start a client with all streams that its command has.

        :raises WorkflowExecutionException: if the connector cannot give a stream
        """
        argv, token, framing = command.argv, command.argv[2], command.argv[3]
        feeds = command.stdin != DEVNULL
        has_errors = "e" in framing
        if command.stdin == PIPE and not has_errors and "o" not in framing:
            async with self._writer(argv) as client:
                yield client
            return
        async with AsyncExitStack() as stack:

            async def relay(stream: str, *argv: str, stdin: Stdio = DEVNULL, stdout: Stdio = DEVNULL) -> Process:
                self._session.order("fifo", token, stream)
                fifo = f"{self._session.facts['dir']}/{token}.{stream}"
                command = Command((*argv, fifo), stdin=stdin, stdout=stdout, stderr=DEVNULL)
                return await stack.enter_async_context(self._session.start(command))

            async with AsyncExitStack() as beginning:
                if feeds or has_errors:
                    await beginning.enter_async_context(self.beginning)
                stdin = (await relay("in", "sh", "-c", 'exec cat >"$1"', "sh", stdin=PIPE)).stdin if feeds else None
                stderr = (await relay("err", "cat", stdout=PIPE)).stdout if has_errors else None
                if stdin is not None and command.stdin != PIPE:
                    # No event loop can read every kind of file.
                    cat = Command(("cat",), stdin=command.stdin, stdout=PIPE, stderr=DEVNULL)
                    source = await stack.enter_async_context(_HERE.start_command(cat))
                    self.tasks.start(_feed(source, stdin))
                    stdin = None
                client = await stack.enter_async_context(self._reader(argv))
            client.stdin, client.stderr = stdin, stderr
            if "o" not in framing:
                client.stdout = None
            yield client

    async def _remove(self, way: str, making: asyncio.Task[Any]) -> None:
        """Remove a way that was not taken, and release what waits for the other end of its FIFO."""
        await asyncio.wait([making])
        await self._run(f"test ! -p {way}/fifo || : <>{way}/fifo; rm -rf {way}")

    async def _run(self, script: str) -> tuple[str, int]:
        result = await self.connector.run(self.location, ["sh", "-c", quote(script)], capture_output=True)
        return result if result is not None else ("", 0)

    @asynccontextmanager
    async def _reader(self, argv: Sequence[str], size: int = CHUNK) -> AsyncGenerator[StreamClient, None]:
        """Start a client whose output is read. Some connectors wait for as many bytes as are asked for."""
        target, source = create_memory_object_stream[bytes](1)
        client = StreamClient(stdout=BufferedByteReceiveStream(source))

        async def work(opened: Event) -> None:
            with target:
                async with await self.connector.get_stream_reader(list(argv), self.location) as stream:
                    opened.set()
                    while data := await stream.read(size):
                        # Output that nothing reads any more is dropped.
                        with suppress(BrokenResourceError):
                            await target.send(data)
                    target.close()
                    client.ended.set()

        with source:
            async with self._open(work, client):
                yield client

    @asynccontextmanager
    async def _writer(self, argv: Sequence[str]) -> AsyncGenerator[StreamClient, None]:
        """Start a client whose input is written."""
        target, source = create_memory_object_stream[bytes]()
        client = StreamClient(stdin=cast("ByteSendStream", target))

        async def work(opened: Event) -> None:
            with source:
                async with await self.connector.get_stream_writer(list(argv), self.location) as stream:
                    opened.set()
                    async for data in source:
                        await stream.write(data)

        with target:
            async with self._open(work, client):
                yield client

    @asynccontextmanager
    async def _open(
        self, work: Callable[[Event], Coroutine[Any, Any, None]], client: StreamClient
    ) -> AsyncGenerator[None, None]:
        """Use a stream of StreamFlow's in a task of its own: no cancellation of a caller reaches it."""
        opened = Event()

        def end(task: asyncio.Task[None]) -> None:
            client.ended.set()
            opened.set()
            if not task.cancelled() and (error := task.exception()) is not None:
                _logger.debug("a stream at %s has failed: %r", self.location, error)

        task = self.tasks.start(work(opened))
        task.add_done_callback(end)
        try:
            try:
                await opened.wait()
            except asyncio.CancelledError:
                # The cancellation of a scope comes again at the next await of the session, which ends the command.
                if current_effective_deadline() > -math.inf:
                    raise
                with move_on_after(_CLOSING, shield=True):
                    await opened.wait()
                if not opened.is_set():
                    raise
            if task.done() and (error := task.exception()) is not None:
                raise WorkflowExecutionException(f"no stream at {self.location}: {describe(error)}") from error
            yield
        finally:
            asyncio.get_running_loop().call_later(_CLOSING, task.cancel)


async def _feed(source: Process, stdin: ByteSendStream) -> None:
    with suppress(BrokenResourceError, ClosedResourceError):
        async for data in cast("ByteReceiveStream", source.stdout):
            await stdin.send(data)
    await stdin.aclose()
