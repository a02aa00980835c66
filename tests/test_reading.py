"""Reading, rule R4: what the suite of scenarios does not say."""

from __future__ import annotations

from typing import Any

import pytest
from anyio import create_task_group
from scripted import World, settle, start

from anydeploy import InvalidConnectorError
from anydeploy.testing import unit

pytestmark = pytest.mark.anyio


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
