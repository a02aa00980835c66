"""The duties of a connector, kept by those that run commands through a session."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
from anyio import CancelScope, Event, create_task_group
from attrs import define, field
from rooms import Room
from servers import Engine, Sshd

from anydeploy import Connector
from anydeploy.connectors.compose import ComposeConnector
from anydeploy.connectors.docker import DockerConnector, PodmanConnector
from anydeploy.connectors.local import LocalConnector
from anydeploy.connectors.session import SessionError
from anydeploy.connectors.ssh import SshConnector
from anydeploy.testing.conformance import ConnectorSuite


class TestSession(ConnectorSuite):
    connector_type = Room


class TestSessionOfBusybox(ConnectorSuite):
    connector_type = Room

    def settings(self, directory: Path) -> Mapping[str, Any]:
        return {"shell": ["busybox", "sh"]}


@pytest.fixture(scope="class")
def server(request: pytest.FixtureRequest, sshd: Sshd) -> Sshd:
    request.cls.server = sshd
    return sshd


@pytest.mark.usefixtures("server")
class TestSsh(ConnectorSuite):
    connector_type = SshConnector
    server: Sshd

    def settings(self, directory: Path) -> Mapping[str, Any]:
        return self.server.settings()


@define(kw_only=True, eq=False, slots=False)
class SshOverSsh(SshConnector):
    """A connector that brings up the one that it wraps itself, in a task of its own, as a manager does."""

    _up: Event = field(init=False, factory=Event)
    _down: Event = field(init=False, factory=Event)
    _outer: AsyncExitStack | None = field(init=False, default=None)

    async def deploy(self, external: bool) -> None:
        problem = None
        async with AsyncExitStack() as stack:
            tasks = await stack.enter_async_context(create_task_group())
            try:
                tasks.start_soon(self._hold)
                await self._up.wait()
                await super().deploy(external)
                self._outer = stack.pop_all()
            except SessionError as exc:
                problem = exc
            finally:
                if self._outer is None:
                    self._down.set()
        if problem is not None:
            raise problem

    async def undeploy(self, external: bool) -> None:
        stack, self._outer = self._outer, None
        try:
            await super().undeploy(external)
        finally:
            self._down.set()
            if stack is not None:
                await stack.aclose()

    async def _hold(self) -> None:
        settings = {"nodes": self.nodes, "sshConfig": self.config}
        local = LocalConnector(deployment_name="l", config_dir=self.config_dir)
        outer = SshConnector(deployment_name="outer", config_dir=self.config_dir, connector=local, **settings)
        with CancelScope(shield=True):
            await outer.deploy(False)
            self.connector = outer
            self._up.set()
            await self._down.wait()
            await outer.undeploy(False)


@pytest.mark.usefixtures("server")
class TestSshOverSsh(ConnectorSuite):
    connector_type = SshOverSsh
    server: Sshd

    def settings(self, directory: Path) -> Mapping[str, Any]:
        return self.server.settings()


# -- Containers --------------------------------------------------------------------------------------------------------


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
    engine: Engine

    def settings(self, directory: Path) -> Mapping[str, Any]:
        return self.engine.settings(containerId="external-docker")

    def exists(self, connector: Connector, directory: Path) -> bool | None:
        return there_is(self.engine, directory)


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("podman_engine")
class TestPodman(ConnectorSuite):
    connector_type = PodmanConnector
    backends = ("asyncio",)
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


@define(kw_only=True, eq=False, slots=False)
class DockerOverSsh(DockerConnector):
    """A connector that connects to the host that it wraps by itself, in a task of its own, as a manager does."""

    host: ClassVar[Mapping[str, Any]] = {}
    _up: Event = field(init=False, factory=Event)
    _down: Event = field(init=False, factory=Event)
    _outer: AsyncExitStack | None = field(init=False, default=None)

    async def deploy(self, external: bool) -> None:
        async with AsyncExitStack() as stack:
            tasks = await stack.enter_async_context(create_task_group())
            try:
                tasks.start_soon(self._hold)
                await self._up.wait()
                await super().deploy(external)
                self._outer = stack.pop_all()
            finally:
                if self._outer is None:
                    self._down.set()

    async def undeploy(self, external: bool) -> None:
        stack, self._outer = self._outer, None
        if stack is None:
            # Its deploy did not return: there is no connection any more.
            async with self._reached():
                await super().undeploy(external)
            return
        try:
            await super().undeploy(external)
        finally:
            self._down.set()
            await stack.aclose()

    async def _hold(self) -> None:
        with CancelScope(shield=True):
            async with self._reached():
                self._up.set()
                await self._down.wait()

    @asynccontextmanager
    async def _reached(self) -> AsyncGenerator[None, None]:
        local = LocalConnector(deployment_name="l", config_dir=self.config_dir)
        host = SshConnector(deployment_name="host", config_dir=self.config_dir, connector=local, **self.host)
        with CancelScope() as scope:
            await host.deploy(False)
            self.connector = host
            try:
                yield
            finally:
                scope.shield = True
                await host.undeploy(False)


@pytest.fixture
def host(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DockerOverSsh, "host", sshd.settings())


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("docker", "host")
class TestDockerOverSsh(ConnectorSuite):
    connector_type = DockerOverSsh
    backends = ("asyncio",)
    engine: Engine

    def settings(self, directory: Path) -> Mapping[str, Any]:
        return self.engine.settings(containerId="external-docker")

    def exists(self, connector: Connector, directory: Path) -> bool | None:
        return there_is(self.engine, directory)
