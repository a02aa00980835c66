"""The suite of the contract, on containers: docker and podman, those of a compose project."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from servers import Engine, Sshd
from stacked import over_ssh

from anydeploy import Connector
from anydeploy.connectors.compose import ComposeConnector
from anydeploy.connectors.docker import DockerConnector, PodmanConnector
from anydeploy.testing.conformance import ConnectorSuite


@pytest.fixture(scope="class")
def docker(request: pytest.FixtureRequest, dockerd: Engine) -> Iterator[Engine]:
    yield from engine_of(request, dockerd)


@pytest.fixture(scope="class")
def podman_engine(request: pytest.FixtureRequest, podman: Engine) -> Iterator[Engine]:
    yield from engine_of(request, podman)


def engine_of(request: pytest.FixtureRequest, engine: Engine) -> Iterator[Engine]:
    """Give an engine to a suite, with a container that is there for external deployments."""
    request.cls.engine = engine
    name = f"external-{engine.program}"
    engine("run", "--detach", "--interactive", "--network=host", "--init", "--name", name, engine.image)
    yield engine
    engine("rm", "--force", "--volumes", name)


def there_is(engine: Engine, directory: Path) -> bool:
    """Whether there is a container of a test."""
    project = re.sub(r"[^a-z0-9]+", "-", directory.name.lower()).strip("-")
    return bool(engine.containers(f"name=anydeploy-{project}-tested-"))


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("docker")
class TestDocker(ConnectorSuite):
    connector_type = DockerConnector
    backends = ("asyncio", "trio")
    stride = 3
    engine: Engine

    def settings(self, directory: Path) -> Mapping[str, Any]:
        return self.engine.settings(containerId="external-docker")

    def exists(self, connector: Connector, directory: Path) -> bool | None:
        return there_is(self.engine, directory)


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("podman_engine")
class TestPodman(ConnectorSuite):
    connector_type = PodmanConnector
    backends = ("asyncio+uvloop",)
    stride = 7
    engine: Engine

    def settings(self, directory: Path) -> Mapping[str, Any]:
        return self.engine.settings(containerId="external-podman")

    def exists(self, connector: Connector, directory: Path) -> bool | None:
        return there_is(self.engine, directory)


COMPOSE = """\
services:
  a:
    image: {image}
    network_mode: host
    init: true
    stdin_open: true
  b:
    image: {image}
    network_mode: host
    init: true
    command: [sleep, "1000000"]
"""


@pytest.fixture(scope="class")
def compose_engine(request: pytest.FixtureRequest, compose: Engine) -> Engine:
    request.cls.engine = compose
    (compose.directory / "compose.yml").write_text(COMPOSE.format(image=compose.image))
    return compose


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("compose_engine")
class TestCompose(ConnectorSuite):
    connector_type = ComposeConnector
    backends = ("trio",)
    stride = 5
    engine: Engine

    def settings(self, directory: Path) -> Mapping[str, Any]:
        return {
            "files": [str(self.engine.directory / "compose.yml")],
            "projectName": directory.name.lower(),
            "environment": dict(self.engine.variables),
            "timeout": 2,
        }

    def exists(self, connector: Connector, directory: Path) -> bool | None:
        return bool(self.engine.containers(f"label=com.docker.compose.project={directory.name.lower()}"))


@pytest.fixture(scope="class")
def on_host(request: pytest.FixtureRequest, sshd: Sshd) -> None:
    request.cls.connector_type = over_ssh(DockerConnector, lambda _: sshd.settings())


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("docker", "on_host")
class TestDockerOverSsh(ConnectorSuite):
    backends = ("asyncio",)
    stride = 11
    engine: Engine

    def settings(self, directory: Path) -> Mapping[str, Any]:
        return self.engine.settings(containerId="external-docker")

    def exists(self, connector: Connector, directory: Path) -> bool | None:
        return there_is(self.engine, directory)
