"""What of the overhead is the price of which promise: the manager with one after the other taken out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self
from unittest.mock import patch

import anyio
from attrs import field, frozen

from anydeploy import DefaultDeploymentManager, DeploymentConfig

from .contenders import BACKENDS, Nothing, floor, timed
from .graphs import chain, definitions, wide
from .measure import Effort, Row, Section, Stopwatch, compare, in_turns


class _NoScope:
    """Looks like a cancel scope, and does nothing."""

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


def _outer_scope_only(**options: Any) -> Any:
    return anyio.CancelScope(**options) if options else _NoScope()


def _no_scope(**_: Any) -> Any:
    return _NoScope()


@frozen
class _Without:
    """The manager, less what is named."""

    name: str
    options: dict[str, Any] = field(factory=dict[str, Any])
    clock: bool = True
    scope: Callable[..., Any] | None = None

    def timed(self, configs: Sequence[DeploymentConfig], backend: str) -> Callable[[], float]:
        def measure() -> float:
            with ExitStack() as patches:
                if not self.clock:
                    patches.enter_context(patch("anydeploy.fleet.current_time", lambda: 0.0))
                if self.scope is not None:
                    patches.enter_context(patch("anydeploy.deployment.CancelScope", self.scope))
                return anyio.run(_life, configs, self.options, **BACKENDS[backend])

        return measure


_UNLIMITED = {"undeploy_timeout": None}
_VARIANTS = (
    _Without("nothing"),
    _Without("the limit of time for its undeploy", _UNLIMITED),
    _Without("and the moments of its changes of state", _UNLIMITED, clock=False),
    _Without("and the scope that keeps a late cancellation from its undeploy", _UNLIMITED, False, _outer_scope_only),
    _Without("and the scope by which its deploy can be cancelled", _UNLIMITED, False, _no_scope),
)


def run(effort: Effort) -> list[Section]:
    rows: list[Row] = []
    for make in (wide, chain):
        for loop in BACKENDS:
            for n in effort.sizes(1_000):
                configs = definitions(make(n))
                contenders = {variant.name: variant.timed(configs, loop) for variant in _VARIANTS}
                contenders["floor"] = timed(floor, configs, backend=loop)
                found = in_turns(contenders, effort.rounds(15), collect=False)
                for variant in _VARIANTS:
                    case: dict[str, str | int] = {"shape": make.__name__, "without": variant.name, "loop": loop}
                    rows.append(compare(case, found, variant.name, "floor", unit="µs", scale=1e6 / n))
    title = "What each promise costs: 1,000 deployments without it, gc off, beside one task and one Event"
    return [Section(title, rows, across="loop")]


async def _life(configs: Sequence[DeploymentConfig], options: dict[str, Any]) -> float:
    async with DefaultDeploymentManager(configs, connector_types={"nothing": Nothing}, **options) as manager:
        with Stopwatch() as watch:
            await manager.deploy_all()
            await manager.undeploy_all()
    return watch.cpu
