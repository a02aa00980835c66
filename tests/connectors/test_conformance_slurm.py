"""The duties of a connector, kept by Slurm: each command a job, all in one allocation, and both over ssh."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from servers import Sshd
from slurm_server import Slurm
from stacked import over_ssh

from anydeploy import Connector
from anydeploy.connectors.slurm import SlurmConnector
from anydeploy.testing.conformance import ConnectorSuite

#: A job may wait for the scheduler for a second, and some clauses run dozens of them one after the other.
pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="class")
def cluster(request: pytest.FixtureRequest, slurm: Slurm) -> Slurm:
    request.cls.slurm = slurm
    return slurm


@pytest.mark.usefixtures("cluster")
class TestBatch(ConnectorSuite):
    connector_type = SlurmConnector
    backends = ("trio",)
    stride = 4
    slurm: Slurm

    def settings(self, directory: Path) -> Mapping[str, Any]:
        return {"directory": str(directory / "jobs"), "pollingInterval": "200ms", "mode": "batch"}

    def exists(self, connector: Connector, directory: Path) -> bool | None:
        # There are jobs only while commands run.
        return bool(self.slurm.jobs(connector.token)) or None


@pytest.mark.usefixtures("cluster")
class TestAllocation(ConnectorSuite):
    connector_type = SlurmConnector
    backends = ("asyncio", "asyncio+uvloop")
    slurm: Slurm

    def settings(self, directory: Path) -> Mapping[str, Any]:
        return {
            "directory": str(directory / "jobs"),
            "pollingInterval": "200ms",
            "mode": "allocation",
            "services": {"only": {"jobName": f"tested-{secrets.token_hex(8)}"}},
        }

    def exists(self, connector: Connector, directory: Path) -> bool | None:
        return bool(self.slurm.jobs(connector.token))


@pytest.fixture(scope="class")
def reached(request: pytest.FixtureRequest, cluster: Slurm, login: Sshd) -> None:
    request.cls.connector_type = over_ssh(SlurmConnector, lambda _: login.settings())


@pytest.mark.usefixtures("reached")
class TestBatchOverSsh(TestBatch):
    backends = ("asyncio",)
    stride = 9


@pytest.mark.usefixtures("reached")
class TestAllocationOverSsh(TestAllocation):
    backends = ("trio",)
