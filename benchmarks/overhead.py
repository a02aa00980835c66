"""What anydeploy adds to a deployment, as a multiple of what the event loop takes for its task.

The floor is a bare task group with one task and one Event for each node: every task is started, waits for the task of
the node before it, reports by its own Event, waits for the end, and ends. Both run in turns in one process, and the
ratio is that of the medians; a time alone says more about the machine than about anydeploy.
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Awaitable, Callable
from statistics import median
from time import perf_counter

import anyio
from attrs import define

from anydeploy import Connector, DefaultDeploymentManager, DeploymentConfig


@define(kw_only=True, eq=False, slots=False)
class Nothing(Connector):
    async def deploy(self, external: bool) -> None:
        pass

    async def undeploy(self, external: bool) -> None:
        pass


def flat(n: int) -> list[DeploymentConfig]:
    return [DeploymentConfig(f"d{i}", "nothing") for i in range(n)]


def chain(n: int) -> list[DeploymentConfig]:
    return [DeploymentConfig(f"d{i}", "nothing", depends_on=[f"d{i - 1}"] if i else []) for i in range(n)]


async def with_anydeploy(configs: list[DeploymentConfig]) -> float:
    async with DefaultDeploymentManager(configs, connector_types={"nothing": Nothing}) as manager:
        start = perf_counter()
        await manager.deploy_all()
        await manager.undeploy_all()
        return perf_counter() - start


async def floor(configs: list[DeploymentConfig]) -> float:
    start = perf_counter()
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
    return perf_counter() - start


def measure(backend: str, configs: list[DeploymentConfig], rounds: int) -> tuple[float, float]:
    """Seconds of anydeploy and of the floor, the medians of interleaved rounds after one to warm up."""
    taken: dict[Callable[..., Awaitable[float]], list[float]] = {with_anydeploy: [], floor: []}
    for number in range(rounds + 1):
        for function, seconds in taken.items():
            gc.collect()
            result = anyio.run(function, configs, backend=backend)
            if number:
                seconds.append(result)
    return median(taken[with_anydeploy]), median(taken[floor])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, nargs="+", default=[1_000, 10_000], help="numbers of deployments")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    print("backend  graph      n   anydeploy       floor   ratio")
    for backend in ("asyncio", "trio"):
        for graph in (flat, chain):
            for n in arguments.n:
                ours, bare = measure(backend, graph(n), arguments.rounds)
                each = [f"{1e6 * seconds / n:8.1f} us" for seconds in (ours, bare)]
                print(f"{backend:7}  {graph.__name__:5} {n:6} {each[0]} {each[1]} {ours / bare:7.1f}")


if __name__ == "__main__":
    main()
