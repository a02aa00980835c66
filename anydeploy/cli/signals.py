"""The signals that end the program. The command handles them itself: no cancel scope holds off a second SIGINT."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Callable, Generator, Iterable
from contextlib import contextmanager
from signal import Signals
from time import thread_time
from types import FrameType

from attrs import define, field

#: Seconds after which the report on what is left behind is given up if it has not come on for that long: it may be
#: written to a pipe that is not read. On a busy machine it may need more than that.
REPORT_TIMEOUT = 1.0
#: Seconds of the processor that it needs at least if it comes on.
_PROGRESS = 0.001

#: The signals that this program handles: none if the commands are called from another program.
_owned: list[Signals] = []


def ending_signals() -> list[Signals]:
    """Return SIGINT, SIGTERM and SIGHUP without those that are ignored, as under nohup and in background jobs."""
    numbers = Signals.SIGINT, Signals.SIGTERM, Signals.SIGHUP
    return [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]


def exit_on_signals() -> None:
    """Let a signal end the program immediately, with its exit status and no traceback, until something is started.

    With this handler for SIGINT, neither asyncio nor trio turns it into a KeyboardInterrupt.
    """
    for number in ending_signals():
        signal.signal(number, _leave)
        _owned.append(number)


def _leave(number: int, _: FrameType | None) -> None:
    os._exit(128 + number)


def ignore_signals(numbers: Iterable[Signals]) -> None:
    """Ignore all signals, when everything is down and the exit status is known.

    :param numbers: the signals that :meth:`Interrupts.counting` holds back
    """
    for number in _owned:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)


@define(eq=False)
class Interrupts:
    """Counts signals of all kinds: the first stops, the second cuts grace periods short, the third leaves at once.

    They are counted in Python's own signal handlers: the third has to work even if the event loop is blocked, and an
    event loop may deliver two quick ones as one.

    :ivar stop: called with the first signal
    :ivar hurry: called after the second
    :ivar leave: reports what is left behind; the program ends when it returns
    :ivar first: the first signal; None before that
    """

    stop: Callable[[Signals], None]
    hurry: Callable[[], None]
    leave: Callable[[], None]
    first: Signals | None = field(init=False, default=None)
    _count: int = field(init=False, default=0)
    _hurried: bool = field(init=False, default=False)

    @contextmanager
    def counting(self, numbers: Iterable[Signals]) -> Generator[None]:
        """Count signals, and pass them on to the handlers that the event loop has installed for :meth:`listen`.

        When the block ends they are held back, because the event loop then restores the default handlers.
        """
        handlers = {number: signal.getsignal(number) for number in numbers}

        def received(number: int, frame: FrameType | None) -> None:
            used = thread_time()

            def end_if_stuck(*_: object) -> None:
                nonlocal used
                before, used = used, thread_time()
                if used < before + _PROGRESS:
                    os._exit(128 + number)

            self._count += 1
            handler = handlers[Signals(number)]
            if self._count < 3 and callable(handler):
                handler(number, frame)
            elif self._count == 3:
                signal.signal(Signals.SIGALRM, end_if_stuck)
                signal.setitimer(signal.ITIMER_REAL, REPORT_TIMEOUT, REPORT_TIMEOUT)
                try:
                    self.leave()
                finally:
                    os._exit(128 + number)

        for number in handlers:
            signal.signal(number, received)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_BLOCK, handlers)
            for number, handler in handlers.items():
                signal.signal(number, handler)

    async def listen(self, received: AsyncIterator[Signals]) -> None:
        """Call :attr:`stop` and :attr:`hurry` in the event loop, until cancelled."""
        async for number in received:
            if self.first is None:
                self.first = number
                self.stop(number)
            if self._count >= 2 and not self._hurried:
                self._hurried = True
                self.hurry()
