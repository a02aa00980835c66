"""The signals that end a program, while environments are up.

SIGTERM and SIGHUP would end it on the spot. They do what Ctrl-C does instead: asyncio cancels the main task, and the
deployment manager is closed on the way out.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from functools import partial
from signal import Signals
from types import FrameType
from typing import Any, Final

from attrs import define, field
from streamflow.log_handler import logger

_SAID: Final = "Environments are being taken down. Once more leaves at once, and may leave some behind."


@define(eq=False)
class Guard:
    """What is done about the signals as long as there is anything to take down on one event loop."""

    loop: asyncio.AbstractEventLoop
    holders: int = 0
    #: How many of the holders are taking down what they have.
    ending: int = 0
    #: The handlers that ours stand in place of.
    _replaced: dict[Signals, Any] = field(factory=dict[Signals, Any])
    _count: int = 0

    def install(self) -> None:
        """Handle SIGTERM and SIGHUP if nobody else does, and SIGINT if asyncio does."""
        for number in (Signals.SIGTERM, Signals.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:
                self._replace(number)
        if _is_of_asyncio(signal.getsignal(Signals.SIGINT)):
            self._replace(Signals.SIGINT)

    def restore(self) -> None:
        """Put back what was there, unless somebody has put something else there meanwhile."""
        for number, handler in self._replaced.items():
            if signal.getsignal(number) == self._received:
                signal.signal(number, handler)
        self._replaced.clear()

    def _replace(self, number: Signals) -> None:
        self._replaced[number] = signal.signal(number, self._received)

    def _received(self, number: int, frame: FrameType | None) -> None:
        if self.loop.is_closed():
            self.restore()
            signal.raise_signal(number)
            return
        # What the first one is for has come about if everything is going down already.
        self._count = max(self._count, int(self.ending == self.holders)) + 1
        if self._count > 2 and not self.loop.is_running():
            # Nobody is there who could take anything down.
            self.restore()
            signal.raise_signal(number)
        # The second one would make asyncio cancel every task that there is, the teardown among them.
        elif self._count == 2:
            # A handler may have interrupted just such a line.
            self.loop.call_soon_threadsafe(logger.warning, _SAID)
        elif number == Signals.SIGINT:
            self._interrupt(frame)
        else:
            # The frame may be that of a task, which is not to end by a KeyboardInterrupt.
            self.loop.call_soon_threadsafe(self._interrupt, None)

    def _interrupt(self, frame: FrameType | None) -> None:
        handler = self._replaced.get(Signals.SIGINT, signal.getsignal(Signals.SIGINT))
        # A script's background job ignores SIGINT, but not SIGTERM.
        (handler if callable(handler) else signal.default_int_handler)(Signals.SIGINT, frame)


_guards: dict[asyncio.AbstractEventLoop, Guard] = {}


@define(eq=False)
class Hold:
    """Somebody has something to take down on the event loop that is guarded, if it is: in other threads none is."""

    _guard: Guard | None
    _ending: bool = False

    def ending(self) -> None:
        """From now on it is taken down."""
        if self._guard is not None and not self._ending:
            self._ending = True
            self._guard.ending += 1

    def release(self) -> None:
        """It is down."""
        if self._guard is not None:
            self._guard.holders -= 1
            self._guard.ending -= self._ending
            if self._guard.holders == 0:
                self._guard.restore()
                _guards.pop(self._guard.loop, None)
            self._guard = None


def hold() -> Hold:
    """Guard the running event loop, until it is released."""
    if threading.current_thread() is not threading.main_thread():
        return Hold(None)
    for loop, guard in list(_guards.items()):
        if loop.is_closed():
            guard.restore()
            del _guards[loop]
    loop = asyncio.get_running_loop()
    if loop not in _guards:
        _guards[loop] = Guard(loop)
        _guards[loop].install()
    _guards[loop].holders += 1
    return Hold(_guards[loop])


def _is_of_asyncio(handler: object) -> bool:
    return isinstance(handler, partial) and isinstance(getattr(handler.func, "__self__", None), asyncio.Runner)
