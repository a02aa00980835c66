"""The state machine and the suite of scenarios each find every one of the seeded defects."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .defects import DEFECTS, SOUND

_EXAMPLES = 4_000
#: Seconds after which a search is taken to hang, however busy the machine is.
_HANGS = 900

pytestmark = pytest.mark.timeout(0)


def test_there_are_enough_of_them() -> None:
    assert len(DEFECTS) >= 25


def search(name: str, examples: int) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-m", "proofs.defects", name, "asyncio", str(examples)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_HANGS, check=False)


@pytest.mark.parametrize("examples", [pytest.param(200, id="machine"), pytest.param(0, id="suite")])
def test_nothing_is_found_in_the_sound_manager(examples: int) -> None:
    result = search(SOUND, examples)
    assert result.returncode == 1, result.stdout


@pytest.mark.parametrize("name", sorted(DEFECTS))
def test_the_machine_finds(name: str) -> None:
    """D1-D6, R1-R4, U1-U8, K1, L1: a manager with this defect does not pass the machine."""
    result = search(name, _EXAMPLES)
    assert result.returncode == 0, f"not found in {_EXAMPLES} examples\n{result.stderr[-2000:]}"
    assert "found:" in result.stdout


@pytest.mark.parametrize("name", sorted(DEFECTS))
def test_the_suite_finds(name: str) -> None:
    """D1-D6, R1-R4, U1-U8, K1, L1: a manager with this defect does not pass the conformance suite."""
    result = search(name, 0)
    assert result.returncode == 0, f"not found\n{result.stderr[-2000:]}"
    assert "found:" in result.stdout
