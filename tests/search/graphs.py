"""The graphs that are searched: all of them up to renaming, each with the options that its deployments may have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import permutations, product

from attrs import Factory, field, frozen

NAMES = "abcd"

#: For each deployment what it depends on, by number, each with whether it wraps it.
Edges = tuple[tuple[tuple[int, bool], ...], ...]


@frozen
class Option:
    """The options of one deployment."""

    retries: int = 0
    restarts: int = 0
    interruptible: bool = True

    def __str__(self) -> str:
        said = {"retries": self.retries, "restarts": self.restarts, "uninterruptible": not self.interruptible}
        return ",".join(f"{word}={value}" if value is not True else word for word, value in said.items() if value)


PLAIN = Option()
OPTIONS = (Option(retries=1), Option(restarts=1), Option(interruptible=False))


@frozen
class Node:
    """The definition of one deployment, as the engine sees it."""

    name: str
    dependencies: tuple[str, ...]
    wraps: bool
    interruptible: bool
    retries: int
    restarts: int


def _below(graph: Graph) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(number for number, _ in sorted(edges, key=lambda edge: not edge[1])) for edges in graph.edges)


def _inner(graph: Graph) -> tuple[int, ...]:
    return tuple(next((number for number, wraps in edges if wraps), -1) for edges in graph.edges)


def _wrapped(graph: Graph) -> tuple[bool, ...]:
    return tuple(number in graph.inner for number in range(len(graph.edges)))


def _above(graph: Graph) -> tuple[tuple[int, ...], ...]:
    return tuple(
        tuple(other for other, below in enumerate(graph.below) if number in below) for number in range(len(graph.edges))
    )


def _closure(graph: Graph) -> tuple[tuple[int, ...], ...]:
    found: list[tuple[int, ...]] = []
    for number, below in enumerate(graph.below):
        order = dict.fromkeys(each for dependency in below for each in found[dependency])
        found.append((*order, number))
    return tuple(found)


def _upwards(graph: Graph) -> tuple[tuple[int, ...], ...]:
    numbers = range(len(graph.edges))
    return tuple(tuple(other for other in numbers if number in graph.closure[other]) for number in numbers)


def _depths(graph: Graph) -> tuple[int, ...]:
    found: list[int] = []
    for below in graph.below:
        found.append(1 + max((found[each] for each in below), default=0))
    return tuple(found)


def _nodes(graph: Graph) -> tuple[Node, ...]:
    return tuple(
        Node(
            NAMES[number],
            tuple(NAMES[dependency] for dependency in graph.below[number]),
            graph.inner[number] >= 0,
            option.interruptible,
            option.retries,
            option.restarts,
        )
        for number, option in enumerate(graph.options)
    )


@frozen
class Graph:
    """Definitions, and the limit on how many connectors may be at work.

    :ivar below: for each deployment the numbers of its dependencies; the one that it wraps comes first
    :ivar inner: for each deployment the number of the one that it wraps, or -1
    :ivar wrapped: for each deployment whether another one wraps it
    :ivar above: for each deployment the numbers of its dependents
    :ivar closure: for each deployment it and all below it, dependencies first
    :ivar depths: for each deployment the number of deployments on the longest path down from it
    :ivar upwards: for each deployment it and all above it, dependencies first
    """

    edges: Edges
    options: tuple[Option, ...]
    limit: int | None = None
    below: tuple[tuple[int, ...], ...] = field(init=False, default=Factory(_below, takes_self=True))
    inner: tuple[int, ...] = field(init=False, default=Factory(_inner, takes_self=True))
    wrapped: tuple[bool, ...] = field(init=False, default=Factory(_wrapped, takes_self=True))
    above: tuple[tuple[int, ...], ...] = field(init=False, default=Factory(_above, takes_self=True))
    closure: tuple[tuple[int, ...], ...] = field(init=False, default=Factory(_closure, takes_self=True))
    upwards: tuple[tuple[int, ...], ...] = field(init=False, default=Factory(_upwards, takes_self=True))
    depths: tuple[int, ...] = field(init=False, default=Factory(_depths, takes_self=True))
    nodes: tuple[Node, ...] = field(init=False, default=Factory(_nodes, takes_self=True))

    def __len__(self) -> int:
        return len(self.edges)

    def __str__(self) -> str:
        parts = [
            f"{NAMES[number]} {'wraps' if wraps else 'needs'} {NAMES[below]}"
            for number, edges in enumerate(self.edges)
            for below, wraps in edges
        ]
        parts += [f"{NAMES[number]}: {option}" for number, option in enumerate(self.options) if option != PLAIN]
        parts += [f"limit {self.limit}"] if self.limit is not None else []
        return f"{len(self.edges)} deployments ({'; '.join(parts) or 'no edges'})"


def edges_of(size: int) -> list[Edges]:
    """Return all graphs of so many deployments, one of each that are the same but for the names."""
    found: dict[Edges, None] = {}
    choices = [_edges_below(number) for number in range(size)]
    for edges in product(*choices):
        found.setdefault(min(_renamed(edges)))
    return list(found)


def _edges_below(number: int) -> list[tuple[tuple[int, bool], ...]]:
    """Return all sets of edges from a deployment to those with lower numbers; at most one of them wraps."""
    kinds = product((None, False, True), repeat=number)
    sets = (tuple((below, wraps) for below, wraps in enumerate(each) if wraps is not None) for each in kinds)
    return [each for each in sets if sum(wraps for _, wraps in each) <= 1]


def _renamed(edges: Edges) -> Iterator[Edges]:
    """Give the graph under every renaming that leaves dependencies before their dependents."""
    for order in permutations(range(len(edges))):
        renamed = _rename(edges, order)
        if all(below < number for number, each in enumerate(renamed) for below, _ in each):
            yield renamed


def _rename(edges: Edges, order: Sequence[int]) -> Edges:
    return tuple(tuple(sorted((order.index(below), wraps) for below, wraps in edges[old])) for old in order)


def symmetries(edges: Edges, options: tuple[Option, ...]) -> list[tuple[int, ...]]:
    """Return the renamings under which a graph with its options is the same."""
    return [
        order
        for order in permutations(range(len(edges)))
        if _rename(edges, order) == edges and tuple(options[old] for old in order) == options
    ]


def graphs(size: int, *, everywhere: bool = True) -> list[Graph]:
    """Return all graphs of so many deployments: plain, with each option in some place, and with a limit of one.

    :param everywhere: with each option in each place; otherwise in one place, which is another one in the next graph
    """
    found: list[Graph] = []
    for number, edges in enumerate(edges_of(size)):
        plain = (PLAIN,) * size
        found.append(Graph(edges, plain))
        placed: dict[tuple[Option, ...], None] = {}
        for kind, option in enumerate(OPTIONS):
            for place in range(size) if everywhere else [(number + kind) % size]:
                options = (*plain[:place], option, *plain[place + 1 :])
                same = (tuple(options[old] for old in order) for order in symmetries(edges, plain))
                placed.setdefault(min(same, key=str))
        found.extend(Graph(edges, options) for options in placed)
        found.append(Graph(edges, plain, limit=1))
    return found
