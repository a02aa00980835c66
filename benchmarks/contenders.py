"""anydeploy with connectors that do nothing, and the floors that it is compared with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import anyio
from attrs import define

from anydeploy import Connector, DefaultDeploymentManager, DeploymentConfig

from .measure import Stopwatch

#: The arguments of `anyio.run`, by the names of the installed backends.
BACKENDS: dict[str, dict[str, Any]] = {
    name: options
    for name, options in {
        "asyncio": {"backend": "asyncio"},
        "uvloop": {"backend": "asyncio", "backend_options": {"use_uvloop": True}},
        "trio": {"backend": "trio"},
    }.items()
    if find_spec(name)
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


async def anydeploy_one_by_one(configs: Sequence[DeploymentConfig]) -> float:
    """CPU seconds of the same with a caller for each name, as StreamFlow uses its manager."""
    async with manager_of(configs) as manager:
        with Stopwatch() as watch:
            async with anyio.create_task_group() as tasks:
                for config in configs:
                    tasks.start_soon(manager.deploy, config)
            await manager.undeploy_all()
    return watch.cpu


async def floor(configs: Sequence[DeploymentConfig]) -> float:
    """One task and one Event for each node in a bare task group.

    Each task waits for the Events below it that are not set yet, sets its own, stays until all are told to end, and
    ends. This is less than any manager has to do: there is no order on the way down, no demand, no failure and no
    limit of time.
    """
    with Stopwatch() as watch:
        up = {config.name: anyio.Event() for config in configs}
        all_up, end = anyio.Event(), anyio.Event()
        missing = len(configs)

        async def live(config: DeploymentConfig) -> None:
            nonlocal missing
            for dependency in config.dependencies:
                if not up[dependency].is_set():
                    await up[dependency].wait()
            up[config.name].set()
            missing -= 1
            if not missing:
                all_up.set()
            await end.wait()

        async with anyio.create_task_group() as tasks:
            for config in configs:
                tasks.start_soon(live, config)
            await all_up.wait()
            end.set()
    return watch.cpu


async def bounded_floor(configs: Sequence[DeploymentConfig]) -> float:
    """The floor with an order on the way down, shields and deadlines.

    Each task is started when its dependencies are up, is shielded from cancellations, waits for the Event that says
    that its dependents are down, and has a deadline for its end.
    """
    with Stopwatch() as watch:
        dependencies = {config.name: config.dependencies for config in configs}
        dependents = _turned(dependencies)
        to_come = {name: len(below) for name, below in dependencies.items()}
        to_go = {name: len(above) for name, above in dependents.items()}
        go: dict[str, anyio.Event] = {}
        all_up = anyio.Event()

        async def live(name: str) -> None:
            with anyio.CancelScope(shield=True) as scope:
                go[name] = anyio.Event()
                for dependent in dependents[name]:
                    to_come[dependent] -= 1
                    if not to_come[dependent]:
                        tasks.start_soon(live, dependent)
                if len(go) == len(configs):
                    all_up.set()
                await go[name].wait()
                scope.deadline = anyio.current_time() + 300
            for dependency in dependencies[name]:
                to_go[dependency] -= 1
                if not to_go[dependency]:
                    go[dependency].set()

        async with anyio.create_task_group() as tasks:
            for name in [name for name, count in to_come.items() if not count]:
                tasks.start_soon(live, name)
            await all_up.wait()
            for name in [name for name, count in to_go.items() if not count]:
                go[name].set()
    return watch.cpu


def _turned(dependencies: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    dependents: dict[str, list[str]] = {name: [] for name in dependencies}
    for name, below in dependencies.items():
        for dependency in below:
            dependents[dependency].append(name)
    return dependents
