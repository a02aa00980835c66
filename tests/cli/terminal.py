"""The command line as a user has it: a process of its own on a terminal of its own."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

DEADLINE = 20.0
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")
COMMAND = (sys.executable, "-m", "anydeploy")


def _take_terminal() -> None:
    """In the child: as a shell starts it on its terminal, even if the tests themselves run under nohup."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Terminal:
    """A pseudo-terminal with ``anydeploy`` in its foreground; everything it prints arrives here."""

    def __init__(self, *args: str, cwd: Path) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
        self.process = subprocess.Popen(
            [*COMMAND, *args],
            cwd=cwd,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**os.environ, "TERM": "xterm"},
            start_new_session=True,
            preexec_fn=_take_terminal,  # noqa: PLW1509 - no threads here
        )
        os.close(slave)
        self._raw = b""

    @property
    def text(self) -> str:
        return _ESCAPES.sub("", self._raw.decode(errors="replace"))

    def wait_for(self, expected: str | re.Pattern[str]) -> None:
        pattern = re.compile(re.escape(expected)) if isinstance(expected, str) else expected
        deadline = time.monotonic() + DEADLINE
        while not pattern.search(self.text):
            assert self._read(deadline), f"{expected!r} was not printed:\n{self.text}"

    def press(self) -> None:
        """Ctrl-C, through the line discipline."""
        os.write(self.master, b"\x03")

    def interrupt_until_it_ends(self) -> None:
        """SIGINT without Ctrl-C, for which the line discipline would throw away what is being printed."""
        deadline = time.monotonic() + DEADLINE
        while self.process.poll() is None:
            assert time.monotonic() < deadline, self.text
            self.process.send_signal(signal.SIGINT)
            self._read(time.monotonic() + 0.1)

    def cpu_time(self) -> float:
        """Seconds of processor time that it has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def end(self) -> int:
        """Read to the end; returns the exit status."""
        deadline = time.monotonic() + DEADLINE
        while self._read(deadline):
            pass
        return self.process.wait(max(deadline - time.monotonic(), 0.1))

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self.master], [], [], max(deadline - time.monotonic(), 0))
        try:
            data = os.read(self.master, 65536) if ready else b""
        except OSError:  # how Linux says that nobody has the other side open
            data = b""
        self._raw += data
        return bool(data)


def marked(marker: str) -> list[int]:
    """The processes that have the marker among their arguments, zombies excepted."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                if marker.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def wait_for_marked(marker: str, count: int = 1) -> None:
    """Wait for as many at least. What a program's arguments are can be seen a moment after it was started."""
    deadline = time.monotonic() + DEADLINE
    while len(found := marked(marker)) < count:
        assert time.monotonic() < deadline, f"{len(found)} processes, not {count}"


def kill_all(marker: str) -> None:
    for pid in marked(marker):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
