"""Many callers of one deployment, deploy of a live deployment, and get_connector."""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine
from time import process_time
from timeit import timeit
from typing import Any

import anyio
from anyio.lowlevel import checkpoint

from anydeploy import DefaultDeploymentManager, DeploymentConfig

from .contenders import BACKENDS, Nothing, manager_of, timed
from .graphs import definitions, wide
from .measure import Aim, Effort, Row, Section, Stopwatch, compare, in_turns


def run(effort: Effort) -> list[Section]:
    rows: list[Row] = []
    for backend in BACKENDS:
        for n in effort.sizes(10_000):
            case: dict[str, str | int] = {"what": f"{n:,} callers of one deployment", "loop": backend}
            contenders = {
                "anydeploy": timed(_callers, n, backend=backend),
                "tasks that wait for one Event": timed(_waiters, n, backend=backend),
            }
            found = in_turns(contenders, effort.rounds(11))
            rows.append(_row(case, found, n, Aim(1.15)))
        for n in effort.sizes(20_000):
            case = {"what": "deploy of a live deployment", "loop": backend}
            contenders = {
                "anydeploy": timed(_live, n, backend=backend),
                "a checkpoint": timed(_checkpoints, n, backend=backend),
            }
            rows.append(_row(case, in_turns(contenders, effort.rounds(11)), n, Aim(1.3)))
    for n in effort.sizes(200_000):
        contenders = {
            "anydeploy": timed(_connectors, n, backend="asyncio"),
            "a method that looks into a dict": timed(_lookups, n, backend="asyncio"),
        }
        case = {"what": "get_connector", "loop": "asyncio"}
        rows.append(_row(case, in_turns(contenders, effort.rounds(11)), n, Aim(1.5)))
    return [Section("Calls that find a deployment live, or on its way", rows)]


def _row(case: dict[str, str | int], found: dict[str, list[float]], n: int, aim: Aim) -> Row:
    ours, theirs = found
    label = str(case["what"]) if case["loop"] == "asyncio" else None
    return compare(case, found, ours, theirs, unit="µs", scale=1e6 / n, aim=aim, label=label)


async def _in_tasks(n: int, wait: Callable[[], Coroutine[Any, Any, None]], release: anyio.Event) -> float:
    with Stopwatch() as watch:
        async with anyio.create_task_group() as tasks:
            for _ in range(n):
                tasks.start_soon(wait)
            for _ in range(3):
                await checkpoint()
            release.set()
    return watch.cpu


async def _callers(n: int) -> float:
    gate = anyio.Event()

    class Held(Nothing):
        async def deploy(self, external: bool) -> None:  # noqa: ARG002
            await gate.wait()

    configs = [DeploymentConfig("d0", "held")]
    async with DefaultDeploymentManager(configs, connector_types={"held": Held}) as manager:
        return await _in_tasks(n, lambda: manager.deploy("d0"), gate)


async def _waiters(n: int) -> float:
    event = anyio.Event()
    return await _in_tasks(n, event.wait, event)


async def _live(n: int) -> float:
    async with manager_of(definitions(wide(1))) as manager:
        await manager.deploy("d0")
        with Stopwatch() as watch:
            for _ in range(n):
                await manager.deploy("d0")
    return watch.cpu


async def _checkpoints(n: int) -> float:
    with Stopwatch() as watch:
        for _ in range(n):
            await checkpoint()
    return watch.cpu


class _Registry:
    def __init__(self) -> None:
        self._connectors = {f"d{i}": math.nan for i in range(1_000)}

    def get(self, name: str) -> float | None:
        return self._connectors.get(name)


async def _connectors(n: int) -> float:
    async with manager_of(definitions(wide(1_000))) as manager:
        await manager.deploy_all()
        return _called(manager.get_connector, n)


async def _lookups(n: int) -> float:
    return _called(_Registry().get, n)


def _called(look_up: Callable[[str], object], n: int) -> float:
    return timeit("look_up('d500')", globals={"look_up": look_up}, timer=process_time, number=n)
