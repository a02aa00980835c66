"""Records of deployments as tuples: what is not in there can have no influence."""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter
from typing import Any, NamedTuple

from anydeploy.engine.deployment import Claim, Deployment, TeardownWait
from anydeploy.engine.losing import LONG_LIFE
from anydeploy.lifecycle import Phase

from .facts import ATTEMPTED, COMING, UP
from .world import FAULTS, STUCK_ERRORS, Fault, World, number_of

#: That a record has failed counts for longer than with what.
SOMETHING = Fault("what nobody is told")

#: The fields that count as they are.
_plain = attrgetter(
    "phase", "explicit", "withdrawn", "last_try", "has_slot",
    "restarts", "missing", "holders", "standing", "wrapping", "height",
)  # fmt: skip


class Record(NamedTuple):
    """A record, with the numbers of whatever it is linked to.

    :ivar plain: the fields that count as they are
    :ivar special: those that count only in part
    :ivar errors: those that may still be told, and whose they are
    """

    number: int
    plain: tuple[Any, ...]
    special: tuple[bool, bool, bool, bool, bool, int]
    errors: tuple[BaseException | None, BaseException | None, int | None]
    dependents: tuple[int, ...]
    claims: tuple[int, ...]
    shared: int | None
    disappointed: tuple[int, ...]
    waits: tuple[int, ...]
    teardown: int | None


class Numbers(NamedTuple):
    """The numbers of the claims and waits that count, and whether the order of links does."""

    claims: dict[Claim, int]
    waits: dict[TeardownWait, int]
    ordered: bool

    def of_links(self, numbers: Iterable[int]) -> tuple[int, ...]:
        return tuple(numbers) if self.ordered else tuple(sorted(numbers))


def freeze_record(record: Deployment, numbers: Numbers, *, visible: bool, told: bool) -> Record:
    """Return a record as a tuple.

    :param told: whether somebody may still be told its errors
    """
    claims = numbers.claims
    waits = numbers.waits
    phase = record.phase
    definition = record.definition
    return Record(
        number_of(record),
        _plain(record),
        (
            record.renewal and definition.restarts > 0,
            record.cut_off and record.wrapping > 0,
            record.due is not None,
            visible,
            record.live_since < 0.0 and phase in UP,
            # While an attempt is under way, and for the next one.
            record.attempt if phase in ATTEMPTED or (definition.retries and phase in COMING) else 0,
        ),
        _errors(record, told=told),
        numbers.of_links([number_of(each) for each in record.dependents]) if record.dependents else (),
        # A claim without callers is found by the invariants.
        numbers.of_links([claims.get(each, -1) for each in record.claims]) if record.claims else (),
        None if record.shared is None else claims.get(record.shared, -1),
        numbers.of_links([claims[each] for each in record.disappointed if each in claims])
        if record.disappointed
        else (),
        numbers.of_links([waits[each] for each in record.waits if each in waits]) if record.waits else (),
        waits.get(record.teardown) if record.teardown is not None and record.teardown in (record.waits or ()) else None,
    )


def _errors(record: Deployment, *, told: bool) -> tuple[BaseException | None, BaseException | None, int | None]:
    if told:
        blamed = None if record.blamed is None else number_of(record.blamed)
        return _same(record.failure), _same(record.error), blamed
    return None if record.failure is None else SOMETHING, None, None


def _same(error: BaseException | None) -> BaseException | None:
    """Return the error that stands for all like it: the engine makes new ones of failed teardowns."""
    if error is None or error is SOMETHING or error in FAULTS:
        return error
    assert isinstance(error.__cause__, Fault)
    return STUCK_ERRORS[error.__cause__]


def thaw_record(frozen: Record, world: World, claims: list[Claim], waits: list[TeardownWait]) -> Deployment:
    """Make the record of a world what a tuple says."""
    pool = world.pool
    record = pool[frozen.number]
    (
        record.phase, record.explicit, record.withdrawn, record.last_try, record.has_slot,
        record.restarts, record.missing, record.holders, record.standing, record.wrapping, record.height,
    ) = frozen.plain  # fmt: skip
    record.renewal, record.cut_off, due, _, is_long, record.attempt = frozen.special
    record.due = 1.0 if due else None
    record.live_since = -LONG_LIFE if is_long else 0.0
    record.request = 0
    record.connector = record.definition if record.phase.stands else None
    record.failure, record.error, blamed = frozen.errors
    record.blamed = None if blamed is None else pool[blamed]
    # Most are empty, and each of these lines is run for millions of records.
    record.dependents = {pool[each]: None for each in frozen.dependents} if frozen.dependents else None
    record.claims = {claims[each]: None for each in frozen.claims} if frozen.claims else None
    record.shared = None if frozen.shared is None else claims[frozen.shared]
    record.disappointed = [claims[each] for each in frozen.disappointed] if frozen.disappointed else None
    record.waits = [waits[each] for each in frozen.waits] if frozen.waits else None
    record.teardown = None if frozen.teardown is None else waits[frozen.teardown]
    return record


def forget_record(record: Deployment) -> None:
    """Make a record absent that is in no state, but may be the target of a claim that has failed."""
    record.phase = Phase.ABSENT
    record.explicit = False
    record.holders = 0
    record.standing = 0
    record.claims = None
    record.shared = None


def told_records(records: Iterable[Deployment]) -> set[Deployment]:
    """Return those of whose errors somebody may still be told: attempts that failed, and whatever they blame.

    A claim fails as soon as there is an error to tell, but for an attempt that has to end first, or to be cleaned up.
    """
    told: set[Deployment] = set()
    for record in records:
        if record.phase is Phase.ABORTING or record.phase is Phase.CLEANING:
            each: Deployment | None = record
            while each is not None and each not in told:
                told.add(each)
                each = each.blamed
    return told
