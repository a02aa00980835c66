"""The duties of a connector, kept by those that run commands through a session."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from anyio import CancelScope, Event, create_task_group
from attrs import define, field
from rooms import Room
from servers import Sshd

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
