"""The duties of a connector, kept by stacks: docker over Slurm over ssh; ``process`` and ``command`` on each of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from processes import processes_of
from servers import Engine, Sshd
from slurm_server import Slurm
from stacked import Layer, over

from anydeploy import Connector
from anydeploy.connectors.command import CommandConnector
from anydeploy.connectors.docker import DockerConnector
from anydeploy.connectors.process import ProcessConnector
from anydeploy.connectors.slurm import SlurmConnector
from anydeploy.connectors.ssh import SshConnector
from anydeploy.testing.conformance import ConnectorSuite

pytestmark = pytest.mark.timeout(240)


def ssh_layer(server: Sshd) -> Layer:
    return SshConnector, lambda _: server.settings()


def slurm_layer(slurm: Slurm, **settings: Any) -> Layer:  # noqa: ARG001 - it has to run
    def settings_for(tested: Connector) -> Mapping[str, Any]:
        return {"directory": str(tested.config_dir / "jobs"), "pollingInterval": "200ms", **settings}

    return SlurmConnector, settings_for


def docker_layer(engine: Engine) -> Layer:
    """A container that sees the directory of the test."""
    return DockerConnector, lambda tested: engine.settings(volume=[f"{tested.config_dir}:{tested.config_dir}"])


# -- Three levels ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="class")
def cluster(request: pytest.FixtureRequest, login: Sshd, slurm: Slurm, dockerd: Engine) -> Any:
    request.cls.connector_type = over(DockerConnector, ssh_layer(login), slurm_layer(slurm))
    request.cls.engine = dockerd
    dockerd("run", "--detach", "--interactive", "--network=host", "--init", "--name", "external-there", dockerd.image)
    yield
    dockerd("rm", "--force", "--volumes", "external-there")


@pytest.mark.usefixtures("cluster")
class TestDockerOverSlurmOverSsh(ConnectorSuite):
    backends = ("trio",)
    stride = 9
    engine: Engine

    def settings(self, directory: Path) -> Mapping[str, Any]:
        return self.engine.settings(containerId="external-there")

    def exists(self, connector: Connector, directory: Path) -> bool | None:
        return bool(self.engine.containers(f"label=anydeploy.run={connector.token}"))


# -- On one level ------------------------------------------------------------------------------------------------------


class Process(ConnectorSuite):
    """A program that can be told by one of its arguments."""

    backends = ("asyncio",)

    def settings(self, directory: Path) -> Mapping[str, Any]:
        return {"command": ["sh", "-c", "echo up; exec sleep 1000", str(directory / "mark")], "grace": 1}

    def exists(self, connector: Connector, directory: Path) -> bool | None:
        return None


class Made(ConnectorSuite):
    """A directory, which commands make and remove."""

    backends = ("trio",)

    def settings(self, directory: Path) -> Mapping[str, Any]:
        made = str(directory / "made")
        return {"deploy": ["mkdir", "-p", made], "undeploy": ["rm", "-rf", made], "run": ["env", "IN=it"]}

    def exists(self, connector: Connector, directory: Path) -> bool | None:
        return (directory / "made").exists()
