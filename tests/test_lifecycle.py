"""The phases of a deployment and their table."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from anydeploy.lifecycle import (
    TRANSITIONS,
    DeploymentEvent,
    DeploymentState,
    DeploymentStatus,
    Phase,
    Step,
    advance,
)

#: The states of one deployment, and the ones that each of them may give way to. An environment that was lost, or whose
#: deploy has failed, goes down before a fresh one comes up (rules D3, D5, X2).
STATES = {
    DeploymentState.ABSENT: {DeploymentState.DEPLOYING},
    DeploymentState.DEPLOYING: {DeploymentState.ABSENT, DeploymentState.LIVE, DeploymentState.UNDEPLOYING},
    DeploymentState.LIVE: {DeploymentState.LOST, DeploymentState.UNDEPLOYING},
    DeploymentState.LOST: {DeploymentState.UNDEPLOYING},
    DeploymentState.UNDEPLOYING: {DeploymentState.ABSENT, DeploymentState.STUCK},
    DeploymentState.STUCK: {DeploymentState.UNDEPLOYING},
}


def _rows() -> Iterator[tuple[Phase, Step, Phase]]:
    for phase, then in TRANSITIONS.items():
        for step, following in then.items():
            yield phase, step, following


ROWS = list(_rows())


@pytest.mark.parametrize(("phase", "step"), list(itertools.product(Phase, Step)), ids=str)
def test_table(phase: Phase, step: Step) -> None:
    """D1: a step that the table does not allow in a phase is refused, with both in the message."""
    following = [each for before, by, each in ROWS if (before, by) == (phase, step)]
    if following:
        assert [advance(phase, step)] == following
    else:
        with pytest.raises(RuntimeError, match=f"{phase} .* {step}$"):
            advance(phase, step)


def test_states() -> None:
    """D1-D6, X1-X4, U1, U6: the phases give way to each other as the states do that they are parts of."""
    changes = {state: {after.state for before, _, after in ROWS if before.state is state} - {state} for state in STATES}
    assert changes == STATES


def test_every_phase_is_in_the_table() -> None:
    """U1: each phase can be reached from absent, and absent from each; each step leads somewhere."""
    assert {step for _, step, _ in ROWS} == set(Step)
    assert _reached(Phase.ABSENT, [(before, after) for before, _, after in ROWS]) == set(Phase)
    assert _reached(Phase.ABSENT, [(after, before) for before, _, after in ROWS]) == set(Phase)


def _reached(start: Phase, edges: list[tuple[Phase, Phase]]) -> set[Phase]:
    found, stack = {start}, [start]
    while stack:
        phase = stack.pop()
        new = {after for before, after in edges if before is phase} - found
        found |= new
        stack.extend(new)
    return found


def test_environments_begin_and_end() -> None:
    """U1, D5: an environment may exist from the begin of an attempt until it was undeployed, and at no other time."""
    assert {step for before, step, after in ROWS if after.stands and not before.stands} == {Step.BEGUN}
    ends = {step for before, step, after in ROWS if before.stands and not after.stands}
    assert ends == {Step.CLEANED, Step.UNDEPLOYED}


def test_connectors_are_called_with_a_slot() -> None:
    """K1: no phase in which a connector works begins without a slot, except for the clean-up after an attempt."""
    begin = {step for before, step, after in ROWS if after.works and not before.works}
    assert begin == {Step.BEGUN, Step.GRANTED}
    assert {before for before, step, _ in ROWS if step is Step.BEGUN} == {Phase.STARTING}
    granted = {after for _, step, after in ROWS if step is Step.GRANTED}
    assert granted == {Phase.STARTING, Phase.UNDEPLOYING}
    end = {step for before, step, after in ROWS if before.works and not after.works}
    assert end == {Step.DEPLOYED, Step.CLEANED, Step.UNDEPLOYED, Step.UNDEPLOY_FAILED}


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (DeploymentEvent("a", DeploymentState.DEPLOYING, Step.BEGUN, 0.0, 1, 1), f"{Step.BEGUN}"),
        (DeploymentEvent("a", DeploymentState.DEPLOYING, Step.BEGUN, 0.0, 1, 2), f"{Step.BEGUN} (1 of 2)"),
        (DeploymentEvent("a", DeploymentState.LIVE, Step.DEPLOYED, 0.0, 1, 2), f"{Step.DEPLOYED}"),
        (
            DeploymentEvent("a", DeploymentState.LOST, Step.LOST, 0.0, because="b", error=OSError("gone")),
            f"{Step.LOST} because of 'b': OSError: gone",
        ),
    ],
)
def test_event_as_a_sentence(event: DeploymentEvent, told: str) -> None:
    """K3, X1: the attempt is told where there may be several, and the one to blame where it is another one."""
    assert event.told == told


def test_status_of_what_has_never_been_up() -> None:
    """R1: no attempt was made yet, and one may be."""
    status = DeploymentStatus("a", DeploymentState.ABSENT)
    assert (status.attempt, status.attempts, status.restarts, status.explicit) == (0, 1, 0, False)
    event = DeploymentEvent("a", DeploymentState.DEPLOYING, Step.DEMANDED, 0.0)
    assert (event.attempt, event.attempts) == (0, 1)


def test_what_the_labels_are_good_for() -> None:
    """D1: two phases, or two steps, are never told by the same words."""
    for words in (list(map(str, Phase)), list(map(str, Step))):
        assert len(set(words)) == len(words)
