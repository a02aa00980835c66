"""The way of a command's output into a file of this program, where it cannot go there by itself."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from select import PIPE_BUF, POLLOUT, poll

from anyio import BrokenResourceError, ClosedResourceError, Event, to_thread, wait_writable
from anyio.abc import ByteReceiveStream
from attrs import define, field

from ..command import Stdio
from ..streams import discard

_STDOUT = 1


@define(eq=False)
class OutputPump:
    """Writes a stream to a file, which may be closed meanwhile by the caller that gave it.

    It can be cancelled although nothing reads a full pipe at the moment.

    :ivar ended: set when all has arrived, or cannot any more
    """

    _file: int
    ended: Event = field(init=False, factory=Event)
    _is_running: bool = field(init=False, default=False)

    @classmethod
    def to(cls, sink: Stdio, inherited: int = _STDOUT) -> OutputPump:
        """Return a pump to a file, its number, or None for the stream of this program that is inherited."""
        if sink is None:
            return cls(_own(inherited))
        return cls(_own(sink if isinstance(sink, int) else sink.fileno()))

    async def run(self, stream: ByteReceiveStream, on_broken: Callable[[], object]) -> None:
        """Pump until the stream ends.

        :param on_broken: called once, when nothing reads the file any more; the rest is dropped
        """
        self._is_running = True
        try:
            async for data in stream:
                await self._write(data)
        except OSError:
            on_broken()
            await discard(stream)
        except (BrokenResourceError, ClosedResourceError):
            # The client has gone.
            pass
        finally:
            os.close(self._file)
            self.ended.set()

    def give_up(self) -> None:
        """Close the file if nothing has come to be pumped."""
        if not (self._is_running or self.ended.is_set()):
            os.close(self._file)
            self.ended.set()

    async def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            # A disk may be slow.
            rest = rest[await to_thread.run_sync(self._write_some, rest) :]
            if rest:
                await wait_writable(self._file)

    def _write_some(self, data: memoryview) -> int:
        """Write as much as there is room for, and return how much that was. Only a disk is waited for."""
        room = poll()
        room.register(self._file, POLLOUT)
        written = 0
        with suppress(BlockingIOError):
            while written < len(data) and room.poll(0):
                written += os.write(self._file, data[written : written + PIPE_BUF])
        return written


def _own(file: int) -> int:
    """Return another descriptor of a file, which does not block if it is one of a pipe.

    Others who have the file must not notice that. So the pipe is opened again, where the system lets one do that;
    elsewhere, two that write to it at the same time may wait for its reader.
    """
    if stat.S_ISFIFO(os.fstat(file).st_mode):
        with suppress(OSError):
            return os.open(f"/proc/self/fd/{file}", os.O_WRONLY | os.O_NONBLOCK)
    return os.dup(file)
