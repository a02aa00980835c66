"""The survey of all small scopes, and the command that writes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from .__main__ import main

_SMALL = ["--deployments", "1", "--callers", "2", "--backend", "asyncio"]


def test_a_survey_of_ours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is broken, everything is complete, and it says how much that was."""
    page = tmp_path / "page.md"
    assert main(["explore", *_SMALL, "--output", str(page)]) == 0
    printed = capsys.readouterr().out
    assert page.read_text() == printed
    assert "9 scopes" in printed
    for fault in ("nothing", "a cancellation", "a failure"):
        assert f"| asyncio | {fault} | 9 | 9 | 0 | 0 |" in printed
    assert "Nothing was given up; no rule is broken." in printed
    assert "Written by `python -m proofs explore --deployments 1" in printed


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (["--jobs", "0"], "0: expected a whole number, 1 or more"),
        (["--deployments", "-1"], "expected"),
        (["--bound", "few"], "few: expected a whole number, 0 or more"),
        (["--output", "/no/where/page.md"], "/no/where/page.md cannot be written: No such file or directory"),
    ],
)
def test_wrong_arguments(wrong: list[str], why: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Known before anything is explored."""
    with pytest.raises(SystemExit) as caught:
        main(["explore", *_SMALL, *wrong])
    assert caught.value.code == 2
    assert why in capsys.readouterr().err


def test_bounds_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    """A scope that is too large to be explored as a whole is bounded, and given up if it is too large even so."""
    assert main(["explore", *_SMALL, "--fault", "a cancellation", "--most", "5", "--bound", "1", "--last", "30"]) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("| asyncio"))
    scopes, complete, bounded, given_up = (int(cell) for cell in row.split("|")[3:7])
    assert scopes == complete + bounded + given_up
    assert min(complete, bounded, given_up) > 0


def test_each_kind_of_defect_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    """With its scope, its story and its tape, and nothing of it a second time."""
    assert main(["explore", "proofs.hasty:Hasty", *_SMALL, "--fault", "nothing"]) == 1
    printed = capsys.readouterr().out
    assert printed.count("## R1, nothing") == 1
    assert "get_connector(a) gave a#1, but a#1 is deploying" in printed
    assert "its tape: asyncio:c0f0:" in printed


def test_processes_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    """Several at a time find what one finds."""
    tables: list[list[str]] = []
    for jobs in ("1", "2"):
        assert main(["explore", *_SMALL, "--jobs", jobs]) == 0
        tables.append([line for line in capsys.readouterr().out.splitlines() if line.startswith("| asyncio")])
    assert tables[0] == tables[1]
