"""D1, R1: what the report says of a manager that keeps the rules, and of one that does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import anydeploy.testing
from anydeploy.testing import AnydeploySubject, Feature
from anydeploy.testing.__main__ import main


class Hasty(AnydeploySubject):
    """Gives away connectors before they are up, and knows no limits."""

    name = "a hasty manager"
    features = frozenset(Feature) - {Feature.LIMITS}

    def manager(self, script: Any, **options: Any) -> Any:
        manager = super().manager(script, **options)
        manager.get_connector = lambda name: script.connectors.get(name, [None])[-1]  # type: ignore[method-assign]
        return manager


def test_a_manager_that_keeps_the_rules(capsys: pytest.CaptureFixture[str]):
    assert main(["report"]) == 0
    page = capsys.readouterr().out
    assert "# What anydeploy keeps of the rules" in page
    assert "It keeps 27 of 27 rules, breaks 0, and was not tried on 0." in page
    assert "- **keeps**: `get_connector` gives None for a name that nobody knows." in page


def test_a_manager_that_breaks_some(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """R1, K1: what is broken is told, and what the manager does not claim is not tried."""
    assert main(["report", "testing.test_report:Hasty", "--output", str(tmp_path / "page.md")]) == 0
    page = (tmp_path / "page.md").read_text()
    assert capsys.readouterr().out == page
    assert "| K1 | 0 | 0 | not tried |" in page
    assert "| R1 | 4 | 1 | breaks |" in page
    assert "get_connector(a) gave a#1, but a#1 is deploying" in page


@pytest.mark.parametrize(
    ("where", "why"),
    [
        ("nowhere:Subject", "No module named 'nowhere'"),
        ("testing.test_report:Nobody", "has no attribute 'Nobody'"),
        ("testing.test_report", "expected module:Class"),
        ("testing.test_report:main", "is not a subclass of anydeploy.testing.subject:Subject"),
    ],
)
def test_a_subject_that_is_none(where: str, why: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as caught:
        main(["report", where])
    assert caught.value.code == 2
    assert why in capsys.readouterr().err


def test_every_public_name_of_the_kit_is_there():
    assert sorted(anydeploy.testing._MODULES) == sorted(anydeploy.testing.__all__)
    for name in anydeploy.testing.__all__:
        assert getattr(anydeploy.testing, name).__doc__
        assert name in dir(anydeploy.testing)
    with pytest.raises(AttributeError, match="no attribute 'Nobody'"):
        _ = anydeploy.testing.Nobody  # type: ignore[attr-defined]
