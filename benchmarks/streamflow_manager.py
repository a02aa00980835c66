"""The plugin for StreamFlow and anydeploy's own manager, compared with StreamFlow's, on asyncio."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from .contenders import anydeploy, anydeploy_one_by_one, timed
from .graphs import definitions, wide
from .measure import Aim, Effort, Row, Section, Spread, Stopwatch, compare, in_turns, ratios

#: By the number of deployments: the number of rounds, and how fast the plugin has to be, relative to StreamFlow.
_CASES = {100: (21, 0.45), 300: (15, 0.8), 1_000: (7, 1.7), 4_000: (3, 5.0), 20_000: (3, 30.0)}
_LIVE_DEPLOYS = 20_000
_REFERENCE = "StreamFlow"
_PLUGIN = "anydeploy in StreamFlow"


def run(effort: Effort) -> list[Section]:
    title = "StreamFlow's time divided by that of the contender"
    try:
        managers = _managers()
    except ImportError as missing:
        return [Section(title, [], skipped=[f"streamflow is not installed ({missing})"])]
    rows: list[Row] = []
    cost: dict[str, list[tuple[float, float]]] = {}
    for n in effort.sizes(*_CASES):
        rounds, speed = _CASES.get(n, (1, None))
        configs = definitions(wide(n))
        ours = {
            "anydeploy": timed(anydeploy, configs, backend="asyncio"),
            "anydeploy, a caller for each": timed(anydeploy_one_by_one, configs, backend="asyncio"),
        }
        theirs = {name: partial(_run, _life, make, n) for name, make in managers.items()}
        found = in_turns(ours | theirs, effort.rounds(rounds), warm_up=n <= 1_000)
        each = {name: [1e6 * value / n for value in values] for name, values in found.items()}
        for name in [name for name in each if name != _REFERENCE]:
            speeds = ratios(each[_REFERENCE], each[name])
            aim = Aim(speed, at_most=False) if speed is not None and name == _PLUGIN else None
            label = f"speed of the plugin, {n:,} deployments" if aim is not None else None
            case: dict[str, str | int] = {"n": n, "contender": name}
            spreads = Spread.of(each[name]), Spread.of(each[_REFERENCE])
            rows.append(Row(case, _REFERENCE, "µs", *spreads, speeds, aim, label))
        for name in managers:
            cost.setdefault(name, []).append((n, Spread.of(each[name]).median))
    skipped = [] if _PLUGIN in managers else ["the plugin cannot be imported"]
    about = f"({version('streamflow')}, deploy and undeploy, no dependencies)"
    sections = [Section(f"{title} {about}", rows, None, skipped, cost)]
    if _PLUGIN in managers:
        sections.append(_live(effort, managers))
    return sections


def _live(effort: Effort, managers: Mapping[str, Callable[[], Any]]) -> Section:
    rows: list[Row] = []
    for n in effort.sizes(_LIVE_DEPLOYS):
        contenders = {name: partial(_run, _deploy_again, make, n) for name, make in managers.items()}
        found = in_turns(contenders, effort.rounds(11))
        what = "deploy of a live deployment"
        scale = 1e6 / n
        rows.append(compare({"what": what}, found, _PLUGIN, _REFERENCE, unit="µs", scale=scale, aim=Aim(3), label=what))
    return Section("The plugin's time divided by StreamFlow's", rows)


def _managers() -> dict[str, Callable[[], Any]]:
    """Return functions that make a manager with StreamFlow's interface, by name."""
    core = import_module("streamflow.core.deployment")
    module = import_module("streamflow.deployment.manager")
    import_module("streamflow.log_handler").logger.setLevel(logging.ERROR)

    class Nothing(core.Connector):  # type: ignore[misc, name-defined]
        async def deploy(self, external: bool) -> None:
            pass

        async def undeploy(self, external: bool) -> None:
            pass

    # The other abstract methods are not called here.
    Nothing.__abstractmethods__ = frozenset()
    module.connector_classes["nothing"] = Nothing
    context = SimpleNamespace(config={"path": str(Path.cwd() / "streamflow.yml"), "deployments": {}})
    managers: dict[str, Callable[[], Any]] = {_REFERENCE: partial(module.DefaultDeploymentManager, context)}
    if find_spec("anydeploy.streamflow") is not None:
        plugin = import_module("anydeploy.streamflow")
        managers[_PLUGIN] = partial(plugin.AnydeployDeploymentManager, context)
    return managers


def _run(life: Callable[[Any, list[Any]], Awaitable[float]], make: Callable[[], Any], n: int) -> float:
    return asyncio.run(_with_manager(life, make, n))


async def _with_manager(life: Callable[[Any, list[Any]], Awaitable[float]], make: Callable[[], Any], n: int) -> float:
    core = import_module("streamflow.core.deployment")
    settings = {"transferBufferSize": 2**16}
    configs = [core.DeploymentConfig(f"d{i}", "nothing", settings, lazy=False) for i in range(n)]
    manager = make()
    taken = await life(manager, configs)
    await manager.close()
    return taken


async def _life(manager: Any, configs: list[Any]) -> float:
    with Stopwatch() as watch:
        await asyncio.gather(*(asyncio.create_task(manager.deploy(config)) for config in configs))
        await manager.undeploy_all()
    return watch.cpu


async def _deploy_again(manager: Any, configs: list[Any]) -> float:
    await manager.deploy(configs[0])
    with Stopwatch() as watch:
        for _ in configs:
            await manager.deploy(configs[0])
    return watch.cpu
