"""The rules about what goes down, gets stuck, or is left behind: R3, R4, U1 to U8; and about slots and events: K1."""

from __future__ import annotations

from collections.abc import Container

from anydeploy.engine.deployment import TeardownWait
from anydeploy.lifecycle import Phase, Step

from .facts import ANY, COMING, GOING, LOST, UP, Facts, targets_of
from .graphs import NAMES
from .moves import Kind
from .passage import Passage
from .violation import require
from .world import IDLE, TOLD, numbered


def goes_down_after_its_dependents(move: Passage) -> None:
    """R3, U1, U7, X2: a teardown waits for those of all dependents; that of what was lost, for its wrappers only."""
    after = move.after
    for number in move.moved:
        was = move.before.phases[number]
        if after.phases[number] not in GOING or not (was in UP or was in LOST):
            continue
        lost = was in LOST or number in move.did(Step.LOST)
        for above in move.graph.above[number]:
            merely = move.graph.inner[above] != number
            stands = after.world.exists[above] and NAMES[above] not in after.world.engine.left_behind
            require(not stands or (merely and lost), "R3", "a teardown begins before that of a dependent has ended")
        if was is Phase.LIVE and not lost:
            restarted = move.kind is Kind.RESTART and number in move.graph.upwards[move.number]
            require(restarted or not after.demanded[number], "U1", "what is live and demanded goes down")


def connector_is_invalid(move: Passage) -> None:
    """R4: a connector is invalid from the begin of its teardown, or from a loss that it has not reported itself."""
    for number in move.moved:
        if move.before.phases[number] in UP and move.after.phases[number] not in UP:
            reported = number == move.number and (move.kind is Kind.LOSE or move.kind is Kind.CUT)
            require(reported or number in move.invalidated, "R4", "a connector outlives its environment")


def returns_when_it_is_down(move: Passage) -> None:
    """U1, U3, U7: `undeploy` returns when all is down, or stuck, that went down with it."""
    for wait in move.woken:
        if isinstance(wait, TeardownWait) and wait in move.after.world.waits:
            require(move.after.world.waits[wait] == 0, "U1", "an undeploy returns before all is down")


def undeploy_withdraws(move: Passage) -> None:
    """U2, U4, U6: `undeploy` fails who waits for it, returns at once if it is needed, and tries again what is stuck."""
    number = move.number
    before, after = move.before, move.after
    for claim in after.claims:
        require(not claim.grants or number not in targets_of(claim), "U4", "a deploy goes on that was withdrawn")
    waits = any(following >> number & 1 for following in after.world.waits.values())
    down = after.demanded[number] or after.phases[number] is Phase.ABSENT
    require(waits or down, "U2", "an undeploy returns before it is down")
    if before.phases[number] is Phase.STUCK and not after.demanded[number]:
        require(after.phases[number] in GOING, "U6", "an undeploy does not try again what is stuck")


def gets_stuck(move: Passage) -> None:
    """U6, U8: what cannot be torn down is stuck; while the manager closes, it has one more try, and is left behind."""
    number = move.number
    now = move.after.phases[number]
    engine = move.after.world.engine
    if engine.closing:
        last = move.before.record(number).last_try
        left = NAMES[number] in engine.left_behind
        again = left or (now in GOING and move.after.record(number).last_try)
        require(left is last and again, "U8", "what is stuck has not had one last try")
    else:
        # A caller may wait for something else for which its inner environment is renewed, and it with that.
        renewed = move.graph.inner[number] in move.did(Step.RENEWED)
        require(now is Phase.STUCK or renewed, "U6", "a teardown has failed, and the deployment is not stuck")


def leaves_stuck_for_a_reason(move: Passage) -> None:
    """U6: what is stuck is tried again for those who ask, or when it is the turn of what nothing demands."""
    for number in move.moved:
        if move.before.phases[number] is Phase.STUCK:
            asked = move.kind in (Kind.UNDEPLOY, Kind.UNDEPLOY_ALL, Kind.RESTART, Kind.CLOSE)
            renewed = move.graph.inner[number] in move.did(Step.RENEWED)
            wanted = move.after.is_awaited(number) or not move.after.demanded[number]
            require(asked or renewed or wanted, "U6", "what is stuck is tried again for no reason")


def closing_limits_what_works(move: Passage) -> None:
    """U8: when the manager closes, a deadline bounds what is at work, and what is stuck has its last try."""
    if move.before.world.engine.closing:
        return
    for number, task in enumerate(move.before.world.tasks):
        require(task in (IDLE, TOLD) or number in move.limited, "U8", "what is at work has no deadline")
    for number, record in enumerate(move.after.records):
        if record is not None:
            stuck = move.before.phases[number] is Phase.STUCK
            require(record.last_try is stuck, "U8", "a last try is not known to be one")


def most_urgent_goes_first(move: Passage) -> None:
    """K1: of those that are ready, the one with the longest remaining path goes first.

    Whether a dependent that is up makes a path longer is left open: it may have to come up again.
    """
    after = move.after
    for number, record in enumerate(after.records):
        before = move.before.records[number]
        if record is None or not record.has_slot or (before is not None and before.has_slot):
            continue
        for other, waiting in enumerate(after.records):
            if waiting is not None and waiting.phase in (Phase.READY, Phase.LEAVING):
                longer = _path(after, other, COMING) > _path(after, number, ANY)
                require(not longer, "K1", "a shorter path goes before a longer one")


def _path(facts: Facts, number: int, counted: Container[Phase]) -> int:
    """Return the number of deployments that remain: down from one that has to go, up from one that has to come."""
    graph = facts.world.graph
    if facts.phases[number].stands:
        return graph.depths[number]
    above = [each for each in graph.above[number] if facts.phases[each] in counted]
    return 1 + max((_path(facts, each, counted) for each in above), default=0)


def events_tell_the_state(move: Passage) -> None:
    """Shape: each change of state is told, and what was told last is true."""
    believed = [phase.state for phase in move.before.phases]
    for event in move.told:
        believed[numbered(event.name)] = event.state
    for number, phase in enumerate(move.after.phases):
        left = NAMES[number] in move.after.world.engine.left_behind
        require(believed[number] is phase.state or left, "events", "a listener is told something else")
