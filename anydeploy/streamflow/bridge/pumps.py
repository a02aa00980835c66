"""The pumps between the streams of a command elsewhere and their ends here.

Such an end is the caller, or a file of this program (its standard input, say), which a ``cat`` on this machine reads or
writes: no event loop can do that with every kind of file.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import Any, Final, TypeAlias

from anyio import BrokenResourceError, ClosedResourceError, EndOfStream, create_memory_object_stream, current_time
from anyio.abc import ByteReceiveStream, ByteSendStream
from anyio.lowlevel import checkpoint
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from attrs import define, field

from ...command import Command, Stdio
from ...connectors.local import LocalConnector

#: The most bytes that are read at a time.
CHUNK: Final = 65536

#: Gives the block in which a stream of StreamFlow's can be read.
OpenReader: TypeAlias = Callable[[], Awaitable[AbstractAsyncContextManager[Any]]]

_HERE = LocalConnector(deployment_name="this machine", config_dir=Path())


@define(eq=False)
class _OutputStream(ByteReceiveStream):
    """The output of a command, for its caller to read.

    :ivar failure: the reason why no more arrives, unless that is the end of the output
    """

    _source: MemoryObjectReceiveStream[bytes]
    failure: Exception | None = None
    _rest: bytes = b""

    async def receive(self, max_bytes: int = CHUNK) -> bytes:
        if self._rest:
            await checkpoint()
        else:
            try:
                self._rest = await self._source.receive()
            except EndOfStream:
                if self.failure is not None:
                    raise BrokenResourceError from self.failure
                raise
        data = self._rest[:max_bytes]
        self._rest = self._rest[max_bytes:]
        return data

    async def aclose(self) -> None:
        self.close()
        await checkpoint()

    def close(self) -> None:
        self._source.close()


@define(eq=False)
class _InputStream(ByteSendStream):
    """The input of a command, for its caller to write."""

    _target: MemoryObjectSendStream[bytes]

    async def send(self, item: bytes) -> None:
        if item:
            await self._target.send(bytes(item))
        else:
            await checkpoint()

    async def aclose(self) -> None:
        self.close()
        await checkpoint()

    def close(self) -> None:
        self._target.close()


@define(eq=False)
class StdinPump:
    """The source of the input of a command.

    :ivar stream: the end that the caller writes to; None where the source is a file
    """

    _file: Stdio
    stream: _InputStream | None = field(init=False, default=None)
    _source: MemoryObjectReceiveStream[bytes] | None = field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        if self._file == PIPE:
            target, self._source = create_memory_object_stream[bytes]()
            self.stream = _InputStream(target)

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[MemoryObjectReceiveStream[bytes] | ByteReceiveStream, None]:
        """Open the source: a stream of chunks. When the block has been left, a caller that writes gets an error."""
        if self._source is not None:
            with self._source:
                yield self._source
        else:
            command = Command(("cat",), stdin=self._file, stdout=PIPE, stderr=DEVNULL)
            async with _HERE.start_command(command) as cat:
                assert cat.stdout is not None  # noqa: S101 - it is a pipe
                yield cat.stdout

    def close(self) -> None:
        """Close both ends."""
        if self.stream is not None and self._source is not None:
            self.stream.close()
            self._source.close()


@define(eq=False)
class OutputPump:
    """The sink of one of the outputs of a command.

    :ivar stream: the end that the caller reads from; None where the sink is a file
    """

    _file: Stdio
    stream: _OutputStream | None = field(init=False, default=None)
    _target: MemoryObjectSendStream[bytes] | None = field(init=False, default=None)
    #: The time since which everything that has come was delivered; None while something is on its way, or before.
    _idle_since: float | None = field(init=False, default=None)
    #: The end of the output was delivered.
    _ended: bool = field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        if self._file == PIPE:
            self._target, source = create_memory_object_stream[bytes](1)
            self.stream = _OutputStream(source)

    async def run(self, open_reader: OpenReader, on_broken: Callable[[], object] | None = None) -> None:
        """Deliver the output to its end, even where nothing reads it any more.

        :param open_reader: opens the stream of StreamFlow's that the output comes from
        :param on_broken: called once, if the sink is a file that nothing reads any more
        """
        try:
            async with self._open() as put:
                try:
                    async with await open_reader() as stream:
                        await self._deliver(stream.read, put, on_broken if self.stream is None else None)
                except Exception as exc:
                    if self.stream is not None:
                        self.stream.failure = exc
                    raise
        finally:
            self._ended = True

    async def _deliver(
        self,
        read: Callable[[int], Awaitable[bytes | None]],
        put: Callable[[bytes], Awaitable[None]],
        on_broken: Callable[[], object] | None,
    ) -> None:
        self._idle_since = current_time()
        while data := await read(CHUNK):
            self._idle_since = None
            try:
                await put(data)
            except (BrokenResourceError, ClosedResourceError):
                if on_broken is not None:
                    on_broken()
                    on_broken = None
            self._idle_since = current_time()
        self._idle_since = None

    def idle_for(self, seconds: float) -> bool:
        """Whether everything has been delivered, as far as can be told from nothing having come for some seconds."""
        return self._ended or (self._idle_since is not None and current_time() - self._idle_since >= seconds)

    @asynccontextmanager
    async def _open(self) -> AsyncGenerator[Callable[[bytes], Awaitable[None]], None]:
        if self._target is not None:
            with self._target:
                yield self._target.send
        else:
            command = Command(("cat",), stdin=PIPE, stdout=self._file, stderr=DEVNULL)
            async with _HERE.start_command(command) as cat:
                assert cat.stdin is not None  # noqa: S101 - it is a pipe
                yield cat.stdin.send
                await cat.stdin.aclose()
                await cat.wait()

    def discard(self) -> None:
        """Drop what the caller has not read, and all that comes from now on."""
        if self.stream is not None:
            self.stream.close()

    def close(self) -> None:
        """Close both ends."""
        self.discard()
        if self._target is not None:
            self._target.close()
