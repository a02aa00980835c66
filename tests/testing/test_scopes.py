"""All small scopes: which there are, and what the explorer says of our manager and of broken ones in them."""

from __future__ import annotations

import pytest

from anydeploy import DefaultDeploymentManager, DeploymentState
from anydeploy.definitions import Resolution
from anydeploy.deployment import Deployment
from anydeploy.fleet import Fleet
from anydeploy.testing import AnydeploySubject, ExplorationFailure, Scope, every_scope, explore, replay
from anydeploy.testing.scopes import graphs
from anydeploy.testing.subject import Feature

BACKENDS = ("asyncio", "trio")
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
@pytest.mark.parametrize(("cancellations", "failures"), [(0, 0), (1, 0), (0, 1)])
def test_our_manager_keeps_its_rules(backend: str, cancellations: int, failures: int) -> None:
    """D1-D3, D5, D6, R1-R4, U1-U8: in every order, with a cancellation anywhere, with a failure of any connector."""
    scope = Scope(STACK, (("deploy", "b"), ("undeploy", "b")))
    found = explore(
        scope.scenario(SUBJECT),
        backend=backend,
        cancellations=cancellations,
        failures=failures,
        not_state=SUBJECT.not_state,
    )
    found.check()
    assert found.complete
    assert found.schedules > 50


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_broken_is_found(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """R1: with a tape that shows it again, and shows nothing once it is mended."""
    scenario = Scope(STACK, (("deploy", "b"),)).scenario(SUBJECT)
    with monkeypatch.context() as broken:
        broken.setattr(Deployment, "visible", property(lambda self: self.joinable and not self.hidden))
        failure = explore(scenario, backend=backend, not_state=SUBJECT.not_state).failure
        assert failure is not None
        assert "R1" in str(failure.error)
        with pytest.raises(ExplorationFailure, match="R1"):
            replay(scenario, str(failure.tape))
    replay(scenario, failure.tape)


@pytest.mark.parametrize("backend", BACKENDS)
def test_who_waits_for_ever_is_found(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """D5: a caller that is not told of the failure is found by whom it concerns."""

    def fail_claims(self: Fleet, deployment: Deployment, why: str | None = None) -> list[Deployment]:
        return [] if why is None else original(self, deployment, why)

    original = Fleet._fail_claims
    monkeypatch.setattr(Fleet, "_fail_claims", fail_claims)
    scenario = Scope({"a": ()}, (("deploy", "a"),)).scenario(SUBJECT)
    failure = explore(scenario, backend=backend, failures=1, not_state=SUBJECT.not_state).failure
    assert failure is not None
    assert "deploy(a) by caller 1" in str(failure.error)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_cancellation_that_takes_others_with_it_is_found(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """D6: only a cancellation at the right await shows it, and it is found with nobody saying which."""

    async def bring_up(self: DefaultDeploymentManager, resolution: Resolution) -> None:
        claim = self._fleet.claim(resolution.names, resolution.missing)
        try:
            await claim.wait()
        except BaseException:
            for target in claim.targets:
                if target.state is DeploymentState.DEPLOYING:
                    target.give_up()
            self._fleet.leave(claim, granted=False)
            raise
        self._fleet.leave(claim, granted=True)

    scenario = Scope({"a": ()}, (("deploy", "a"), ("deploy", "a"))).scenario(SUBJECT)
    monkeypatch.setattr(DefaultDeploymentManager, "_bring_up", bring_up)
    options = {"backend": backend, "not_state": SUBJECT.not_state}
    assert explore(scenario, **options).failure is None
    failure = explore(scenario, cancellations=1, **options).failure
    assert failure is not None
    assert "D6" in str(failure.error)
