"""All small scopes: everything that a few callers can do to a few deployments, each to be explored as a whole."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, combinations, combinations_with_replacement, permutations
from typing import Any, TypeAlias

from anyio import create_task_group
from attrs import frozen
from explorer import Exploration, explore

from anydeploy import DeploymentConfig
from anydeploy.testing import Feature, Rule, Subject, every_rule, recorded

from .explored import FallibleScript, Onlooker, start

#: By name, the names that a deployment depends on: the first is wrapped.
Dependencies: TypeAlias = Mapping[str, tuple[str, ...]]
#: The operation that a caller calls, and the name; empty for ``undeploy_all``.
Call: TypeAlias = tuple[str, str]

_NAMES = "abcdefgh"


@frozen
class Scope:
    """A dependency graph, and the calls that are made at once.

    :ivar dependencies: the graph
    :ivar calls: each is made by a caller of its own
    """

    dependencies: Dependencies
    calls: tuple[Call, ...]

    def __str__(self) -> str:
        graph = ", ".join(
            f"{name} on {' and '.join(below)}" if below else name for name, below in self.dependencies.items()
        )
        return f"{graph}: " + " | ".join(f"{operation} {name}".strip() for operation, name in self.calls)

    def explore(self, subject: Subject, rules: Callable[[], Iterable[Rule]] = every_rule, **limits: Any) -> Exploration:
        """Explore :meth:`scenario`, with the limits of :func:`explorer.explore`."""
        return explore(self.scenario(subject, rules), **limits)

    def scenario(
        self, subject: Subject, rules: Callable[[], Iterable[Rule]] = every_rule
    ) -> Callable[[], Awaitable[None]]:
        """Make an async function for :func:`explorer.explore`: all callers at once, and then the end of the manager.

        Each connector is read after every step. Any ``deploy`` and ``undeploy`` of a connector may fail, and any caller
        may be cancelled, as far as the limits of the exploration go.
        """
        script = FallibleScript(*self._configs(), rules=rules)

        async def run() -> None:
            script.restart()
            async with recorded(script, subject) as manager:
                Onlooker(manager).watch()
                async with create_task_group() as tasks:
                    for operation, name in self.calls:
                        start(tasks, manager, operation, name)

        return run

    def _configs(self) -> Iterator[DeploymentConfig]:
        for name, below in self.dependencies.items():
            if below:
                yield DeploymentConfig(name, "wrapper", wraps=below[0], depends_on=below[1:])
            else:
                yield DeploymentConfig(name, "scripted")


def graphs(most: int, *, forests: bool = False) -> list[Dependencies]:
    """Every dependency graph of up to ``most`` deployments, each once up to the names.

    :param forests: only those in which everything depends on one other at most, as it is with ``wraps`` alone
    """
    found: dict[tuple[Any, ...], Dependencies] = {}
    for size in range(1, most + 1):
        names = _NAMES[:size]
        below = [_subsets(names[:index], 1 if forests else index) for index in range(size)]
        for choice in _product(below):
            graph = dict(zip(names, choice, strict=True))
            found.setdefault(_canonical(graph), graph)
    return list(found.values())


def every_scope(subject: Subject, *, deployments: int = 3, callers: int = 3) -> list[Scope]:
    """Every graph of up to ``deployments`` with every choice of up to ``callers`` calls, each once up to the names."""
    result: list[Scope] = []
    for graph in graphs(deployments, forests=Feature.DEPENDS_ON not in subject.features):
        possible = [(operation, name) for name in graph for operation in ("deploy", "undeploy")]
        possible.append(("undeploy_all", ""))
        symmetries = list(_symmetries(graph))
        seen: set[tuple[Call, ...]] = set()
        for number in range(1, callers + 1):
            for calls in combinations_with_replacement(possible, number):
                if calls not in seen:
                    result.append(Scope(graph, calls))
                    seen.update(_renamed(calls, names) for names in symmetries)
    return result


def _subsets(names: Sequence[str], most: int) -> list[tuple[str, ...]]:
    return list(chain.from_iterable(combinations(names, size) for size in range(most + 1)))


def _product(choices: Sequence[Sequence[tuple[str, ...]]]) -> Iterator[tuple[tuple[str, ...], ...]]:
    if not choices:
        yield ()
        return
    for first in choices[0]:
        for rest in _product(choices[1:]):
            yield first, *rest


def _edges(graph: Dependencies, names: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((names[name], names[other]) for name, below in graph.items() for other in below))


def _renamings(graph: Dependencies) -> Iterator[Mapping[str, str]]:
    for order in permutations(graph):
        yield dict(zip(graph, order, strict=True))


def _canonical(graph: Dependencies) -> tuple[Any, ...]:
    return len(graph), min(_edges(graph, names) for names in _renamings(graph))


def _symmetries(graph: Dependencies) -> Iterator[Mapping[str, str]]:
    """The ways to exchange names that leave the graph as it is; which of several is wrapped makes no difference."""
    edges = _edges(graph, {name: name for name in graph})
    return (names for names in _renamings(graph) if _edges(graph, names) == edges)


def _renamed(calls: tuple[Call, ...], names: Mapping[str, str]) -> tuple[Call, ...]:
    order = {call: index for index, call in enumerate(_all_calls(names))}
    return tuple(sorted(((operation, names.get(name, "")) for operation, name in calls), key=order.__getitem__))


def _all_calls(names: Mapping[str, str]) -> list[Call]:
    return [*((operation, name) for name in names for operation in ("deploy", "undeploy")), ("undeploy_all", "")]
