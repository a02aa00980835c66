"""R1, R2, D1 to D6, U1 to U8: histories that can be explained by the sequential model, and histories that cannot."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from runs import GRAPHS, Act, play

from anydeploy.testing.linearizability import Linearizability, check
from anydeploy.testing.sequential import Model

_EXAMPLES = int(os.environ.get("ANYDEPLOY_LINEARIZABILITY_EXAMPLES", "150"))

acts = st.builds(
    Act,
    st.sampled_from(
        ["deploy"] * 4
        + ["undeploy"] * 3
        + ["end"] * 5
        + ["fail"] * 2
        + ["cancel"] * 3
        + ["undeploy_all", "close", "build fails"]
    ),
    st.integers(0, 5),
    st.integers(0, 6),
)
many = settings(max_examples=_EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.timeout(0)
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@given(
    graph=st.sampled_from(sorted(GRAPHS)), script=st.lists(acts, max_size=14), limit=st.sampled_from([None, None, 1])
)
@many
def test_the_manager_is_never_refused(backend: str, graph: str, script: list[Act], limit: int | None) -> None:
    """D1 to D6, R1, R2, U1 to U8: whatever the manager does can be explained, in whatever way it is read."""
    history = play(backend, graph, script, [Linearizability()], limit).history
    history.check()
    # Without prompt calls the possibilities of three names are too many for a test.
    for prompt, witnessed in [(True, False), (False, True), (False, False)][: 3 if len(GRAPHS[graph]) < 3 else 2]:
        check(history.entries, Model(GRAPHS[graph], prompt=prompt, witnessed=witnessed))
