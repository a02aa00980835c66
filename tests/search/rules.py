"""The rules about moves, and the moves that each is about. Those about states are among the invariants."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from anydeploy.lifecycle import Step

from . import coming, going, losing
from .moves import Kind
from .passage import Passage

Rule: TypeAlias = Callable[[Passage], None]

#: About every move.
ALWAYS: tuple[Rule, ...] = (
    coming.callers_are_counted,
    coming.demand_is_explicit,
    coming.is_hidden_since_undeploy,
)

#: About moves that do something.
ON_EFFECTS: tuple[Rule, ...] = (
    coming.is_live_when_granted,
    coming.failure_says_why,
    coming.only_the_interruptible_is_cancelled,
    losing.loss_of_connection_is_known,
    losing.is_renewed_for_a_reason,
    losing.what_is_kept_disappoints,
    losing.what_is_dropped_is_not_needed,
    going.goes_down_after_its_dependents,
    going.connector_is_invalid,
    going.returns_when_it_is_down,
    going.leaves_stuck_for_a_reason,
    going.events_tell_the_state,
)

#: About one kind of move.
OF_KIND: dict[Kind, tuple[Rule, ...]] = {
    Kind.UNDEPLOY: (going.undeploy_withdraws,),
    Kind.RESTART: (losing.restarts_what_stands_on_it,),
    Kind.CLOSE: (going.closing_limits_what_works,),
    Kind.CANCEL: (coming.others_notice_nothing,),
    Kind.BEGIN: (coming.comes_up_after_its_dependencies, coming.comes_up_once, coming.attempts_are_numbered),
    Kind.RETURN: (coming.what_returns_is_live,),
    Kind.END: (coming.is_tried_as_often_as_allowed,),
    Kind.FAIL: (coming.is_tried_as_often_as_allowed,),
    Kind.STICK: (going.gets_stuck,),
    Kind.LOSE: (losing.loss_takes_the_wrappers, losing.renews_itself_as_often_as_allowed),
    Kind.CUT: (losing.loss_takes_the_wrappers, losing.renews_itself_as_often_as_allowed),
}


def check_passage(move: Passage) -> None:
    """Check all rules that speak about a move.

    :raises Violation: for the first that is broken
    """
    for rule in OF_KIND.get(move.kind, ()):
        rule(move)
    for rule in ALWAYS:
        rule(move)
    if move.moved or move.told or move.woken or move.failed:
        for rule in ON_EFFECTS:
            rule(move)
        if Step.FAILED in move.steps or Step.UNDEPLOY_FAILED in move.steps:
            coming.failure_reaches_all(move)
    if move.graph.limit is not None:
        going.most_urgent_goes_first(move)
