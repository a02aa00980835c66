"""Limits and external environments: rules K1 to K3 and E1."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
from scripted import World, settle, start

from anydeploy import (
    Connector,
    DefaultDeploymentManager,
    DeployError,
    DeploymentConfig,
    UndeployError,
    WorkflowExecutionException,
)
from anydeploy.testing import unit
from anydeploy.testing.virtual import BACKENDS, run_virtual


@pytest.mark.parametrize("backend", BACKENDS)
def test_slots_and_priority(backend: str) -> None:
    """K1: never more than max_concurrent at once; the longest remaining path goes first."""

    async def use() -> None:
        world = World()
        async with world.manager(
            unit("x"), unit("y"), unit("c", "b"), unit("b", "a"), unit("a"), max_concurrent=1
        ) as m:
            await m.deploy_all()
            begun = [entry for entry in world.told if entry.startswith("deploy ")]
            assert begun[:2] == ["deploy a", "deploy b"]
        assert world.most_running == 1

    run_virtual(backend, use)


@pytest.mark.parametrize("backend", BACKENDS)
def test_timeouts(backend: str) -> None:
    """K2: a timeout is a failure that names the deployment and the limit; the definition's goes first."""

    async def use() -> None:
        world = World()
        world.hold("deploy a")
        world.hold("undeploy b")
        async with world.manager(
            unit("a", deploy_timeout=2), unit("b"), deploy_timeout=9, undeploy_timeout=3
        ) as manager:
            began = anyio.current_time()
            with pytest.raises(DeployError, match=r"'a'.*2 s"):
                await manager.deploy("a")
            assert anyio.current_time() - began == 2
            await manager.deploy("b")
            with pytest.raises(UndeployError, match=r"'b'.*3 s"):
                await manager.undeploy("b")

    run_virtual(backend, use)


@pytest.mark.parametrize("backend", BACKENDS)
def test_retries(backend: str) -> None:
    """K3: each attempt is cleaned up before the next, and the one that succeeds stays up."""

    async def use() -> None:
        world = World()
        world.fail("deploy a")
        world.fail("deploy a")
        async with world.manager(unit("a", retries=2)) as manager:
            began = anyio.current_time()
            await manager.deploy("a")
            assert anyio.current_time() - began == 3
            await anyio.sleep(100)
            assert world.count("undeployed a") == 2
            assert manager.get_connector("a") is world.connectors["a"][2]

    run_virtual(backend, use)


@pytest.mark.parametrize("backend", BACKENDS)
def test_undeploy_during_backoff(backend: str) -> None:
    """K3, U4: an undeploy during the backoff ends it; no further attempt is made."""

    async def use() -> None:
        world = World()
        world.fail("deploy a")
        async with world.manager(unit("a", retries=5)) as manager, anyio.create_task_group() as tasks:

            async def deploy() -> None:
                with pytest.raises(DeployError, match="undeployed"):
                    await manager.deploy("a")

            tasks.start_soon(deploy)
            await anyio.sleep(0.5)
            began = anyio.current_time()
            await manager.undeploy("a")
            assert anyio.current_time() == began
            await anyio.sleep(100)
            assert world.count("deploy a") == 1

    run_virtual(backend, use)


@pytest.mark.parametrize("backend", BACKENDS)
def test_external(backend: str) -> None:
    """E1: external is passed on to deploy and undeploy."""

    async def use() -> None:
        world = World()
        async with world.manager(unit("a", external=True), unit("b")) as manager:
            await manager.deploy_all()
        assert world.external == {"deploy a": True, "undeploy a": True, "deploy b": False, "undeploy b": False}

    run_virtual(backend, use)


@pytest.mark.parametrize("backend", BACKENDS)
def test_deploy_that_comes_back_in_spite_of_its_timeout(backend: str) -> None:
    """K2: what it holds open has been cancelled: the deploy has failed, and is not shown."""

    class Late(Connector):
        undeployed = 0

        async def deploy(self, external: bool) -> None:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(5)

        async def undeploy(self, external: bool) -> None:
            Late.undeployed += 1

    async def use() -> None:
        config = DeploymentConfig("late", "late", deploy_timeout=1)
        async with DefaultDeploymentManager([config], connector_types={"late": Late}) as manager:
            with pytest.raises(DeployError) as caught:
                await manager.deploy("late")
            assert isinstance(caught.value.__cause__, TimeoutError)
            assert manager.get_connector("late") is None
            assert Late.undeployed == 1

    run_virtual(backend, use)


@pytest.mark.parametrize("backend", BACKENDS)
def test_urgency_of_a_repeated_request(backend: str) -> None:
    """K1: a demand that was dropped and made again counts as what it is now, not as what it was."""

    async def use() -> None:
        world = World()
        busy = world.hold("deploy busy")
        configs = unit("busy"), unit("top", "mid"), unit("mid", "low"), unit("low"), unit("b", "a"), unit("a")
        async with world.manager(*configs, max_concurrent=1) as manager, anyio.create_task_group() as tasks:
            start(tasks, manager.deploy, "busy")
            await busy.reached.wait()
            first = start(tasks, manager.deploy, "top")
            await settle()
            first.cancel()
            await first.wait()
            calls = [start(tasks, manager.deploy, name) for name in ("low", "b")]
            await settle()
            busy.release()
            for call in calls:
                assert await call.wait() == "returned"
            assert [entry for entry in world.told if entry.startswith("deploy ")][1] == "deploy a"

    run_virtual(backend, use)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("operation", ["deploy", "undeploy"])
@pytest.mark.parametrize("wait_for", ["lazy", "self", "other", "undeploy", "undeploy_all", "close"])
def test_connector_at_work_waits_for_nobody(backend: str, operation: str, wait_for: str) -> None:
    """K1, L1: what could only end in waiting for oneself is refused, in tasks of the connector as well."""

    async def use() -> None:
        world = World()
        refused: list[WorkflowExecutionException] = []
        configs = unit("a"), unit("b"), unit("lazy", lazy=True), unit("up")
        async with world.manager(*configs, max_concurrent=1) as manager:
            await manager.deploy_all(["up", "lazy"])
            lazy: Any = manager.get_connector("lazy")
            calls: dict[str, Callable[[], Awaitable[object]]] = {
                "lazy": lambda: lazy.run(["x"]),
                "self": lambda: manager.deploy("a"),
                "other": lambda: manager.deploy("b"),
                "undeploy": lambda: manager.undeploy("up"),
                "undeploy_all": manager.undeploy_all,
                "close": manager.close,
            }

            async def call() -> None:
                await manager.deploy("up")
                with pytest.raises(WorkflowExecutionException, match="'a' must not wait") as caught:
                    await calls[wait_for]()
                refused.append(caught.value)

            async def act(connector: Any) -> None:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(call)

            world.plan(f"{operation} a", action=act)
            await manager.deploy("a")
            await manager.undeploy("a")
            assert len(refused) == 1
            assert manager.get_connector("up") is not None

    run_virtual(backend, use)


@pytest.mark.parametrize("backend", BACKENDS)
def test_connector_at_work_may_take_back_what_it_need_not_wait_for(backend: str) -> None:
    """U1, U2: an undeploy that returns at once is not refused."""

    async def use() -> None:
        world = World()
        async with world.manager(unit("a", "base"), unit("base"), max_concurrent=1) as manager:

            async def act(connector: Any) -> None:
                await manager.undeploy("nobody")
                await manager.undeploy("base")
                assert manager.get_connector("base") is None

            world.plan("undeploy a", action=act)
            await manager.deploy_all()
            await manager.undeploy("a")
            await settle()
            assert world.told[-2:] == ["undeploy base", "undeployed base"]

    run_virtual(backend, use)


@pytest.mark.parametrize("backend", BACKENDS)
def test_connector_with_a_manager_of_its_own(backend: str) -> None:
    """K1: a connector may well wait for another manager, whose connectors must not wait for it in turn."""

    async def use() -> None:
        inner, outer = World(), World()
        outer_manager = outer.build(unit("a"))

        async def act(connector: Any) -> None:
            async with inner.manager(unit("b")) as manager:
                await manager.deploy("b")

        async def wait_for_a(connector: Any) -> None:
            with pytest.raises(WorkflowExecutionException, match="'a' must not wait"):
                await outer_manager.deploy("a")

        outer.plan("deploy a", action=act)
        inner.plan("deploy b", action=wait_for_a)
        async with outer_manager:
            await outer_manager.deploy("a")
        assert inner.count("deployed b") == 1

    run_virtual(backend, use)
