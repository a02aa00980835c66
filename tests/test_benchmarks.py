"""The benchmarks run. Nothing is said here about time: what they find differs from run to run."""

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


@pytest.mark.parametrize("name", NAMES)
def test_it_runs(name: str, tmp_path: Path):
    command = [sys.executable, "-m", "benchmarks", "--quick", "--output", str(tmp_path), name]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found = json.loads((tmp_path / f"{name}.json").read_text())
    for section in found["sections"]:
        assert section["rows"] or section["skipped"]
        assert f"### {section['title']}" in done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_the_page_has_a_place_for_it(name: str):
    text = README.read_text()
    assert text.count(f"<!-- {name} -->\n") == text.count(f"<!-- end of {name} -->\n") == 1


def test_all_are_described():
    help_ = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert f"all, or some of: {', '.join(NAMES)}" in " ".join(help_.stdout.split())
