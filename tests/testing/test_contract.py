"""D1, D4, D6, R4, U1, U6, E1: our connectors give what a connector owes, on every backend."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from anydeploy import Connector
from anydeploy.connectors.command import CommandConnector
from anydeploy.connectors.local import LocalConnector
from anydeploy.connectors.process import ProcessConnector
from anydeploy.testing.conformance import ConnectorSuite

pytestmark = pytest.mark.thorough


class TestLocal(ConnectorSuite):
    connector_type = LocalConnector


class TestCommand(ConnectorSuite):
    connector_type = CommandConnector

    def settings(self, directory: Path) -> Mapping[str, Any]:
        return {"deploy": ["touch", "there"], "undeploy": ["rm", "-f", "there"], "workdir": str(directory)}

    def exists(self, connector: Connector, directory: Path) -> bool:
        return (directory / "there").exists()


class TestProcess(ConnectorSuite):
    connector_type = ProcessConnector

    def settings(self, directory: Path) -> Mapping[str, Any]:
        script = "echo $$ > there.new; mv there.new there; exec sleep 1000"
        ready = {"command": ["test", "-e", "there"], "interval": "1ms"}
        return {"command": ["sh", "-c", script], "workdir": str(directory), "ready": ready}

    def exists(self, connector: Connector, directory: Path) -> bool:
        there = directory / "there"
        if not there.exists():
            return False
        try:
            os.kill(int(there.read_text()), 0)
        except ProcessLookupError:
            return False
        return True
