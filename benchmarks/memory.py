"""The memory of a live deployment, compared with the task and the Event of the floor."""

from __future__ import annotations

import gc
import os
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

import anyio
from anyio.lowlevel import checkpoint

from .contenders import BACKENDS, manager_of
from .graphs import definitions, wide
from .measure import Aim, Effort, Row, Section, compare

#: As the system counts it, in a new process, and as Python does.
_WHAT = ("resident", "allocated")


def run(effort: Effort) -> list[Section]:
    rows: list[Row] = []
    for n in effort.sizes(20_000):
        for backend in BACKENDS:
            found: dict[str, dict[str, list[float]]] = {what: {"anydeploy": [], "floor": []} for what in _WHAT}
            for _ in range(effort.rounds(3)):
                for name in ("anydeploy", "floor"):
                    # A process may keep memory that was freed: each measurement has a process of its own.
                    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                        for what, value in pool.submit(_measure, name, n, backend).result().items():
                            found[what][name].append(value)
            for what, values in found.items():
                case: dict[str, str | int] = {"what": what, "loop": backend, "live": n}
                label = f"{what}, {n:,} live" if backend == "asyncio" else None
                row = compare(case, values, "anydeploy", "floor", unit="bytes", scale=1 / n, aim=Aim(1.4), label=label)
                rows.append(row)
    return [Section("Memory of a live deployment", rows)]


def _measure(name: str, n: int, backend: str) -> dict[str, float]:
    function = _live if name == "anydeploy" else _floor
    # Modules that are loaded at the first use are not part of a deployment.
    anyio.run(function, 10, "resident", **BACKENDS[backend])
    return {what: anyio.run(function, n, what, **BACKENDS[backend]) for what in _WHAT}


@contextmanager
def _grown(what: str) -> Iterator[Callable[[], float]]:
    """Give a function that returns how many bytes were added within the block."""
    gc.collect()
    if what == "allocated":
        tracemalloc.start()
        yield lambda: float(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
    else:
        before = _resident()
        yield lambda: float(_resident() - before)


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def _live(n: int, what: str) -> float:
    async with manager_of(definitions(wide(n))) as manager:
        with _grown(what) as grown:
            await manager.deploy_all()
            gc.collect()
            return grown()


async def _floor(n: int, what: str) -> float:
    configs = definitions(wide(n))
    end = anyio.Event()

    async def live(event: anyio.Event) -> None:
        event.set()
        await end.wait()

    with _grown(what) as grown:
        async with anyio.create_task_group() as tasks:
            up = {config.name: anyio.Event() for config in configs}
            for config in configs:
                tasks.start_soon(live, up[config.name])
            for _ in range(3):
                await checkpoint()
            gc.collect()
            found = grown()
            end.set()
    return found
