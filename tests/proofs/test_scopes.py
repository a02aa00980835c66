"""All small scopes: which there are, and what the explorer finds in them in our manager and in broken ones."""

from __future__ import annotations

import gc
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from explorer import BACKENDS, ExplorationFailure, replay

from anydeploy.testing import AnydeploySubject, Feature

from .defects import DEFECTS
from .scopes import Dependencies, Scope, every_scope, graphs

SUBJECT = AnydeploySubject()
STACK = {"a": (), "b": ("a",)}


class Forests(AnydeploySubject):
    features = frozenset(Feature) - {Feature.DEPENDS_ON}


def test_every_graph_once() -> None:
    """Directed acyclic graphs up to the names: 1, 2 and 6; forests by `wraps`: 1, 2 and 4."""
    assert [sum(len(graph) == size for graph in graphs(3)) for size in (1, 2, 3)] == [1, 2, 6]
    assert [sum(len(graph) == size for graph in graphs(3, forests=True)) for size in (1, 2, 3)] == [1, 2, 4]
    assert all(len(below) <= 1 for graph in graphs(3, forests=True) for below in graph.values())


def test_every_choice_of_calls_once() -> None:
    scopes = every_scope(SUBJECT, deployments=2, callers=1)
    assert [str(scope) for scope in scopes] == [
        "a: deploy a",
        "a: undeploy a",
        "a: undeploy_all",
        # The two are alike, so one of them stands for both.
        "a, b: deploy a",
        "a, b: undeploy a",
        "a, b: undeploy_all",
        "a, b on a: deploy a",
        "a, b on a: undeploy a",
        "a, b on a: deploy b",
        "a, b on a: undeploy b",
        "a, b on a: undeploy_all",
    ]
    # Of one name 3 + 6, of two alike 3 + 9, of a stack 5 + 15.
    assert len(every_scope(SUBJECT, deployments=2, callers=2)) == 9 + 12 + 20
    assert len(every_scope(SUBJECT)) == 643


def test_graphs_as_far_as_the_subject_has_them() -> None:
    assert len(every_scope(Forests(), callers=1)) < len(every_scope(SUBJECT, callers=1))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("dependencies", "name", "faults"),
    [(STACK, "b", {}), (STACK, "b", {"failures": 1}), ({"a": ()}, "a", {"cancellations": 1})],
)
def test_our_manager_keeps_its_rules(
    backend: str, dependencies: Dependencies, name: str, faults: dict[str, int]
) -> None:
    """D1-D3, D5, D6, R1-R4, U1-U8: in every order, with a failure of any connector, with a cancellation anywhere."""
    scope = Scope(dependencies, (("deploy", name), ("undeploy", name)))
    found = scope.explore(SUBJECT, backend=backend, **faults)
    found.check()
    assert found.complete
    assert found.schedules > 50


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_broken_is_found(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """R1: with a tape that shows it again, and shows nothing once it is mended."""
    scope = Scope(STACK, (("deploy", "b"),))
    with monkeypatch.context() as broken:
        DEFECTS["the_connector_is_visible_while_deploying"](broken)
        failure = scope.explore(SUBJECT, backend=backend).failure
        assert failure is not None
        assert "R1" in str(failure.error)
        with pytest.raises(ExplorationFailure, match="R1"):
            replay(scope.scenario(SUBJECT), str(failure.tape))
    replay(scope.scenario(SUBJECT), failure.tape)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("defect", "fault", "says"),
    [
        ("the_event_is_not_set_on_failure", "failures", r"D[15].*deploy\(a\) by caller 1"),
        ("the_first_cancelled_caller_takes_the_others_with_it", "cancellations", "D6"),
    ],
)
def test_what_only_a_fault_shows_is_found(
    defect: str, fault: str, says: str, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D5, D6: a failure or a cancellation at the right moment, and not told which."""
    DEFECTS[defect](monkeypatch)
    scope = Scope({"a": ()}, (("deploy", "a"), ("deploy", "a")))
    assert scope.explore(SUBJECT, backend=backend).failure is None
    failure = scope.explore(SUBJECT, backend=backend, **{fault: 1}).failure
    assert failure is not None
    assert re.search(says, str(failure.error)), failure


@pytest.mark.parametrize("backend", BACKENDS)
def test_generators_that_runs_have_left_do_not_complain(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """When they are collected, and would be finished by an event loop that is gone."""

    class Nested(AnydeploySubject):
        @asynccontextmanager
        async def manager(self, script: Any, **options: Any) -> AsyncIterator[Any]:
            async with super().manager(script, **options) as manager:
                yield manager

    scope = Scope({"a": (), "b": ()}, (("deploy", "a"), ("deploy", "b")))
    complaints: list[object] = []
    scope.explore(Nested(), backend=backend).check()
    monkeypatch.setattr(sys, "unraisablehook", complaints.append)
    gc.collect()
    assert complaints == []
