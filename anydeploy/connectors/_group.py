"""A process together with everything that it starts: its process group."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from anyio import sleep
from anyio.abc import ByteReceiveStream, ByteSendStream, Process
from attrs import define, field

from .termination import EndRequests

_PROC = Path("/proc")
_FIRST_LOOK, _LONGEST_PAUSE = 0.005, 0.1


@define(eq=False)
class GroupProcess(Process):
    """A process that leads its own process group; signals sent to it go to the whole group.

    A signal for a group that is gone, or that this user may not signal, is dropped. A process in a session of its
    own is no longer in the group.

    :ivar requests: the requests to end that the group was sent
    """

    _process: Process
    requests: EndRequests = field(init=False, factory=EndRequests)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def send_signal(self, signal: int) -> None:
        # SIGKILL reaches all members at once. When the leader has ended after it, the number of the group may soon be
        # that of strangers, and is not signalled again.
        gone = self.requests.killed and self.has_ended()
        self.requests.note(signal)
        if not gone:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal)

    def has_ended(self) -> bool:
        """Whether the leader has ended, even if the event loop has not noticed it yet.

        Where :func:`os.waitid` is missing, as on macOS before Python 3.13, the event loop has to notice it first.
        """
        if self.returncode is not None:
            return True
        if not hasattr(os, "waitid"):
            return False
        try:
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return True

    async def wait(self) -> int:
        return await self._process.wait()

    async def wait_gone(self) -> None:
        """Wait until the leader and every other member of the group have ended."""
        await self.wait()
        pause = _FIRST_LOOK
        while _is_alive(self.pid):
            await sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def aclose(self) -> None:
        """Close the pipes and wait for the leader; if cancelled, kill the group, then wait for it."""
        try:
            await self._process.aclose()
        except BaseException:
            self.kill()
            raise

    async def aclose_streams(self) -> None:
        """Close the pipes and wait for nothing."""
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream is not None:
                await stream.aclose()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.returncode

    @property
    def stdin(self) -> ByteSendStream | None:
        return self._process.stdin

    @property
    def stdout(self) -> ByteReceiveStream | None:
        return self._process.stdout

    @property
    def stderr(self) -> ByteReceiveStream | None:
        return self._process.stderr


def _is_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    # In a container without an init, members that are never reaped stay in the group.
    return not (_PROC / "self" / "stat").exists() or any(state not in "ZX" for state in _states(group))


def _states(group: int) -> Iterator[str]:
    for entry in _PROC.iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                # pid (comm) state ppid pgrp ...; comm may hold anything
                state, _, pgrp = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[:3]
                if int(pgrp) == group:
                    yield state
