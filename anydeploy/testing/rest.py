"""Waiting until nothing can go on any more."""

from __future__ import annotations

import asyncio

from anyio import fail_after, wait_all_tasks_blocked
from anyio.lowlevel import checkpoint

from .virtual import VirtualLoop

#: Turns of an event loop: more than any chain of wake-ups in a test takes.
_TURNS = 30
#: Seconds after which an event loop that is still busy is taken to spin for ever.
_BUSY = 10


async def settle() -> None:
    """Wait until all other tasks are blocked.

    ::

        caller.cancel()
        await settle()
        assert caller.outcome is EntryKind.GAVE_UP

    :raises AssertionError: if the event loop is still busy after ten seconds
    """
    loop = _running_loop()
    if isinstance(loop, VirtualLoop):
        await loop.rest()
        return
    if loop is not None:
        # There it is looked for every tenth of a second, unless it is found at once.
        for _ in range(_TURNS):
            await checkpoint()
    try:
        with fail_after(_BUSY):
            await wait_all_tasks_blocked()
    except TimeoutError:
        raise AssertionError("the event loop is never idle") from None


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
