"""Durations as people write them: seconds as a number, or a string with a unit."""

from __future__ import annotations

import re
from math import inf, isfinite, nan

from .typecheck import expected, is_number

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_WRITTEN = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(ms|s|m|h)\s*", re.ASCII)
_DURATION = "a duration: seconds as a number, or a string with a unit such as 500ms, 2s, 2m or 1h"


def to_seconds(value: object) -> float:
    """Return the seconds that a duration stands for; zero is one too.

    :raises ValueError: with what was expected and what was found
    """
    if isinstance(value, str):
        written = _WRITTEN.fullmatch(value)
        seconds = float(written[1]) * _SECONDS[written[2]] if written else nan
    elif is_number(value, int, float):
        seconds = _to_float(value)
    else:
        seconds = nan
    if not (isfinite(seconds) and seconds >= 0):
        raise ValueError(expected(_DURATION, value))
    return seconds


def to_positive_seconds(value: object) -> float:
    """Like :func:`to_seconds`, for what cannot be zero."""
    seconds = to_seconds(value)
    if seconds == 0:
        raise ValueError(expected(f"{_DURATION}; it must be more than 0", value))
    return seconds


def _to_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return inf
