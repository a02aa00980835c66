"""States as tuples of numbers: two that are equal are the same state.

Left out is what nothing depends on:

* The time. A due is pending or not, and a life is long or not; which comes first is searched in every order.
* What is for the status alone, the lengths of pauses, and the epochs, which the engine only counts.
* Waiters without a caller: of waits for teardowns, and of claims that no record knows, the engine asks only whether
  there is somebody to be woken. So a caller that has failed, or whose teardown has ended, is gone at once: nothing
  changes when it leaves.
* Errors, but for those that somebody may still be told.
* Without a limit, the order of records and links: it decides only about the order of effects of one move.
"""

from __future__ import annotations

from collections.abc import Hashable
from heapq import heapify
from operator import itemgetter
from typing import Any, Generic, NamedTuple, TypeVar

from anydeploy.engine.deployment import Claim, Deployment, TeardownWait

from .graphs import NAMES, Graph
from .records import Numbers, Record, forget_record, freeze_record, thaw_record, told_records
from .world import OUTDATED, TOLD_BEFORE, UNDEPLOY_FAULTS, World, number_of, numbered

#: The numbers of a head, of claims, of waits and of slots, and of the records.
State = tuple[int, ...]

_Value = TypeVar("_Value", bound=Hashable)


class Table(Generic[_Value]):
    """Values by number, and numbers by value."""

    def __init__(self) -> None:
        self.values: list[_Value] = []
        self._numbers: dict[_Value, int] = {}

    def number(self, value: _Value) -> int:
        number = self._numbers.get(value)
        if number is None:
            number = self._numbers[value] = len(self.values)
            self.values.append(value)
        return number


class Head(NamedTuple):
    """The facts about the manager, and by deployment those about tasks and environments."""

    tasks: tuple[int, ...]
    exists: tuple[bool, ...]
    closing: bool
    expired: bool
    closers: bool
    drained: bool
    outgrown: bool
    broken: tuple[int, ...]
    left_behind: tuple[str, ...]


class FrozenClaim(NamedTuple):
    grants: bool
    settled: bool
    missing: int
    waiters: int
    failed: bool
    restarted: int
    targets: tuple[int, ...]
    awaited: tuple[int, ...]


class FrozenWait(NamedTuple):
    pending: int
    failed: tuple[int, ...]
    following: int


#: The urgency, the deployment, and whether it has made no other request since.
Request = tuple[int, int, bool]


class Freezer:
    """Freezes the worlds of one graph, and thaws them."""

    def __init__(self, graph: Graph) -> None:
        self._ordered = graph.limit is not None
        self._heads = Table[Head]()
        self._records = Table[Record]()
        self._claims = Table[tuple[FrozenClaim, ...]]()
        self._waits = Table[tuple[FrozenWait, ...]]()
        self._requests = Table[tuple[Request, ...]]()

    def freeze(self, world: World) -> State:
        engine = world.engine
        visible = engine.visible
        claims = sorted([(_claim(world, claim), claim) for claim in world.claims if _counts(claim)], key=itemgetter(0))
        waits = sorted([(_wait(world, wait), wait) for wait in world.waits if not wait.settled], key=itemgetter(0))
        numbers = Numbers(
            {claim: number for number, (_, claim) in enumerate(claims)},
            {wait: number for number, (_, wait) in enumerate(waits)},
            self._ordered,
        )
        records = engine.deployments.values() if self._ordered else [each for each in world.records if each is not None]
        told = told_records(records)
        frozen = [
            freeze_record(record, numbers, visible=record.name in visible, told=record in told) for record in records
        ]
        return (
            self._heads.number(_head(world)),
            self._claims.number(tuple([content for content, _ in claims])),
            self._waits.number(tuple([content for content, _ in waits])),
            self._requests.number(_requests(world)),
            *map(self._records.number, frozen),
        )

    def thaw(self, state: State, world: World) -> None:
        """Make a world what a state says."""
        engine = world.engine
        head, claimed, waiting, requests, *parts = state
        claims = _thaw_claims(self._claims.values[claimed], world)
        waits = _thaw_waits(self._waits.values[waiting], world)
        records = world.records = [None] * len(world.pool)
        engine.deployments = deployments = {}
        engine.visible = visible = {}
        for part in parts:
            frozen = self._records.values[part]
            thawed = thaw_record(frozen, world, claims, waits)
            records[frozen.number] = thawed
            deployments[thawed.name] = thawed
            if frozen.special[3]:
                visible[thawed.name] = thawed.definition
        for record, pooled in zip(records, world.pool, strict=True):
            if record is None:
                forget_record(pooled)
        _thaw_head(self._heads.values[head], world)
        if world.slots is not None:
            _thaw_requests(self._requests.values[requests], world)


def _head(world: World) -> Head:
    engine: Any = world.engine
    return Head(
        tuple(world.tasks),
        tuple(world.exists),
        engine.closing,
        world.expired,
        world.closers,
        engine.drained.settled,
        engine._outgrown,
        tuple(sorted([number_of(record) for record in engine._broken])) if engine._broken else (),
        tuple(engine.left_behind),
    )


def _thaw_head(head: Head, world: World) -> None:
    engine: Any = world.engine
    world.tasks = list(head.tasks)
    world.exists = list(head.exists)
    engine.closing = head.closing
    world.expired = head.expired
    world.closers = head.closers
    engine.drained.settled = head.drained
    engine._outgrown = head.outgrown
    engine._broken = {world.pool[each]: None for each in head.broken}
    engine.left_behind = {name: world.pool[numbered(name)] for name in head.left_behind}


def _counts(claim: Claim) -> bool:
    return claim.waiters > 0 and not (claim.settled and claim.failure is not None)


def _claim(world: World, claim: Claim) -> FrozenClaim:
    return FrozenClaim(
        claim.grants,
        claim.settled,
        claim.missing,
        claim.waiters,
        claim.failure is not None,
        world.restarts.get(claim, -1),
        tuple([number_of(each) for each in claim.targets]),
        tuple([number_of(each) for each in claim.awaited]),
    )


def _thaw_claims(frozen: tuple[FrozenClaim, ...], world: World) -> list[Claim]:
    pool = world.pool
    world.restarts = {}
    claims = world.claims = []
    for each in frozen:
        claim = Claim(
            settled=each.settled,
            targets=tuple([pool[number] for number in each.targets]),
            grants=each.grants,
            awaited=tuple([pool[number] for number in each.awaited]),
            missing=each.missing,
            waiters=each.waiters,
            failure=TOLD_BEFORE if each.failed else None,
        )
        if each.restarted >= 0:
            world.restarts[claim] = each.restarted
        claims.append(claim)
    return claims


def _wait(world: World, wait: TeardownWait) -> FrozenWait:
    failed = tuple(sorted([numbered(name) for name, _ in wait.failures]))
    return FrozenWait(wait.pending, failed, world.waits[wait])


def _thaw_waits(frozen: tuple[FrozenWait, ...], world: World) -> list[TeardownWait]:
    world.waits = {}
    for each in frozen:
        failures: list[tuple[str, BaseException]] = [(NAMES[number], UNDEPLOY_FAULTS[number]) for number in each.failed]
        world.waits[TeardownWait(pending=each.pending, failures=failures)] = each.following
    return list(world.waits)


def _requests(world: World) -> tuple[Request, ...]:
    """Return the requests for slots in the order in which they were made."""
    slots: Any = world.slots
    if slots is None:
        return ()
    waiting: list[tuple[int, int, Deployment]] = sorted(slots._waiting, key=itemgetter(1))
    return tuple([(urgency, number_of(record), record.request == number) for urgency, number, record in waiting])


def _thaw_requests(requests: tuple[Request, ...], world: World) -> None:
    slots: Any = world.slots
    waiting: list[tuple[int, int, Deployment]] = []
    for number, (urgency, each, is_valid) in enumerate(requests, 1):
        record = world.pool[each] if is_valid else OUTDATED[each]
        if is_valid:
            record.request = number
        waiting.append((urgency, number, record))
    heapify(waiting)
    slots._waiting = waiting
    slots._number = len(waiting)
    slots._taken = sum([record is not None and record.has_slot for record in world.records])
