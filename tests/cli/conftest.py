from __future__ import annotations

import random
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .terminal import COMMAND, DEADLINE, Terminal, kill_all, marked


@pytest.fixture
def marker() -> Iterator[str]:
    """A number of seconds to sleep for that only this test's processes have as an argument; none may be left."""
    marker = f"1{random.randrange(10**12):012}"
    yield marker
    left = marked(marker)
    kill_all(marker)
    assert not left, "processes were left behind"


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def write(deployments: str) -> Path:
        path = tmp_path / "streamflow.yml"
        path.write_text(f"version: v1.0\ndeployments:\n{deployments}")
        return path

    return write


@pytest.fixture
def open_terminal(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def open_terminal(*args: str) -> Terminal:
        terminal = Terminal(*args, cwd=tmp_path)
        opened.append(terminal)
        return terminal

    yield open_terminal
    for terminal in opened:
        terminal.close()


@pytest.fixture
def anydeploy(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def anydeploy(*args: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *args], cwd=tmp_path, input=stdin, capture_output=True, text=True, timeout=DEADLINE, check=False
        )

    return anydeploy
