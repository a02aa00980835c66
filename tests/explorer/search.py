"""Goes through the runs of a scenario, depth first, without holding more than one of them."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

from attrs import define, field, frozen

from .play import Limits, Play, UnreproducibleError

Scenario: TypeAlias = Callable[[], Awaitable[object]]
#: Plays one run of a scenario on a backend.
Runner: TypeAlias = Callable[[Scenario, Play], None]

#: The collector does not run inside a run, for what it finds would be finalised at another step each time.
_RUNS_BETWEEN_COLLECTIONS = 100


@frozen(eq=False)
class Branch:
    """A way that has not been gone: the first ``length`` of the ways ``taken`` by a run lead there.

    :ivar names: of the ways that there are; they must be the same again
    """

    taken: list[int]
    length: int
    way: int
    names: tuple[str, ...]

    def tape(self) -> list[int]:
        return [*self.taken[: self.length], self.way]


@define(eq=False)
class Search:
    """An exploration under way.

    :ivar branches: the ways that are still to be gone, the next one last
    """

    limits: Limits
    branches: list[Branch] = field(factory=list[Branch])
    schedules: int = 0
    steps: int = 0

    def run(self, scenario: Scenario, runner: Runner, most: int | None) -> Explored | None:
        """Play runs until all have been, ``most`` of them have, or one has failed; return the one that failed."""
        while (most is None or self.schedules < most) and not self.complete:
            play = self._next()
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

    def _next(self) -> Explored:
        if self.schedules == 0:
            return Explored(self.limits, search=self)
        branch = self.branches.pop()
        return Explored(self.limits, search=self, tape=branch.tape(), branch=branch)


@define(eq=False)
class Explored(Play):
    """A run of the search: it goes the ways of the tape, then the ordinary ones, and leaves a branch at every other."""

    search: Search = field(kw_only=True)
    tape: Sequence[int] = ()
    branch: Branch | None = None

    def decide(self, ways: int, ready: Sequence[Any] | None) -> int:
        position = len(self.taken)
        if position < len(self.tape) - 1:
            way = self.tape[position]
            if way >= ways:
                self.give_up(UnreproducibleError([f"way {way}"], [f"way {each}" for each in range(ways)]))
            return way
        names = self._names(ways, ready)
        if self.branch is not None and position == len(self.tape) - 1:
            if names != self.branch.names:
                self.give_up(UnreproducibleError(self.branch.names, names))
            return self.branch.way
        bounded = self.limits.bound is not None and self.deviations >= self.limits.bound
        first = len(ready) if ready is not None and bounded else 1
        self.search.branches += [Branch(self.taken, position, way, names) for way in range(first, ways)]
        return 0

    def _names(self, ways: int, ready: Sequence[Any] | None) -> tuple[str, ...]:
        if ready is None:
            return tuple(f"way {each}" for each in range(ways))
        names = tuple(map(self.backend.label, ready))
        return names if len(names) == ways else (*names, *(f"cancel {offer.what}" for offer in self.offers))
