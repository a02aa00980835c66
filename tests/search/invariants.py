"""Invariants: the rules that speak about every moment, and promises of the engine to itself."""

from __future__ import annotations

from typing import Any

from anydeploy.engine.deployment import Deployment
from anydeploy.lifecycle import Phase

from .facts import ATTEMPTED, COMING, UP, Facts, targets_of
from .graphs import NAMES
from .violation import Violation, require
from .world import ATTEMPTING, CANCELLED, IDLE, TOLD, UNDEPLOYING, number_of, numbered

#: The activity of a task, by the phase of its deployment; cancelled only where the attempt may be.
TASKS = dict.fromkeys(Phase, IDLE) | {
    Phase.STARTING: TOLD,
    Phase.ATTEMPTING: ATTEMPTING,
    Phase.ABORTING: CANCELLED,
    Phase.GIVING_UP: CANCELLED,
    Phase.CLEANING: UNDEPLOYING,
    Phase.UNDEPLOYING: UNDEPLOYING,
}
SETTLED = frozenset({Phase.ABSENT, Phase.LIVE, Phase.LOST, Phase.STUCK})
#: On the way to where demand does not matter until it is there.
UNDER_WAY = frozenset({Phase.GIVING_UP, Phase.LEAVING, Phase.UNDEPLOYING})
WITHOUT_SLOT = frozenset({Phase.READY, Phase.LEAVING})


def check_state(facts: Facts) -> None:
    """Check all that must be true at any moment.

    :raises Violation: for the first that is not
    """
    for number, record in enumerate(facts.records):
        if record is not None:
            counts_are_right(facts, number, record)
            phase_is_what_demand_wants(facts, number, record)
            claims_are_known(facts, number, record)
        task_does_what_the_phase_says(facts, number)
    visible_are_the_live(facts)
    wrappers_stand_on_the_live(facts)
    dependencies_come_first(facts)
    claims_wait_for_something(facts)
    waits_follow_something(facts)
    slots_are_used(facts)
    what_is_granted_is_live(facts)
    if facts.world.engine.closing:
        closing_brings_nothing_up(facts)
    if is_at_rest(facts):
        check_rest(facts)


def counts_are_right(facts: Facts, number: int, record: Deployment) -> None:
    """Engine: each count of a record is the number of what it counts."""
    graph = facts.world.graph
    phases = facts.phases
    above = [each for each in graph.above[number] if facts.records[each] is not None]
    dependents = record.dependents or ()
    linked = len(dependents) == len(above) and all([facts.records[each] in dependents for each in above])
    require(linked, "engine", "a record is not linked to its dependents")
    standing = [each for each in above if phases[each].stands]
    counts = (
        sum([phases[each] is not Phase.LIVE for each in graph.below[number]]),
        sum([phases[each] is not Phase.ABSENT for each in above]),
        len(standing),
        sum([graph.inner[each] == number for each in standing]),
    )
    kept = (record.missing, record.holders, record.standing, record.wrapping)
    if counts != kept:
        raise Violation("engine", f"{record.name} counts {kept}, and not {counts}")
    require(record.phase is not Phase.ABSENT or bool(above), "engine", "an absent record is kept for nothing")


def phase_is_what_demand_wants(facts: Facts, number: int, record: Deployment) -> None:
    """Terms, D1, D6, X2, X4: an environment exists while it is demanded, and no longer; nothing is left to decide."""
    phase = facts.phases[number]
    if phase is Phase.ABSENT or phase is Phase.STUCK or phase in UNDER_WAY:
        return
    require(facts.demanded[number], "D6", "what nothing demands is up, or coming up")
    below = facts.world.graph.below[number]
    if phase is Phase.WAITING:
        ready = all([facts.phases[each] is Phase.LIVE for each in below])
        never = any([facts.phases[each] is Phase.ABSENT or facts.phases[each] is Phase.STUCK for each in below])
        require(not ready and not never, "D1", "something waits for nothing, or for what never comes")
    elif phase is Phase.READY or phase is Phase.STARTING:
        ready = all([facts.phases[each] is Phase.LIVE for each in below])
        require(ready, "D1", "something is to be started on what is not live")
    elif phase is Phase.RETIRING or phase is Phase.RETIRING_LOST:
        require(record.standing > 0, "X4", "what is restarted does not go down")
    elif phase is Phase.RENEWING:
        require(record.wrapping > 0, "X2", "what is renewed does not go down")
    elif phase is Phase.PAUSED:
        require(record.due is not None, "K3", "a failed attempt is never repeated")


def claims_are_known(facts: Facts, number: int, record: Deployment) -> None:
    """Engine, D5: a record knows the claims that wait for it, and those that it has failed."""
    for claim in record.claims or ():
        require(claim.waiters > 0 and claim.failure is None, "engine", "a claim without callers demands something")
        require(record in claim.awaited, "engine", "a record knows a claim that does not wait for it")
    shared = record.shared
    if shared is not None:
        known = shared in (record.claims or ()) and targets_of(shared) == [number]
        require(known, "engine", "callers share a claim on something else")
    for claim in record.disappointed or ():
        failed = claim.failure is not None and not claim.settled and record.phase is Phase.UNDEPLOYING
        require(failed, "D5", "a caller is not told that a deploy has failed, and was cleaned up")


def task_does_what_the_phase_says(facts: Facts, number: int) -> None:
    """D2, D5, D6: an environment exists where a phase says so, and its task does what the phase says."""
    world = facts.world
    phase = facts.phases[number]
    if NAMES[number] in world.engine.left_behind:
        require(world.exists[number] and world.tasks[number] == IDLE, "U8", "what is left behind is gone, or at work")
        return
    require(world.exists[number] is phase.stands, "D2", "something exists of what is absent, or nothing of what is not")
    expected = TASKS[phase]
    if expected == CANCELLED and not world.graph.nodes[number].interruptible:
        expected = ATTEMPTING
    require(world.tasks[number] == expected, "D6", "a task does something else than its phase says")


def visible_are_the_live(facts: Facts) -> None:
    """R1, R2: a connector is given out exactly while it is live, and not hidden by `undeploy`."""
    visible = facts.world.engine.visible
    count = 0
    for number, phase in enumerate(facts.phases):
        if phase in UP and not facts.withdrawn[number]:
            count += 1
            given = visible.get(NAMES[number])
            require(given is facts.world.graph.nodes[number], "R1", "what is live is not given out")
    require(count == len(visible), "R1", "what is not live, or hidden, is given out")


def wrappers_stand_on_the_live(facts: Facts) -> None:
    """R3: while a deployment is live, what it wraps is live."""
    for number, phase in enumerate(facts.phases):
        inner = facts.world.graph.inner[number]
        if phase in UP and inner >= 0:
            require(facts.phases[inner] in UP, "R3", "what is live wraps what is not")


def dependencies_come_first(facts: Facts) -> None:
    """Engine: a dependency stands before its dependents, and each name has one record."""
    seen: set[int] = set()
    for name, record in facts.world.engine.deployments.items():
        number = numbered(name)
        require(facts.records[number] is record, "engine", "a name has two records")
        require(seen.issuperset(facts.world.graph.below[number]), "engine", "a dependency comes after a dependent")
        seen.add(number)


def claims_wait_for_something(facts: Facts) -> None:
    """X2: a caller of `deploy` waits only while something that was asked for, or is below it, is not live."""
    for claim in facts.claims:
        if not claim.settled:
            away = sum([each.phase is not Phase.LIVE for each in claim.awaited])
            require(claim.missing == away, "engine", "a claim counts wrongly what is not live")
            require(away > 0, "X2", "a caller waits for what is live")
        known = all([claim in (each.claims or ()) for each in claim.awaited])
        require(known, "engine", "a claim is not known to what it waits for")


def waits_follow_something(facts: Facts) -> None:
    """U1: a caller of `undeploy` waits only while something goes down."""
    for wait in facts.world.waits:
        followed = sum([record.waits.count(wait) for record in facts.records if record is not None and record.waits])
        require(wait.pending == followed, "engine", "a wait counts wrongly what it follows")
        require(wait.settled is (followed == 0), "U1", "a caller waits for nothing to go down")


def slots_are_used(facts: Facts) -> None:
    """K1: no more is at work than the limit allows, and nothing waits for a slot that is free."""
    limit = facts.world.graph.limit
    waiting = any([phase in WITHOUT_SLOT for phase in facts.phases])
    if limit is None:
        require(not waiting, "K1", "something waits for a slot where there is no limit")
        return
    for number, record in enumerate(facts.records):
        holds = record is not None and record.has_slot
        works = TASKS[facts.phases[number]] != IDLE
        require(holds is works, "K1", "a slot is held by what does not work, or not by what does")
    held = sum([record is not None and record.has_slot for record in facts.records])
    slots: Any = facts.world.slots
    require(slots._taken == held <= limit, "K1", "more is at work than the limit allows")
    require(not waiting or held == limit, "K1", "something waits for a slot that is free")


def what_is_granted_is_live(facts: Facts) -> None:
    """X2: where a `deploy` needs no claim, all that it stands on is live."""
    engine: Any = facts.world.engine
    for broken in engine._broken:
        require(facts.records[number_of(broken)] is broken, "Engine", "what was forgotten counts as lost")
    for number, explicit in enumerate(facts.explicit):
        if explicit and engine.granted(NAMES[number]) is not None:
            require(facts.is_live_with_closure(number), "X2", "what stands on something lost is taken for live")
            require(not facts.withdrawn[number], "R1", "what was granted is not given out")


def closing_brings_nothing_up(facts: Facts) -> None:
    """U8: when the manager closes, nothing is demanded or comes up any more, and it ends when all is down."""
    engine = facts.world.engine
    require(not any(facts.explicit), "U8", "something is demanded of a manager that closes")
    require(all([claim.settled for claim in facts.claims]), "U8", "a caller waits for a manager that closes")
    require(engine.drained.settled is not bool(engine.deployments), "U8", "closing ends too early, or never")
    coming = any([phase in COMING or phase in ATTEMPTED for phase in facts.phases])
    require(not coming, "U8", "something comes up while the manager closes")


def is_at_rest(facts: Facts) -> bool:
    """Whether nothing happens any more unless somebody calls, is cancelled, or something goes wrong."""
    return (
        not any(facts.world.tasks)
        and not any([record is not None and record.due is not None for record in facts.records])
        and not any([claim.settled for claim in facts.claims])
    )


def check_rest(facts: Facts) -> None:
    """Check a state at rest: no caller waits, and what is demanded is up, but for what has failed since.

    :raises Violation: if it is a deadlock, or something that nothing demands exists
    """
    world = facts.world
    waiting = bool(facts.claims) or world.closers or not all([wait.settled for wait in world.waits])
    require(not waiting, "deadlock", "a caller waits for something that never happens")
    for number, phase in enumerate(facts.phases):
        require(phase in SETTLED, "deadlock", "something waits for what never happens")
        explicit = facts.explicit[number]
        if not facts.demanded[number]:
            require(phase is Phase.ABSENT or phase is Phase.STUCK, "D6", "something is up that nothing demands")
        elif phase is Phase.ABSENT or phase is Phase.STUCK:
            # Below something live, or stuck, for which it did not come up again.
            require(not explicit, "D1", "something is demanded, and does not come up")
