"""The duties of a connector, kept by those that run commands through a session."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from rooms import Room
from servers import Sshd
from stacked import over_ssh

from anydeploy.connectors.ssh import SshConnector
from anydeploy.testing.conformance import ConnectorSuite


@pytest.mark.thorough
class TestSession(ConnectorSuite):
    connector_type = Room


@pytest.mark.thorough
@pytest.mark.skipif(shutil.which("busybox") is None, reason="not installed: busybox")
class TestSessionOfBusybox(ConnectorSuite):
    connector_type = Room
    backends = ("trio",)

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


@pytest.mark.usefixtures("server")
class TestSshOverSsh(ConnectorSuite):
    connector_type = over_ssh(SshConnector, lambda ssh: {"nodes": ssh.nodes, "sshConfig": ssh.config})
    backends = ("asyncio+uvloop",)
    server: Sshd

    def settings(self, directory: Path) -> Mapping[str, Any]:
        return self.server.settings()
