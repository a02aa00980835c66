"""Reading: rules R1 to R4."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from anyio import create_task_group
from scripted import World, settle, start

from anydeploy import DefaultDeploymentManager, DeployError, InvalidConnectorError
from anydeploy.testing import unit, wrapper

pytestmark = pytest.mark.anyio


async def test_exactly_while_live() -> None:
    """R1, R2: the same connector while live, and None before, during and after; it is no coroutine."""
    assert not inspect.iscoroutinefunction(DefaultDeploymentManager.get_connector)
    world = World()
    world.fail("deploy a")
    async with world.manager(unit("a")) as manager, create_task_group() as tasks:
        assert manager.get_connector("a") is manager.get_connector("unknown") is None
        with pytest.raises(DeployError):
            await manager.deploy("a")
        assert manager.get_connector("a") is None
        up, down = world.hold("deploy a"), world.hold("undeploy a")
        call = start(tasks, manager.deploy, "a")
        await up.reached.wait()
        assert manager.get_connector("a") is None
        up.release()
        await call.wait()
        connector = manager.get_connector("a")
        await manager.deploy("a")
        assert manager.get_connector("a") is connector is not None
        call = start(tasks, manager.undeploy, "a")
        await down.reached.wait()
        assert manager.get_connector("a") is None
        down.release()
        await call.wait()
        assert manager.get_connector("a") is None


async def test_hidden_and_shown_again() -> None:
    """R1, R2: after undeploy of what dependents keep up None, and after the next deploy the same object."""
    world = World()
    async with world.manager(unit("a"), wrapper("b", "a")) as manager:
        await manager.deploy("b")
        connector = manager.get_connector("a")
        await manager.undeploy("a")
        assert manager.get_connector("a") is None
        await manager.deploy("a")
        assert manager.get_connector("a") is connector is not None


async def test_invalid_from_the_beginning_of_the_teardown() -> None:
    """R4: every operation raises from then on, naming the deployment."""
    world = World()
    plan = world.hold("undeploy a")
    async with world.manager(unit("a")) as manager, create_task_group() as tasks:
        await manager.deploy("a")
        connector: Any = manager.get_connector("a")
        start(tasks, manager.undeploy, "a")
        await plan.reached.wait()
        with pytest.raises(InvalidConnectorError, match="'a'"):
            await connector.run(["x"])
        with pytest.raises(InvalidConnectorError, match="'a'"):
            async with connector.start(["x"]):
                pass
        plan.release()


async def test_invalid_while_the_teardown_waits_for_its_turn() -> None:
    """R4, K1: it has begun, although the connector is not told yet."""
    world = World()
    async with world.manager(unit("a"), unit("b"), max_concurrent=1) as manager, create_task_group() as tasks:
        await manager.deploy("a")
        connector: Any = manager.get_connector("a")
        plan = world.hold("deploy b")
        start(tasks, manager.deploy, "b")
        await plan.reached.wait()
        start(tasks, manager.undeploy, "a")
        await settle()
        assert world.count("undeploy a") == 0
        with pytest.raises(InvalidConnectorError, match="'a'"):
            await connector.run(["x"])
        plan.release()


async def test_invalid_when_it_has_failed() -> None:
    """R4: so is the connector whose deploy failed, as soon as its cleanup has begun."""
    world = World()
    world.fail("deploy a")
    plan = world.hold("undeploy a")
    async with world.manager(unit("a")) as manager, create_task_group() as tasks:
        start(tasks, manager.deploy, "a")
        await plan.reached.wait()
        call = start(tasks, world.connectors["a"][0].run, ["x"])
        await call.wait()
        plan.release()
    assert isinstance(call.error, InvalidConnectorError)
