"""Lazy deployments: rules L1 and L2."""

from __future__ import annotations

from typing import Any

import pytest
from anyio import create_task_group
from scripted import World, settle, start

from anydeploy import DependencyCycleError, DeployError, InvalidConnectorError, UnknownDeploymentError
from anydeploy.testing import unit

pytestmark = pytest.mark.anyio


async def test_never_used() -> None:
    """L1: never used means never deployed and never undeployed; the definition is checked at once."""
    world = World()
    async with world.manager(unit("a", lazy=True), unit("b", "nowhere", lazy=True)) as manager:
        await manager.deploy("a")
        assert manager.get_connector("a") is manager.get_connector("a") is not None
        with pytest.raises(UnknownDeploymentError):
            await manager.deploy("b")
    assert world.told == []


async def test_what_it_stands_on_is_checked_as_well() -> None:
    """L1, D4: a misspecification anywhere below is reported by its deploy, not by its first use."""
    world = World()
    units = unit("a", "b", lazy=True), unit("b", "nowhere"), unit("c", "d", lazy=True), unit("d", "c")
    async with world.manager(*units) as manager:
        for name, error in (("a", UnknownDeploymentError), ("c", DependencyCycleError)):
            with pytest.raises(error):
                await manager.deploy(name)
            assert manager.get_connector(name) is None
    assert world.told == []


async def test_concurrent_first_users_one_cancelled() -> None:
    """L1, L2: brought up once for all first users; that the first one is cancelled is noticed by no other."""
    world = World()
    plan = world.hold("deploy a")
    async with world.manager(unit("a", "base", lazy=True), unit("base")) as manager, create_task_group() as tasks:
        await manager.deploy("a")
        connector: Any = manager.get_connector("a")
        first, second = (start(tasks, connector.run, ["x"]) for _ in range(2))
        await plan.reached.wait()
        first.cancel()
        assert await first.wait() == "cancelled"
        plan.release()
        assert await second.wait() == "returned"
        assert second.value.args == ["x"]
        assert world.count("deploy a") == 1
        assert isinstance(connector, type(world.connectors["a"][0]))
        assert manager.get_connector("a") is connector


async def test_failure_then_again_and_undeploy_then_use() -> None:
    """L1, R4: after a failure the next use tries again; after undeploy it is invalid, until it is deployed again."""
    world = World()
    world.fail("deploy a")
    async with world.manager(unit("a", lazy=True), unit("b", "a")) as manager:
        await manager.deploy("a")
        connector: Any = manager.get_connector("a")
        with pytest.raises(DeployError):
            await connector.run(["x"])
        await connector.run(["x"])
        await manager.deploy("b")
        assert world.count("deployed a") == 1
        await manager.undeploy_all()
        assert manager.get_connector("a") is None
        with pytest.raises(InvalidConnectorError, match="'a'"):
            await connector.run(["x"])
        await manager.deploy("a")
        again: Any = manager.get_connector("a")
        await again.run(["x"])
        assert world.count("deployed a") == 2
        await settle()
