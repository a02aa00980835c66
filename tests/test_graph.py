"""The pure graph, against naive references; no event loop."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anydeploy import DependencyCycleError
from anydeploy.graph import closure, dependents, longest_paths, remaining_paths, teardown_waves, waves


@st.composite
def dags(draw: st.DrawFn) -> dict[str, list[str]]:
    count = draw(st.integers(0, 12))
    graph: dict[str, list[str]] = {}
    for index in range(count):
        below = draw(st.sets(st.integers(0, index - 1))) if index else set()
        graph[f"n{index}"] = [f"n{i}" for i in sorted(below)]
    return graph


@given(dags())
def test_random_graphs(graph: dict[str, list[str]]) -> None:
    """D1, K1: order, reverse, waves and path lengths agree with their definitions."""

    def down(name: str) -> int:
        return 1 + max((down(d) for d in graph[name]), default=0)

    def up(name: str) -> int:
        return 1 + max((up(n) for n in graph if name in graph[n]), default=0)

    order = closure(graph, graph.__getitem__)
    assert sorted(order) == sorted(graph)
    for name in order:
        assert all(order.index(d) < order.index(name) for d in graph[name])
    assert dependents(order, graph.__getitem__) == {n: [m for m in order if n in graph[m]] for n in graph}
    assert longest_paths(order, graph.__getitem__) == {n: down(n) for n in graph}
    assert remaining_paths(order, graph.__getitem__) == {n: up(n) for n in graph}
    for levels, level in ((waves, down), (teardown_waves, up)):
        result = levels(order, graph.__getitem__)
        assert all(result)
        assert {n: i for i, names in enumerate(result, 1) for n in names} == {n: level(n) for n in graph}


@pytest.mark.parametrize("reverse", [False, True])
def test_chain_of_100_000(reverse: bool) -> None:
    """D1: linear, and without recursion."""
    count = 100_000
    graph = {str(i): [str(i - 1)] if i else [] for i in range(count)}
    order = closure(reversed(graph) if reverse else graph, graph.__getitem__)
    assert order == list(graph)
    assert len(waves(order, graph.__getitem__)) == len(teardown_waves(order, graph.__getitem__)) == count


def test_cycle() -> None:
    """D4: the path of the cycle, without what leads to it."""
    graph = {"x": ["a"], "a": ["b"], "b": ["c"], "c": ["a"]}
    with pytest.raises(DependencyCycleError) as caught:
        closure(["x"], graph.__getitem__)
    assert caught.value.cycle == ("a", "b", "c", "a")
