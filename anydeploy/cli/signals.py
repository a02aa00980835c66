"""The signals that end the program. The command line owns them, for no cancel scope holds off a second SIGINT."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Callable
from signal import Signals
from types import FrameType

from attrs import define, field

#: Those that this program handles: none of them when the commands are called from another program.
_owned: list[Signals] = []


def ending_signals() -> list[Signals]:
    """SIGINT, SIGTERM, and SIGHUP unless it is ignored: that is how nohup asks to survive the terminal."""
    hangup = [Signals.SIGHUP] if signal.getsignal(Signals.SIGHUP) is not signal.SIG_IGN else []
    return [Signals.SIGINT, Signals.SIGTERM, *hangup]


def leave_when_told() -> None:
    """Until something has been started, a signal just ends the program, with its exit status and no traceback.

    With a handler of its own for SIGINT, neither asyncio nor trio turns it into a KeyboardInterrupt.
    """
    for number in ending_signals():
        signal.signal(number, _leave)
        _owned.append(number)


def _leave(number: int, _: FrameType | None) -> None:
    os._exit(128 + number)


def ignore_from_now_on() -> None:
    """When everything is down and the exit status is known, a late signal must not change it."""
    for number in _owned:
        signal.signal(number, signal.SIG_IGN)


@define(eq=False)
class Interrupts:
    """Counts the signals, whichever they are: the first stops, the second hurries, the third leaves at once.

    :ivar first: the first one; None as long as there was none
    """

    stop: Callable[[Signals], None]
    hurry: Callable[[], None]
    leave: Callable[[Signals], None]
    first: Signals | None = field(init=False, default=None)
    _count: int = field(init=False, default=0)

    async def listen(self, received: AsyncIterator[Signals]) -> None:
        async for number in received:
            self._press(number)

    def _press(self, number: Signals) -> None:
        self._count += 1
        if self.first is None:
            self.first = number
            self.stop(number)
        elif self._count == 2:
            self.hurry()
        else:
            self.leave(number)
