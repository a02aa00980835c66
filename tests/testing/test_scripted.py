"""D5, D6, K2, R4: scripted connectors do as they are told, and what they and their callers did is written down."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from anydeploy import DeployError, InvalidConnectorError
from anydeploy.testing import (
    EntryKind,
    Script,
    Violation,
    recorded,
    run_virtual,
    settle,
    unit,
    wrapper,
)
from anydeploy.testing.virtual import BACKENDS

pytestmark = pytest.mark.anyio


@pytest.fixture
def script(anydeploy_script: Script) -> Script:
    return anydeploy_script


async def test_what_is_not_said_succeeds_and_is_written_down(script: Script):
    script.define(unit("a"), wrapper("b", "a"))
    async with recorded(script) as manager:
        await manager.deploy("b")
        assert list(manager.read()) == ["a", "b"]
    assert [str(entry) for entry in script.history.entries] == [
        "caller 1 called deploy(b)",
        "a#1 was built",
        "deploy of a#1 began",
        "deploy of a#1 ended",
        "b#1 was built",
        "deploy of b#1 began",
        "deploy of b#1 ended",
        "deploy(b) of caller 1 returned",
        "get_connector(a) gave a#1",
        "get_connector(b) gave b#1",
        "caller 2 called close()",
        "undeploy of b#1 began",
        "undeploy of b#1 ended",
        "undeploy of a#1 began",
        "undeploy of a#1 ended",
        "close() of caller 2 returned",
    ]


async def test_an_operation_that_is_to_fail_fails_once(script: Script):
    """D5: each failure that was planned is used up in its turn."""
    script.define(unit("a"))
    error = script.fail("deploy a")
    other = script.fail_constructor("a")
    async with recorded(script) as manager:
        for expected in (other, error):
            with pytest.raises(DeployError) as caught:
                await manager.deploy("a")
            assert caught.value.__cause__ is expected
        await manager.deploy("a")
    assert script.history.count("build of a failed: ScriptedError: build a: as told") == 1
    assert script.history.count("deploy of a#1 failed: ScriptedError: deploy a: as told") == 1


async def test_an_operation_that_is_held_goes_on_when_it_is_released(script: Script):
    """D6: it can be cancelled meanwhile, unless it is deaf."""
    script.define(unit("a"))
    async with recorded(script) as manager, anyio.create_task_group() as tasks:
        plan = script.hold("deploy a")
        caller = manager.start(tasks, "deploy", "a")
        await plan.reached.wait()
        assert [str(operation) for operation in script.operations] == ["deploy of a#1"]
        caller.cancel()
        assert await caller.wait() is EntryKind.GAVE_UP
        await settle()
        assert script.history.count("deploy of a#1 was cancelled") == 1
        deaf = script.hold("deploy a", deaf=True)
        caller = manager.start(tasks, "deploy", "a")
        await deaf.reached.wait()
        caller.cancel()
        await settle()
        assert [str(operation) for operation in script.operations] == ["deploy of a#2"]
        deaf.fail()
        await settle()
        assert script.operations == []


async def test_an_operation_can_do_anything(script: Script):
    async def action(connector: object) -> None:
        seen.append(connector)

    seen: list[object] = []
    script.define(unit("a"))
    script.plan("deploy a", action=action)
    async with recorded(script) as manager:
        await manager.deploy("a")
    assert seen == script.connectors["a"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_operation_takes_its_time_on_the_clock_of_the_event_loop(backend: str):
    """K2: of which the history tells."""

    async def main() -> list[float]:
        script = Script(unit("a"))
        script.delay("deploy a", 1000)
        async with recorded(script) as manager:
            await manager.deploy("a")
        times = {str(entry): entry.when for entry in script.history.entries}
        return [times[f"deploy of a#1 {what}"] - times["a#1 was built"] for what in ("began", "ended")]

    assert run_virtual(backend, main) == pytest.approx([0, 1000])


async def test_a_connector_that_goes_down_cannot_be_used(script: Script):
    """R4: the use is a call as others are."""
    script.define(unit("a"))
    async with recorded(script) as manager:
        await manager.deploy("a")
        connector = manager.get_connector("a")
        assert await manager.use("a") is None
        await manager.undeploy("a")
        with pytest.raises(InvalidConnectorError):
            await connector.run(["true"])
    assert script.history.count("run of a#1 ended") == 1


async def test_leaving_the_block_raises_what_was_broken():
    script = Script(unit("a"))
    with pytest.raises(Violation, match="K1: deploy of a#1 began beside"):
        async with recorded(script):
            script.history.violations.append(Violation("K1", "deploy of a#1 began beside b#1"))


async def test_an_exception_in_the_block_comes_out():
    """M2: and not what it has broken."""
    script = Script(unit("a"))
    with pytest.raises(ZeroDivisionError):
        async with recorded(script) as manager:
            await manager.deploy("a")
            raise ZeroDivisionError
    assert script.history.count("undeploy of a#1 ended") == 1


async def test_what_is_misspelt_is_refused():
    script = Script(unit("a"))
    for operation in ("a", "explode a", "deploy ", "deploya"):
        with pytest.raises(ValueError, match="not an operation"):
            script.hold(operation)
    async with recorded(script) as manager:
        with pytest.raises(ValueError, match="unknown operation 'delpoy'"):
            manager.caller("delpoy", "a")


TESTS = """
from anydeploy.testing import EntryKind

def test_that_keeps_the_rules(anydeploy_script):
    pass

def test_that_breaks_a_rule(anydeploy_script):
    anydeploy_script.history._clock = lambda: 0.0
    anydeploy_script.history.record(EntryKind.READ, "get_connector", "a", instance=1)
"""


def test_the_fixture_fails_a_test_that_broke_a_rule(tmp_path: Path):
    (tmp_path / "test_it.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:anyio", "test_it.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "2 passed, 1 error" in done.stdout
    assert "R1: get_connector(a) gave a#1, a name that is not known" in done.stdout


def test_loading_the_plugin_imports_nothing_heavy():
    program = "import sys, anydeploy.testing.plugin; print([m for m in ('anyio', 'trio', 'attrs') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
