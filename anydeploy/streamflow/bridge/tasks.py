"""The tasks that StreamFlow's code runs in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from attrs import define, field

_T = TypeVar("_T")


@define(eq=False)
class BackgroundTasks:
    """The tasks of one connector. None of them is in the cancel scope of a caller."""

    _running: set[asyncio.Task[Any]] = field(init=False, factory=set["asyncio.Task[Any]"])

    def start(self, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        """Start a task. An exception that is never retrieved from it is dropped: its caller may have been cancelled."""
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._done)
        return task

    def start_soon(self, func: Callable[[], Coroutine[Any, Any, object]], /) -> None:
        """Start a function in a task, as a task group does."""
        self.start(func())

    async def finish(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Run a piece of work to its end, and return its result. If cancelled it returns at once; the work goes on."""
        return await asyncio.shield(self.start(work))

    async def ended(self) -> None:
        """Wait until none is running. A cancellation changes nothing for them."""
        while self._running:
            await asyncio.wait(set(self._running))

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()
