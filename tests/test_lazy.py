"""Lazy deployments, rule L1: what the suite of scenarios does not say."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from contextlib import suppress
from typing import Any

import anyio
import pytest
from anyio import create_task_group
from scripted import World, settle, start

from anydeploy import (
    DependencyCycleError,
    DeployError,
    FutureConnector,
    InvalidConnectorError,
    ManagerClosedError,
    UnknownDeploymentError,
)
from anydeploy.testing import unit

pytestmark = pytest.mark.anyio


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


async def test_deploy_during_close() -> None:
    """L1, U8: a manager that is closed meanwhile gives out nothing that could only fail."""
    world = World()
    async with world.manager(unit("a", lazy=True)) as manager:
        async with create_task_group() as tasks:
            call = start(tasks, manager.deploy, "a")
            start(tasks, manager.close)
        assert isinstance(call.error, ManagerClosedError)
        assert manager.get_connector("a") is None


@pytest.mark.parametrize("undeploy", ["undeploy", "undeploy_all"])
@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
async def test_undeploy_during_deploy(names: tuple[str, ...], undeploy: str) -> None:
    """L1, U4: a deploy that is taken back before it has returned says so, and what came up for it goes down."""
    world = World()
    plan = world.hold("deploy b")
    async with world.manager(unit("a", lazy=True), unit("b")) as manager, create_task_group() as tasks:
        call = start(tasks, manager.deploy, *names)
        await plan.reached.wait()
        taking_back = start(tasks, getattr(manager, undeploy), *(["a"] if undeploy == "undeploy" else []))
        await settle()
        plan.release()
        await taking_back.wait()
        await call.wait()
        assert isinstance(call.error, DeployError)
        assert "was undeployed before it was up" in str(call.error)
        assert manager.get_connector("a") is None
        await settle()
        assert [status.state for status in manager.status().values()] == ["absent", "absent"]


async def test_undeploy_during_the_checkpoint_of_deploy() -> None:
    """L1, U4: taken back while it waits for nothing else, or just after it has returned, it stays taken back."""
    async with World().manager(unit("a", lazy=True)) as manager, create_task_group() as tasks:
        begun = anyio.Event()

        async def deploy() -> None:
            begun.set()
            with suppress(DeployError):
                await manager.deploy("a")

        tasks.start_soon(deploy)
        await begun.wait()
        await manager.undeploy("a")
        await settle()
        assert manager.get_connector("a") is None


async def test_loss_reported_to_a_lazy_connector() -> None:
    """L1, X1: it is that of the real one; without one there is nothing to lose."""
    async with World().manager(unit("a", lazy=True)) as manager:
        await manager.deploy("a")
        connector: Any = manager.get_connector("a")
        connector.report_lost(OSError("gone"))
        assert manager.status()["a"].state == "absent"
        await connector.resolve()
        connector.report_lost(OSError("gone"))
        assert manager.status()["a"].state == "lost"


async def test_use_after_close() -> None:
    """L1, U8: what was given out before brings nothing up any more."""
    world = World()
    async with world.manager(unit("a", lazy=True)) as manager:
        await manager.deploy("a")
        connector: Any = manager.get_connector("a")
        await manager.close()
        assert manager.get_connector("a") is None
        with pytest.raises(InvalidConnectorError, match="'a'"):
            await connector.run(["x"])
    assert world.told == []


async def test_hidden_and_shown_again() -> None:
    """L1, R2: it is the same one for as long as the deployment lives."""
    world = World()
    async with world.manager(unit("a", lazy=True), unit("b", "a")) as manager:
        await manager.deploy("a")
        connector: Any = manager.get_connector("a")
        await connector.run(["x"])
        await manager.deploy("b")
        await manager.undeploy("a")
        assert manager.get_connector("a") is None
        await manager.deploy("a")
        assert manager.get_connector("a") is connector


async def test_what_was_given_out_is_forgotten() -> None:
    """L1: with the undeploy, the manager does not keep it."""
    async with World().manager(unit("a", lazy=True)) as manager:
        await manager.deploy("a")
        connector = weakref.ref(manager.get_connector("a"))
        await manager.undeploy("a")
        gc.collect()
        assert connector() is None


@pytest.mark.parametrize("used", [False, True])
async def test_copies(used: bool) -> None:
    """L2: a copy of it is itself, it is shown as what it is, and that it cannot be pickled is said plainly."""
    world = World()
    async with world.manager(unit("a", lazy=True)) as manager:
        await manager.deploy("a")
        connector: Any = manager.get_connector("a")
        if used:
            await connector.run(["x"])
        assert copy.copy(connector) is copy.deepcopy(connector) is connector
        assert copy.deepcopy({"key": [connector]})["key"] == [connector]
        with pytest.raises(TypeError, match="'a' cannot be pickled: it is lazy"):
            pickle.dumps(connector)
        assert len(repr(connector)) < 500
        assert "deployment_name='a'" in repr(connector)
        with pytest.raises(AttributeError, match="not known before it is deployed" if not used else "nothing"):
            _ = connector.nothing


async def test_one_without_its_constructor() -> None:
    """L2: such as `copy` and `pickle` make: looking for an attribute of it ends."""
    empty = FutureConnector.__new__(FutureConnector)
    with pytest.raises(AttributeError, match="not known"):
        _ = empty.real_name


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
