"""A command at a location that StreamFlow reaches, as its caller sees it."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from anyio.abc import ByteReceiveStream, ByteSendStream, Process
from attrs import define

if TYPE_CHECKING:
    from .command import Keeper


@define(eq=False)
class RemoteProcess(Process):
    """The process of a keeper.

    Its exit status is the one that a shell there reports: 128 + N when signal N has ended it.
    """

    _keeper: Keeper

    async def wait(self) -> int:
        await self._keeper.over.wait()
        return self._keeper.status

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def send_signal(self, signal: int) -> None:
        """Send it to the command and to what that has started, as soon as the connector can; the order is kept."""
        self._keeper.send_signal(signal)

    async def aclose(self) -> None:
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream is not None:
                await stream.aclose()
        await self.wait()

    @property
    def pid(self) -> int:
        """Its number at the location."""
        return self._keeper.pid

    @property
    def returncode(self) -> int | None:
        return self._keeper.status if self._keeper.over.is_set() else None

    @property
    def stdin(self) -> ByteSendStream | None:
        return self._keeper.stdin.stream if self._keeper.stdin is not None else None

    @property
    def stdout(self) -> ByteReceiveStream | None:
        return self._keeper.stdout.stream if self._keeper.stdout is not None else None

    @property
    def stderr(self) -> ByteReceiveStream | None:
        return self._keeper.stderr.stream if self._keeper.stderr is not None else None
