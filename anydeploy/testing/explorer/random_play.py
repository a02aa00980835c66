"""Runs in a random order with a guarantee, for scenarios with too many runs to play them all."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from attrs import define, field

from .play import Play

_MANY = 25


@define(eq=False)
class RandomPlay(Play):
    """Probabilistic concurrency testing (Burckhardt and others, 2010).

    Whatever becomes ready gets a random priority, and the highest runs. At ``depth - 1`` random steps the one that is
    to run falls behind all others. A defect that needs ``depth`` steps in a certain order is found in one run with a
    probability of at least ``1 / (n * k ** (depth - 1))``, for n tasks and k steps. Cancellations and failures fall on
    random steps. Who has run many times in a row falls behind as well, or what polls would keep out what it waits for.

    :ivar length: about how many steps a run has
    """

    random: Random = field(kw_only=True)
    depth: int = 3
    length: int = 50
    _priorities: dict[str, float] = field(factory=dict[str, float])
    _falls: set[int] = field(init=False)
    _cancels: set[int] = field(init=False)
    _previous: str = ""
    _in_a_row: int = 0

    def __attrs_post_init__(self) -> None:
        self._falls = {self.random.randrange(self.length) for _ in range(self.depth - 1)}
        self._cancels = {self.random.randrange(self.length) for _ in range(self.limits.cancellations)}

    def decide(self, ways: int, ready: Sequence[Any] | None) -> int:
        if ready is None:
            # Half of all runs with a failure have it at the first choice, a quarter at the second, and so on.
            return self.random.randrange(1, ways) if self.random.random() < 0.5 else 0
        if self.steps in self._cancels and ways > len(ready):
            return self.random.randrange(len(ready), ways)
        if not self._may_deviate():
            return 0
        names = [self.backend.label(each) for each in ready]
        for name in names:
            self._priorities.setdefault(name, self.random.random())
        highest = max(names, key=self._priorities.__getitem__)
        self._in_a_row = self._in_a_row + 1 if highest == self._previous else 0
        self._previous = highest
        if self.steps in self._falls or self._in_a_row >= _MANY:
            self._priorities[highest] = -self.random.random()
            highest = max(names, key=self._priorities.__getitem__)
        return names.index(highest)

    def _may_deviate(self) -> bool:
        return self.limits.bound is None or self.deviations < self.limits.bound
