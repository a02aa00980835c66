"""The states and their table."""

from __future__ import annotations

import itertools

import pytest

from anydeploy.lifecycle import TRANSITIONS, DeploymentState, Step, advance


@pytest.mark.parametrize(("state", "step"), list(itertools.product(DeploymentState, Step)))
def test_table(state: DeploymentState, step: Step) -> None:
    """D1: what the table does not allow is refused."""
    following = TRANSITIONS.get(state, {}).get(step)
    if following is None:
        with pytest.raises(RuntimeError, match=str(state)):
            advance(state, step)
    else:
        assert advance(state, step) is following
