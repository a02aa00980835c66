"""StreamFlow's own deployment manager, through its own interface, beside ours. On asyncio, which is all that it has."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio

from anydeploy import DeploymentConfig

from .contenders import anydeploy, manager_of, timed
from .graphs import definitions, wide
from .measure import Aim, Effort, Row, Section, Spread, Stopwatch, compare, in_turns

#: The numbers of deployments, how many rounds each is worth, and how many times faster we should be.
_CASES = {1_000: (5, None), 4_000: (3, Aim(5, at_most=False)), 20_000: (3, Aim(20, at_most=False))}
_REFERENCE = "StreamFlow"
_PLUGIN = "anydeploy in StreamFlow"


def run(effort: Effort) -> list[Section]:
    title = "Times that StreamFlow's manager takes as long as anydeploy's"
    try:
        managers = _managers()
    except ImportError as missing:
        return [Section(title, [], skipped=[f"streamflow is not installed ({missing})"])]
    rows: list[Row] = []
    cost: dict[str, list[tuple[float, float]]] = {}
    for n in effort.sizes(*_CASES):
        rounds, aim = _CASES.get(n, (1, None))
        configs = definitions(wide(n))
        ours = {
            "anydeploy": timed(anydeploy, configs, backend="asyncio"),
            "anydeploy, a caller for each": timed(_one_by_one, configs, backend="asyncio"),
        }
        theirs = {name: partial(_run, make, n) for name, make in managers.items()}
        found = in_turns(ours | theirs, effort.rounds(rounds), warm_up=False)
        for name in found:
            if name != _REFERENCE:
                rows.append(compare({"n": n}, found, _REFERENCE, name, unit="µs", scale=1e6 / n, aim=aim))
            if name in managers:
                cost.setdefault(name, []).append((n, Spread.of([1e6 * value / n for value in found[name]]).median))
    skipped = [] if _PLUGIN in managers else ["anydeploy has no plugin for StreamFlow here"]
    return [Section(f"{title} ({version('streamflow')}, deploy and undeploy, wide)", rows, None, skipped, cost)]


async def _one_by_one(configs: Sequence[DeploymentConfig]) -> float:
    """As StreamFlow's is used: every name has a caller of its own."""
    async with manager_of(configs) as manager:
        with Stopwatch() as watch:
            async with anyio.create_task_group() as tasks:
                for config in configs:
                    tasks.start_soon(manager.deploy, config)
            await manager.undeploy_all()
    return watch.cpu


def _managers() -> dict[str, Callable[[], Any]]:
    """What makes a manager with StreamFlow's interface."""
    core = import_module("streamflow.core.deployment")
    module = import_module("streamflow.deployment.manager")
    import_module("streamflow.log_handler").logger.setLevel(logging.ERROR)

    class Nothing(core.Connector):  # type: ignore[misc, name-defined]
        async def deploy(self, external: bool) -> None:
            pass

        async def undeploy(self, external: bool) -> None:
            pass

    # Abstract in what nobody calls here.
    Nothing.__abstractmethods__ = frozenset()
    module.connector_classes["nothing"] = Nothing
    context = SimpleNamespace(config={"path": str(Path.cwd() / "streamflow.yml"), "deployments": {}})
    managers: dict[str, Callable[[], Any]] = {_REFERENCE: partial(module.DefaultDeploymentManager, context)}
    if find_spec("anydeploy.streamflow") is not None:
        plugin = import_module("anydeploy.streamflow")
        managers[_PLUGIN] = partial(plugin.AnydeployDeploymentManager, context)
    return managers


def _run(make: Callable[[], Any], n: int) -> float:
    return asyncio.run(_life(make, n))


async def _life(make: Callable[[], Any], n: int) -> float:
    core = import_module("streamflow.core.deployment")
    settings = {"transferBufferSize": 2**16}
    configs = [core.DeploymentConfig(f"d{i}", "nothing", settings, lazy=False) for i in range(n)]
    manager = make()
    with Stopwatch() as watch:
        await asyncio.gather(*(asyncio.create_task(manager.deploy(config)) for config in configs))
        await manager.undeploy_all()
    await manager.close()
    return watch.cpu
