"""``streamflow run`` on real workflows, with anydeploy's manager and with StreamFlow's own.

Where StreamFlow's own is wrong, its failure is expected, with the reason: when it is mended, this will say so.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from signal import Signals
from typing import Any

import pytest

from .running import ANYDEPLOY, REFERENCE, Run

CHAIN = ("a", "b", "c")
UP = [f"{what} {name}" for name in CHAIN for what in ("deploy", "deployed")]
DOWN = [f"{what} {name}" for name in reversed(CHAIN) for what in ("undeploy", "undeployed")]

Start = Callable[..., Run]


def both(reason: str | None = None) -> pytest.MarkDecorator:
    """Under both managers; with a reason why StreamFlow's own fails, if it does."""
    marks = (
        [] if reason is None else [pytest.mark.xfail(reason=reason, raises=(AssertionError, subprocess.TimeoutExpired))]
    )
    return pytest.mark.parametrize("manager", [ANYDEPLOY, pytest.param(REFERENCE, marks=marks)])


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    runs: list[Run] = []

    def begin(*args: Any, **kwargs: Any) -> Run:
        run = Run(tmp_path, *args, **kwargs)
        runs.append(run)
        run.start()
        return run

    yield begin
    for run in runs:
        run.clean_up()


def nesting(
    directory: Path, *, lazy: bool = True, wraps: str | None = None, retries: int = 0, **config: Any
) -> dict[str, Any]:
    definition = {"type": "nesting", "config": {"log": str(directory / "log"), **config}, "lazy": lazy}
    optional = {"wraps": wraps, "retries": retries or None}
    return {**definition, "workdir": str(directory / "work"), **{k: v for k, v in optional.items() if v is not None}}


def stack(directory: Path, *, lazy: str = "abc", **config: Any) -> dict[str, Any]:
    """Three that stand on one another; ``config`` is that of the last."""
    return {
        "a": nesting(directory, lazy="a" in lazy),
        "b": nesting(directory, lazy="b" in lazy, wraps="a"),
        "c": nesting(directory, lazy="c" in lazy, wraps="b", **config),
    }


def said(run: Run) -> list[str]:
    """What the workflow's commands have written."""
    files = json.loads(run.output[run.output.index("\n{") :].partition("\n}")[0] + "}")["said"]
    return sorted(Path(file["path"]).read_text().strip() for file in files)


@both()
def test_a_plain_workflow(start: Start, manager: str):
    run = start(manager)
    assert run.finish() == 0, run.output
    assert said(run) == [f"{word} from nowhere" for word in ("one", "three", "two")]
    assert run.left() == []


@pytest.mark.parametrize("lazy", ["abc", "", "ac"], ids=["lazy", "eager", "mixed"])
@both("it tears inner environments down under those that wrap them")
def test_a_stack(start: Start, tmp_path: Path, manager: str, lazy: str):
    """D1, R3, U1: what is wrapped comes first and goes last, whether it is lazy or not, and whoever runs meanwhile."""
    run = start(manager, stack(tmp_path, lazy=lazy), on="c")
    assert run.finish() == 0, run.output
    assert said(run) == [f"{word} from a b c" for word in ("one", "three", "two")]
    assert run.log() == UP + DOWN
    assert run.left() == []
