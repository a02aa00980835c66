"""Every state of the engine on two deployments: the rules hold, and the sequential model knows what calls lead to.

`nox -s search` does the same with three deployments.
"""

from __future__ import annotations

import pytest

from .explore import Search
from .graphs import Graph, graphs
from .resting import Comparison

# Seconds of a core are minutes where many share it.
pytestmark = pytest.mark.timeout(600)


@pytest.mark.parametrize("graph", graphs(2), ids=str)
def test_every_state_keeps_the_rules(graph: Graph) -> None:
    """D1-D6, R1, R3, R4, X1-X4, U1-U8, K1, K3: three calls, and two failures, losses or cancellations."""
    result = Search(graph, cancellations_are_faults=True).run()
    assert result.transitions > result.states > 1000


@pytest.mark.parametrize("graph", graphs(2), ids=str)
def test_calls_lead_to_what_the_model_knows(graph: Graph) -> None:
    """D1, D5, D6, X1-X4, U1, U2, U6-U8: any number of calls, one after the other, and two failures or losses."""
    compared = Comparison(graph, faults=2).run()
    assert compared.calls > compared.rests > 50
