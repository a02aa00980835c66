"""The search finds every one of the seeded defects of the engine."""

from __future__ import annotations

import pytest

from .defects import DEFECTS
from .explore import Found, Search
from .violation import Violation


def test_there_are_enough_of_them() -> None:
    assert len(DEFECTS) >= 20


@pytest.mark.parametrize("name", sorted(DEFECTS))
def test_the_search_finds(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """D1-D6, R1, R3, R4, X1-X4, U1-U8, K1, K3: an engine with this defect does not pass."""
    defect = DEFECTS[name]
    defect.seed(monkeypatch)
    with pytest.raises(Found) as found:
        Search(defect.graph, defect.calls, defect.faults).run()
    # The table of transitions may refuse the defect first.
    assert isinstance(found.value.problem, (Violation, RuntimeError)), found.value
    assert found.value.trace
