"""The cost of a deployment, in counts and not in seconds: tasks, Events, timers, scheduler steps, lines of Python.

Counts are the same on every machine and in every run. The cost must grow in proportion to the number of deployments,
whatever the graph looks like and whoever asks, and what each of them takes of the event loop is fixed here, beside what
anyio takes for a bare task that waits for one Event: a change of a constant is a decision, and is made together with
this file. Loops inside builtins (the copy of a list) are seen only where it is the list of all deployments.
"""

from __future__ import annotations

import asyncio
import gc
import random
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, TypeAlias, cast

import anyio
import attrs
import pytest
import trio.testing
from anyio.lowlevel import checkpoint

import anydeploy
from anydeploy import Connector, DefaultDeploymentManager, DeployError, DeploymentConfig, UndeployError
from anydeploy import manager as manager_module
from anydeploy import runner as runner_module
from anydeploy.engine.engine import Engine
from anydeploy.graph import closure, longest_paths, remaining_paths, teardown_waves, waves
from anydeploy.testing.virtual import VirtualLoop

PACKAGE = str(Path(anydeploy.__file__).parent)
#: Multiples of 15, so that parts of a graph are the same share of both.
FEW, MANY = 45, 450
BACKENDS = ("asyncio", "trio")


@attrs.define(kw_only=True, eq=False, slots=False)
class Nothing(Connector):
    """Awaits nothing, so that every step that is counted is the manager's."""

    async def deploy(self, external: bool) -> None:
        pass

    async def undeploy(self, external: bool) -> None:
        pass


@attrs.define(kw_only=True, eq=False, slots=False)
class Failing(Nothing):
    """Fails when everything else that can come up without it has come up, in whatever order tasks run."""

    async def deploy(self, external: bool) -> None:
        for _ in range(10):
            await checkpoint()
        raise OSError("no")


@attrs.define(kw_only=True, eq=False, slots=False)
class Sticking(Nothing):
    """Does not go down at the first try."""

    tried: bool = attrs.field(init=False, default=False)

    async def undeploy(self, external: bool) -> None:
        if not self.tried:
            self.tried = True
            raise OSError("not yet")


@attrs.define(kw_only=True, eq=False, slots=False)
class Slow(Nothing):
    """Takes its time, in seconds."""

    seconds: float

    async def deploy(self, external: bool) -> None:
        await anyio.sleep(self.seconds)

    async def undeploy(self, external: bool) -> None:
        await anyio.sleep(self.seconds)


@attrs.define(kw_only=True, eq=False, slots=False)
class Waiting(Nothing):
    """Never comes up."""

    async def deploy(self, external: bool) -> None:
        await anyio.sleep_forever()


# -- The graphs: for the number of a deployment those of its dependencies --------------------------------------------

Shape: TypeAlias = Callable[[int], list[int]]


def wide(index: int) -> list[int]:
    return []


def star(index: int) -> list[int]:
    return [0] if index else []


def chain(index: int) -> list[int]:
    return [index - 1] if index else []


def forest(index: int) -> list[int]:
    """Binary trees of 15."""
    root, place = index - index % 15, index % 15
    return [root + (place - 1) // 2] if place else []


def dag(index: int) -> list[int]:
    """Three dependencies, anywhere below."""
    rng = random.Random(index)
    return sorted({rng.randrange(index) for _ in range(3)}) if index else []


SHAPES = (wide, star, chain, forest, dag)


def graph(shape: Shape, n: int) -> list[DeploymentConfig]:
    return [DeploymentConfig(f"d{i}", "nothing", depends_on=[f"d{j}" for j in shape(i)]) for i in range(n)]


# -- The counting ------------------------------------------------------------------------------------------------------


@attrs.define
class Cost:
    tasks: float = 0
    events: float = 0
    #: Callbacks given to the event loop; on trio, steps of tasks.
    steps: float = 0
    #: On asyncio only.
    timers: float = 0
    #: Those of anydeploy.
    scopes: float = 0


def counting_loop(cost: Cost, base: type[asyncio.SelectorEventLoop]) -> asyncio.AbstractEventLoop:
    class Loop(base):  # type: ignore[valid-type, misc]
        def create_task(self, *args: Any, **kwargs: Any) -> Any:
            cost.tasks += 1
            return super().create_task(*args, **kwargs)

        def call_soon(self, *args: Any, **kwargs: Any) -> Any:
            cost.steps += 1
            return super().call_soon(*args, **kwargs)

        def call_at(self, *args: Any, **kwargs: Any) -> Any:
            cost.timers += 1
            return super().call_at(*args, **kwargs)

    return Loop()


@attrs.define(eq=False)
class Instrument(trio.abc.Instrument):
    cost: Cost

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        self.cost.tasks += 1

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.cost.steps += 1


def cost_of(backend: str, function: Callable[..., Awaitable[None]], *args: Any, is_virtual: bool = False) -> Cost:
    cost = Cost()
    library: Any = trio if backend == "trio" else asyncio
    make_event = library.Event

    def make_counted_event() -> Any:
        cost.events += 1
        return make_event()

    def make_counted_scope(**options: Any) -> anyio.CancelScope:
        cost.scopes += 1
        return anyio.CancelScope(**options)

    base = VirtualLoop if is_virtual else asyncio.SelectorEventLoop
    options: dict[str, Any] = {"loop_factory": lambda: counting_loop(cost, base)}
    if backend == "trio":
        clock = trio.testing.MockClock(autojump_threshold=0) if is_virtual else None
        options = {"instruments": [Instrument(cost)], "clock": clock}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library, "Event", make_counted_event)
        patch.setattr(runner_module, "CancelScope", make_counted_scope)
        anyio.run(function, *args, backend=backend, backend_options=options)
    return cost


def cost_each(backend: str, function: Callable[..., Awaitable[None]], shape: Shape) -> Cost:
    """The cost of each further deployment, without that of what is there only once."""
    few, many = (attrs.astuple(cost_of(backend, function, graph(shape, n))) for n in (FEW, MANY))
    return Cost(*((b - a) / (MANY - FEW) for a, b in zip(few, many, strict=True)))


@contextmanager
def counted_lines() -> Iterator[list[int]]:
    """Count the lines of anydeploy that are executed, each as often as it is."""
    count = [0]

    def line(frame: FrameType, event: str, arg: object) -> Any:
        count[0] += 1
        return line

    def call(frame: FrameType, event: str, arg: object) -> Any:
        return line if frame.f_code.co_filename.startswith(PACKAGE) else None

    previous = sys.gettrace()
    sys.settrace(call)
    try:
        yield count
    finally:
        sys.settrace(previous)


# -- What is counted ---------------------------------------------------------------------------------------------------

Scenario: TypeAlias = Callable[[list[DeploymentConfig]], Awaitable[None]]


def manager_of(configs: list[DeploymentConfig], **options: Any) -> DefaultDeploymentManager:
    types = {"nothing": Nothing, "failing": Failing, "sticking": Sticking, "slow": Slow, "waiting": Waiting}
    return DefaultDeploymentManager(configs, connector_types=types, **options)


async def together(configs: list[DeploymentConfig], **options: Any) -> None:
    """One caller for all of them."""
    async with manager_of(configs, **options) as manager:
        await manager.deploy_all()
        await manager.undeploy_all()


async def limited(configs: list[DeploymentConfig]) -> None:
    await together(configs, max_concurrent=4)


async def one_by_one(configs: list[DeploymentConfig], **options: Any) -> None:
    """A caller for each, all of them at the same time."""
    async with manager_of(configs, **options) as manager:
        for operation in (manager.deploy, manager.undeploy):
            async with anyio.create_task_group() as tasks:
                for config in configs:
                    tasks.start_soon(operation, config.name)


async def one_by_one_limited(configs: list[DeploymentConfig]) -> None:
    await one_by_one(configs, max_concurrent=4)


async def one_after_the_other_limited(configs: list[DeploymentConfig]) -> None:
    """A caller for every second one, each when the one before has been served."""
    async with manager_of(configs, max_concurrent=4) as manager:
        for config in configs[1::2]:
            await manager.deploy(config.name)


async def crowd(configs: list[DeploymentConfig]) -> None:
    """As many callers of the last one: while it comes up, when it is live, and to take it down."""
    async with manager_of(configs) as manager:
        for operation in (manager.deploy, manager.deploy, manager.undeploy):
            async with anyio.create_task_group() as tasks:
                for _ in configs:
                    tasks.start_soon(operation, configs[-1].name)


async def closed(configs: list[DeploymentConfig]) -> None:
    """All are live when the block is left."""
    async with manager_of(configs) as manager:
        await manager.deploy_all()


async def cancelled(configs: list[DeploymentConfig]) -> None:
    """The only caller goes while everything is coming up."""
    async with manager_of([attrs.evolve(config, type="waiting") for config in configs]) as manager:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(manager.deploy_all)
            for _ in range(10):
                await checkpoint()
            tasks.cancel_scope.cancel()


async def failed(configs: list[DeploymentConfig]) -> None:
    """Every 15th fails, and with it whatever stands on it."""
    types = ["nothing" if i % 15 else "failing" for i in range(len(configs))]
    async with manager_of([attrs.evolve(c, type=t) for c, t in zip(configs, types, strict=True)]) as manager:
        with pytest.raises(DeployError):
            await manager.deploy_all()


async def half_cancelled(configs: list[DeploymentConfig]) -> None:
    """Everyone has two callers, one of which goes while it comes up."""
    gate = anyio.Event()

    @attrs.define(kw_only=True, eq=False, slots=False)
    class Held(Nothing):
        async def deploy(self, external: bool) -> None:
            await gate.wait()

    held = [attrs.evolve(config, type="held") for config in configs]
    async with DefaultDeploymentManager(held, connector_types={"held": Held}) as manager:
        async with anyio.create_task_group() as stay, anyio.create_task_group() as go:
            for config in configs:
                stay.start_soon(manager.deploy, config.name)
                go.start_soon(manager.deploy, config.name)
            for _ in range(5):
                await checkpoint()
            go.cancel_scope.cancel()
            gate.set()


async def stuck(configs: list[DeploymentConfig]) -> None:
    """Each goes down at the second try."""
    async with manager_of([attrs.evolve(config, type="sticking") for config in configs]) as manager:
        await manager.deploy_all()
        for config in reversed(configs):
            with pytest.raises(UndeployError):
                await manager.undeploy(config.name)
            await manager.undeploy(config.name)


async def lazy(configs: list[DeploymentConfig]) -> None:
    """Each is deployed by its first use."""
    async with manager_of([attrs.evolve(config, lazy=True) for config in configs]) as manager:
        await manager.deploy_all()
        for config in configs:
            connector = manager.get_connector(config.name)
            assert isinstance(connector, Connector)
            await connector.deploy(external=False)
        await manager.undeploy_all()


async def heard(configs: list[DeploymentConfig]) -> None:
    """A listener is there."""
    await together(configs, on_event=lambda event: None)


async def asked(configs: list[DeploymentConfig]) -> None:
    """For the connector of each, and for one that is not there."""
    async with manager_of(configs) as manager:
        await manager.deploy_all()
        for config in configs:
            assert manager.get_connector(config.name) is not None
            assert manager.get_connector(f"not {config.name}") is None


async def shown(configs: list[DeploymentConfig]) -> None:
    """Before and after one is lost that others stand on."""
    async with manager_of(configs) as manager:
        await manager.deploy_all()
        assert not any(status.missing for status in manager.status().values())
        cast("Connector", manager.get_connector(configs[0].name)).report_lost(OSError("gone"))
        assert manager.status()[configs[0].name].state == "lost"


async def bare(configs: list[DeploymentConfig]) -> None:
    """For each deployment a task that waits for one Event: the floor."""
    events = [anyio.Event() for _ in configs]
    async with anyio.create_task_group() as tasks:
        for event in events:
            tasks.start_soon(event.wait)
        await checkpoint()
        await checkpoint()
        for event in events:
            event.set()


SCENARIOS = (
    together,
    limited,
    one_by_one,
    one_by_one_limited,
    crowd,
    closed,
    cancelled,
    half_cancelled,
    failed,
    stuck,
    lazy,
    heard,
    asked,
    shown,
)


def named(function: Callable[..., object]) -> str:
    return function.__name__


# -- How it grows ------------------------------------------------------------------------------------------------------


def lines_each(scenario: Scenario, configs: list[DeploymentConfig]) -> float:
    with counted_lines() as lines:
        anyio.run(scenario, configs)
    return lines[0] / len(configs)


@pytest.mark.parametrize("shape", SHAPES, ids=named)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=named)
def test_work_grows_with_the_number_of_deployments(scenario: Scenario, shape: Shape):
    few, many = (lines_each(scenario, graph(shape, n)) for n in (FEW, MANY))
    assert many < 1.1 * few


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shape", SHAPES, ids=named)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=named)
def test_steps_grow_with_the_number_of_deployments(backend: str, scenario: Scenario, shape: Shape):
    few, many = (attrs.astuple(cost_of(backend, scenario, graph(shape, n))) for n in (FEW, MANY))
    for a, b in zip(few, many, strict=True):
        # On trio, in which order tasks run is drawn by lot: who waits for several may find the next one done already.
        assert b / MANY <= 1.1 * a / FEW + 0.1


@pytest.mark.parametrize("shape", SHAPES, ids=named)
def test_the_graph_takes_one_pass(shape: Shape):
    each: list[float] = []
    for n in (FEW, MANY):
        dependencies = {f"d{i}": [f"d{j}" for j in shape(i)] for i in range(n)}
        with counted_lines() as lines:
            order = closure(reversed(dependencies), dependencies.__getitem__)
            for function in (waves, teardown_waves, longest_paths, remaining_paths):
                function(order, dependencies.__getitem__)
        each.append(lines[0] / n)
    assert each[1] < 1.1 * each[0]


# -- How much it is ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shape", SHAPES, ids=named)
def test_a_deployment_is_one_task_that_waits_once(backend: str, shape: Shape):
    """It is started once and woken once, by an Event of its own; a timer bounds its teardown."""
    ours, floor = (cost_each(backend, function, shape) for function in (together, bare))
    assert ours.tasks == floor.tasks == 1
    assert floor.events >= 1
    assert floor.steps >= 2
    assert ours.events == pytest.approx(floor.events, abs=0.1)
    assert ours.steps == pytest.approx(floor.steps, abs=0.1)
    assert ours.timers == (0 if backend == "trio" else 1)
    assert ours.scopes == 2


@pytest.mark.parametrize("backend", BACKENDS)
def test_callers_share_an_event(backend: str):
    """Further callers of the same deployment make neither a task nor an Event."""
    ours, floor = (cost_each(backend, function, wide) for function in (crowd, three_times))
    assert ours.tasks == floor.tasks == 3
    assert floor.events > 0
    assert floor.steps > 0
    assert ours.events == pytest.approx(floor.events, abs=0.01)
    assert ours.steps == pytest.approx(floor.steps, abs=0.01)


async def three_times(configs: list[DeploymentConfig]) -> None:
    """Callers that wait for one Event, find it set, and wait for another one."""
    first, second = anyio.Event(), anyio.Event()
    for event, is_set in ((first, False), (first, True), (second, False)):
        async with anyio.create_task_group() as tasks:
            for _ in configs:
                tasks.start_soon(event.wait)
            if not is_set:
                await checkpoint()
                await checkpoint()
                event.set()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("scenario", [together, one_by_one, limited], ids=named)
def test_waiting_takes_no_steps(backend: str, scenario: Scenario):
    """However long connectors take, nobody looks every now and then how they get on."""

    def cost_of_waiting(seconds: float) -> Cost:
        configs = [attrs.evolve(config, type="slow", config={"seconds": seconds}) for config in graph(forest, FEW)]
        return cost_of(backend, scenario, configs, is_virtual=True)

    assert cost_of_waiting(100) == cost_of_waiting(1)


class Registry(dict[str, Any]):
    """Counts what is visited when it is gone through, which no line of Python may show."""

    visits = 0

    def _all(self, view: Any) -> Any:
        Registry.visits += len(self)
        return view

    def __iter__(self) -> Iterator[str]:
        return cast("Iterator[str]", self._all(super().__iter__()))

    def keys(self) -> Any:
        return self._all(super().keys())

    def values(self) -> Any:
        return self._all(super().values())

    def items(self) -> Any:
        return self._all(super().items())


@pytest.mark.parametrize("scenario", [*SCENARIOS, one_after_the_other_limited], ids=named)
def test_nobody_goes_through_all_deployments_for_one(scenario: Scenario, monkeypatch: pytest.MonkeyPatch):
    """An operation on all of them does: `deploy_all`, `undeploy_all`, `close`, `status`, and a choice among all."""

    class Visited(Engine):
        def __init__(self, max_concurrent: int | None = None) -> None:
            super().__init__(max_concurrent)
            self.deployments = Registry()

    monkeypatch.setattr(manager_module, "Engine", Visited)
    Registry.visits = 0
    anyio.run(scenario, graph(forest, MANY))
    assert Registry.visits <= 6 * MANY


def test_going_through_all_is_seen():
    Registry.visits = 0
    registry = Registry(a=1, b=2)
    for everything in (list(registry), list(registry.values()), dict(registry.items()), registry.keys() | {"c"}):
        assert everything
    assert Registry.visits == 8


@pytest.mark.parametrize("operation", ["deploy", "undeploy", "undeploy_all", "use"])
def test_nothing_is_kept_of_those_who_have_gone(operation: str):
    """A manager that runs for years does not grow."""

    async def kept(n: int) -> int:
        configs = [DeploymentConfig("d0", "nothing"), DeploymentConfig("d1", "nothing", depends_on=["d0"])]
        async with manager_of([*configs, DeploymentConfig("d2", "nothing", lazy=True)]) as manager:
            await manager.deploy("d0")
            for _ in range(n):
                if operation == "use":
                    await manager.deploy("d2")
                    connector = manager.get_connector("d2")
                    assert isinstance(connector, Connector)
                    await connector.deploy(external=False)
                    await manager.undeploy("d2")
                else:
                    await manager.deploy("d0" if operation == "deploy" else "d1")
                    if operation == "undeploy":
                        await manager.undeploy("d1")
                    elif operation == "undeploy_all":
                        await manager.undeploy_all()
            connector = None
            gc.collect()
            return len(gc.get_objects())

    anyio.run(kept, 1)
    assert anyio.run(kept, 100) - anyio.run(kept, 10) < 10


def test_the_work_for_a_deployment():
    """A bound with some room, against doing a thing twice."""
    assert lines_each(together, graph(wide, MANY)) < MOST_LINES


#: About 705 are executed for a life from `deploy_all` to `undeploy_all`.
MOST_LINES = 730


# -- How promptly a cancelled caller returns ---------------------------------------------------------------------------


async def ticks_until_cancelled(n: int) -> int:
    """Of two callers for each of n deployments that do not come up yet, one of every tenth is cancelled.

    Returns how often the scheduler goes round until the last of those has returned.
    """
    gate = anyio.Event()
    returned: list[str] = []

    @attrs.define(kw_only=True, eq=False, slots=False)
    class Held(Nothing):
        async def deploy(self, external: bool) -> None:
            await gate.wait()

    async def caller(name: str, scope: anyio.CancelScope) -> None:
        with scope:
            await manager.deploy(name)
        returned.append(name)

    async with DefaultDeploymentManager(graph(wide, n), connector_types={"nothing": Held}) as manager:
        async with anyio.create_task_group() as tasks:
            scopes = [anyio.CancelScope() for _ in range(n)]
            cancelled = {f"d{i}" for i in range(0, n, 10)}
            for i in range(n):
                tasks.start_soon(caller, f"d{i}", anyio.CancelScope())
                tasks.start_soon(caller, f"d{i}", scopes[i])
            for _ in range(10):
                await checkpoint()
            assert not returned
            for scope in scopes[::10]:
                scope.cancel()
            ticks = 0
            while len(returned) < len(cancelled):
                await checkpoint()
                ticks += 1
            assert set(returned) == cancelled
            gate.set()
        assert len(returned) == 2 * n
        assert all(manager.get_connector(f"d{i}") is not None for i in range(n))
    return ticks


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_cancelled_caller_returns_as_soon_among_many(backend: str):
    """It waits for nothing that others do, and the other caller of the same deployment notices nothing."""
    for n in (FEW, MANY):
        assert anyio.run(ticks_until_cancelled, n, backend=backend) <= 2
