"""The time until everything is up, and until it is down again, in virtual time, compared with a bound.

Without a limit nothing can be quicker than the critical path. With P connectors at work at once nothing can be quicker
than the critical path or the work divided by P. Three other orders are computed for comparison: the first to be ready
goes first (FIFO); level after level with a barrier between; and the order of anydeploy with the durations known in
advance (foresight).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from heapq import heapify, heappop, heappush
from itertools import count, product

import anyio
import trio.testing
from attrs import define, frozen

from anydeploy import Connector, DefaultDeploymentManager, DeploymentConfig

from .graphs import Graph
from .measure import Aim, Effort, Row, Section, Spread

_GRAPHS = 200
_DEPLOYMENTS = 300
_LIMITS = (4, 10, 32)
_SHOWN_LIMIT = 10
#: Of the logarithm of the durations: one in six takes 1.6 times as long as the median, or 2.7 times.
_SIGMAS = (0.5, 1.0)


def run(effort: Effort) -> list[Section]:
    rows: list[Row] = []
    curves: dict[str, list[tuple[float, float]]] = {}
    number = effort.rounds(_GRAPHS)
    for (shape, make), sigma in product(SHAPES.items(), _SIGMAS):
        (n,) = effort.sizes(_DEPLOYMENTS)
        cases = [_case(make, random.Random(seed), n, sigma) for seed in range(number)]
        for limit in (None, *_LIMITS):
            taken = [anyio.run(_measure, case, limit, backend="trio", backend_options=_clock()) for case in cases]
            for phase, reverse in (("deploy", False), ("undeploy", True)):
                mirrored = [case.mirrored() if reverse else case for case in cases]
                bounds = [case.bound(limit) for case in mirrored]
                orders = {"anydeploy": [pair[reverse] for pair in taken]}
                if limit is not None:
                    orders["FIFO"] = [_fifo(case, limit) for case in mirrored]
                    orders["levels"] = [_levels(case, limit) for case in mirrored]
                    orders["foresight"] = [_foresight(case, limit) for case in mirrored]
                for order, seconds in orders.items():
                    each = [a / b for a, b in zip(seconds, bounds, strict=True)]
                    # Without a limit not even one of them may take longer, but for the rounding of sums.
                    ratio = Spread.of([max(each)] if limit is None else each)
                    aim = Aim(1 + 1e-9 if limit is None else 1.04) if order == "anydeploy" else None
                    case = {
                        "graph": shape,
                        "sigma": f"{sigma:g}",
                        "phase": phase,
                        "max_concurrent": limit or "none",
                        "order": order,
                    }
                    labelled = order == "anydeploy" and not reverse and sigma == max(_SIGMAS)
                    at_once = "without a limit" if limit is None else f"{limit} at once"
                    label = f"{shape}, {at_once}" if labelled and limit in {None, _SHOWN_LIMIT} else None
                    spreads = Spread.of(seconds), Spread.of(bounds)
                    rows.append(Row(case, "the bound", "s", *spreads, ratio, aim, label))
                    if limit is not None and not reverse and sigma == max(_SIGMAS):
                        curves.setdefault(f"{shape}, {order}", []).append((limit, ratio.median))
    title = f"Time until all are up or down, as a multiple of the bound, {number} random graphs of each kind"
    return [Section(title, rows, across="order", curves=curves)]


def _clock() -> dict[str, object]:
    return {"clock": trio.testing.MockClock(autojump_threshold=0)}


# -- The graphs --------------------------------------------------------------------------------------------------------


@frozen
class _Case:
    """A graph, and the seconds that each deployment takes to come up and to go down."""

    graph: Graph
    up: Sequence[float]
    down: Sequence[float]

    def mirrored(self) -> _Case:
        """Return the way down as the way up of another graph, in which everything waits for its dependents."""
        n = len(self.graph)
        dependents: Graph = [[] for _ in range(n)]
        for i, below in enumerate(self.graph):
            for j in below:
                dependents[n - 1 - j].append(n - 1 - i)
        return _Case(dependents, self.down[::-1], self.up[::-1])

    def bound(self, limit: int | None) -> float:
        path: list[float] = []
        for i, below in enumerate(self.graph):
            path.append(max((path[j] for j in below), default=0.0) + self.up[i])
        return max(path) if limit is None else max(*path, sum(self.up) / limit)


def _case(make: Callable[[random.Random, int], Graph], rng: random.Random, n: int, sigma: float) -> _Case:
    graph = make(rng, n)
    up, down = ([rng.lognormvariate(1, sigma) for _ in graph] for _ in range(2))
    return _Case(graph, up, down)


def _trees(rng: random.Random, n: int) -> Graph:
    """Each depends on one of those before it; one in twenty is a root."""
    return [[rng.randrange(i)] if i and rng.random() > 0.05 else [] for i in range(n)]


def _layered(rng: random.Random, n: int) -> Graph:
    """Ten layers; each depends on up to three of the layer below."""
    width = -(-n // 10)
    return [
        sorted({rng.randrange((i // width - 1) * width, i // width * width) for _ in range(3)}) if i >= width else []
        for i in range(n)
    ]


def _dags(rng: random.Random, n: int) -> Graph:
    """Each depends on up to three of those before it."""
    return [sorted({rng.randrange(i) for _ in range(rng.randrange(4))}) if i else [] for i in range(n)]


def _fans(rng: random.Random, n: int) -> Graph:
    """Five strands: one, then many that depend on it, then one that depends on all of those, and so on."""
    graph: Graph = [[] for _ in range(5)]
    ends = list(range(5))
    while len(graph) < n:
        strand, many = rng.randrange(5), rng.randint(2, 20)
        fan = range(len(graph), len(graph) + many)
        graph += [[ends[strand]] for _ in fan]
        ends[strand] = len(graph)
        graph.append(list(fan))
    return graph


SHAPES: Mapping[str, Callable[[random.Random, int], Graph]] = {
    "trees": _trees,
    "layers": _layered,
    "random DAG": _dags,
    "fan-out, fan-in": _fans,
}


# -- Ours --------------------------------------------------------------------------------------------------------------


@define(kw_only=True, eq=False, slots=False)
class _Sleeper(Connector):
    up: float
    down: float

    async def deploy(self, external: bool) -> None:  # noqa: ARG002
        await anyio.sleep(self.up)

    async def undeploy(self, external: bool) -> None:  # noqa: ARG002
        await anyio.sleep(self.down)


async def _measure(case: _Case, limit: int | None) -> tuple[float, float]:
    configs = [
        DeploymentConfig(f"d{i}", "sleeper", {"up": up, "down": down}, depends_on=[f"d{j}" for j in below])
        for i, (below, up, down) in enumerate(zip(case.graph, case.up, case.down, strict=True))
    ]
    types = {"sleeper": _Sleeper}
    async with DefaultDeploymentManager(
        configs, connector_types=types, max_concurrent=limit, undeploy_timeout=None
    ) as manager:
        times = [anyio.current_time()]
        for operation in (manager.deploy_all, manager.undeploy_all):
            await operation()
            times.append(anyio.current_time())
    return times[1] - times[0], times[2] - times[1]


# -- Other orders ------------------------------------------------------------------------------------------------------


def _fifo(case: _Case, limit: int) -> float:
    """The first to be ready goes first."""
    return _schedule(case.graph, case.up, limit, [0.0] * len(case.up))


def _foresight(case: _Case, limit: int) -> float:
    """The longest remaining path goes first, as with anydeploy, but in seconds and not in deployments."""
    path = list(case.up)
    for i in reversed(range(len(path))):
        for j in case.graph[i]:
            path[j] = max(path[j], case.up[j] + path[i])
    return _schedule(case.graph, case.up, limit, path)


def _levels(case: _Case, limit: int) -> float:
    """A level begins when the whole level below is up."""
    level: list[int] = []
    for below in case.graph:
        level.append(1 + max((level[j] for j in below), default=-1))
    total = 0.0
    for number in range(max(level) + 1):
        takes = [seconds for own, seconds in zip(level, case.up, strict=True) if own == number]
        total += _schedule([[] for _ in takes], takes, limit, [0.0] * len(takes))
    return total


def _schedule(graph: Graph, takes: Sequence[float], limit: int, urgency: Sequence[float]) -> float:
    """Return the time for all when the most urgent of the ready goes first; of equals the first to be ready."""
    missing = [len(below) for below in graph]
    dependents: Graph = [[] for _ in graph]
    for i, below in enumerate(graph):
        for j in below:
            dependents[j].append(i)
    order = count()
    ready = [(-urgency[i], next(order), i) for i, number in enumerate(missing) if not number]
    heapify(ready)
    running: list[tuple[float, int]] = []
    now = 0.0
    while ready or running:
        while ready and len(running) < limit:
            _, _, i = heappop(ready)
            heappush(running, (now + takes[i], i))
        now, done = heappop(running)
        for dependent in dependents[done]:
            missing[dependent] -= 1
            if not missing[dependent]:
                heappush(ready, (-urgency[dependent], next(order), dependent))
    return now
