"""``streamflow run`` on real workflows, with anydeploy's manager and with StreamFlow's own.

Where StreamFlow's own is wrong, its failure is expected, with the reason: when it is mended, this will say so.
"""

from __future__ import annotations

import json
import re
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
    marks = [pytest.mark.reference]
    if reason is not None:
        marks.append(pytest.mark.xfail(reason=reason, raises=(AssertionError, subprocess.TimeoutExpired)))
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
    """Return the lines that the workflow's commands have written."""
    said = json.loads(run.output[run.output.index("\n{") :].partition("\n}")[0] + "}")["said"]
    return sorted(Path(file["path"]).read_text().strip() for file in (said if isinstance(said, list) else [said]))


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


@pytest.mark.parametrize("lazy", ["abc", ""], ids=["lazy", "eager"])
@both("it can never deploy a name again after one failure")
def test_a_failing_deploy_is_tried_again(start: Start, tmp_path: Path, manager: str, lazy: str):
    """K3, D5: the first deploy fails and is cleaned up, and the run is completed."""
    run = start(manager, stack(tmp_path, lazy=lazy, failing=1, retries=1), on="c")
    assert run.finish() == 0, run.output
    assert run.log() == [*UP[:4], "deploy c", "failed c", "undeploy c", "undeployed c", *UP[4:], *DOWN]
    assert run.left() == []


@pytest.mark.parametrize("lazy", ["abc", ""], ids=["lazy", "eager"])
@both("it does not say which deployment has failed, and tears down in the wrong order what came up for it")
def test_a_failed_deploy_fails_the_run(start: Start, tmp_path: Path, manager: str, lazy: str):
    """D5: the error names the deployment and has the original error as its cause, and nothing is left."""
    run = start(manager, stack(tmp_path, lazy=lazy, failing=1000), on="c")
    assert run.finish() == 1
    assert "attempt 1 is made to fail" in run.output
    # The last line of some traceback.
    assert re.search(r"^[\w.]+(Exception|Error): .*\bc\b", run.output, re.MULTILINE), run.output
    assert_orderly(run.log())
    assert run.left() == []


@both("it gives an eager connector the path of the file in place of its directory")
def test_paths_are_relative_to_the_file(start: Start, tmp_path: Path, manager: str):
    definition = nesting(tmp_path, lazy=False)
    run = start(manager, {"a": {**definition, "config": {"log": "log"}}}, on="a")
    assert run.finish() == 0, run.output
    assert run.log() == [*UP[:2], *DOWN[4:]]


def test_a_docker_requirement(start: Start, tmp_path: Path):
    """D1: the deployment that it makes is in no file, and wraps one that is."""
    docker = {"type": "nesting", "config": {"log": str(tmp_path / "log")}}
    run = start(ANYDEPLOY, {"a": nesting(tmp_path)}, on="a", workflow="image", docker=docker)
    assert run.finish() == 0, run.output
    assert said(run) == ["one from a image"]
    life = [f"{what} image" for what in ("deploy", "deployed", "undeploy", "undeployed")]
    assert run.log() == UP[:2] + life + DOWN[4:]
    assert run.left() == []


def test_recovery(start: Start, tmp_path: Path):
    """D2: what StreamFlow loads from its database to repeat a failed job is what is up already."""
    sections = {"failureManager": {"type": "default", "config": {"max_retries": 2}}}
    deployments = {"a": nesting(tmp_path, lazy=False), "b": nesting(tmp_path, lazy=False, wraps="a")}
    run = start(ANYDEPLOY, deployments, on="b", workflow="unlucky", sections=sections)
    assert run.finish() == 0, run.output
    assert said(run) == ["one from a b"]
    assert run.log() == UP[:4] + DOWN[2:]
    assert "COMPLETED Recovery" in run.output
    assert "different definition" not in run.output


@pytest.mark.parametrize("number", [Signals.SIGINT, Signals.SIGTERM, Signals.SIGHUP], ids=lambda number: number.name)
@both("it tears inner environments down under those that wrap them, and SIGTERM and SIGHUP end it on the spot")
def test_a_signal_while_a_command_runs(start: Start, tmp_path: Path, manager: str, number: Signals):
    run = start(manager, stack(tmp_path), on="c", workflow="endless")
    run.wait_for((tmp_path / "started").exists)
    run.send(number)
    assert run.finish() != 0
    assert run.log() == UP + DOWN
    assert run.left() == []


@pytest.mark.parametrize(
    ("number", "lazy"),
    [pytest.param(Signals.SIGINT, "abc", id="SIGINT-lazy"), pytest.param(Signals.SIGTERM, "", id="SIGTERM-eager")],
)
@both("it leaves behind what is being deployed")
def test_a_signal_while_something_is_being_deployed(
    start: Start, tmp_path: Path, manager: str, number: Signals, lazy: str
):
    """U8: the deploy is let finish, and then undone."""
    run = start(manager, stack(tmp_path, lazy=lazy, waiting="go"), on="c")
    run.wait_for(lambda: "deploy c" in run.log())
    run.send(number)
    run.wait_for(lambda: "UNDEPLOYING" in run.output)
    (tmp_path / "go").touch()
    assert run.finish() != 0
    assert run.log() == UP + DOWN
    assert run.left() == []


@both("the second Ctrl-C cancels its teardown")
def test_a_second_interrupt_does_not_end_the_teardown(start: Start, tmp_path: Path, manager: str):
    """D6, U8: it ends the deploy, which would be allowed to finish, and what that may have made is undeployed."""
    run = start(manager, stack(tmp_path, lazy="", waiting="never", leaving="go"), on="c")
    run.wait_for(lambda: "deploy c" in run.log())
    run.send(Signals.SIGINT)
    run.wait_for(lambda: "UNDEPLOYING" in run.output)
    run.send(Signals.SIGINT)
    run.wait_for(lambda: "Once more leaves at once" in run.output and "undeploy c" in run.log())
    (tmp_path / "go").touch()
    assert run.finish() != 0
    assert run.log() == [*UP[:5], *DOWN]
    assert run.left() == []


@both("a Ctrl-C cancels its teardown")
@pytest.mark.parametrize("number", [Signals.SIGINT, Signals.SIGTERM])
def test_a_signal_does_not_end_the_teardown_of_a_run_that_is_over(
    start: Start, tmp_path: Path, manager: str, number: Signals
):
    """U5, U8: what it asks for is being done already."""
    run = start(manager, stack(tmp_path, lazy="", leaving="go"), on="c")
    run.wait_for(lambda: "undeploy c" in run.log())
    run.send(number)
    if manager == ANYDEPLOY:
        run.wait_for(lambda: "Once more leaves at once" in run.output)
    (tmp_path / "go").touch()
    assert run.finish() == 0, run.output
    assert run.log() == UP + DOWN
    assert run.left() == []


def assert_orderly(log: list[str]) -> None:
    """Each environment came up after its dependencies and went down before them, and nothing is up any more."""
    up: list[str] = []
    for line in log:
        what, name = line.split()
        below = CHAIN[: CHAIN.index(name)]
        if what == "deploy":
            assert up == list(below), log
            up.append(name)
        elif what == "undeploy":
            assert up[-1:] == [name], log
        elif what == "undeployed":
            up.remove(name)
    assert up == []
