"""anydeploy with connectors that do nothing, and what it is compared with."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import anyio
from attrs import define

from anydeploy import Connector, DefaultDeploymentManager, DeploymentConfig

from .measure import Stopwatch

#: The name of a backend, and what `anyio.run` is told.
BACKENDS: dict[str, dict[str, Any]] = {
    "asyncio": {"backend": "asyncio"},
    "uvloop": {"backend": "asyncio", "backend_options": {"use_uvloop": True}},
    "trio": {"backend": "trio"},
}


@define(kw_only=True, eq=False, slots=False)
class Nothing(Connector):
    async def deploy(self, external: bool) -> None:
        pass

    async def undeploy(self, external: bool) -> None:
        pass


def manager_of(configs: Sequence[DeploymentConfig]) -> DefaultDeploymentManager:
    return DefaultDeploymentManager(configs, connector_types={"nothing": Nothing})


def timed(function: Callable[..., Awaitable[float]], *args: object, backend: str) -> Callable[[], float]:
    return lambda: anyio.run(function, *args, **BACKENDS[backend])


async def anydeploy(configs: Sequence[DeploymentConfig]) -> float:
    """CPU seconds of bringing everything up and down."""
    async with manager_of(configs) as manager:
        with Stopwatch() as watch:
            await manager.deploy_all()
            await manager.undeploy_all()
    return watch.cpu


async def floor(configs: Sequence[DeploymentConfig]) -> float:
    """One task and one Event for each node in a bare task group.

    Each task waits for the Events of the nodes below it, sets its own, stays until all are told to end, and ends. This
    is less than any manager has to do: there is no order on the way down, no demand, no failure and no limit of time.
    """
    with Stopwatch() as watch:
        up = {config.name: anyio.Event() for config in configs}
        end = anyio.Event()

        async def live(config: DeploymentConfig) -> None:
            for dependency in config.dependencies:
                await up[dependency].wait()
            up[config.name].set()
            await end.wait()

        async with anyio.create_task_group() as tasks:
            for config in configs:
                tasks.start_soon(live, config)
            for event in up.values():
                await event.wait()
            end.set()
    return watch.cpu


async def bounded_floor(configs: Sequence[DeploymentConfig]) -> float:
    """The floor, less what no manager can leave out that keeps its promises.

    The bring-up of each node can be cancelled by itself and is shielded from everybody else, its teardown has a
    deadline, and each is told to go by an Event of its own, in reverse order.
    """
    with Stopwatch() as watch:
        up = {config.name: anyio.Event() for config in configs}
        go = {config.name: anyio.Event() for config in configs}
        dependents = dict.fromkeys(up, 0)
        dependencies = {config.name: config.dependencies for config in configs}

        async def live(config: DeploymentConfig) -> None:
            for dependency in config.dependencies:
                await up[dependency].wait()
                dependents[dependency] += 1
            with anyio.CancelScope(shield=True) as scope:
                up[config.name].set()
                await go[config.name].wait()
                scope.deadline = anyio.current_time() + 300
            scope.deadline = math.inf
            for dependency in dependencies[config.name]:
                dependents[dependency] -= 1
                if not dependents[dependency]:
                    go[dependency].set()

        async with anyio.create_task_group() as tasks:
            for config in configs:
                tasks.start_soon(live, config)
            for event in up.values():
                await event.wait()
            for name, count in list(dependents.items()):
                if not count:
                    go[name].set()
    return watch.cpu
