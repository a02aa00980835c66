"""The duties of a connector, kept by those that run commands through a session."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from anyio import CancelScope
from attrs import define
from rooms import Room
from servers import Sshd

from anydeploy.connectors.local import LocalConnector
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
    """A connector that brings up the one that it wraps itself, for a suite that gives it one that is deployed."""

    outer: SshConnector | None = None

    async def deploy(self, external: bool) -> None:
        self.connector = self._outer()
        await self.connector.deploy(external)
        try:
            await super().deploy(external)
        except BaseException:
            with CancelScope(shield=True):
                await self.connector.undeploy(external)
            raise

    async def undeploy(self, external: bool) -> None:
        await super().undeploy(external)
        await self.connector.undeploy(external)

    def _outer(self) -> SshConnector:
        settings = {"nodes": self.nodes, "sshConfig": self.config}
        local = LocalConnector(deployment_name="l", config_dir=self.config_dir)
        return SshConnector(deployment_name="outer", config_dir=self.config_dir, connector=local, **settings)


@pytest.mark.usefixtures("server")
class TestSshOverSsh(ConnectorSuite):
    connector_type = SshOverSsh
    server: Sshd

    def settings(self, directory: Path) -> Mapping[str, Any]:
        return self.server.settings()
