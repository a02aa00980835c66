"""The graph functions over large graphs, per node, compared with graphlib, networkx and rustworkx."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from functools import partial
from graphlib import TopologicalSorter
from typing import Any

from anydeploy.graph import closure, longest_paths, waves

from .graphs import dag, names
from .measure import Aim, Effort, Row, Section, Stopwatch, compare, in_turns

_ROUNDS = {100_000: 5, 1_000_000: 2}


def run(effort: Effort) -> list[Section]:
    rows: list[Row] = []
    skipped: list[str] = []
    for n in effort.sizes(*_ROUNDS):
        graph = names(dag(n))
        contenders = _ours(graph)
        for peer in (_graphlib, _networkx, _rustworkx):
            try:
                contenders |= peer(graph)
            except ImportError as missing:
                skipped = [*skipped, f"{missing.name} is not installed"]
        # The graphs of all contenders would be searched for garbage again and again.
        gc.collect()
        gc.freeze()
        found = in_turns(contenders, effort.rounds(_ROUNDS.get(n, 1)), warm_up=False)
        gc.unfreeze()
        for ours, theirs, aim in _COMPARISONS:
            if theirs in found:
                case: dict[str, str | int] = {"what": ours, "nodes": n}
                label = f"{ours}, {n:,} nodes" if n == min(_ROUNDS) else None
                rows.append(compare(case, found, ours, theirs, unit="µs", scale=1e6 / n, aim=aim, label=label))
    return [Section("The graph, three dependencies for each deployment", rows, skipped=list(dict.fromkeys(skipped)))]


_COMPARISONS = (
    ("closure", "graphlib, order and building", Aim(1)),
    ("closure", "networkx, order", None),
    ("closure", "networkx, order and building", None),
    ("closure", "rustworkx, order", Aim(1.5)),
    ("closure", "rustworkx, order and building", None),
    ("closure and waves", "networkx, generations", None),
    ("closure and waves", "rustworkx, generations", None),
    ("closure and longest path", "networkx, longest path", None),
    ("closure and longest path", "rustworkx, longest path", None),
)


def _timed(function: Callable[[], object]) -> float:
    with Stopwatch() as watch:
        function()
    return watch.cpu


def _ours(graph: Mapping[str, list[str]]) -> dict[str, Callable[[], float]]:
    dependencies = graph.__getitem__
    # From the top, so that the search goes as deep as there is.
    top = list(graph)[::-1]
    return {
        "closure": partial(_timed, lambda: closure(top, dependencies)),
        # The peers order the graph as well, on their way.
        "closure and waves": partial(_timed, lambda: waves(closure(top, dependencies), dependencies)),
        "closure and longest path": partial(_timed, lambda: longest_paths(closure(top, dependencies), dependencies)),
    }


def _graphlib(graph: Mapping[str, list[str]]) -> dict[str, Callable[[], float]]:
    return {"graphlib, order and building": partial(_timed, lambda: list(TopologicalSorter(graph).static_order()))}


def _networkx(graph: Mapping[str, list[str]]) -> dict[str, Callable[[], float]]:
    import networkx as nx

    def build() -> Any:
        digraph = nx.DiGraph()
        digraph.add_nodes_from(graph)
        digraph.add_edges_from((below, name) for name, names in graph.items() for below in names)
        return digraph

    built = build()
    return {
        "networkx, order": partial(_timed, lambda: list(nx.topological_sort(built))),
        "networkx, order and building": partial(_timed, lambda: list(nx.topological_sort(build()))),
        "networkx, generations": partial(_timed, lambda: list(nx.topological_generations(built))),
        "networkx, longest path": partial(_timed, lambda: nx.dag_longest_path_length(built)),
    }


def _rustworkx(graph: Mapping[str, list[str]]) -> dict[str, Callable[[], float]]:
    import rustworkx as rx

    def build() -> Any:
        digraph = rx.PyDiGraph()
        index = dict(zip(graph, digraph.add_nodes_from(list(graph)), strict=True))
        digraph.add_edges_from_no_data(
            [(index[below], index[name]) for name, names in graph.items() for below in names]
        )
        return digraph

    built = build()
    return {
        "rustworkx, order": partial(_timed, lambda: list(rx.topological_sort(built))),
        "rustworkx, order and building": partial(_timed, lambda: _named(rx, build())),
        "rustworkx, generations": partial(_timed, lambda: list(rx.topological_generations(built))),
        "rustworkx, longest path": partial(_timed, lambda: rx.dag_longest_path_length(built)),
    }


def _named(rx: Any, digraph: Any) -> list[str]:
    """The order as names: rustworkx knows numbers."""
    found: list[str] = [digraph[index] for index in rx.topological_sort(digraph)]
    return found
