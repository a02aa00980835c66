"""D1-D6, R1, R3, X1-X4, U1-U8, K1, K3: every state of the engine that two calls and a fault can lead to."""

from __future__ import annotations

import pytest

from .explore import Search
from .graphs import Graph, graphs


@pytest.mark.parametrize("graph", graphs(2), ids=str)
def test_every_state_keeps_the_rules(graph: Graph) -> None:
    states, transitions, _ = Search(graph, calls=2, faults=1).run()
    assert transitions > states > 10
