"""The benchmarks run, and their page is written. Their figures are not judged: they differ from run to run."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = ROOT / "benchmarks" / "README.md"
NAMES = re.findall(r"^\| `(\w+)` \|", README.read_text(), re.MULTILINE)


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks import report

    return report


def sections():
    from benchmarks.measure import Aim, Row, Section, Spread

    def row(case: int, ratio: float, aim: Aim | None, label: str | None) -> Row:
        spreads = Spread(1.0, 2.0, 3.0, 5), Spread(1.0, 1.0, 1.0, 5), Spread(ratio, ratio, ratio, 5)
        return Row({"n": case}, "the floor", "µs", *spreads, aim, label)

    rows = [
        row(1, 2.0, Aim(2.0), "small"),
        row(2, 2.0, Aim(1.9), "large"),
        row(3, 2.0, Aim(2.1, at_most=False), "fast"),
        row(4, 2.0, None, "huge"),
        row(5, 2.0, Aim(2.0), None),
    ]
    return [Section("All", rows, skipped=["a peer is not installed"])]


@pytest.mark.timeout(300)  # some start servers
@pytest.mark.parametrize("name", NAMES)
def test_it_runs(name: str, tmp_path: Path):
    command = [sys.executable, "-m", "benchmarks", "--quick", "--output", str(tmp_path), name]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found = json.loads((tmp_path / f"{name}.json").read_text())
    table = (tmp_path / f"{name}.md").read_text()
    for section in found["sections"]:
        assert section["rows"] or section["skipped"]
        assert f"### {section['title']}" in done.stdout
        assert f"### {section['title']}" in table


@pytest.mark.parametrize("name", NAMES)
def test_the_page_has_a_place_for_it(name: str):
    text = README.read_text()
    assert text.count(f"<!-- {name} -->\n") == text.count(f"<!-- end of {name} -->\n") == 1


def test_the_short_table(report):
    lines = report.as_summary("overhead", sections()).splitlines()
    assert lines[2:6] == [
        "| small | 2.00 µs | the floor: 1.00 µs | **2.00** | ≤ 2 | met |",
        "| large | 2.00 µs | the floor: 1.00 µs | **2.00** | ≤ 1.9 | missed |",
        "| fast | 2.00 µs | the floor: 1.00 µs | **2.00** | ≥ 2.1 | missed |",
        "| huge | 2.00 µs | the floor: 1.00 µs | **2.00** |  |  |",
    ]
    assert lines[6:8] == ["", "Skipped: a peer is not installed."]
    assert lines[-1].endswith(". [All figures](results/overhead.md).")
    assert report.as_markdown(sections()).count("the floor") == 5


def test_it_replaces_only_its_own_part_of_the_page(report, tmp_path: Path):
    page = tmp_path / "README.md"
    page.write_text("Before\n<!-- a -->\nold\n<!-- end of a -->\n<!-- b -->\nkept\n<!-- end of b -->\nAfter\n")
    for _ in range(2):
        report.replace_in(page, "a", "new\n")
        assert page.read_text() == (
            "Before\n<!-- a -->\n\nnew\n\n<!-- end of a -->\n<!-- b -->\nkept\n<!-- end of b -->\nAfter\n"
        )


def test_all_are_described():
    help_ = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert f"all, or some of: {', '.join(NAMES)}" in " ".join(help_.stdout.split())
