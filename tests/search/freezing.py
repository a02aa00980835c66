"""States as tuples of numbers: what is not in there can have no influence, and two that are equal are the same state.

Left out is what nothing depends on:

* The time. A due is pending or not, and a life is long or not; which of them comes first is searched in every order,
  the impossible ones included.
* What is for the status alone, the lengths of pauses, and the epochs, which the engine only counts.
* Waiters without a caller: of waits for teardowns, and of claims that no record knows, the engine asks only whether
  anybody has to be woken. So a caller that has failed, or whose teardown has ended, is gone at once: it changes nothing
  when it leaves.
* Errors, but for those that somebody may still be told (:func:`_told`); and what the conditions of :meth:`Freezer.freeze`
  call meaningless.
"""

from __future__ import annotations

from heapq import heapify
from typing import Any, TypeVar

from anydeploy.engine.deployment import Claim, Deployment, TeardownWait
from anydeploy.engine.losing import LONG_LIFE
from anydeploy.lifecycle import Phase

from .graphs import NAMES, Graph
from .world import FAULTS, OUTDATED, STUCK_ERRORS, TOLD_BEFORE, UNDEPLOY_FAULTS, Fault, World, number_of

State = tuple[int, ...]

#: That a record has failed counts for longer than with what.
SOMETHING = Fault("what nobody is told")

UP = frozenset({Phase.LIVE, Phase.RETIRING})
ATTEMPTED = frozenset({Phase.ATTEMPTING, Phase.ABORTING, Phase.CLEANING})
REPEATED = frozenset({Phase.WAITING, Phase.READY, Phase.STARTING, Phase.PAUSED})


_Waiter = TypeVar("_Waiter", Claim, TeardownWait)


class Table:
    """Values by number, and numbers by value."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self.numbers: dict[Any, int] = {}

    def number(self, value: object) -> int:
        number = self.numbers.get(value)
        if number is None:
            number = self.numbers[value] = len(self.values)
            self.values.append(value)
        return number


class Freezer:
    """Freezes the worlds of one graph, and thaws them."""

    def __init__(self, graph: Graph) -> None:
        # The order of records decides who gets a slot; without a limit nothing depends on it.
        self._ordered = graph.limit is not None
        self._heads = Table()
        self._records = Table()
        self._claims = Table()
        self._waits = Table()
        self._slots = Table()

    def freeze(self, world: World) -> State:
        engine: Any = world.engine
        ordered = self._ordered
        records = engine.deployments.items() if ordered else sorted(engine.deployments.items())
        told = _told(engine.deployments.values())
        visible = engine.visible
        claims = _numbered([(_claim(world, claim), claim) for claim in world.claims if _is_waiting(claim)])
        waits = _numbered([(_wait(world, wait), wait) for wait in world.waits if not wait.settled])
        numbers = self._records.numbers
        state: list[int] = []
        for name, record in records:
            definition = record.definition
            phase = record.phase
            failure = error = blamed = None
            if told and record in told:
                failure = _same(record.failure)
                error = _same(record.error)
                blamed = None if record.blamed is None else number_of(record.blamed)
            elif record.failure is not None:
                failure = SOMETHING
            dependents = [ord(each.name) - 97 for each in record.dependents or ()]
            known = [claims.get(claim, -1) for claim in record.claims or ()]
            disappointed = [claims[claim] for claim in record.disappointed or () if claim in claims]
            following = [waits[wait] for wait in record.waits or () if wait in waits]
            if not ordered:
                dependents.sort()
                known.sort()
                disappointed.sort()
                following.sort()
            value = (
                ord(name) - 97,
                phase,
                record.explicit,
                record.withdrawn,
                record.renewal and definition.restarts > 0,
                record.cut_off and record.wrapping > 0,
                record.last_try,
                record.has_slot,
                record.due is not None,
                name in visible,
                record.live_since < 0.0 and phase in UP,
                _attempt(record, phase),
                record.restarts,
                record.missing,
                record.holders,
                record.standing,
                record.wrapping,
                record.height,
                failure,
                error,
                blamed,
                tuple(dependents),
                tuple(known),
                None if record.shared is None else claims.get(record.shared, -1),
                tuple(disappointed),
                tuple(following),
                waits.get(record.teardown) if record.teardown in (record.waits or ()) else None,
            )
            number = numbers.get(value)
            state.append(self._records.number(value) if number is None else number)
        state.append(self._claims.number(tuple([_claim(world, claim) for claim in claims])) if claims else -1)
        state.append(self._waits.number(tuple([_wait(world, wait) for wait in waits])) if waits else -1)
        if world.slots is not None:
            requests = [
                (urgency, number_of(record), record.request == number)
                for urgency, number, record in sorted(world.slots._waiting, key=_by_number)
            ]
            state.append(self._slots.number(tuple(requests)))
        broken = sorted([number_of(record) for record in engine._broken]) if engine._broken else ()
        head = (
            len(engine.deployments),
            tuple(world.tasks),
            tuple(world.exists),
            engine.closing,
            world.expired,
            world.closers,
            engine.drained.settled,
            engine._outgrown,
            tuple(broken),
            tuple(engine.left_behind),
        )
        state.append(self._heads.number(head))
        return tuple(state)

    def thaw(self, state: State, world: World) -> None:
        engine: Any = world.engine
        (
            count,
            tasks,
            exists,
            engine.closing,
            world.expired,
            world.closers,
            engine.drained.settled,
            engine._outgrown,
            broken,
            left,
        ) = self._heads.values[state[-1]]
        world.tasks = list(tasks)
        world.exists = list(exists)
        pool = world.pool
        world.records = records = [None] * len(pool)  # type: ignore[assignment]
        claims = self._thaw_claims(state[count], world)
        waits = self._thaw_waits(state[count + 1], world)
        engine.visible = visible = {}
        engine.deployments = deployments = {}
        engine.left_behind = dict.fromkeys(left)
        values = self._records.values
        for part in state[:count]:
            value = values[part]
            number = value[0]
            record: Any = pool[number]
            (
                _,
                phase,
                record.explicit,
                record.withdrawn,
                record.renewal,
                record.cut_off,
                record.last_try,
                record.has_slot,
                due,
                is_visible,
                is_long,
                record.attempt,
                record.restarts,
                record.missing,
                record.holders,
                record.standing,
                record.wrapping,
                record.height,
                record.failure,
                record.error,
                blamed,
                dependents,
                known,
                shared,
                disappointed,
                following,
                teardown,
            ) = value
            record.phase = phase
            record.due = 1.0 if due else None
            record.live_since = -LONG_LIFE if is_long else 0.0
            record.request = 0
            record.connector = record.definition if phase.stands else None
            record.blamed = None if blamed is None else pool[blamed]
            record.dependents = {pool[each]: None for each in dependents}
            record.claims = {claims[each]: None for each in known}
            record.shared = None if shared is None else claims[shared]
            record.disappointed = [claims[each] for each in disappointed]
            record.waits = [waits[each] for each in following]
            record.teardown = None if teardown is None else waits[teardown]
            records[number] = record
            name = record.definition.name
            deployments[name] = record
            if is_visible:
                visible[name] = record.definition
        for number, each in enumerate(records):
            if each is None:
                _forget(pool[number])
        engine._broken = {pool[each]: None for each in broken}
        if world.slots is not None:
            self._thaw_slots(state[count + 2], world)

    def _thaw_claims(self, part: int, world: World) -> list[Claim]:
        values = self._claims.values[part] if part >= 0 else ()
        pool = world.pool
        world.restarts = {}
        claims: list[Claim] = []
        for grants, settled, missing, waiters, failed, root, targets, awaited in values:
            claim = Claim(
                settled=settled,
                targets=tuple([pool[each] for each in targets]),
                grants=grants,
                awaited=tuple([pool[each] for each in awaited]),
                missing=missing,
                waiters=waiters,
                failure=TOLD_BEFORE if failed else None,
            )
            if root >= 0:
                world.restarts[claim] = root
            claims.append(claim)
        world.claims = claims
        return claims

    def _thaw_waits(self, part: int, world: World) -> list[TeardownWait]:
        values = self._waits.values[part] if part >= 0 else ()
        world.waits = {}
        for pending, failed, following in values:
            failures: list[tuple[str, BaseException]] = [(NAMES[each], UNDEPLOY_FAULTS[each]) for each in failed]
            world.waits[TeardownWait(pending=pending, failures=failures)] = following
        return list(world.waits)

    def _thaw_slots(self, part: int, world: World) -> None:
        slots: Any = world.slots
        slots._taken = sum([record is not None and record.has_slot for record in world.records])
        slots._waiting = waiting = []
        number = 0
        for urgency, each, valid in self._slots.values[part]:
            number += 1
            record = world.pool[each] if valid else OUTDATED[each]
            if valid:
                record.request = number
            waiting.append((urgency, number, record))
        slots._number = number
        heapify(waiting)


def _forget(record: Deployment) -> None:
    """Make a record absent that is in no state, but may be the target of a claim that has failed."""
    record.phase = Phase.ABSENT
    record.explicit = False
    record.holders = 0
    record.standing = 0
    record.claims = None
    record.shared = None


def _told(records: Any) -> set[Deployment]:
    """Return those of whose errors somebody may still be told: attempts that failed, and whatever they blame.

    A claim fails as soon as there is an error to tell, but for an attempt that has to end first, or to be cleaned up.
    """
    told: set[Deployment] = set()
    for record in records:
        if record.phase is Phase.ABORTING or record.phase is Phase.CLEANING:
            each = record
            while each is not None and each not in told:
                told.add(each)
                each = each.blamed
    return told


def _attempt(record: Deployment, phase: Phase) -> int:
    """Return the number of the attempt, if it counts: while it is under way, and for the next one."""
    counts = phase in ATTEMPTED or (record.definition.retries > 0 and phase in REPEATED)
    return record.attempt if counts else 0


def _same(error: BaseException | None) -> BaseException | None:
    """Return the error that stands for all like it: the engine makes new ones of failed teardowns."""
    return error if error is None or error in FAULTS or error is SOMETHING else STUCK_ERRORS[error.__cause__]  # type: ignore[index]


def _numbered(waiters: list[tuple[tuple[object, ...], _Waiter]]) -> dict[_Waiter, int]:
    """Number claims or waits in an order that depends on nothing but what they are."""
    if len(waiters) > 1:
        waiters.sort(key=_content)
    return {waiter: number for number, (_, waiter) in enumerate(waiters)}


def _content(waiter: tuple[tuple[object, ...], object]) -> Any:
    return waiter[0]


def _is_waiting(claim: Claim) -> bool:
    return claim.waiters > 0 and not (claim.settled and claim.failure is not None)


def _claim(world: World, claim: Claim) -> tuple[object, ...]:
    return (
        claim.grants,
        claim.settled,
        claim.missing,
        claim.waiters,
        claim.failure is not None,
        world.restarts.get(claim, -1),
        tuple([ord(each.name) - 97 for each in claim.targets]),
        tuple([ord(each.name) - 97 for each in claim.awaited]),
    )


def _wait(world: World, wait: TeardownWait) -> tuple[object, ...]:
    failed = tuple(sorted([ord(name) - 97 for name, _ in wait.failures]))
    return (wait.pending, failed, world.waits[wait])


def _by_number(request: tuple[int, int, Deployment]) -> int:
    return request[1]
