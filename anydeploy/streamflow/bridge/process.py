"""A command at a location of a StreamFlow connector, as its caller sees it."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Final

from anyio import Event
from anyio.abc import ByteReceiveStream, ByteSendStream, Process
from attrs import define, field

#: The exit status of a command whose end could not be seen, as ssh has it.
STATUS_LOST: Final = 255


@define(eq=False)
class RemoteProcess(Process):
    """The process of a command. Its fields are set by the task of the command.

    Its exit status is the one that a shell at the location reports: 128 + N when signal N has ended it.

    :ivar send: sends a signal, as soon as the connector can
    :ivar pid: its number at the location; 0 until it has started
    :ivar status: its exit status, once it has ended
    :ivar ended: set when it has ended, or cannot be seen any more
    """

    stdin: ByteSendStream | None  # pyright: ignore[reportIncompatibleMethodOverride]
    stdout: ByteReceiveStream | None  # pyright: ignore[reportIncompatibleMethodOverride]
    stderr: ByteReceiveStream | None  # pyright: ignore[reportIncompatibleMethodOverride]
    send: Callable[[int], None]
    pid: int = field(init=False, default=0)  # pyright: ignore[reportIncompatibleMethodOverride]
    status: int = field(init=False, default=STATUS_LOST)
    ended: Event = field(init=False, factory=Event)

    async def wait(self) -> int:
        await self.ended.wait()
        return self.status

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def send_signal(self, signal: int) -> None:
        """Send a signal to the command and to all that it has started, as soon as the connector can.

        Signals arrive in their order. One for a command that has ended is dropped.
        """
        if self.returncode is None:
            self.send(signal)

    async def aclose(self) -> None:
        """Close the streams and wait for the end. If cancelled it returns at once; the command goes on."""
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream is not None:
                await stream.aclose()
        await self.wait()

    @property
    def returncode(self) -> int | None:
        return self.status if self.ended.is_set() else None
