"""A sequential model: the states of rest that one call at a time may lead to, written from DESIGN alone.

It knows no records, claims, counters or tasks: it has a status for each deployment, recomputes everything at each step,
and where DESIGN leaves room, it allows everything. Between two calls it is at rest.

**Demand.** A deployment is demanded while it is explicit, while the caller asks for it, or while a dependent is not
absent. A live or lost one that nothing demands goes down when no dependent exists; one that is restarted, too; one that
is renewed, when no wrapper exists. When it is down it waits to come up again if it is demanded, unless it has failed.

**Steps.** A waiting deployment begins when all its dependencies are live. One that has begun becomes live, fails, or
loses its environment. One that goes down is gone, or gets stuck. A live one is lost, with all its live wrappers, and
wrappers that have begun fail. A lost one renews itself if it may. The caller of ``deploy`` has brought up everything in
its closure that is not live, at any time, and is granted its demand when all of it is live. A cancelled caller counts
as a fault.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from .graphs import Graph
from .moves import Kind

ABSENT, WAITING, BEGUN, LIVE, LOST, GOING, STUCK = range(7)
EXISTS = frozenset({BEGUN, LIVE, LOST, GOING, STUCK})
NONE: frozenset[int] = frozenset()


class Rest(NamedTuple):
    """A state in which nothing happens by itself.

    :ivar used: how often each deployment has renewed itself since it was last live for long
    """

    status: tuple[int, ...]
    explicit: frozenset[int]
    used: tuple[int, ...]
    closing: bool = False

    def without_history(self, graph: Graph) -> Rest:
        """Return the same state without what was before something, and all that stands on it, became absent."""
        known = [any(self.status[above] != ABSENT for above in upwards) for upwards in graph.upwards]
        return self._replace(used=tuple(used * is_known for used, is_known in zip(self.used, known, strict=True)))


class Situation(NamedTuple):
    """A state between two states of rest.

    :ivar faults: how many may still happen
    :ivar asked: what the caller waits for, as long as it does
    :ivar told: whether something has failed that the caller may wait for
    :ivar grants: whether what the caller waits for is explicit from then on
    :ivar renewed: what goes down to come up again, when no wrapper exists any more
    :ivar restarted: the same, when no dependent exists
    :ivar failed: what goes down, and does not come up again by itself
    :ivar doomed: what has begun, and has failed
    :ivar due: what is lost, and renews itself
    :ivar attempts: how many each has made
    :ivar anew: what comes up again after it was lost: it may use up `restarts` for its attempts, too
    """

    status: tuple[int, ...]
    explicit: frozenset[int]
    used: tuple[int, ...]
    faults: int
    asked: frozenset[int] = NONE
    told: bool = False
    grants: bool = True
    renewed: frozenset[int] = NONE
    restarted: frozenset[int] = NONE
    failed: frozenset[int] = NONE
    doomed: frozenset[int] = NONE
    due: frozenset[int] = NONE
    attempts: tuple[int, ...] = ()
    anew: frozenset[int] = NONE


class Model:
    """The model of one graph."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.numbers = range(len(graph))

    def start(self) -> Rest:
        none = (0,) * len(self.graph)
        return Rest(none, NONE, none)

    def outcomes(self, rest: Rest, kind: Kind, number: int, faults: int) -> set[tuple[Rest, int]]:
        """Return the states of rest that a call may lead to, each with the number of faults that are left."""
        if kind is Kind.CLOSE:
            return set(self._closed(rest, faults))
        found: set[tuple[Rest, int]] = set()
        seen: set[Situation] = set()
        stack = [self._settled(called) for called in self._called(rest, kind, number, faults)]
        while stack:
            situation = stack.pop()
            if situation in seen:
                continue
            seen.add(situation)
            if self._is_at_rest(situation):
                rest = Rest(situation.status, situation.explicit, situation.used).without_history(self.graph)
                found.add((rest, situation.faults))
            for after in self._steps(situation):
                stack += self._followed(situation, self._settled(after))
        return found

    # -- Calls ---------------------------------------------------------------------------------------------------------

    def _closed(self, rest: Rest, faults: int) -> Iterator[tuple[Rest, int]]:
        """Yield all that may be left: nothing if nothing goes wrong, and otherwise whatever existed."""
        existing = [number for number in self.numbers if rest.status[number] in EXISTS]
        for chosen in range(1 << len(existing)):
            left = {number for place, number in enumerate(existing) if chosen >> place & 1}
            status = tuple(STUCK if number in left else ABSENT for number in self.numbers)
            for spent in range(1 if left else 0, faults + 1):
                yield Rest(status, NONE, (0,) * len(status), closing=True), faults - spent

    def _called(self, rest: Rest, kind: Kind, number: int, faults: int) -> Iterator[Situation]:
        situation = Situation(rest.status, rest.explicit, rest.used, faults, attempts=(0,) * len(rest.status))
        if kind is Kind.DEPLOY:
            yield situation._replace(asked=frozenset([number]))
        elif kind is Kind.UNDEPLOY:
            situation = situation._replace(explicit=rest.explicit - {number})
            yield self._tried_again(situation, [number])
            if rest.status[number] == ABSENT:
                # It is left open whether that is about what has stood below it, too.
                yield self._tried_again(situation, self.graph.closure[number])
        elif kind is Kind.UNDEPLOY_ALL:
            yield self._tried_again(situation._replace(explicit=NONE), self.numbers)
        else:
            assert kind is Kind.RESTART
            yield self._restarted(situation, number)

    def _restarted(self, situation: Situation, number: int) -> Situation:
        above = self.graph.upwards[number]
        asked = situation.explicit.intersection(above)
        targets = frozenset(each for each in above if asked.intersection(self.graph.upwards[each]))
        situation = self._tried_again(situation, above, always=True)
        restarted = frozenset(each for each in above if situation.status[each] in (LIVE, LOST))
        return situation._replace(restarted=restarted, asked=targets, grants=False)

    def _tried_again(self, situation: Situation, numbers: Iterable[int], *, always: bool = False) -> Situation:
        """Let the teardown of what is stuck be tried again, if it is not demanded."""
        for number in numbers:
            wanted = always or not self._is_demanded(situation, number)
            if situation.status[number] == STUCK and wanted:
                situation = self._retried(situation, number)
        return situation

    def _retried(self, situation: Situation, number: int) -> Situation:
        """Let what is stuck go down once more; after that it comes up only for a call, or a dependent that waits."""
        return self._put(situation, number, GOING)._replace(failed=situation.failed | {number})

    def _followed(self, before: Situation, after: Situation) -> Iterator[Situation]:
        """Let what is stuck, and nothing demands any more, follow what has stood on it.

        It may do so across something that was absent already.
        """
        gone = [each for each in self.numbers if before.status[each] != ABSENT == after.status[each]]
        near: set[int] = set()
        far: set[int] = set()
        for number in self.numbers:
            was_stuck = before.status[number] == STUCK == after.status[number]
            if was_stuck and not self._is_demanded(after, number):
                near.update(number for each in gone if number in self.graph.below[each])
                far.update(number for each in gone if number in self.graph.closure[each])
        for retried in (near, far) if near != far else (near,):
            following = after
            for number in retried:
                following = self._retried(following, number)
            yield following

    # -- Demand --------------------------------------------------------------------------------------------------------

    def _is_demanded(self, situation: Situation, number: int) -> bool:
        return (
            number in situation.explicit
            or number in situation.asked
            or any(situation.status[above] != ABSENT for above in self.graph.above[number])
        )

    def _settled(self, situation: Situation) -> Situation:
        """Let everything go where demand wants it that needs no step for that."""
        while True:
            after = self._settled_once(situation)
            if after == situation:
                return situation
            situation = after

    def _settled_once(self, situation: Situation) -> Situation:
        status = list(situation.status)
        for number in reversed(self.numbers):
            status[number] = self._where_demand_wants(situation._replace(status=tuple(status)), number)
        renewed = {number for number in situation.renewed | self._needed(situation, status) if status[number] == LOST}
        for number in self.numbers:
            if self.graph.inner[number] in renewed and status[number] == LOST and number not in situation.restarted:
                renewed.add(number)
            elif self.graph.inner[number] in renewed and status[number] == STUCK:
                status[number] = GOING
        retried = {each for each in self.numbers if (situation.status[each], status[each]) == (STUCK, GOING)}
        begun = [each for each in self.numbers if (situation.status[each], status[each]) == (ABSENT, WAITING)]
        return self._anew(situation, begun)._replace(
            status=tuple(status),
            failed=situation.failed | retried,
            renewed=frozenset(renewed),
            restarted=frozenset(each for each in situation.restarted if status[each] in (LIVE, LOST)),
            due=frozenset(each for each in situation.due if status[each] == LOST and each not in renewed),
            doomed=frozenset(each for each in situation.doomed if status[each] == BEGUN),
        )

    def _anew(self, situation: Situation, numbers: Iterable[int]) -> Situation:
        """Forget what became of earlier lives of what is absent."""
        used = tuple(0 if each in numbers else used for each, used in enumerate(situation.used))
        return situation._replace(used=used, anew=situation.anew.difference(numbers))

    def _where_demand_wants(self, situation: Situation, number: int) -> int:
        status = situation.status
        now = status[number]
        demanded = self._is_demanded(situation, number)
        above = self.graph.above[number]
        if now == WAITING and not demanded:
            return ABSENT
        if now == BEGUN and not demanded:
            return GOING
        if now in (LIVE, LOST):
            wrappers = [each for each in above if self.graph.inner[each] == number]
            restarted = number in situation.restarted and not any(status[each] in EXISTS for each in above)
            renewed = number in situation.renewed and not any(status[each] in EXISTS for each in wrappers)
            return GOING if not demanded or restarted or renewed else now
        asked = number in situation.asked or any(status[each] == WAITING for each in above)
        if now in (ABSENT, STUCK) and asked:
            return WAITING if now == ABSENT else GOING
        return now

    def _needed(self, situation: Situation, status: list[int]) -> set[int]:
        """Return what is lost below something that waits, or was asked for itself."""
        return {
            number
            for number in self.numbers
            if number not in situation.restarted
            and (number in situation.asked or any(status[above] == WAITING for above in self.graph.above[number]))
        }

    def _is_at_rest(self, situation: Situation) -> bool:
        moving = any(each in (WAITING, BEGUN, GOING) for each in situation.status)
        return not (moving or situation.asked or situation.due or situation.renewed or situation.restarted)

    # -- Steps ---------------------------------------------------------------------------------------------------------

    def _steps(self, situation: Situation) -> Iterator[Situation]:
        for number in self.numbers:
            now = situation.status[number]
            if now == WAITING and all(situation.status[below] == LIVE for below in self.graph.below[number]):
                attempts = situation.attempts[number] % (self.graph.options[number].retries + 1) + 1
                yield self._put(situation, number, BEGUN)._replace(attempts=_at(situation.attempts, number, attempts))
            elif now == BEGUN:
                yield from self._end_of_attempt(situation, number)
            elif now == GOING:
                yield from self._end_of_teardown(situation, number)
            elif now == LIVE and situation.faults:
                yield from self._lost(situation._replace(faults=situation.faults - 1), number)
            elif now == LOST and number in situation.due:
                yield situation._replace(due=situation.due - {number}, renewed=situation.renewed | {number})
        if situation.asked:
            yield from self._steps_of_caller(situation)

    def _steps_of_caller(self, situation: Situation) -> Iterator[Situation]:
        # It may be told of a failure, or cancelled; a restart goes on.
        if situation.told:
            yield situation._replace(asked=NONE, told=False)
        elif situation.faults:
            yield situation._replace(asked=NONE, faults=situation.faults - 1)
        closures = [each for target in situation.asked for each in self.graph.closure[target]]
        missing = [each for each in closures if situation.status[each] != LIVE]
        if not missing and not situation.restarted:
            granted = situation.asked if situation.grants else NONE
            yield situation._replace(asked=NONE, told=False, explicit=situation.explicit | granted)
        for number in missing:
            if situation.status[number] == ABSENT:
                yield self._put(self._anew(situation, [number]), number, WAITING)
            elif situation.status[number] == STUCK:
                yield self._retried(situation, number)
            elif situation.status[number] == LOST and number not in situation.renewed:
                yield situation._replace(renewed=situation.renewed | {number})

    def _end_of_attempt(self, situation: Situation, number: int) -> Iterator[Situation]:
        if number in situation.doomed:
            yield self._failed(self._put(situation, number, GOING), number)
            return
        yield self._put(situation, number, LIVE)._replace(anew=situation.anew - {number})
        if not situation.faults:
            return
        fault = situation._replace(faults=situation.faults - 1)
        option = self.graph.options[number]
        if situation.attempts[number] <= option.retries:
            yield self._put(fault, number, GOING)
        elif number in situation.anew and situation.used[number] < option.restarts:
            used = _at(situation.used, number, situation.used[number] + 1)
            yield self._put(fault, number, GOING)._replace(used=used)
        else:
            yield self._failed(self._put(fault, number, GOING), number)

    def _end_of_teardown(self, situation: Situation, number: int) -> Iterator[Situation]:
        comes_again = self._is_demanded(situation, number) and number not in situation.failed
        after = situation._replace(failed=situation.failed - {number})
        yield self._put(after, number, WAITING if comes_again else ABSENT)
        if situation.faults:
            yield from self._stuck(self._put(after, number, STUCK)._replace(faults=situation.faults - 1), number)

    def _stuck(self, situation: Situation, stuck: int) -> Iterator[Situation]:
        """Keep what was to be restarted or renewed below something stuck; the caller may be told so."""
        situation = self._failed(situation, stuck)._replace(failed=situation.failed)
        kept = [stuck]
        for above in kept:
            for below in self.graph.below[above]:
                renewed = below in situation.renewed and self.graph.inner[above] == below
                if below not in kept and (renewed or below in situation.restarted):
                    kept.append(below)
        del kept[0]
        situation = situation._replace(renewed=situation.renewed - set(kept), restarted=situation.restarted - set(kept))
        lost = [number for number in kept if situation.status[number] == LOST]
        situation = situation._replace(told=situation.told or (bool(kept) and bool(situation.asked)))
        yield from self._called_off(situation, lost)

    def _called_off(self, situation: Situation, lost: list[int]) -> Iterator[Situation]:
        """Let each of what stays lost renew itself later, if it may, and else disappoint those that wait for it."""
        if not lost:
            yield situation
            return
        number = lost[0]
        # Its last life may have been a long one.
        for used in {situation.used[number], 0}:
            if used < self.graph.options[number].restarts:
                after = situation._replace(used=_at(situation.used, number, used + 1), due=situation.due | {number})
            else:
                after = self._disappointed(situation._replace(used=_at(situation.used, number, used)), number)
            yield from self._called_off(after, lost[1:])

    def _disappointed(self, situation: Situation, number: int) -> Situation:
        """Fail those that wait for something that stays as it is."""
        after = self._failed(situation, number)
        return after._replace(failed=situation.failed, explicit=after.explicit | (situation.explicit & {number}))

    def _failed(self, situation: Situation, number: int) -> Situation:
        """Fail for good: demand ends, for dependents that wait, too; so does a caller who waits for one of those."""
        reached = [number]
        status = list(situation.status)
        for each in reached:
            for above in self.graph.above[each]:
                if status[above] == WAITING:
                    status[above] = ABSENT
                    reached.append(above)
        asked = NONE if situation.asked & set(reached) else situation.asked
        # It is left open whether the caller waits for what is not live below something live.
        below = {each for target in asked for each in self.graph.closure[target]}
        return situation._replace(
            status=tuple(status),
            explicit=situation.explicit - set(reached),
            asked=asked,
            told=bool(asked) and (situation.told or number in below),
            failed=situation.failed | {number},
        )

    def _lost(self, situation: Situation, culprit: int) -> Iterator[Situation]:
        """Lose a live environment, with its live wrappers; what has begun on one of them will fail."""
        inner = self.graph.inner
        lost = [culprit]
        for each in lost:
            wrappers = [above for above in self.graph.above[each] if inner[above] == each]
            lost += [wrapper for wrapper in wrappers if situation.status[wrapper] == LIVE]
        begun = {each for each in self.numbers if inner[each] in lost and situation.status[each] == BEGUN}
        for each in lost:
            situation = self._put(situation, each, LOST)
        situation = situation._replace(doomed=situation.doomed | begun, anew=situation.anew | set(lost))
        # The last life of the culprit may have been a long one, and those of its wrappers, too.
        forgotten = tuple(0 if each in lost else used for each, used in enumerate(situation.used))
        for used in {situation.used, forgotten}:
            yield from self._scheduled(situation._replace(used=used), culprit, lost)

    def _scheduled(self, situation: Situation, culprit: int, lost: list[int]) -> Iterator[Situation]:
        if culprit in situation.restarted:
            yield situation
            return
        left = [each for each in lost if situation.used[each] < self.graph.options[each].restarts]
        chosen = [culprit] if culprit in left else left
        for each in chosen:
            used = _at(situation.used, each, situation.used[each] + 1)
            situation = situation._replace(used=used, due=situation.due | {each})
        if chosen:
            yield situation
        if culprit not in left:
            # It is left open which callers wait for what does not renew itself, and are told so.
            for each in lost:
                if each not in chosen:
                    situation = self._disappointed(situation, each)
            yield situation

    def _put(self, situation: Situation, number: int, status: int) -> Situation:
        return situation._replace(status=_at(situation.status, number, status))


def _at(values: tuple[int, ...], number: int, value: int) -> tuple[int, ...]:
    return (*values[:number], value, *values[number + 1 :])
