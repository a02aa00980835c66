"""The output of a command between two marks."""

from __future__ import annotations

from contextlib import suppress

from anyio import BrokenResourceError, ClosedResourceError, EndOfStream, Event, move_on_after
from anyio.abc import ByteReceiveStream
from attrs import define, field

_CHUNK = 65536
#: Seconds for which bytes are kept back that a mark begins with, while the command may still be about to write more.
_PATIENCE = 0.25
#: Bytes that are kept of what comes before the first mark.
_NOISE_KEPT = 4096


@define(eq=False)
class FramedStream(ByteReceiveStream):
    """A stream without all that comes before the first mark in it; the second one is its end.

    Login files print before a command begins, and programs that it has left in the background after it has ended.

    :ivar noise: the last of what came before the first mark
    """

    _stream: ByteReceiveStream
    _mark: bytes
    #: Set when the command has ended: from then on the second mark is on its way.
    _over: Event
    noise: bytes = field(init=False, default=b"")
    _begun: bool = field(init=False, default=False)
    _ended: bool = field(init=False, default=False)
    #: Bytes that have arrived and were not delivered; after the end of the stream, all of them can be.
    _rest: bytes = field(init=False, default=b"")

    async def receive(self, max_bytes: int = _CHUNK) -> bytes:
        while True:
            data = self._take(max_bytes)
            if data:
                return data
            if self._ended:
                raise EndOfStream
            waits_for_mark = not self._rest or not self._begun or self._over.is_set()
            with move_on_after(None if waits_for_mark else _PATIENCE) as scope:
                await self._fill()
            if scope.cancelled_caught and not self._over.is_set():
                data, self._rest = self._rest, b""
                return data

    async def skip_noise(self) -> None:
        """Read all that comes before the first mark. If cancelled, nothing is lost."""
        with suppress(BrokenResourceError, ClosedResourceError):
            while not (self._begun or self._ended):
                await self._fill()
                self._take(0)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def _fill(self) -> None:
        try:
            self._rest += await self._stream.receive(_CHUNK)
        except EndOfStream:
            self._ended = True
            self._mark = b""

    def _take(self, max_bytes: int) -> bytes:
        """Return bytes of the command, none that may belong to a mark."""
        if not self._begun:
            noise, found, rest = self._rest.partition(self._mark) if self._mark else (self._rest, b"", b"")
            if not found:
                kept = _overlap(self._rest, self._mark)
                noise, rest = self._rest[: len(self._rest) - kept], self._rest[len(self._rest) - kept :]
            self.noise = (self.noise + noise)[-_NOISE_KEPT:]
            self._rest = rest
            self._begun = bool(found)
            if not found:
                return b""
        end = self._rest.find(self._mark) if self._mark else -1
        if end >= 0:
            self._ended = True
            self._rest, self._mark = self._rest[:end], b""
        count = min(max_bytes, len(self._rest) - _overlap(self._rest, self._mark))
        data, self._rest = self._rest[:count], self._rest[count:]
        return data


def _overlap(data: bytes, mark: bytes) -> int:
    """Return the length of the longest end of some data that a mark begins with."""
    for length in range(min(len(mark) - 1, len(data)), 0, -1):
        if data.endswith(mark[:length]):
            return length
    return 0
