"""D1, U1: bringing up takes the critical path and not a moment more, and so does taking down."""

from __future__ import annotations

import random
from typing import Any

import anyio
import pytest
from scripted import World

from anydeploy.testing import unit
from anydeploy.testing.virtual import BACKENDS, run_virtual


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("seed", range(10))
def test_critical_path(backend: str, seed: int) -> None:
    """D1, U1: random graphs of connectors that sleep, in virtual time."""
    rng = random.Random(seed)
    count = rng.randint(5, 40)
    graph = {f"n{i}": [f"n{j}" for j in range(i) if rng.random() < 0.15] for i in range(count)}
    takes = {name: (rng.randint(1, 50), rng.randint(1, 50)) for name in graph}
    up: dict[str, int] = {}
    for name, below in graph.items():
        up[name] = takes[name][0] + max((up[d] for d in below), default=0)
    down: dict[str, int] = {}
    for name in reversed(graph):
        down[name] = takes[name][1] + max((down[n] for n in graph if name in graph[n]), default=0)

    def sleeper(seconds: int) -> Any:
        return lambda connector: anyio.sleep(seconds)

    async def use() -> None:
        world = World()
        for name, (first, last) in takes.items():
            world.plan(f"deploy {name}", action=sleeper(first))
            world.plan(f"undeploy {name}", action=sleeper(last))
        async with world.manager(*(unit(name, *below) for name, below in graph.items())) as manager:
            began = anyio.current_time()
            await manager.deploy_all()
            assert anyio.current_time() - began == pytest.approx(max(up.values()), abs=1e-6)
            began = anyio.current_time()
            await manager.undeploy_all()
            assert anyio.current_time() - began == pytest.approx(max(down.values()), abs=1e-6)

    run_virtual(backend, use)
