"""The ends here of a command elsewhere: where its input comes from, and where its output goes.

Either is its caller, or else a file of this program (its standard input, say), which a ``cat`` on this machine reads or
writes: no event loop can do that with every kind of file.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import Any

from anyio import BrokenResourceError, ClosedResourceError, EndOfStream, create_memory_object_stream, current_time
from anyio.abc import ByteReceiveStream, ByteSendStream
from anyio.lowlevel import checkpoint
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from attrs import define, field

from ...connector import Command, Stdio
from ...connectors.local import LocalConnector

CHUNK = 65536

_HERE = LocalConnector(deployment_name="this machine", config_dir=Path())


@define(eq=False)
class _Receiving(ByteReceiveStream):
    """What a command prints.

    :ivar failure: why no more arrives, if that is not the end of it
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
        data, self._rest = self._rest[:max_bytes], self._rest[max_bytes:]
        return data

    async def aclose(self) -> None:
        self.close()
        await checkpoint()

    def close(self) -> None:
        self._source.close()


@define(eq=False)
class _Sending(ByteSendStream):
    """What a command is to read."""

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
class Inlet:
    """Where the input of a command comes from.

    :ivar stream: what the caller writes to; None where it is a file
    """

    _file: Stdio
    stream: _Sending | None = field(init=False, default=None)
    _source: MemoryObjectReceiveStream[bytes] | None = field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        if self._file == PIPE:
            target, self._source = create_memory_object_stream[bytes]()
            self.stream = _Sending(target)

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[MemoryObjectReceiveStream[bytes] | ByteReceiveStream, None]:
        """What gives the input, chunk by chunk. When it has been closed, the caller who writes gets an error."""
        if self._source is not None:
            with self._source:
                yield self._source
        else:
            command = Command(("cat",), stdin=self._file, stdout=PIPE, stderr=DEVNULL)
            async with _HERE.start_command(command) as cat:
                assert cat.stdout is not None  # noqa: S101 - it is a pipe
                yield cat.stdout

    def close(self) -> None:
        """Nothing is to be read any more."""
        if self.stream is not None and self._source is not None:
            self.stream.close()
            self._source.close()


@define(eq=False)
class Outlet:
    """Where the output of a command goes.

    :ivar stream: what the caller reads; None where it is a file
    """

    _file: Stdio
    stream: _Receiving | None = field(init=False, default=None)
    _idle_since: float | None = field(init=False, default=None)
    _ended: bool = field(init=False, default=False)
    _target: MemoryObjectSendStream[bytes] | None = field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        if self._file == PIPE:
            self._target, source = create_memory_object_stream[bytes](1)
            self.stream = _Receiving(source)

    async def follow(
        self, reader: Awaitable[AbstractAsyncContextManager[Any]], unread: Callable[[], object] | None = None
    ) -> None:
        """Deliver what one of StreamFlow's readers gives, to its end, even if nobody wants it any more.

        :param unread: to be called, once, when the file that it goes to is one that nobody reads any more
        """
        try:
            async with self._open() as put:
                try:
                    async with await reader as stream:
                        await self._deliver(stream.read, put, unread if self.stream is None else None)
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
        unread: Callable[[], object] | None,
    ) -> None:
        self._idle_since = current_time()
        while data := await read(CHUNK):
            self._idle_since = None
            try:
                await put(data)
            except (BrokenResourceError, ClosedResourceError):
                if unread is not None:
                    unread()
                    unread = None
            self._idle_since = current_time()
        self._idle_since = None

    def idle_for(self, seconds: float) -> bool:
        """Whether everything has been delivered, as far as can be told from nothing having come for so long."""
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
        """Nobody reads it any more."""
        if self.stream is not None:
            self.stream.close()

    def close(self) -> None:
        """Nothing comes any more."""
        self.discard()
        if self._target is not None:
            self._target.close()
