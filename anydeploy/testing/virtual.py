"""Virtual time on either backend: it stands still while anything can run, and then jumps to the next deadline."""

from __future__ import annotations

import asyncio
import math
import selectors
from collections.abc import Awaitable, Callable
from typing import TypeVar, cast

import anyio

T = TypeVar("T")


class _Selector(selectors.DefaultSelector):
    """Waits for nothing but the clock."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and (timeout is None or timeout > 0):
            self.loop.jump()
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer as soon as there is nothing to do."""

    def __init__(self) -> None:
        selector = _Selector()
        selector.loop = self
        self._now = 0.0
        super().__init__(selector)

    def time(self) -> float:
        return self._now

    def jump(self) -> None:
        scheduled = cast("list[asyncio.TimerHandle]", vars(self)["_scheduled"])
        if not scheduled or scheduled[0].when() == math.inf:
            raise RuntimeError("deadlock: nothing can run, and no timer is set")
        self._now = max(self._now, scheduled[0].when())
        # Timers fire when they are less than this away: those of this very moment, and no later ones.
        self._clock_resolution = math.ulp(self._now)


def run_virtual(backend: str, function: Callable[[], Awaitable[T]]) -> T:
    """Run an async function to its end in virtual time, which begins at any moment. ``backend``: asyncio or trio."""
    if backend == "trio":
        from trio.testing import MockClock  # noqa: PLC0415 - not everybody who runs on asyncio has it

        return anyio.run(function, backend="trio", backend_options={"clock": MockClock(autojump_threshold=0)})
    return anyio.run(function, backend="asyncio", backend_options={"loop_factory": VirtualLoop})


BACKENDS = ("asyncio", "trio")
