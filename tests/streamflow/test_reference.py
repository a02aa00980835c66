"""D1-D6, R1-R4, U1-U8, L1, L2, E1: which of the rules StreamFlow's own deployment manager keeps."""

from __future__ import annotations

import pytest

pytest.importorskip("streamflow")

from anydeploy.streamflow.adapter import ReferenceSubject
from anydeploy.testing.conformance import ManagerSuite


class TestReference(ManagerSuite):
    subject = ReferenceSubject()
