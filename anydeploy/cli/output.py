"""Text output to streams that may be closed or broken at any time, and how text is formatted."""

from __future__ import annotations

import os
import sys
from typing import TextIO


class Stream:
    """A text stream that drops everything after its reader has gone.

    :ivar broken: a write has failed
    """

    encoding: str
    errors = "backslashreplace"
    broken = False

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self.encoding = getattr(stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        if self._stream is not None:
            try:
                self._stream.write(text.encode(self.encoding, self.errors).decode(self.encoding))
            except (OSError, ValueError):
                self._drop()
        return len(text)

    def flush(self) -> None:
        if self._stream is not None:
            try:
                self._stream.flush()
            except (OSError, ValueError):
                self._drop()

    def line(self, text: str) -> None:
        self.write(f"{text}\n")
        self.flush()

    def isatty(self) -> bool:
        try:
            return self._stream is not None and self._stream.isatty()
        except ValueError:
            return False

    def fileno(self) -> int:
        if self._stream is None:
            raise OSError("the stream is closed")
        return self._stream.fileno()

    def _drop(self) -> None:
        # The rest of the buffer would be written, and fail again, when the interpreter ends.
        stream, self._stream, self.broken = self._stream, None, True
        try:
            assert stream is not None  # noqa: S101 - for the type checker
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)
        except (OSError, ValueError):
            pass


def stdout() -> Stream:
    """Return the present stdout of this program."""
    return Stream(sys.stdout)


def stderr() -> Stream:
    """Return the present stderr of this program."""
    return Stream(sys.stderr)


def clean(text: str) -> str:
    """Escape all control characters of a text but tabs and line breaks."""
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


def indented(text: str, by: str = "  ") -> str:
    """Indent every line of a text but the first."""
    return f"\n{by}".join(text.splitlines())


def first_line(text: str) -> str:
    """Return the first line of a text; empty if it has none."""
    return next(iter(text.splitlines()), "")


def seconds(duration: float) -> str:
    """Format a duration for people: ``0.3 s``, ``12 s``, ``2 m 05 s``, ``1 h 02 m``."""
    if duration < 10:
        return f"{max(duration, 0):.1f} s"
    whole = int(duration)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} m {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} m"
