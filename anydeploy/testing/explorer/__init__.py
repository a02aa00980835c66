"""Runs an async scenario under every order in which an event loop could run it, on asyncio and on trio.

    async def scenario():
        event, results = anyio.Event(), []
        async with anyio.create_task_group() as tasks:
            ...

    explore(scenario).check()

A failure shows the run step by step, and a tape with which :func:`replay` plays it again.
"""

from __future__ import annotations

from .exploration import Exploration, ExplorationFailure, explore, replay, sample
from .play import (
    DeadlockError,
    EndlessRunError,
    LeftOverError,
    Limits,
    LivelockError,
    ThreadError,
    UnhandledError,
    UnreadableStateError,
    UnreproducibleError,
)
from .tape import Tape

__all__ = [
    "DeadlockError",
    "EndlessRunError",
    "Exploration",
    "ExplorationFailure",
    "LeftOverError",
    "Limits",
    "LivelockError",
    "Tape",
    "ThreadError",
    "UnhandledError",
    "UnreadableStateError",
    "UnreproducibleError",
    "explore",
    "replay",
    "sample",
]
