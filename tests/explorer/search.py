"""Goes through the runs of a scenario, depth first, without holding more than one of them."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

from attrs import define, field, frozen

from .cycles import Graph
from .play import Abandoned, Limits, Play, UnreproducibleError
from .state import StateReader

Scenario: TypeAlias = Callable[[], Awaitable[object]]
#: Plays one run of a scenario on a backend.
Runner: TypeAlias = Callable[[Scenario, Play], None]
#: The fingerprint of a state, with what has been used up of the limits.
State: TypeAlias = tuple[bytes, int, int]


#: The collector does not run inside a run, for what it finds would be finalised at another step each time.
_RUNS_BETWEEN_COLLECTIONS = 100


@frozen(eq=False)
class Branch:
    """A way that has not been gone: what was taken before it is the beginning of a run that was played.

    :ivar names: what could be done there; it must be the same again
    :ivar state: where it begins, if states are read
    """

    taken: list[int]
    length: int
    way: int
    names: tuple[str, ...]
    state: State | None

    def tape(self) -> list[int]:
        return [*self.taken[: self.length], self.way]


@define(eq=False)
class Search:
    """What is known in the middle of an exploration.

    :ivar reader: reads states, so that what follows one is played once; None: every run is played to its end
    :ivar seen: by state, how many deviations were left when it was met; without a bound it is 0
    :ivar graph: how the states follow each other, for what goes round in circles
    """

    limits: Limits
    reader: StateReader | None
    branches: list[Branch] = field(factory=list[Branch])
    seen: dict[State, int] = field(factory=dict[State, int])
    graph: Graph = field(factory=Graph)
    schedules: int = 0
    steps: int = 0

    def next(self) -> Explored | None:
        """The next run to be played, if there is one."""
        if self.schedules == 0:
            return Explored(self.limits, search=self)
        if self.branches:
            branch = self.branches.pop()
            return Explored(self.limits, search=self, tape=branch.tape(), branch=branch)
        return None

    def run(self, scenario: Scenario, runner: Runner, most: int | None) -> Explored | None:
        """Play runs until all have been, ``most`` of them have, or one has failed: then returns that one."""
        while most is None or self.schedules < most:
            play = self.next()
            if play is None:
                break
            self.schedules += 1
            play.play(scenario, runner)
            self.steps += play.steps
            if self.schedules % _RUNS_BETWEEN_COLLECTIONS == 0:
                gc.collect(0)
            if play.failure is not None:
                return play
        return None

    @property
    def complete(self) -> bool:
        """Whether nothing is left to be played."""
        return self.schedules > 0 and not self.branches

    def read(self, play: Play) -> State:
        assert self.reader is not None
        ordered = self.limits.bound is not None
        return self.reader.fingerprint(play.state(ordered=ordered)), play.cancelled, play.failed

    def is_new(self, state: State, deviations: int) -> bool:
        """Whether a state is met for the first time, or with more deviations left than ever before."""
        left = 0 if self.limits.bound is None else self.limits.bound - deviations
        known = self.seen.get(state)
        if known is not None and known >= left:
            return False
        self.seen[state] = left
        return True


@define(eq=False)
class Explored(Play):
    """A run of the search: the ways of the tape, then what is ordinary, and a branch for every other way."""

    search: Search = field(kw_only=True)
    tape: Sequence[int] = ()
    branch: Branch | None = None
    _last: State | None = None
    _ran: set[str] = field(factory=set[str])

    def next(self, ready: Sequence[Any]) -> int | None:
        way = super().next(ready)
        if way is not None and self._last is not None:
            self._ran.add(self.backend.label(ready[way]))
        return way

    def decide(self, ways: int, ready: Sequence[Any] | None) -> int:
        position = len(self.taken)
        if position < len(self.tape) - 1:
            way = self.tape[position]
            if way >= ways:
                self.give_up(UnreproducibleError([f"way {way}"], [f"way {each}" for each in range(ways)]))
            return way
        names = self._names(ways, ready)
        if self.branch is not None and position == len(self.tape) - 1:
            return self._arrive(names, self.branch)
        first = 1
        if ready is not None:
            if self.limits.bound is not None and self.deviations >= self.limits.bound:
                first = len(ready)
            # Where nothing else can be done, playing the run to its end costs less than reading where it has come to.
            if self.search.reader is not None and first < ways:
                self._note(self.search.read(self), names[: len(ready)])
        self.search.branches += [Branch(self.taken, position, way, names, self._last) for way in range(first, ways)]
        return 0

    def _names(self, ways: int, ready: Sequence[Any] | None) -> tuple[str, ...]:
        """What each of the ways is called."""
        if ready is None:
            return tuple(f"way {each}" for each in range(ways))
        names = tuple(map(self.backend.label, ready))
        return names if len(names) == ways else (*names, *(f"cancel {offer.what}" for offer in self.offers))

    def _arrive(self, names: tuple[str, ...], branch: Branch) -> int:
        """At the end of the tape there is the same to choose from as there was when the branch was left."""
        if names != branch.names:
            self.give_up(UnreproducibleError(branch.names, names))
        self._last = branch.state
        return branch.way

    def _note(self, state: State, names: Sequence[str]) -> None:
        """Take note of a state; leave it if it is known.

        :raises Abandoned: if everything that follows it has been, or will be, played
        """
        new = self.search.is_new(state, self.deviations)
        self.search.graph.arrive(self._last, self._ran, state, names, self.taken)
        if not new:
            raise Abandoned
        self._last = state
        self._ran = set()
