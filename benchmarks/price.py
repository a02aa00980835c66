"""The price of each promise: the manager without one after the other, and its parts alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast
from unittest.mock import patch

import anyio
from attrs import field, frozen

from anydeploy import DefaultDeploymentManager, DeploymentConfig
from anydeploy.definitions import Definitions
from anydeploy.engine.deployment import Deployment
from anydeploy.engine.engine import Engine
from anydeploy.engine.state import Do
from anydeploy.lifecycle import Phase

from .contenders import BACKENDS, Nothing, floor, timed
from .graphs import chain, definitions, wide
from .measure import Effort, Row, Section, Stopwatch, compare, in_turns


def run(effort: Effort) -> list[Section]:
    rows: list[Row] = []
    for make in (wide, chain):
        for loop in BACKENDS:
            for n in effort.sizes(1_000):
                configs = definitions(make(n))
                managers = {manager.name: manager.timed(configs, loop) for manager in _MANAGERS}
                parts = {name: _on(part, configs) for name, part in _PARTS.items()}
                contenders = {**managers, **parts, "floor": timed(floor, configs, backend=loop)}
                found = in_turns(contenders, effort.rounds(15), collect=False)
                for name in (*managers, *parts):
                    case: dict[str, str | int] = {"shape": make.__name__, "manager": name, "loop": loop}
                    label = name if (make, loop) == (wide, "asyncio") else None
                    rows.append(compare(case, found, name, "floor", unit="µs", scale=1e6 / n, label=label))
    return [Section("1,000 deployments, gc off, compared with one task and one Event", rows, across="loop")]


# -- The manager with more or fewer promises ---------------------------------------------------------------------------


class _NoScope:
    """Has the interface of a cancel scope, and does nothing."""

    cancel_called = False
    shield = False
    deadline = math.inf

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass

    def cancel(self) -> None:
        pass


def _attempt_scope_only(**options: Any) -> Any:
    return anyio.CancelScope(**options) if options else _NoScope()


def _no_scope(**_: Any) -> Any:
    return _NoScope()


@frozen
class _Manager:
    """A manager, changed as its name says.

    :ivar options: its parameters
    :ivar clock: whether it reads the time
    :ivar scope: replaces the cancel scopes around connectors
    """

    name: str
    options: dict[str, Any] = field(factory=dict[str, Any])
    clock: bool = True
    scope: Callable[..., Any] | None = None

    def timed(self, configs: Sequence[DeploymentConfig], backend: str) -> Callable[[], float]:
        def measure() -> float:
            with ExitStack() as patches:
                if not self.clock:
                    for module in ("runner", "shell"):
                        patches.enter_context(patch(f"anydeploy.{module}.current_time", lambda: 0.0))
                if self.scope is not None:
                    patches.enter_context(patch("anydeploy.runner.CancelScope", self.scope))
                return anyio.run(_life, configs, self.options, **BACKENDS[backend])

        return measure


async def _life(configs: Sequence[DeploymentConfig], options: dict[str, Any]) -> float:
    async with DefaultDeploymentManager(configs, connector_types={"nothing": Nothing}, **options) as manager:
        with Stopwatch() as watch:
            await manager.deploy_all()
            await manager.undeploy_all()
    return watch.cpu


_UNLIMITED = {"undeploy_timeout": None}
#: The price of what is on only if asked for, then the price of what is always on: each is taken away in addition to the
#: ones before.
_MANAGERS = (
    _Manager("the manager"),
    _Manager("with a listener for events", {"on_event": lambda _: None}),
    _Manager("with a limit for each deploy", {"deploy_timeout": 60.0}),
    _Manager("with a bound on concurrency", {"max_concurrent": 100}),
    _Manager("without the limit for each undeploy", _UNLIMITED),
    _Manager("also without the times of its steps", _UNLIMITED, clock=False),
    _Manager("also without the scope that protects undeploy", _UNLIMITED, False, _attempt_scope_only),
    _Manager("also without the scope by which deploy is cancelled", _UNLIMITED, False, _no_scope),
)


# -- Its parts ---------------------------------------------------------------------------------------------------------


def _check_and_construct(configs: Sequence[DeploymentConfig]) -> float:
    """CPU seconds of checking all definitions and constructing all connectors."""
    known = _known(configs)
    with Stopwatch() as watch:
        resolution = known.resolve([config.name for config in configs], present={})
        known.commit(resolution)
        for definition in resolution.missing:
            definition.build(None)
    return watch.cpu


def _decide(configs: Sequence[DeploymentConfig]) -> float:
    """CPU seconds of all decisions, without an event loop, tasks or connectors."""
    names = [config.name for config in configs]
    resolution = _known(configs).resolve(names, present={})
    engine = Engine()
    engine.verbose = False
    with Stopwatch() as watch:
        claim = engine.claim(0.0, names, resolution.missing)
        _answer(engine)
        engine.leave(0.0, claim, granted=True)
        engine.withdraw_all(0.0)
        _answer(engine)
    if engine.deployments:
        raise AssertionError("something is left")
    return watch.cpu


def _answer(engine: Engine) -> None:
    effects = engine.effects
    while effects:
        do, subject, _ = effects.popleft()
        if do is Do.PROCEED:
            deployment = cast("Deployment", subject)
            if deployment.phase is Phase.STARTING:
                engine.begun(0.0, deployment)
                engine.attempt_ended(0.0, deployment, None, deployment)
            else:
                engine.torn_down(0.0, deployment)


def _known(configs: Sequence[DeploymentConfig]) -> Definitions:
    known = Definitions({"nothing": Nothing}, Path.cwd())
    known.add_all(configs)
    return known


def _on(
    part: Callable[[Sequence[DeploymentConfig]], float], configs: Sequence[DeploymentConfig]
) -> Callable[[], float]:
    return lambda: part(configs)


_PARTS = {
    "its checks and constructors alone": _check_and_construct,
    "its decisions alone": _decide,
}
