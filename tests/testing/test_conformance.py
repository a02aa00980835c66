"""D1-D6, R1-R4, U1-U8, M1-M3, L1, L2, K1-K3, E1: our manager passes the suite of managers on every backend."""

from __future__ import annotations

from anydeploy.testing import AnydeploySubject
from anydeploy.testing.conformance import ManagerSuite


class TestAnydeploy(ManagerSuite):
    subject = AnydeploySubject()
