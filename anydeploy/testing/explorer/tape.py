"""What happened in one run, in a form that can be written down and played again."""

from __future__ import annotations

import re
from collections.abc import Sequence

from attrs import frozen

from .play import Limits

_FORM = re.compile(r"(?P<backend>[a-z]+):c(?P<cancellations>\d+)f(?P<failures>\d+):(?P<ways>(\d+=\d+(,\d+=\d+)*)?)")


@frozen
class Tape:
    """``asyncio:c1f0:4=2,9=1``: on asyncio, with one cancellation and no failure on offer, at the fourth point that had
    several ways the way 2 was taken, at the ninth the way 1, and everywhere else the ordinary one.

    The points are numbered from 0. It depends on the scenario, on the versions of Python and of the event loop, and on
    nothing else.

    :ivar backend: ``asyncio`` or ``trio``
    :ivar cancellations: how many callers could be cancelled; that decides which ways there are
    :ivar failures: likewise, of choices of the scripted world
    :ivar ways: the way taken at every point
    """

    backend: str
    cancellations: int
    failures: int
    ways: tuple[int, ...]

    @classmethod
    def of(cls, backend: str, limits: Limits, taken: Sequence[int]) -> Tape:
        ways = list(taken)
        while ways and not ways[-1]:
            ways.pop()
        return cls(backend, limits.cancellations, limits.failures, tuple(ways))

    @classmethod
    def parse(cls, text: str) -> Tape:
        """Read what ``str()`` gave.

        :raises ValueError: if it is no tape
        """
        found = _FORM.fullmatch(text.strip())
        if found is None:
            raise ValueError(f"not a tape: {text!r} (expected something like 'asyncio:c1f0:4=2,9=1')")
        taken = [tuple(map(int, each.split("="))) for each in found["ways"].split(",") if each]
        ways = [0] * (max((point for point, _ in taken), default=-1) + 1)
        for point, way in taken:
            ways[point] = way
        return cls(found["backend"], int(found["cancellations"]), int(found["failures"]), tuple(ways))

    def __str__(self) -> str:
        ways = ",".join(f"{point}={way}" for point, way in enumerate(self.ways) if way)
        return f"{self.backend}:c{self.cancellations}f{self.failures}:{ways}"
