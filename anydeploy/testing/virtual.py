"""Virtual time on either backend: it passes when nothing can run any more, or only when it is told to."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

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
        #: Seconds until the next timer, as of the last moment at which nothing could run; None: there is none.
        self.until_next: float | None = None
        #: Done at the next such moment; time stands still before it.
        self.rest: asyncio.Future[None] | None = None
        self._turns = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        self._turns = self._turns + 1 if ready or timeout == 0 else 0
        if self._turns > _ENDLESS:
            # The tasks that are left are cancelled now, which takes turns as well.
            self._turns = 0
            raise RuntimeError("livelock: something can always run, so that time never passes")
        if self._turns:
            return ready
        self.until_next = timeout
        if self.rest is not None:
            self.rest.set_result(None)
            self.rest = None
            return ready
        return self.idle(timeout)

    def idle(self, timeout: float | None) -> list[tuple[selectors.SelectorKey, int]]:
        """Let time pass until the next timer."""
        if timeout is None or self.now > _END_OF_TIME:
            raise RuntimeError("deadlock: nothing can run, and no timer is set")
        self.now += timeout
        return []


class _StandingSelector(_Selector):
    """Waits for what other threads do."""

    def idle(self, timeout: float | None) -> list[tuple[selectors.SelectorKey, int]]:  # noqa: ARG002 - time stands still
        return selectors.DefaultSelector.select(self, None)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer as soon as there is nothing to do."""

    selector_class = _Selector

    def __init__(self) -> None:
        self.selector_of_time = self.selector_class()
        super().__init__(self.selector_of_time)

    def time(self) -> float:
        return self.selector_of_time.now

    async def rest(self) -> None:
        """Wait until nothing can run but at a later time."""
        selector = self.selector_of_time
        if selector.rest is None:
            selector.rest = self.create_future()
        await asyncio.shield(selector.rest)


class StandingLoop(VirtualLoop):
    """An event loop whose clock stands still until :func:`pass_time` is called."""

    selector_class = _StandingSelector


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


def standing_still(backend: str) -> dict[str, Any]:
    """Return the backend options for :func:`anyio.run` of an event loop in which time stands still.

    It passes when :func:`pass_time` is called in there, and in no other way.

    :param backend: ``asyncio`` or ``trio``
    """
    if backend == "trio":
        from trio.testing import MockClock  # noqa: PLC0415 - as above

        return {"clock": MockClock()}
    return {"loop_factory": StandingLoop}


async def pass_time(seconds: float, settle: Callable[[], Awaitable[None]]) -> None:
    """Let time pass in an event loop in which it stands still, from one timer to the next.

    :param settle: waits until nothing can run
    """
    while True:
        await settle()
        step = min(seconds, _until_next())
        _advance(step)
        seconds -= step
        if seconds <= 0:
            break
    await settle()


def _until_next() -> float:
    loop = _loop()
    if loop is not None:
        found = loop.selector_of_time.until_next
        return _END_OF_TIME if found is None else found
    from trio.lowlevel import current_statistics  # noqa: PLC0415 - as above

    return current_statistics().seconds_to_next_deadline


def _advance(seconds: float) -> None:
    loop = _loop()
    if loop is not None:
        loop.selector_of_time.now += seconds
        return
    from trio.lowlevel import current_clock  # noqa: PLC0415 - as above
    from trio.testing import MockClock  # noqa: PLC0415 - as above

    clock = current_clock()
    assert isinstance(clock, MockClock)  # noqa: S101 - time stands still
    clock.jump(seconds)


def _loop() -> VirtualLoop | None:
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return None
    return loop if isinstance(loop, VirtualLoop) else None
