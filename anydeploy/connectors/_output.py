"""The output of a long-running program: written to its log, searched for a pattern, and quoted in errors."""

from __future__ import annotations

import logging
import re
from collections import deque
from pathlib import Path
from typing import BinaryIO

from anyio import BrokenResourceError, ClosedResourceError, Event, to_thread
from anyio.abc import ByteReceiveStream
from attrs import define, field

_LINES_KEPT = 20
#: Bytes after which a line that does not end is broken.
_LONGEST_LINE = 65536

_logger = logging.getLogger("anydeploy.connectors")


@define(eq=False)
class Output:
    """The output of one program.

    :ivar log: the file that it is written to; None: no file
    :ivar pattern: searched for in each line; None: no search
    :ivar found: set when a line has matched
    :ivar ended: set when the stream has ended
    :ivar count: the number of lines so far
    """

    log: BinaryIO | None = None
    pattern: re.Pattern[str] | None = None
    found: Event = field(init=False, factory=Event)
    ended: Event = field(init=False, factory=Event)
    count: int = field(init=False, default=0)
    _lines: deque[str] = field(init=False, factory=lambda: deque[str](maxlen=_LINES_KEPT))
    _rest: bytearray = field(init=False, factory=bytearray)

    async def follow(self, stream: ByteReceiveStream | None) -> None:
        """Read a stream to its end. If the log cannot be written it is given up with a warning, and reading goes on."""
        try:
            if stream is not None:
                async for chunk in stream:
                    self._split(chunk)
                    await self._write(chunk)
        except (BrokenResourceError, ClosedResourceError):
            pass
        finally:
            if self._rest:
                self._line(self._rest)
                self._rest = bytearray()
            self.ended.set()

    def last_lines(self) -> str:
        """Return the last lines, including one that has not ended."""
        rest = [_decoded(self._rest)] if self._rest else []
        return "\n".join([*self._lines, *rest][-_LINES_KEPT:])

    def _split(self, chunk: bytes) -> None:
        self._rest += chunk
        *lines, rest = self._rest.split(b"\n")
        for line in lines:
            self._line(line)
        self._rest = rest
        if len(rest) > _LONGEST_LINE:
            self._line(rest)
            self._rest = bytearray()

    def _line(self, raw: bytearray) -> None:
        line = _decoded(raw)
        self.count += 1
        self._lines.append(line)
        if self.pattern is not None and self.pattern.search(line):
            self.found.set()

    async def _write(self, chunk: bytes) -> None:
        if self.log is not None:
            try:
                await to_thread.run_sync(self.log.write, chunk)
            except OSError as exc:
                _logger.warning("the log %s is given up: %s", self.log.name, exc)
                self.log = None


def open_log(path: Path) -> BinaryIO:
    """Open a log for appending, without a buffer. Missing parent directories are made.

    :raises OSError: if it cannot be opened, or is a FIFO
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_fifo():
        # Opening it would block the event loop until another program reads it.
        raise OSError(f"the log {path} is a FIFO; expected a file")
    return path.open("ab", buffering=0)


def _decoded(line: bytearray) -> str:
    return line.decode(errors="replace").rstrip("\r\n")
