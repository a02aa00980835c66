"""Waiting until nothing can go on any more."""

from __future__ import annotations

import asyncio
from collections.abc import Sized

from anyio import wait_all_tasks_blocked
from anyio.lowlevel import checkpoint

#: Steps of the event loop after which one that is still busy is taken to spin for ever.
_BUSY = 5_000
#: Steps of an event loop of which it cannot be told whether it is busy: more than any chain of wake-ups in a test.
_ENOUGH = 30


async def settle() -> None:
    """Let everything go on that can, until all other tasks are blocked.

    :raises AssertionError: if that never happens
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        await wait_all_tasks_blocked()
        return
    ready: Sized | None = getattr(loop, "_ready", None)
    for _ in range(_ENOUGH if ready is None else _BUSY):
        await checkpoint()
        if ready is not None and not ready:
            return
    if ready is not None:
        raise AssertionError("the event loop is never idle")
    # On asyncio this is slow, unless there is nothing left to wait for.
    await wait_all_tasks_blocked()
