"""Virtual time on either backend: it stands still while anything can run, and then jumps to the next deadline."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

T = TypeVar("T")

BACKENDS = ("asyncio", "trio")
#: Seconds: no test waits for anything that comes later, and a sleep without end comes never.
_END_OF_TIME = 1e10
#: Turns in a row in which something could run: no test has so many.
_ENDLESS = 1_000_000


class _Selector(selectors.DefaultSelector):
    """Waits for nothing but the clock.

    An event loop gives it no time where something can run, and otherwise the time until its next timer.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self._turns = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        self._turns = self._turns + 1 if ready or timeout == 0 else 0
        if self._turns > _ENDLESS:
            # The tasks that are left are cancelled now, which takes turns as well.
            self._turns = 0
            raise RuntimeError("livelock: something can always run, so that time never passes")
        if not self._turns:
            self._pass(timeout)
        return ready

    def _pass(self, timeout: float | None) -> None:
        if timeout is None or self.now > _END_OF_TIME:
            raise RuntimeError("deadlock: nothing can run, and no timer is set")
        self.now += timeout


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer as soon as there is nothing to do."""

    def __init__(self) -> None:
        self._selector_of_time = _Selector()
        super().__init__(self._selector_of_time)

    def time(self) -> float:
        return self._selector_of_time.now


def run_virtual(backend: str, function: Callable[[], Awaitable[T]]) -> T:
    """Run an async function to its end in virtual time, which begins at any moment.

    ::

        assert run_virtual("trio", sleep_for_a_year) is None

    :param backend: ``asyncio`` or ``trio``
    :raises RuntimeError: if nothing can run any more, or time never passes
    """
    if backend == "trio":
        from trio.testing import MockClock  # noqa: PLC0415 - not every user of asyncio has it

        return anyio.run(function, backend="trio", backend_options={"clock": MockClock(autojump_threshold=0)})
    return anyio.run(function, backend="asyncio", backend_options={"loop_factory": VirtualLoop})
