"""The ways that one run took, in a form that can be written down and played again."""

from __future__ import annotations

import re
from collections.abc import Sequence

from attrs import evolve, frozen

from .play import Limits

#: No run has more points, and no text is to make a list of any length.
_NUMBER = "(?:0|[1-9][0-9]{0,6})"
_FORM = re.compile(
    rf"(?P<backend>asyncio|trio):c(?P<cancellations>{_NUMBER})f(?P<failures>{_NUMBER})(?P<callbacks>k)?"
    rf"(?:s(?P<steps>{_NUMBER}))?"
    rf":(?P<ways>(?:{_NUMBER}={_NUMBER}(?:,{_NUMBER}={_NUMBER})*)?)"
)


@frozen
class Tape:
    """``asyncio:c1f0:4=2,9=1``: on asyncio, with one cancellation and no failure on offer, at the fourth point that had
    several ways the way 2 was taken, at the ninth the way 1, and everywhere else the ordinary one.

    The points are numbered from 0. It depends on the scenario, on the versions of Python and of the event loop, and on
    nothing else.

    :ivar backend: ``asyncio`` or ``trio``
    :ivar limits: those that decide which ways there are, and after how many steps a run was endless; without a bound
    :ivar ways: the way taken at every point
    """

    backend: str
    limits: Limits
    ways: tuple[int, ...]

    @classmethod
    def of(cls, backend: str, limits: Limits, taken: Sequence[int]) -> Tape:
        ways = list(taken)
        while ways and not ways[-1]:
            ways.pop()
        return cls(backend, evolve(limits, bound=None), tuple(ways))

    @classmethod
    def parse(cls, text: str) -> Tape:
        """Read what ``str()`` gave.

        :raises ValueError: if it is no tape
        """
        found = _FORM.fullmatch(text.strip())
        taken = _pairs(found["ways"]) if found is not None else [(0, 0)]
        points = [point for point, _ in taken]
        if found is None or points != sorted(set(points)) or not all(way for _, way in taken):
            raise ValueError(f"not a tape: {text!r} (expected something like 'asyncio:c1f0:4=2,9=1')")
        ways = [0] * (max(points, default=-1) + 1)
        for point, way in taken:
            ways[point] = way
        steps = int(found["steps"]) if found["steps"] else Limits().steps
        limits = Limits(
            int(found["cancellations"]), int(found["failures"]), steps=steps, callbacks=bool(found["callbacks"])
        )
        return cls(found["backend"], limits, tuple(ways))

    def __str__(self) -> str:
        ways = ",".join(f"{point}={way}" for point, way in enumerate(self.ways) if way)
        steps = "" if self.limits.steps == Limits().steps else f"s{self.limits.steps}"
        callbacks = "k" if self.limits.callbacks else ""
        return f"{self.backend}:c{self.limits.cancellations}f{self.limits.failures}{callbacks}{steps}:{ways}"


def _pairs(text: str) -> list[tuple[int, int]]:
    return [(int(point), int(way)) for point, _, way in (each.partition("=") for each in text.split(",") if each)]
