"""Runs an async scenario under every order in which an event loop could run it, on asyncio and on trio.

    async def scenario():
        event, results = anyio.Event(), []
        async with anyio.create_task_group() as tasks:
            ...

    explore(scenario).check()

A failure shows the run step by step, and a tape with which :func:`replay` plays it again. "Every order" leaves out:

- A step runs from one await that gives up control to the next. Nothing can come within a step.
- Threads, processes and sockets are refused. Timers fire when nothing else can run.
- Callbacks of asyncio that are no step of a task run before the next task does, unless ``callbacks`` is set.
- Only as many cancellations and failures are tried as are allowed, of those that the scenario offers (:mod:`.choices`).

All of it leans on private parts of asyncio, anyio, trio and CPython.
"""

from __future__ import annotations

from .exploration import BACKENDS, Exploration, ExplorationFailure, explore, replay
from .play import (
    DeadlockError,
    EndlessRunError,
    LeftOverError,
    Limits,
    ThreadError,
    UnhandledError,
    UnreproducibleError,
)
from .tape import Tape

__all__ = [
    "BACKENDS",
    "DeadlockError",
    "EndlessRunError",
    "Exploration",
    "ExplorationFailure",
    "LeftOverError",
    "Limits",
    "Tape",
    "ThreadError",
    "UnhandledError",
    "UnreproducibleError",
    "explore",
    "replay",
]
