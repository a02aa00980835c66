"""The method of all benchmarks: contenders run in turns in one process, and ratios are reported with their spread.

A time says more about the machine than about the program, and a shared machine is faster in one minute than in the
next. Therefore the contenders take turns, each round gives one ratio, and the result is the median of the ratios; the
quartiles say how reliable it is. Times are CPU times of the process.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import median, quantiles
from time import process_time
from typing import Any, Self

from attrs import asdict, field, frozen


@frozen
class Spread:
    """Several values of one figure."""

    low: float
    median: float
    high: float
    rounds: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Median and quartiles."""
        if len(values) < 2:
            return cls(values[0], values[0], values[0], 1)
        low, _, high = quantiles(values, n=4, method="inclusive")
        return cls(low, median(values), high, len(values))


@frozen
class Aim:
    """The aim for a ratio.

    :ivar at_most: whether less is better
    """

    limit: float
    at_most: bool = True

    def met(self, figure: Spread) -> bool:
        return figure.median <= self.limit if self.at_most else figure.median >= self.limit

    def __str__(self) -> str:
        return f"{'≤' if self.at_most else '≥'} {self.limit:g}"


@frozen
class Row:
    """One comparison.

    :ivar case: the measured case, a value for each column
    :ivar against: the name of the other contender
    :ivar ours: the figures of anydeploy in ``unit``; likewise ``theirs``
    :ivar ratio: of the two, round by round
    :ivar label: the name of the row in the short table of the page; None: in the full table only
    """

    case: Mapping[str, str | int]
    against: str
    unit: str
    ours: Spread
    theirs: Spread
    ratio: Spread
    aim: Aim | None = None
    label: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "met": None if self.aim is None else self.aim.met(self.ratio)}


@frozen
class Section:
    """One table of the results of a benchmark.

    :ivar across: the part of the case that is spread over the columns of the table, if there is one
    :ivar skipped: reasons why something was not measured
    :ivar curves: further figures, for plots: points by name
    """

    title: str
    rows: Sequence[Row]
    across: str | None = None
    skipped: Sequence[str] = ()
    curves: Mapping[str, Sequence[tuple[float, float]]] = field(factory=dict[str, Any])


@frozen
class Effort:
    """How thoroughly to measure.

    :ivar quick: only show that everything runs; the figures mean nothing
    :ivar most: the maximum number of rounds
    :ivar largest: the largest number of deployments
    """

    quick: bool = False
    most: int | None = None
    largest: int | None = None

    def rounds(self, normal: int) -> int:
        return 1 if self.quick else min(normal, self.most or normal)

    def sizes(self, *normal: int) -> tuple[int, ...]:
        """Return the sizes to measure, of the normal ones: numbers of deployments, calls or nodes."""
        if self.quick:
            return (normal[0] // 10,)
        return tuple(n for n in normal if self.largest is None or n <= self.largest) or normal[:1]


class Stopwatch:
    """Measures the CPU seconds of its ``with`` block."""

    cpu = 0.0

    def __enter__(self) -> Self:
        self._began = process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.cpu = process_time() - self._began


@contextmanager
def collector(*, enabled: bool) -> Iterator[None]:
    """Begin with no garbage; leave the garbage collector as Python has it, or switch it off."""
    gc.collect()
    if not enabled:
        gc.disable()
    try:
        yield
    finally:
        gc.enable()


def in_turns(
    contenders: Mapping[str, Callable[[], float]], rounds: int, *, collect: bool = True, warm_up: bool = True
) -> dict[str, list[float]]:
    """Run each contender once a round, in an order that rotates, and return their results by name."""
    names = list(contenders)
    found: dict[str, list[float]] = {name: [] for name in names}
    for number in range(-warm_up, rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            with collector(enabled=collect):
                value = contenders[name]()
            if number >= 0:
                found[name].append(value)
    return found


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    return Spread.of([a / b for a, b in zip(ours, theirs, strict=True)])


def compare(
    case: Mapping[str, str | int],
    found: Mapping[str, Sequence[float]],
    ours: str,
    theirs: str,
    *,
    unit: str,
    scale: float = 1.0,
    aim: Aim | None = None,
    label: str | None = None,
) -> Row:
    """Compare two of the contenders; ``scale`` converts their results into ``unit``."""
    mine, its = ([value * scale for value in found[name]] for name in (ours, theirs))
    return Row(case, theirs, unit, Spread.of(mine), Spread.of(its), ratios(mine, its), aim, label)
