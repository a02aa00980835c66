"""The dependency graph: closure, cycles, waves, longest paths.

Pure functions over names and a ``dependencies`` function; no event loop, no recursion, one pass over nodes and edges
each, so that a chain of 100,000 deployments is no harder than a star of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

from .exceptions import DependencyCycleError

Dependencies: TypeAlias = Callable[[str], Iterable[str]]


def closure(roots: Iterable[str], dependencies: Dependencies) -> list[str]:
    """The roots and everything that they depend on, each once, after all of its own dependencies.

    :raises DependencyCycleError: with the path of the first cycle met
    """
    order: list[str] = []
    finished: set[str] = set()
    for root in roots:
        if root not in finished:
            _visit(root, dependencies, finished, order)
    return order


def _visit(root: str, dependencies: Dependencies, finished: set[str], order: list[str]) -> None:
    # The dict is the stack of a depth-first search and at the same time the set of what is on it, which is what
    # makes a cycle visible the moment it closes.
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
    """The reverse of the graph: for each name of a closure, the names in it that depend on it."""
    reverse: dict[str, list[str]] = {name: [] for name in order}
    for name in order:
        for dependency in dependencies(name):
            reverse[dependency].append(name)
    return reverse


def waves(order: Sequence[str], dependencies: Dependencies) -> list[list[str]]:
    """How a closure comes up: in each wave, what becomes ready when the last thing it waited for is up.

    :param order: a closure, dependencies first, as :func:`closure` returns it
    """
    return _by_level(order, longest_paths(order, dependencies))


def teardown_waves(order: Sequence[str], dependencies: Dependencies) -> list[list[str]]:
    """How a closure goes down: in each wave, what can go once the last of its dependents is down."""
    return _by_level(order, remaining_paths(order, dependencies))


def _by_level(order: Sequence[str], level: Mapping[str, int]) -> list[list[str]]:
    result: list[list[str]] = [[] for _ in range(max(level.values(), default=0))]
    for name in order:
        result[level[name] - 1].append(name)
    return result


def longest_paths(order: Sequence[str], dependencies: Dependencies) -> dict[str, int]:
    """For each name the number of deployments on the longest path from it down, itself included."""
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
    """For each name the number of deployments on the longest path from it up through its dependents, itself included.

    Of those that are ready, the one with the longest remaining path goes first (rule K1).
    """
    length = dict.fromkeys(order, 1)
    for name in reversed(order):
        longer = length[name] + 1
        for dependency in dependencies(name):
            if length[dependency] < longer:  # noqa: PLR1730 - as above
                length[dependency] = longer
    return length
