"""Reading: rules R1 to R4."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from anyio import create_task_group
from scripted import World, start

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
