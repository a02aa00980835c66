"""Limits and external environments: rules K1 to K3 and E1."""

from __future__ import annotations

import anyio
import pytest
from scripted import World, unit
from virtual import BACKENDS, run_virtual

from anydeploy import Connector, DefaultDeploymentManager, DeployError, DeploymentConfig, UndeployError


@pytest.mark.parametrize("backend", BACKENDS)
def test_slots_and_priority(backend: str) -> None:
    """K1: never more than max_concurrent at once; the longest remaining path goes first."""

    async def use() -> None:
        world = World()
        async with world.manager(
            unit("x"), unit("y"), unit("c", "b"), unit("b", "a"), unit("a"), max_concurrent=1
        ) as m:
            await m.deploy_all()
            begun = [entry for entry in world.history if entry.startswith("deploy ")]
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
            assert manager.get_connector("a") is world.instances["a"][2]

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


@pytest.mark.anyio
async def test_deploy_that_comes_back_in_spite_of_its_timeout():
    """K2: what it holds open has been cancelled: the deploy has failed, and is not shown."""

    class Late(Connector):
        undeployed = 0

        async def deploy(self, external: bool) -> None:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.05)

        async def undeploy(self, external: bool) -> None:
            Late.undeployed += 1

    config = DeploymentConfig("late", "late", deploy_timeout=0.01)
    async with DefaultDeploymentManager([config], connector_types={"late": Late}) as manager:
        with pytest.raises(DeployError) as caught:
            await manager.deploy("late")
        assert isinstance(caught.value.__cause__, TimeoutError)
        assert manager.get_connector("late") is None
        assert Late.undeployed == 1
