"""How a StreamFlow connector is constructed, deployed and undeployed, under either manager."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import Any

import anyio
import pytest
from streamflow.core.deployment import Connector
from streamflow.core.exception import WorkflowExecutionException
from streamflow.deployment.connector import connector_classes
from streamflow.deployment.connector.container import DockerConnector, SingularityConnector

from anydeploy import DefaultDeploymentManager, DeploymentConfig, InvalidConfigError, UndeployError
from anydeploy.checking import check_settings, show_keys
from anydeploy.streamflow.hosting import HostedConnector, hosted_type
from anydeploy.testing.virtual import VirtualLoop
from anydeploy.wrapping import can_wrap

from .recorded import Plain, Wrapper, built, scripts, settled, stay

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("happened")]


def hosted(**settings: Any) -> HostedConnector:
    return hosted_type(Plain)(deployment_name="a", config_dir=Path("/x"), **settings)


@pytest.mark.parametrize("type_", sorted(connector_classes))
def test_every_class_of_streamflow_can_be_hosted(type_: str):
    """D4: its signature says what its settings are, and whether it wraps is said by its class."""
    class_ = hosted_type(connector_classes[type_])
    assert hosted_type(connector_classes[type_]) is class_
    problems = {show_keys(keys): problem for keys, problem in check_settings(class_, {"no such setting": 1})}
    assert "unknown setting" in problems.pop("no such setting")
    assert set(problems.values()) <= {"this setting is required"}
    assert can_wrap(class_) == (type_ in {"docker", "docker-compose", "singularity", "slurm", "pbs", "flux"})


def test_a_class_that_needs_a_buffer_size_gets_streamflow_s():
    class Needy(Plain):
        def __init__(self, deployment_name: str, config_dir: str, transferBufferSize: int) -> None:  # noqa: N803
            super().__init__(deployment_name, config_dir, transferBufferSize)

    class_ = hosted_type(Needy)
    assert list(check_settings(class_, {})) == []
    given = {"deployment_name": "a", "config_dir": Path("/x")}
    assert class_(**given).hosted.transferBufferSize == 2**16
    assert class_(**given, transferBufferSize=3).hosted.transferBufferSize == 3


async def test_its_life(happened: list[str]):
    connector = hosted(b=1)
    assert (connector.hosted.config_dir, connector.hosted.settings) == ("/x", {"b": 1})
    await connector.deploy(True)
    assert connector.hosted.external is True
    await connector.undeploy(True)
    assert happened == ["deploy a", "deployed a", "undeploy a", "undeployed a"]


async def test_an_undeploy_without_a_deploy_does_nothing(happened: list[str]):
    await hosted().undeploy(False)
    assert happened == []


@pytest.mark.parametrize("limit", [None, 60])
async def test_only_a_time_limit_needs_a_task_of_its_own(limit: float | None):
    """D6, K2"""
    tasks: list[Any] = []
    scripts["a"] = lambda: tasks.append(asyncio.current_task())
    with anyio.CancelScope(deadline=math.inf if limit is None else anyio.current_time() + limit):
        await hosted().deploy(False)
    assert (tasks == [asyncio.current_task()]) is (limit is None)


async def test_without_a_time_limit_a_cancellation_reaches_the_deploy(happened: list[str]):
    """As at the end of an event loop. What it may have made is undeployed."""
    scripts["a"] = stay
    connector = hosted()
    deploying = asyncio.create_task(connector.deploy(False))
    await settled()
    deploying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await deploying
    await connector.undeploy(False)
    assert happened == ["deploy a", "undeploy a", "undeployed a"]


async def test_a_deploy_beyond_its_time_is_allowed_to_finish(happened: list[str]):
    """K2: the cancellation is let through at once."""
    gate = asyncio.Event()
    scripts["a"] = gate.wait
    connector = hosted()
    with anyio.move_on_after(0.01) as scope:
        await connector.deploy(False)
    assert scope.cancelled_caught
    assert happened == ["deploy a"]
    asyncio.get_running_loop().call_soon(gate.set)
    await connector.undeploy(False)
    assert happened == ["deploy a", "deployed a", "undeploy a", "undeployed a"]


async def test_a_deploy_beyond_its_time_that_does_not_finish_is_cancelled(happened: list[str]):
    """U8: half-way to the end of the time for the teardown; what it may have made is undeployed."""
    scripts["a"] = stay
    connector = hosted()
    with anyio.move_on_after(0.01):
        await connector.deploy(False)
    with anyio.fail_after(0.1):
        await connector.undeploy(False)
    assert happened == ["deploy a", "undeploy a", "undeployed a"]


async def test_an_interrupted_wait_for_a_deploy_cancels_it(happened: list[str]):
    """U6: the next try finds it ended."""
    scripts["a"] = stay
    connector = hosted()
    with anyio.move_on_after(0.01):
        await connector.deploy(False)
    undeploying = asyncio.create_task(connector.undeploy(False))
    await asyncio.sleep(0)
    undeploying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await undeploying
    await connector.undeploy(False)
    assert happened == ["deploy a", "undeploy a", "undeployed a"]


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, asyncio.CancelledError])
async def test_what_deploy_raises_comes_out_of_it(happened: list[str], error: type[BaseException]):
    """D5: and not out of the event loop; then it is undeployed."""

    def script() -> None:
        raise error

    scripts["a"] = script
    connector = hosted()
    with pytest.raises(error):
        await connector.deploy(False)
    await connector.undeploy(False)
    assert happened == ["deploy a", "undeploy a", "undeployed a"]


@pytest.mark.parametrize(
    ("real_type", "settings", "name"),
    [(DockerConnector, {"image": "x"}, "containerId"), (SingularityConnector, {"image": "x"}, "instanceName")],
)
async def test_a_container_that_has_not_been_made_is_not_stopped(
    monkeypatch: pytest.MonkeyPatch, real_type: type[Connector], settings: dict[str, Any], name: str
):
    """D5, K3: StreamFlow's `docker stop None` would fail, and the deployment be stuck for ever."""
    stopped: list[object] = []

    async def deploy(self: Any, external: bool) -> None:
        raise WorkflowExecutionException("no such image")

    async def undeploy(self: Any, external: bool) -> None:
        stopped.append(getattr(self, name))

    monkeypatch.setattr(real_type, "deploy", deploy)
    monkeypatch.setattr(real_type, "undeploy", undeploy)
    connector = hosted_type(real_type)(deployment_name="a", config_dir=Path("/x"), connector=hosted(), **settings)
    connector.hosted._inner_location = "somewhere"
    for made in (None, "c0ffee"):
        setattr(connector.hosted, name, made)
        with pytest.raises(WorkflowExecutionException, match="no such image"):
            await connector.deploy(False)
        await connector.undeploy(False)
    assert stopped == ["c0ffee"]


@pytest.mark.parametrize("limit", [math.inf, 60])
async def test_what_was_deployed_is_undeployed_even_if_it_has_no_name(monkeypatch: pytest.MonkeyPatch, limit: float):
    """That is then what its undeploy makes of it."""
    undeployed: list[bool] = []

    async def deploy(self: Any, external: bool) -> None:
        pass

    async def undeploy(self: Any, external: bool) -> None:
        undeployed.append(external)

    monkeypatch.setattr(DockerConnector, "deploy", deploy)
    monkeypatch.setattr(DockerConnector, "undeploy", undeploy)
    given = {"deployment_name": "a", "config_dir": Path("/x"), "connector": hosted(), "image": "x"}
    connector = hosted_type(DockerConnector)(**given)
    assert connector.hosted.containerId is None
    with anyio.CancelScope(deadline=anyio.current_time() + limit):
        await connector.deploy(False)
    await connector.undeploy(False)
    assert undeployed == [False]


async def test_in_anydeploy_s_own_manager(happened: list[str]):
    """D1, D4, D5"""
    types = {
        "plain": hosted_type(Plain),
        "wrapper": hosted_type(Wrapper),
        "local": hosted_type(connector_classes["local"]),
    }
    configs = [DeploymentConfig("a", "plain"), DeploymentConfig("b", "wrapper", {"size": 1}, wraps="a")]
    async with DefaultDeploymentManager(configs, connector_types=types) as manager:
        await manager.deploy("b")
        assert built["b"][0].connector is built["a"][0]
        with pytest.raises(InvalidConfigError, match="setting 'siz': unknown setting; did you mean 'size'"):
            await manager.deploy(DeploymentConfig("c", "wrapper", {"siz": 1}))
        with pytest.raises(InvalidConfigError, match="setting 'deployment_name': unknown setting"):
            await manager.deploy(DeploymentConfig("d", "plain", {"deployment_name": "x"}))
    assert happened[4:] == ["undeploy b", "undeployed b", "undeploy a", "undeployed a"]


@pytest.mark.parametrize("anyio_backend", [("asyncio", {"loop_factory": VirtualLoop})], ids=["virtual"])
async def test_the_shutdown_timeout_cancels_a_deploy(happened: list[str]):
    """U8, M1: there is no time left to undeploy what it may have made, which is told."""
    scripts.update({"a": stay, "undeploy a": stay})
    manager = DefaultDeploymentManager(
        [DeploymentConfig("a", "plain")], connector_types={"plain": hosted_type(Plain)}, shutdown_timeout=0.05
    )
    with pytest.raises(ExceptionGroup) as left:
        async with manager, anyio.create_task_group() as tasks:
            tasks.start_soon(manager.deploy, "a")
            await settled()
            tasks.cancel_scope.cancel()
    assert left.group_contains(UndeployError, match="'a' could not be undeployed and may still exist")
    assert happened == ["deploy a", "undeploy a", "undeploy a"]
