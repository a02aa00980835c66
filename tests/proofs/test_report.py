"""D1, R1: what the report says of a manager that keeps the rules, and of one that does not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .__main__ import main


def test_a_manager_that_keeps_the_rules(capsys: pytest.CaptureFixture[str]):
    assert main(["report"]) == 0
    page = capsys.readouterr().out
    assert "# The rules that anydeploy keeps" in page
    assert re.search(r"It keeps (\d+) of \1 rules, breaks 0, and was not tried on 0\.", page)
    assert "- **keeps**: `get_connector` gives None for an unknown name." in page


def test_a_manager_that_breaks_some(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """R1, K1: what is broken is told, and what the manager does not claim is not tried."""
    assert main(["report", "proofs.hasty:Hasty", "--output", str(tmp_path / "page.md")]) == 0
    page = (tmp_path / "page.md").read_text()
    assert capsys.readouterr().out == page
    assert "| K1 | 0 | 0 | not tried |" in page
    assert "| R1 | 5 | 1 | breaks |" in page
    assert "get_connector(a) gave a#1, but a#1 is deploying" in page


@pytest.mark.parametrize(
    ("where", "why"),
    [
        ("nowhere:Subject", "No module named 'nowhere'"),
        ("proofs.test_report:Nobody", "has no attribute 'Nobody'"),
        ("proofs.test_report", "expected module:Class"),
        ("proofs.test_report:main", "is not a subclass of anydeploy.testing.subject:Subject"),
    ],
)
def test_a_subject_that_is_none(where: str, why: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as caught:
        main(["report", where])
    assert caught.value.code == 2
    assert why in capsys.readouterr().err
