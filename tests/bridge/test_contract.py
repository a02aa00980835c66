"""The duties of a connector, clause by clause, of StreamFlow's local connector and of one of its wrappers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from streamflow.deployment.connector.local import LocalConnector

from anydeploy import Connector
from anydeploy.streamflow.bridge.connector import bridged_type
from anydeploy.testing.conformance import ConnectorSuite

from .rooms import Room

LOOPS = ("asyncio", "asyncio+uvloop")


class TestLocal(ConnectorSuite):
    connector_type: ClassVar[type[Connector]] = bridged_type(LocalConnector)
    backends: ClassVar[Sequence[str]] = LOOPS


class TestWrapper(ConnectorSuite):
    connector_type: ClassVar[type[Connector]] = bridged_type(Room)
    backends: ClassVar[Sequence[str]] = LOOPS
