"""Undeploying, rules U6 to U8: what the suite of scenarios does not say."""

from __future__ import annotations

from functools import partial

import pytest
from anyio import create_task_group
from scripted import World, settle, start

from anydeploy import DeployError, ManagerClosedError, UndeployError
from anydeploy.testing import unit

pytestmark = pytest.mark.anyio


async def test_deploy_of_the_stuck_that_stays_stuck() -> None:
    """U6: deploy first tries the teardown again, and fails if that does."""
    world = World()
    world.fail("undeploy a")
    world.fail("undeploy a")
    async with world.manager(unit("a")) as manager:
        await manager.deploy("a")
        with pytest.raises(UndeployError):
            await manager.undeploy("a")
        with pytest.raises(DeployError):
            await manager.deploy("a")
        assert manager.status()["a"].state == "stuck"


async def test_undeploy_all_collects() -> None:
    """U7: one failure stops only what lies under it; all errors come out together; repeating does nothing."""
    world = World()
    errors = {world.fail("undeploy b"), world.fail("undeploy d")}
    async with world.manager(unit("a"), unit("b", "a"), unit("c"), unit("d")) as manager:
        await manager.deploy_all()
        with pytest.raises(ExceptionGroup) as caught:
            await manager.undeploy_all()
        assert {e.__cause__ for e in caught.value.exceptions} == errors
        assert sorted(world.existing) == ["a", "b", "d"]
        await manager.undeploy_all()
        assert list(world.existing) == []
        await manager.undeploy_all()
        await manager.undeploy("unknown")


async def test_undeploy_all_waits_for_what_was_on_its_way_down() -> None:
    """U7: also if somebody waited to deploy it afresh; and for what lies under it."""
    world = World()
    plan = world.hold("undeploy b")
    async with world.manager(unit("a"), unit("b", "a")) as manager, create_task_group() as tasks:
        await manager.deploy("b")
        start(tasks, manager.undeploy, "b")
        await plan.reached.wait()
        newcomer = start(tasks, manager.deploy, "b")
        await settle()
        calls = [start(tasks, manager.undeploy_all) for _ in range(2)]
        assert await newcomer.wait() == "raised"
        await settle()
        assert [call.outcome for call in calls] == ["waiting"] * 2
        calls[0].cancel()
        plan.release()
        assert await calls[1].wait() == "returned"
        assert list(world.existing) == []


async def test_close_during_everything() -> None:
    """U8: close gives up deploys, waits for teardowns, tries the stuck a last time, and is final."""
    world = World()
    up, down = world.hold("deploy up"), world.hold("undeploy down")
    world.fail("undeploy stuck")
    names = ("base", "up", "down", "stuck")
    async with world.manager(*(unit(n, *(["base"] if n != "base" else [])) for n in names)) as manager:
        await manager.deploy("down")
        await manager.deploy("stuck")
        with pytest.raises(UndeployError):
            await manager.undeploy("stuck")
        async with create_task_group() as tasks:
            deploying = start(tasks, manager.deploy, "up")
            await up.reached.wait()
            start(tasks, manager.undeploy, "down")
            await down.reached.wait()
            closing = [start(tasks, manager.close) for _ in range(2)]
            assert await deploying.wait() == "raised"
            await settle()
            assert closing[0].outcome == "waiting"
            down.release()
        assert [c.outcome for c in closing] == ["returned"] * 2
        assert list(world.existing) == []
        with pytest.raises(ManagerClosedError):
            await manager.deploy("base")
        await manager.close()


async def test_close_of_an_idle_manager() -> None:
    """U8: where nothing is up there is nothing to wait for."""
    world = World()
    async with world.manager(unit("a")) as manager:
        await manager.close()
        await manager.close()


async def test_close_tries_what_is_stuck_once() -> None:
    """U8: a last time, and not again and again."""
    world = World()
    for _ in range(3):
        world.fail("undeploy a")
    async with world.build(unit("a")) as manager:
        await manager.deploy("a")
        with pytest.raises(UndeployError):
            await manager.undeploy("a")
        with pytest.raises(ExceptionGroup):
            await manager.close()
    assert world.count("undeploy a") == 2


async def test_hurry() -> None:
    """U8: every connector that there is is told; of what waits for another one there is none yet."""
    world = World()
    plan = world.hold("deploy b")
    hurried: list[str] = []
    async with world.manager(unit("a"), unit("b"), unit("c", "b")) as manager, create_task_group() as tasks:
        await manager.deploy("a")
        start(tasks, manager.deploy, "c")
        await plan.reached.wait()
        for name, instances in world.connectors.items():
            instances[0].hurry = partial(hurried.append, name)
        manager.hurry()
        plan.release()
    assert hurried == ["a", "b"]
