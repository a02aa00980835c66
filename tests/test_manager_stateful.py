"""D1-D7, R1-R4, X1-X4, U1-U8, K1, K3, L1: random graphs and interleavings keep the rules, on every backend."""

from __future__ import annotations

import os
from typing import Any

import pytest
from proofs.linearizability import Linearizability

from anydeploy.testing import AnydeploySubject, Feature, ManagerMachine, Rule, check_manager, every_rule

_EXAMPLES = int(os.environ.get("ANYDEPLOY_STATEFUL_EXAMPLES", "50"))


class Lossless(AnydeploySubject):
    """The sequential model knows neither losses nor restarts, and lets no time pass."""

    features = frozenset(Feature) - {Feature.LOSS, Feature.RESTART, Feature.RESTARTS, Feature.RETRIES}


class ExplainedMachine(ManagerMachine):
    subject = Lossless()

    @staticmethod
    def watching() -> list[Rule]:
        return [*every_rule(), Linearizability()]


@pytest.mark.timeout(0)
@pytest.mark.parametrize(
    ("backend", "options"),
    [
        pytest.param("asyncio", {}, id="asyncio"),
        pytest.param("asyncio", {"use_uvloop": True}, id="asyncio+uvloop"),
        pytest.param("trio", {}, id="trio"),
    ],
)
@pytest.mark.parametrize("machine", [ManagerMachine, ExplainedMachine])
def test_manager_keeps_its_rules(machine: type[ManagerMachine], backend: str, options: dict[str, Any]) -> None:
    """D1-D7, R1-R4, X1-X4, U1-U8, K1, K3, L1: whatever callers and connectors do, in whatever order."""
    examples = _EXAMPLES // 5 if options else _EXAMPLES
    check_manager(machine, backend=backend, backend_options=options, max_examples=examples)
