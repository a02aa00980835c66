"""A connection to a port that a process has made."""

from __future__ import annotations

from contextlib import suppress

from anyio import BrokenResourceError, EndOfStream
from anyio.abc import ByteReceiveStream, ByteSendStream, ByteStream, Process
from attrs import define, field

from ..streams import Collector, last_lines

_CHUNK = 65536


@define(eq=False)
class ForwardedStream(ByteStream):
    """The input and output of a process that passes them on to a port.

    :ivar target: the port, for errors
    """

    target: str
    _process: Process
    #: Bytes have come: the connection was made.
    _connected: bool = field(init=False, default=False)

    async def receive(self, max_bytes: int = _CHUNK) -> bytes:
        try:
            data = await self._stdout.receive(max_bytes)
        except EndOfStream:
            if not self._connected and await self._process.wait() != 0:
                errors = Collector()
                await errors.collect(self._process.stderr)
                problem = last_lines(errors.data, 1) or "the connection was refused"
                raise ConnectionError(f"{self.target}: {problem}") from None
            raise
        self._connected = True
        return data

    async def send(self, item: bytes) -> None:
        await self._stdin.send(item)

    async def send_eof(self) -> None:
        await self._stdin.aclose()

    async def aclose(self) -> None:
        # The other side may have gone before.
        with suppress(BrokenResourceError):
            await self._stdin.aclose()
        await self._stdout.aclose()

    @property
    def _stdin(self) -> ByteSendStream:
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        return self._process.stdin

    @property
    def _stdout(self) -> ByteReceiveStream:
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        return self._process.stdout
