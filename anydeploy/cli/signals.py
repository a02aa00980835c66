"""The signals that end the program. The command line owns them, for no cancel scope holds off a second SIGINT."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Callable, Generator, Iterable
from contextlib import contextmanager
from signal import Signals
from types import FrameType

from attrs import define, field

#: Seconds that saying what is left behind may take.
REPORT_TIMEOUT = 1.0

#: Those that this program handles: none of them when the commands are called from another program.
_owned: list[Signals] = []


def ending_signals() -> list[Signals]:
    """SIGINT, SIGTERM and SIGHUP, but for those that are ignored: nohup and a script's background jobs ask for that."""
    numbers = Signals.SIGINT, Signals.SIGTERM, Signals.SIGHUP
    return [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]


def exit_on_signals() -> None:
    """Until something has been started, a signal just ends the program, with its exit status and no traceback.

    With a handler of its own for SIGINT, neither asyncio nor trio turns it into a KeyboardInterrupt.
    """
    for number in ending_signals():
        signal.signal(number, _leave)
        _owned.append(number)


def _leave(number: int, _: FrameType | None) -> None:
    os._exit(128 + number)


def ignore_signals(numbers: Iterable[Signals]) -> None:
    """When everything is down and the exit status is known, a late signal must not change it.

    :param numbers: those that :meth:`Interrupts.counting` holds back
    """
    for number in _owned:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)


@define(eq=False)
class Interrupts:
    """Counts the signals, whichever they are: the first stops, the second hurries, the third leaves at once.

    They are counted where Python itself receives them, for the third has to work even if something keeps the event
    loop from running, and an event loop may hand over two that came quickly as one.

    :ivar leave: says what is left behind; the program ends when it returns
    :ivar first: the first one; None as long as there was none
    """

    stop: Callable[[Signals], None]
    hurry: Callable[[], None]
    leave: Callable[[], None]
    first: Signals | None = field(init=False, default=None)
    _count: int = field(init=False, default=0)
    _hurried: bool = field(init=False, default=False)

    @contextmanager
    def counting(self, numbers: Iterable[Signals]) -> Generator[None]:
        """Count the signals, and pass them on to the handlers that the event loop has installed for :meth:`listen`.

        In the end they are held back, for the event loop puts the default handlers in place of its own.
        """
        handlers = {number: signal.getsignal(number) for number in numbers}

        def received(number: int, frame: FrameType | None) -> None:
            def end(*_: object) -> None:
                os._exit(128 + number)

            self._count += 1
            handler = handlers[Signals(number)]
            if self._count < 3 and callable(handler):
                handler(number, frame)
            elif self._count == 3:
                # Nobody may be reading what is still to be said.
                signal.signal(Signals.SIGALRM, end)
                signal.setitimer(signal.ITIMER_REAL, REPORT_TIMEOUT)
                try:
                    self.leave()
                finally:
                    end()

        for number in handlers:
            signal.signal(number, received)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_BLOCK, handlers)
            for number, handler in handlers.items():
                signal.signal(number, handler)

    async def listen(self, received: AsyncIterator[Signals]) -> None:
        async for number in received:
            if self.first is None:
                self.first = number
                self.stop(number)
            if self._count >= 2 and not self._hurried:
                self._hurried = True
                self.hurry()
