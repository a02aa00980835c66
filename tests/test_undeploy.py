"""Undeploying: rules U1 to U8."""

from __future__ import annotations

import pytest
from anyio import create_task_group
from scripted import World, settle, start

from anydeploy import DeployError, ManagerClosedError, UndeployError
from anydeploy.testing import ScriptedError, unit, wrapper

pytestmark = pytest.mark.anyio


async def test_dependencies_follow_in_reverse() -> None:
    """U1: what was only up for it follows in reverse order; what was deployed explicitly stays."""
    world = World()
    async with world.manager(unit("a"), unit("b", "a"), unit("c", "b")) as manager:
        await manager.deploy("a")
        await manager.deploy("c")
        await manager.undeploy("c")
        await settle()
        assert world.told[6:] == ["undeploy c", "undeployed c", "undeploy b", "undeployed b"]
        assert list(world.existing) == ["a"]


async def test_dependents_keep_it_up() -> None:
    """U2, R1: with dependents it returns at once and hides the connector; the last dependent takes it along."""
    world = World()
    async with world.manager(unit("a"), unit("b", "a")) as manager:
        await manager.deploy("a")
        await manager.deploy("b")
        await manager.undeploy("a")
        assert manager.get_connector("a") is None
        assert "a" in world.existing
        await manager.undeploy("b")
        await settle()
        assert list(world.existing) == []


async def test_three_deep() -> None:
    """U2, R3: the innermost of three is not torn down under a live wrapper (StreamFlow's manager does)."""
    world = World()
    async with world.manager(unit("a"), wrapper("b", "a"), wrapper("c", "b")) as manager:
        await manager.deploy("c")
        await manager.undeploy("a")
        await manager.undeploy("b")
        await settle()
        assert sorted(world.existing) == ["a", "b", "c"]
        assert manager.get_connector("c") is not None


async def test_concurrent_callers() -> None:
    """U3: concurrent calls undeploy once and all return only when it is down."""
    world = World()
    plan = world.hold("undeploy a")
    async with world.manager(unit("a")) as manager, create_task_group() as tasks:
        await manager.deploy("a")
        calls = [start(tasks, manager.undeploy, "a") for _ in range(3)]
        await plan.reached.wait()
        await settle()
        assert {call.outcome for call in calls} == {"waiting"}
        plan.release()
        for call in calls:
            assert await call.wait() == "returned"
        assert world.count("undeploy a") == 1


async def test_undeploy_while_deploying() -> None:
    """U4: the waiting callers get an error saying so; what was half made is cleaned up."""
    world = World()
    plan = world.hold("deploy a")
    async with world.manager(unit("a")) as manager, create_task_group() as tasks:
        call = start(tasks, manager.deploy, "a")
        await plan.reached.wait()
        await manager.undeploy("a")
        assert await call.wait() == "raised"
        assert isinstance(call.error, DeployError)
        assert "undeployed" in str(call.error)
        assert world.told == ["deploy a", "deploy cancelled a", "undeploy a", "undeployed a"]


async def test_cancelled_caller() -> None:
    """U5: the caller returns, the teardown goes on."""
    world = World()
    plan = world.hold("undeploy a")
    async with world.manager(unit("a")) as manager, create_task_group() as tasks:
        await manager.deploy("a")
        call = start(tasks, manager.undeploy, "a")
        await plan.reached.wait()
        call.cancel()
        assert await call.wait() == "cancelled"
        plan.release()
        await settle()
        assert world.told[-1] == "undeployed a"


async def test_stuck_and_tried_again() -> None:
    """U6: a failed teardown is stuck; undeploy tries again, and what it depends on stays up for that."""
    world = World()
    error = world.fail("undeploy b")
    async with world.manager(unit("a"), unit("b", "a")) as manager:
        await manager.deploy("b")
        with pytest.raises(UndeployError, match="'b'") as caught:
            await manager.undeploy("b")
        assert caught.value.__cause__ is error
        await settle()
        assert sorted(world.existing) == ["a", "b"]
        assert manager.status()["b"].state == "stuck"
        await manager.undeploy("b")
        await settle()
        assert list(world.existing) == []


@pytest.mark.parametrize("works", [True, False])
async def test_deploy_of_the_stuck(works: bool) -> None:
    """U6: deploy first tries the teardown again."""
    world = World()
    world.fail("undeploy a")
    if not works:
        world.fail("undeploy a")
    async with world.manager(unit("a")) as manager:
        await manager.deploy("a")
        with pytest.raises(UndeployError):
            await manager.undeploy("a")
        if works:
            await manager.deploy("a")
            assert len(world.connectors["a"]) == 2
        else:
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


async def test_close_reports_and_continues_below() -> None:
    """U8: what stays stuck is reported, and what lies under it goes down all the same."""
    world = World()
    world.fail("undeploy b")
    world.fail("undeploy b", ScriptedError("last"))
    async with world.build(unit("a"), unit("b", "a")) as manager:
        await manager.deploy("b")
        with pytest.raises(ExceptionGroup):
            await manager.close()
    assert list(world.existing) == ["b"]
