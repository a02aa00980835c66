"""StreamFlow's own manager in the explorer: each of its known defects is found among all small scopes, unaided."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

pytest.importorskip("streamflow")

from explorer import Exploration
from proofs.scopes import every_scope
from proofs.survey import FAULTS

from anydeploy.testing import Rule, Violation, every_rule

from .subjects import ReferenceSubject

SUBJECT = ReferenceSubject()
SCOPES = sorted(every_scope(SUBJECT), key=lambda scope: (len(scope.calls), len(scope.dependencies)))


class Saying:
    """Watches one rule, for violations that say a certain thing: more than one thing is wrong with most rules."""

    def __init__(self, number: str, says: str) -> None:
        self._number = number
        self._says = says

    def __call__(self) -> list[Rule]:
        return [self._narrowed(rule) for rule in every_rule() if rule.number == self._number]

    def _narrowed(self, rule: Rule) -> Rule:
        kind, says = type(rule), self._says

        class Narrowed(kind):  # type: ignore[misc, valid-type]
            def see(self, entry: object) -> Iterator[Violation]:
                return (violation for violation in super().see(entry) if says in violation.story)

            def at_rest(self) -> Iterator[str]:
                return (story for story in super().at_rest() if says in story)

        return Narrowed()


def search(number: str, says: str, fault: str) -> Exploration:
    """The first exploration, of the smallest scope, that finds it."""
    cancellations, failures = FAULTS[fault]
    for scope in SCOPES:
        limits = {"cancellations": cancellations, "failures": failures, "bound": 2, "most": 300}
        found = scope.explore(SUBJECT, Saying(number, says), **limits)
        if found.failure is not None and isinstance(found.failure.error, Violation):
            return found
    raise AssertionError("not found")


@pytest.mark.parametrize(
    ("number", "says", "fault"),
    [
        pytest.param("R1", "is deploying", "nothing", id="R1: visible before it is deployed"),
        pytest.param("D1", "waits for nothing", "a cancellation", id="D6: hangs when the first caller was cancelled"),
        pytest.param("D5", "nothing that it waited for had failed", "a failure", id="D5: cannot be deployed again"),
        pytest.param("R3", "under b#1, which is live", "a cancellation", id="R3: torn down under a live wrapper"),
        pytest.param("D3", "is undeploying", "nothing", id="D3: a deploy overlaps an undeploy"),
        pytest.param("D1", "is deploying", "nothing", id="D1: a wrapper is deployed before what it wraps"),
    ],
)
def test_a_known_defect_is_found(number: str, says: str, fault: str) -> None:
    """D1, D3, D5, D6, R1, R3: the smallest scope that shows it is among all small scopes."""
    logging.disable()
    try:
        found = search(number, says, fault)
    finally:
        logging.disable(logging.NOTSET)
    assert found.failure is not None
    assert says in str(found.failure.error)
    assert "its tape: asyncio:" in str(found.failure)
