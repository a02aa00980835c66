"""The task of a deployment: no attempt takes over anything from the one before, and what foreign code does is told."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
from scripted import World, start

from anydeploy import ConnectionLostError, DeployError, UndeployError
from anydeploy.testing import unit, wrapper
from anydeploy.testing.virtual import run_virtual


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_what_no_deadline_can_bound_is_reported(backend: str, caplog: pytest.LogCaptureFixture) -> None:
    """M1: the block waits for a teardown behind a shield of its own, which succeeds late, and the log says so."""
    world = World()
    world.plan("undeploy a", deaf=True, delay=10.0)

    async def use() -> None:
        began = anyio.current_time()
        async with world.manager(unit("a"), shutdown_timeout=2) as manager:
            await manager.deploy("a")
        assert anyio.current_time() == began + 10

    with caplog.at_level(logging.WARNING, logger="anydeploy"):
        run_virtual(backend, use)
    said = [record.message for record in caplog.records if "beyond the shutdown timeout" in record.message]
    assert len(said) == 1
    assert "deployment 'a' is undeploying" in said[0]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_an_attempt_has_no_connector_of_the_one_before(backend: str) -> None:
    """K3: if the second constructor fails, nothing is there to be undeployed: the first connector was, once."""
    world = World()
    world.fail("deploy a")

    async def let_constructor_fail(_: Any) -> None:
        world.fail_constructor("a")

    world.plan("undeploy a", action=let_constructor_fail)

    async def use() -> None:
        async with world.manager(unit("a", retries=1)) as manager:
            with pytest.raises(DeployError, match="build a: as told"):
                await manager.deploy("a")
        assert world.told == ["deploy a", "deploy failed a", "undeploy a", "undeployed a"]

    run_virtual(backend, use)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_an_attempt_is_not_gone_because_the_one_before_is(backend: str) -> None:
    """U6: after a retry, the failure of the teardown counts, although that of the first attempt succeeded."""
    world = World()
    world.fail("deploy a")
    world.plan("undeploy a")
    world.fail("undeploy a")

    async def use() -> None:
        async with world.manager(unit("a", retries=1)) as manager:
            await manager.deploy("a")
            with pytest.raises(UndeployError, match="undeploy a: as told"):
                await manager.undeploy("a")
            assert manager.status()["a"].state == "stuck"

    run_virtual(backend, use)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_failure_to_reattach_is_logged(backend: str, caplog: pytest.LogCaptureFixture) -> None:
    """X3: the wrapper is undeployed all the same."""
    world = World()
    world.fail("reattach a")

    async def use() -> None:
        async with world.manager(unit("a"), wrapper("w", "a")) as manager:
            await manager.deploy("w")
            world.lose("a", ConnectionLostError("the line is dead"))
            await manager.undeploy("w")
        assert world.count("undeployed w") == 1

    assert _logged(backend, use, caplog) == [
        "reattaching deployment 'a' for the teardown of 'w' failed: ScriptedError: reattach a: as told"
    ]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_reattach_that_takes_too_long_is_logged(backend: str, caplog: pytest.LogCaptureFixture) -> None:
    """X3: it has half of the time that there is, which is no failure of the connector."""
    world = World()
    world.hold("reattach a")

    async def use() -> None:
        async with world.manager(unit("a"), wrapper("w", "a", undeploy_timeout=8)) as manager:
            await manager.deploy("w")
            world.lose("a", ConnectionLostError("the line is dead"))
            began = anyio.current_time()
            await manager.undeploy("w")
            assert anyio.current_time() == began + 4

    assert _logged(backend, use, caplog) == [
        "reattaching for the teardown of deployment 'w' failed: it took half of the time that there is for the teardown"
    ]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_teardown_has_all_the_time_of_the_shutdown(backend: str) -> None:
    """M1: half of it is for what may still come up."""
    world = World()
    plan = world.plan("undeploy a", delay=8.0)

    async def use() -> None:
        async with anyio.create_task_group() as tasks:
            async with world.manager(unit("a"), shutdown_timeout=10) as manager:
                await manager.deploy("a")
                call = start(tasks, manager.undeploy, "a")
                await plan.reached.wait()
            assert await call.wait() == "returned"

    run_virtual(backend, use)


def _logged(backend: str, use: Callable[[], Awaitable[None]], caplog: pytest.LogCaptureFixture) -> list[str]:
    """The messages about a way in that cannot be opened again."""
    with caplog.at_level(logging.ERROR, logger="anydeploy"):
        run_virtual(backend, use)
    return [record.message for record in caplog.records if "reattach" in record.message]
