"""The duties of a connector, kept by stacks: docker over Slurm over ssh, `process` and `command` on each of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

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


def slurm_layer(slurm: Slurm, **settings: Any) -> Layer:
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
    stride = 20
    engine: Engine

    def settings(self, directory: Path) -> Mapping[str, Any]:
        return self.engine.settings(containerId="external-there")

    def exists(self, connector: Connector, directory: Path) -> bool | None:
        return bool(self.engine.containers(f"label=anydeploy.run={connector.token}"))


# -- On one level ------------------------------------------------------------------------------------------------------


class Process(ConnectorSuite):
    """A program, which is told by one of its arguments. Commands that go through it are tried on those of below."""

    runs_commands = False
    stride = 9

    def settings(self, directory: Path) -> Mapping[str, Any]:
        return {"command": ["sh", "-c", "sleep 1000 & wait", f"{directory}/mark"], "grace": 1}

    def exists(self, connector: Connector, directory: Path) -> bool | None:
        # It may be a moment behind the one who starts it.
        return bool(processes_of(f"wait\0{directory}/mark")) or None


def process_layer() -> Layer:
    return ProcessConnector, lambda _: {"command": ["sleep", "1000"], "environment": {"THROUGH": "a process"}}


class Made(ConnectorSuite):
    """A directory, which commands make and remove."""

    stride = 15
    known_failures: ClassVar[Mapping[str, str]] = {
        "a_missing_program_is_an_os_error": "the first word of its prefix is there, and says it itself"
    }

    def settings(self, directory: Path) -> Mapping[str, Any]:
        made = f"{directory}/made"
        deploy = ["sh", "-c", 'test "$THROUGH" = "a process" || exit; mkdir -p "$0"', made]
        return {"deploy": deploy, "undeploy": ["rm", "-rf", made], "run": ["env", "IN=it"]}

    def exists(self, connector: Connector, directory: Path) -> bool | None:
        return (directory / "made").exists()


@pytest.fixture(scope="class")
def on_host(request: pytest.FixtureRequest, sshd: Sshd) -> None:
    request.cls.connector_type = over(request.cls.base, ssh_layer(sshd), *request.cls.between)


@pytest.fixture(scope="class")
def in_container(request: pytest.FixtureRequest, dockerd: Engine) -> None:
    request.cls.connector_type = over(request.cls.base, docker_layer(dockerd), *request.cls.between)


@pytest.fixture(scope="class")
def in_allocation(request: pytest.FixtureRequest, slurm: Slurm) -> None:
    request.cls.connector_type = over(request.cls.base, slurm_layer(slurm, mode="allocation"), *request.cls.between)


@pytest.mark.usefixtures("on_host")
class TestProcessOnHost(Process):
    base, between = ProcessConnector, ()
    backends = ("asyncio",)


@pytest.mark.usefixtures("on_host")
class TestCommandOnHost(Made):
    base, between = CommandConnector, (process_layer(),)
    backends = ("trio",)


@pytest.mark.usefixtures("in_container")
class TestProcessInContainer(Process):
    base, between = ProcessConnector, ()
    backends = ("trio",)


@pytest.mark.usefixtures("in_container")
class TestCommandInContainer(Made):
    base, between = CommandConnector, (process_layer(),)
    backends = ("asyncio",)


@pytest.mark.usefixtures("in_allocation")
class TestProcessInAllocation(Process):
    base, between = ProcessConnector, ()
    backends = ("asyncio",)


@pytest.mark.usefixtures("in_allocation")
class TestCommandInAllocation(Made):
    base, between = CommandConnector, (process_layer(),)
    backends = ("trio",)
