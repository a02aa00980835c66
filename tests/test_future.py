"""The connector of a lazy deployment, with a real environment behind it."""

from __future__ import annotations

from pathlib import Path

import pytest

from anydeploy import (
    ConnectorWrapper,
    DefaultDeploymentManager,
    DeploymentConfig,
    DeploymentState,
    FutureConnector,
    InvalidConnectorError,
    WorkflowExecutionException,
)
from anydeploy.connectors.command import CommandConnector
from anydeploy.connectors.local import LocalConnector

pytestmark = pytest.mark.anyio

LAZY = DeploymentConfig("lazy", "command", {"deploy": ["touch", "made"], "workdir": "."}, lazy=True)


async def test_every_operation_is_a_first_use(tmp_path: Path) -> None:
    """L1: started, run, copied to or deployed: each brings it up, once."""
    (tmp_path / "source").write_text("data")
    async with DefaultDeploymentManager([LAZY], config_dir=tmp_path) as manager:
        for use in ("start", "run", "copy", "deploy"):
            await manager.deploy("lazy")
            connector = manager.get_connector("lazy")
            assert connector is not None
            assert manager.status()["lazy"].state is DeploymentState.ABSENT
            if use == "start":
                async with connector.start(["true"]) as process:
                    assert await process.wait() == 0
            elif use == "run":
                assert (await connector.run(["echo", "here"])).stdout == b"here\n"
            elif use == "copy":
                await connector.copy(str(tmp_path / "source"), str(tmp_path / "copy"))
                assert (tmp_path / "copy").read_text() == "data"
            else:
                await connector.deploy(external=False)
            assert manager.status()["lazy"].state is DeploymentState.LIVE
            await manager.undeploy("lazy")
            with pytest.raises(InvalidConnectorError, match="lazy"):
                await connector.run(["true"])


async def test_it_passes_for_the_real_one(tmp_path: Path) -> None:
    """L2: before and after the first use; its attributes are known as soon as it is live."""
    async with DefaultDeploymentManager([LAZY], config_dir=tmp_path) as manager:
        await manager.deploy("lazy")
        connector = manager.get_connector("lazy")
        assert isinstance(connector, CommandConnector)
        assert isinstance(connector, ConnectorWrapper)
        assert not isinstance(connector, LocalConnector)
        assert type(connector) is FutureConnector
        assert not hasattr(connector, "connector")
        await connector.run(["true"])
        assert isinstance(connector, CommandConnector)
        assert isinstance(connector.connector, LocalConnector)


async def test_it_is_not_undeployed_by_itself(tmp_path: Path) -> None:
    async with DefaultDeploymentManager([LAZY], config_dir=tmp_path) as manager:
        await manager.deploy("lazy")
        connector = manager.get_connector("lazy")
        assert connector is not None
        with pytest.raises(WorkflowExecutionException, match="manager's undeploy"):
            await connector.undeploy(external=False)
