from __future__ import annotations

import pytest

from anydeploy.duration import to_positive_seconds, to_seconds


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(0, 0), (3, 3), (0.25, 0.25), ("500ms", 0.5), ("2s", 2), ("2m", 120), ("1h", 3600), ("1.5 s", 1.5), (" 0s ", 0)],
)
def test_what_is_a_duration(value, seconds):
    assert to_seconds(value) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "value",
    ["", "5", "s", "-1s", "1d", "1e3s", "\u0661s", "1h30m", -1, True, None, [], float("nan"), float("inf"), 10**400],
)
def test_what_is_not(value):
    with pytest.raises(ValueError, match=r"expected a duration: .*500ms.*, found "):
        to_seconds(value)


@pytest.mark.parametrize("value", [0, "0ms"])
def test_zero_can_be_excluded(value):
    with pytest.raises(ValueError, match="more than 0"):
        to_positive_seconds(value)
