"""The way of a command's output into a file of this program, where it cannot go there by itself."""

from __future__ import annotations

import os
from collections.abc import Callable

from anyio import BrokenResourceError, ClosedResourceError, Event, to_thread
from anyio.abc import ByteReceiveStream
from attrs import define, field

from ..command import Stdio
from ..streams import discard

_STDOUT = 1


@define(eq=False)
class OutputPump:
    """Writes a stream to a file, which may be closed meanwhile by the caller that gave it.

    :ivar ended: set when all has arrived, or cannot any more
    """

    _file: int
    ended: Event = field(init=False, factory=Event)
    _is_running: bool = field(init=False, default=False)

    @classmethod
    def to(cls, sink: Stdio, inherited: int = _STDOUT) -> OutputPump:
        """Return a pump to a file, its number, or None for the stream of this program that is inherited."""
        if sink is None:
            return cls(os.dup(inherited))
        return cls(os.dup(sink if isinstance(sink, int) else sink.fileno()))

    async def run(self, stream: ByteReceiveStream, on_broken: Callable[[], object]) -> None:
        """Pump until the stream ends.

        :param on_broken: called once, when nothing reads the file any more; the rest is dropped
        """
        self._is_running = True
        try:
            async for data in stream:
                await to_thread.run_sync(self._write, data)
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

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._file, rest) :]
