"""The rules about loss, renewal and restart: X1 to X4."""

from __future__ import annotations

from anydeploy.lifecycle import Phase, Step

from .facts import ATTEMPTED, COMING, GOING, LOST, UP, targets_of
from .graphs import NAMES
from .moves import Kind
from .passage import Passage
from .violation import Violation, require
from .world import number_of

#: On the way down, now or when the dependents are.
LEAVING_SOON = GOING | {Phase.RETIRING, Phase.RETIRING_LOST, Phase.GIVING_UP, Phase.CLEANING}


def loss_takes_the_wrappers(move: Passage) -> None:
    """X1: with an environment all live wrappers of it are lost, each naming it, and nothing else."""
    before, after, culprit = move.before, move.after, move.number
    if before.phases[culprit] is Phase.ATTEMPTING:
        require(after.phases[culprit] is not Phase.ATTEMPTING, "X1", "a loss before `deploy` has returned is ignored")
    if before.phases[culprit] not in UP:
        return
    inner = move.graph.inner
    lost = [culprit]
    for each in lost:
        lost += [above for above in move.graph.above[each] if inner[above] == each and before.phases[above] in UP]
    told = {event.name: event.because for event in move.told if event.step is Step.LOST}
    expected = {NAMES[each]: None if each == culprit else NAMES[culprit] for each in lost}
    if told != expected:
        raise Violation("X1", f"{told} are told to be lost, and not {expected}")
    for number, phase in enumerate(before.phases):
        now = after.phases[number]
        if number in lost:
            require(now not in UP, "X1", "what was lost is live")
            cut_off = after.record(number).cut_off is after.record(culprit).cut_off
            require(cut_off or not after.record(number).wrapping, "X3", "it is not known what has to be reattached")
        elif phase in UP:
            require(now is phase or not after.demanded[number], "X1", "what was not lost is not live")
        elif inner[number] in lost and phase in ATTEMPTED:
            failed = after.record(number).failure is not None or now is Phase.GIVING_UP
            require(failed and now is not Phase.ATTEMPTING, "X1", "a wrapper goes on to come up on what was lost")


def loss_of_connection_is_known(move: Passage) -> None:
    """X3: that the way into an environment was lost is known until its wrappers are down."""
    for number, was in enumerate(move.before.records):
        record = move.after.records[number]
        if record is not None and record.wrapping:
            lost = (was is not None and was.cut_off) or (move.kind is Kind.CUT and move.number == number)
            require(record.cut_off or not lost, "X3", "it is forgotten that the connection was lost")


def is_renewed_for_a_reason(move: Passage) -> None:
    """X1, X2, X4: what is lost stays so until it is deployed, restarted, or undeployed, or may renew itself."""
    renewed = move.did(Step.RENEWED)
    for number in renewed:
        by_itself = move.kind is Kind.DUE and number == move.number
        allowed = move.graph.nodes[number].restarts > 0
        require(allowed or not by_itself, "X4", "what must not renew itself does")
        wanted = move.graph.inner[number] in renewed or move.after.is_awaited(number)
        require(by_itself or wanted, "X1", "what was lost is renewed for no reason")
    for number in move.moved:
        if move.before.phases[number] is Phase.LOST and move.after.phases[number] in GOING and number not in renewed:
            restarted = move.kind is Kind.RESTART and number in move.graph.upwards[move.number]
            require(restarted or not move.after.demanded[number], "X1", "what was lost goes down though it is demanded")


def renews_itself_as_often_as_allowed(move: Passage) -> None:
    """X4: a lost deployment is renewed by itself up to `restarts` times since it was last live for long."""
    record = move.after.record(move.number)
    was = move.before.record(move.number)
    allowed = record.definition.restarts
    require(record.restarts <= allowed, "X4", "it renews itself too often")
    if was.phase is Phase.LIVE and record.phase is Phase.LOST and not move.after.world.engine.closing:
        used = 0 if was.live_since < 0.0 else was.restarts
        scheduled = record.due is not None and record.restarts == used + 1
        require(scheduled is (used < allowed), "X4", "it renews itself, or does not, against what is allowed")


def restarts_what_stands_on_it(move: Passage) -> None:
    """X4: `restart` takes down a deployment and all that stands on it, and waits for what was asked for of them."""
    before, after = move.before, move.after
    above = [number for number in move.graph.upwards[move.number] if before.records[number] is not None]
    for number, phase in enumerate(before.phases):
        now = after.phases[number]
        if number in above:
            require(not phase.stands or now in LEAVING_SOON, "X4", "what is to be restarted stays up")
        elif phase in UP:
            require(now is phase or not after.demanded[number], "X4", "what a restarted one stands on goes down")
    called = {number_of(each) for claim in before.claims for each in claim.awaited}
    asked = [number for number in above if before.explicit[number] or number in called]
    targets = [number for number in above if any(number in move.graph.closure[each] for each in asked)]
    made = after.world.claims[len(before.world.claims) :]
    claimed = sorted(target for claim in made for target in targets_of(claim))
    if claimed != targets:
        raise Violation("X4", f"a restart waits for {claimed}, and not for {targets}")


def what_is_kept_disappoints(move: Passage) -> None:
    """X4, U6: where a dependent gets stuck, what was to be restarted stays, and who waits for that is told."""
    for number in move.moved:
        was, now = move.before.phases[number], move.after.phases[number]
        if not ((was is Phase.RETIRING and now is Phase.LIVE) or (was in LOST and now is Phase.LOST)):
            continue
        require(move.kind is Kind.STICK, "X4", "what is to go down stays for no reason")
        for claim in move.after.claims:
            root = move.after.world.restarts.get(claim)
            if root is not None and not claim.settled and number in move.graph.upwards[root]:
                scheduled = move.after.record(number).due is not None
                require(scheduled, "X4", "a caller waits for a restart that was called off")


def what_is_dropped_is_not_needed(move: Passage) -> None:
    """D5, D6: what is still to come is dropped only when nothing demands it, or something has failed below it."""
    for number in move.did(Step.DROPPED):
        closing = move.after.world.engine.closing
        demanded = move.after.demanded[number] and move.after.phases[number] not in COMING
        require(closing or not demanded, "D6", "what is demanded is not started any more")
