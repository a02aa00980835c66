"""Reading, rule R4: what the suite of scenarios does not say."""

from __future__ import annotations

from typing import Any

import attrs
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


async def test_is_up_tells_whether_deploy_would_find_nothing_to_do() -> None:
    world = World()
    lazy = attrs.evolve(unit("lazy"), lazy=True)
    async with world.manager(unit("a"), unit("b", "a"), unit("c"), lazy) as manager:
        assert not manager.is_up("a")
        await manager.deploy("b")
        await manager.deploy("lazy")
        # It is live because `b` needs it, and would go down with that.
        assert [manager.is_up(name) for name in ("a", "b", "lazy", "nothing")] == [False, True, False, False]
        definition = manager.definition("b")
        assert definition is not None
        assert manager.is_up(definition)
        # An equal one may still turn out to be different, which is for `deploy` to say.
        assert not manager.is_up(attrs.evolve(definition))
        await manager.undeploy("b")
        assert not manager.is_up("b")
        await manager.deploy("b")
        await manager.deploy("c")
        world.lose("a")
        assert [manager.is_up(name) for name in ("b", "c")] == [False, True]
    assert not manager.is_up("b")
