"""The dependency graph: closure, cycles, waves, longest paths.

Pure functions over names and a ``dependencies`` function. Each makes one pass over nodes and edges, without recursion,
so that a chain of 100,000 deployments is as easy as a star.

    order = closure(["web"], lambda name: configs[name].dependencies)
    for wave in waves(order, lambda name: configs[name].dependencies):
        print(wave)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

from .exceptions import DependencyCycleError

Dependencies: TypeAlias = Callable[[str], Iterable[str]]


def closure(roots: Iterable[str], dependencies: Dependencies) -> list[str]:
    """Return the roots and everything that they depend on, each name once and after all of its dependencies.

    :raises DependencyCycleError: with the path of the first cycle that is found
    """
    order: list[str] = []
    finished: set[str] = set()
    for root in roots:
        if root not in finished:
            _visit(root, dependencies, finished, order)
    return order


def _visit(root: str, dependencies: Dependencies, finished: set[str], order: list[str]) -> None:
    # The dict is the stack of a depth-first search, and the set of the names on it, so that a cycle is found as soon as
    # it closes.
    path: dict[str, Iterator[str]] = {root: iter(dependencies(root))}
    while path:
        node, remaining = next(reversed(path.items()))
        for dependency in remaining:
            if dependency in finished:
                continue
            if dependency in path:
                names = list(path)
                raise DependencyCycleError([*names[names.index(dependency) :], dependency])
            path[dependency] = iter(dependencies(dependency))
            break
        else:
            # Not `del`: the iteration from the end would step over the holes that it leaves, again and again.
            path.popitem()
            finished.add(node)
            order.append(node)


def dependents(order: Sequence[str], dependencies: Dependencies) -> Mapping[str, list[str]]:
    """Return for each name of a closure the names in it that depend on it."""
    reverse: dict[str, list[str]] = {name: [] for name in order}
    for name in order:
        for dependency in dependencies(name):
            reverse[dependency].append(name)
    return reverse


def waves(order: Sequence[str], dependencies: Dependencies) -> list[list[str]]:
    """Return the waves in which a closure comes up: each name in the first wave after all of its dependencies.

    :param order: a closure, dependencies first, as :func:`closure` returns it
    """
    return _by_level(order, longest_paths(order, dependencies))


def teardown_waves(order: Sequence[str], dependencies: Dependencies) -> list[list[str]]:
    """Return the waves in which a closure goes down: each name in the first wave after all of its dependents."""
    return _by_level(order, remaining_paths(order, dependencies))


def _by_level(order: Sequence[str], level: Mapping[str, int]) -> list[list[str]]:
    result: list[list[str]] = [[] for _ in range(max(level.values(), default=0))]
    for name in order:
        result[level[name] - 1].append(name)
    return result


def longest_paths(order: Sequence[str], dependencies: Dependencies) -> dict[str, int]:
    """Return for each name the number of deployments on the longest path down from it, itself included."""
    length: dict[str, int] = {}
    for name in order:
        longest = 0
        for dependency in dependencies(name):
            # Not `max`: this is the innermost loop, and a comparison is a fraction of a call.
            if length[dependency] > longest:  # noqa: PLR1730
                longest = length[dependency]
        length[name] = longest + 1
    return length


def remaining_paths(order: Sequence[str], dependencies: Dependencies) -> dict[str, int]:
    """Return for each name the number of deployments on the longest path up from it, itself included.

    Of the ready ones, the one with the longest remaining path is started first (rule K1).
    """
    length = dict.fromkeys(order, 1)
    for name in reversed(order):
        longer = length[name] + 1
        for dependency in dependencies(name):
            if length[dependency] < longer:  # noqa: PLR1730 - as above
                length[dependency] = longer
    return length
