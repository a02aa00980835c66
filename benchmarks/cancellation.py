"""The time until cancelled callers have returned while many deployments are coming up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
from anyio.lowlevel import checkpoint

from anydeploy import DefaultDeploymentManager

from .contenders import BACKENDS, Nothing, timed
from .graphs import definitions, wide
from .measure import Aim, Effort, Row, Section, Stopwatch, compare, in_turns


def run(effort: Effort) -> list[Section]:
    rows: list[Row] = []
    for backend in BACKENDS:
        for n in effort.sizes(1_000, 10_000):
            # Trio runs the tasks of a tick in random order.
            ticks = Aim(2 if backend == "trio" else 1)
            for what, unit, scale, aim in (("ticks", "ticks", 1, ticks), ("time", "µs", 1e6 / (n // 10), None)):
                contenders = {
                    "anydeploy": timed(_cancel_callers, n, what, backend=backend),
                    "tasks that wait for an Event each": timed(_cancel_waiters, n, what, backend=backend),
                }
                found = in_turns(contenders, effort.rounds(3 if what == "ticks" else 5), warm_up=False)
                case: dict[str, str | int] = {"deployments": n, "cancelled": n // 10, "loop": backend, "what": what}
                label = f"{what}, {n // 10:,} of {n:,} callers" if backend == "asyncio" and n > 1_000 else None
                rows.append(compare(case, found, *contenders, unit=unit, scale=scale, aim=aim, label=label))
    return [Section("One caller in ten is cancelled, until the last of them has returned", rows)]


async def _cancel_callers(n: int, what: str) -> float:
    gate = anyio.Event()

    class Held(Nothing):
        async def deploy(self, external: bool) -> None:  # noqa: ARG002
            await gate.wait()

    async with DefaultDeploymentManager(definitions(wide(n)), connector_types={"nothing": Held}) as manager:
        async with anyio.create_task_group() as tasks:
            # Each has another caller, so that nothing goes down.
            for i in range(n):
                tasks.start_soon(manager.deploy, f"d{i}")
            result = await _cancel_tenth(n, what, lambda i: manager.deploy(f"d{i}"))
            gate.set()
        if any(manager.get_connector(f"d{i}") is None for i in range(n)):
            raise AssertionError("a caller that was not cancelled has noticed")
    return result


async def _cancel_waiters(n: int, what: str) -> float:
    events = [anyio.Event() for _ in range(n)]
    return await _cancel_tenth(n, what, lambda i: events[i].wait())


async def _cancel_tenth(n: int, what: str, wait: Callable[[int], Awaitable[None]]) -> float:
    """Return the rounds of the scheduler, or the time, until the last cancelled caller has returned."""
    scopes = [anyio.CancelScope() for _ in range(n)]
    returned = 0

    async def caller(i: int) -> None:
        nonlocal returned
        with scopes[i]:
            await wait(i)
        returned += 1

    async with anyio.create_task_group() as tasks:
        for i in range(n):
            tasks.start_soon(caller, i)
        for _ in range(10):
            await checkpoint()
        ticks = 0
        with Stopwatch() as watch:
            for scope in scopes[::10]:
                scope.cancel()
            while returned < len(scopes[::10]):
                await checkpoint()
                ticks += 1
        tasks.cancel_scope.cancel()
    return ticks if what == "ticks" else watch.cpu
