"""The tasks in which StreamFlow's code runs."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from attrs import define, field

_T = TypeVar("_T")


@define(eq=False)
class Tasks:
    """Those of one connector. None of them is in anybody's cancel scope, or in the task of a caller."""

    _running: set[asyncio.Task[Any]] = field(init=False, factory=set["asyncio.Task[Any]"])

    def start(self, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._done)
        return task

    async def finish(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Let a piece of work come to its end; if cancelled, return at once, and it comes to its end all the same."""
        return await asyncio.shield(self.start(work))

    async def ended(self) -> None:
        """Wait for all of them, without regard to what becomes of them."""
        while self._running:
            await asyncio.wait(set(self._running))

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            # Whoever started it may have been cancelled; nobody is to be told that it was never retrieved.
            task.exception()
