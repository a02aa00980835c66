"""The signals that end a program, while environments are up.

SIGTERM and SIGHUP would end it on the spot. Here they do what Ctrl-C does: asyncio cancels the main task, and the
deployment manager is closed on the way out.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable
from functools import partial
from signal import Signals
from types import FrameType
from typing import Any, Final

from attrs import define, field
from streamflow.log_handler import logger

_NOTICE: Final = "Deploys and grace periods are cut short. Once more leaves at once, and may leave some behind."


@define(eq=False)
class SignalGuard:
    """The handlers of signals that stand while there are environments on one event loop.

    :ivar loop: the event loop
    :ivar leases: of each manager that has environments there
    """

    loop: asyncio.AbstractEventLoop
    leases: list[Lease] = field(factory=list["Lease"])
    #: The handlers that ours stand in place of.
    _replaced: dict[Signals, Any] = field(factory=dict[Signals, Any])
    #: How many signals have come.
    _count: int = 0

    def install(self) -> None:
        """Handle SIGTERM and SIGHUP, unless they are handled or ignored, and SIGINT if asyncio handles it."""
        for number in (Signals.SIGTERM, Signals.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:
                self._replace(number)
        if _is_of_asyncio(signal.getsignal(Signals.SIGINT)):
            self._replace(Signals.SIGINT)

    def restore(self) -> None:
        """Put back the handlers that were there. A handler that has replaced ours meanwhile is left alone."""
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
        # Where everything is going down already, the first signal has nothing left to bring about.
        self._count = max(self._count, int(all(lease.is_ending for lease in self.leases))) + 1
        if self._count > 2 and not self.loop.is_running():
            # Nothing can be taken down then.
            self.restore()
            signal.raise_signal(number)
        # The second one would make asyncio cancel every task that there is, the teardown among them.
        elif self._count == 2:
            # The signal may have interrupted a line of the logger.
            self.loop.call_soon_threadsafe(self._hurry)
        elif number == Signals.SIGINT:
            self._interrupt(frame)
        else:
            # The frame may be that of a task, which is not to end by a KeyboardInterrupt.
            self.loop.call_soon_threadsafe(self._interrupt, None)

    def _hurry(self) -> None:
        logger.warning(_NOTICE)
        for lease in self.leases:
            lease.hurry()

    def _interrupt(self, frame: FrameType | None) -> None:
        handler = self._replaced.get(Signals.SIGINT, signal.getsignal(Signals.SIGINT))
        # A script's background job ignores SIGINT, but not SIGTERM.
        (handler if callable(handler) else signal.default_int_handler)(Signals.SIGINT, frame)


_guards: dict[asyncio.AbstractEventLoop, SignalGuard] = {}


@define(eq=False)
class Lease:
    """Keeps the guard of an event loop while a manager has environments there.

    :ivar hurry: cuts short what takes long, at the second signal
    :ivar is_ending: whether the environments are being taken down
    """

    #: None after the release, and in other threads than the main one: those get no signals.
    _guard: SignalGuard | None
    hurry: Callable[[], None]
    is_ending: bool = False

    def ending(self) -> None:
        """Say that the environments are being taken down from now on."""
        self.is_ending = True

    def release(self) -> None:
        """Say that the environments are gone. The last release puts the handlers back that were there."""
        guard = self._guard
        self._guard = None
        if guard is not None:
            guard.leases.remove(self)
            if not guard.leases:
                guard.restore()
                _guards.pop(guard.loop, None)


def acquire(hurry: Callable[[], None]) -> Lease:
    """Guard the running event loop until the lease is released.

    :param hurry: called in it at the second signal
    """
    if threading.current_thread() is not threading.main_thread():
        return Lease(None, hurry)
    for loop, guard in list(_guards.items()):
        if loop.is_closed():
            guard.restore()
            del _guards[loop]
    loop = asyncio.get_running_loop()
    if loop not in _guards:
        _guards[loop] = SignalGuard(loop)
        _guards[loop].install()
    lease = Lease(_guards[loop], hurry)
    _guards[loop].leases.append(lease)
    return lease


def _is_of_asyncio(handler: object) -> bool:
    return isinstance(handler, partial) and isinstance(getattr(handler.func, "__self__", None), asyncio.Runner)
