"""D3, K3, X4, U1: the parts of the engine that the search of small graphs does not tell apart.

One life of a deployment owes nothing to the last. The calls of the search name one deployment each.
"""

from __future__ import annotations

from typing import Any

import pytest
from search.graphs import Node

from anydeploy.engine.deployment import Claim, Deployment, Failure
from anydeploy.engine.engine import Engine
from anydeploy.engine.state import Do
from anydeploy.lifecycle import DeploymentEvent, DeploymentState, Phase, Step

BROKEN = RuntimeError("broken")


def node(name: str, *wrapped: str, retries: int = 0, restarts: int = 0) -> Node:
    return Node(name, wrapped, bool(wrapped), interruptible=True, retries=retries, restarts=restarts)


class Told:
    """An engine, and its tasks: each of its operations succeeds at once, unless it is to fail.

    :ivar now: the time, which every input makes later by one second
    :ivar failing: the names whose attempts fail, each with its error
    :ivar held: the names whose teardowns do not end
    """

    def __init__(self, *nodes: Node) -> None:
        self.engine = Engine()
        self.nodes = nodes
        self.now = 0.0
        self.failing: dict[str, BaseException] = {}
        self.held: set[str] = set()
        self.events: list[DeploymentEvent] = []

    def __getitem__(self, name: str) -> Deployment:
        return self.engine.deployments[name]

    def tell(self, say: Any, *arguments: Any, **options: Any) -> Any:
        self.now += 1
        result = say(self.now, *arguments, **options)
        while self.engine.effects:
            do, subject, _ = self.engine.effects.popleft()
            if isinstance(subject, DeploymentEvent):
                self.events.append(subject)
            elif do is Do.PROCEED and isinstance(subject, Deployment):
                self._proceed(subject)
        return result

    def _proceed(self, deployment: Deployment) -> None:
        engine = self.engine
        if deployment.phase is Phase.STARTING:
            self.tell(engine.begun, deployment)
            error = self.failing.get(deployment.name)
            self.tell(engine.attempt_ended, deployment, error, None if error else object())
        if deployment.phase in {Phase.CLEANING, Phase.UNDEPLOYING} and deployment.name not in self.held:
            self.tell(engine.torn_down, deployment)

    def deploy(self, name: str) -> Claim:
        """Ask for a deployment, and go away with it if it is live."""
        new = [each for each in self.nodes if each.name not in self.engine.deployments]
        claim: Claim = self.tell(self.engine.claim, [name], new)
        if claim.settled:
            self.tell(self.engine.leave, claim, granted=claim.failure is None)
        return claim

    def lose(self, name: str) -> None:
        self.tell(self.engine.lost, self[name], BROKEN, cut_off=False)

    def end_teardown(self, name: str) -> None:
        """Let a teardown end that was held."""
        self.tell(self.engine.torn_down, self[name])

    def come(self, name: str) -> None:
        """Let the time come that a deployment waits for."""
        due = self[name].due
        assert due is not None
        self.now = max(self.now, due)
        self.tell(self.engine.due, self[name])


def test_a_renewed_deployment_has_all_its_attempts_again() -> None:
    told = Told(node("a", retries=1, restarts=1))
    told.deploy("a")
    told.lose("a")
    told.failing["a"] = BROKEN
    told.come("a")
    assert (told["a"].phase, told["a"].attempt) == (Phase.PAUSED, 1)


def test_an_error_of_the_life_before_is_none_of_a_renewed_one() -> None:
    told = Told(node("a", restarts=1))
    told.deploy("a")
    told.lose("a")
    assert told.engine.statuses()["a"].error is BROKEN
    told.come("a")
    assert told.engine.statuses()["a"].error is None


def test_a_wrapper_that_was_lost_with_its_inner_one_fails_by_itself_later() -> None:
    told = Told(node("a", restarts=1), node("b", "a"))
    told.deploy("b")
    told.lose("a")
    told.failing["b"] = BROKEN
    told.held.add("b")
    told.come("a")
    told.end_teardown("b")
    claim = told.deploy("b")
    told.end_teardown("b")
    assert claim.failure == Failure(("b",), "failed to deploy: RuntimeError: broken", BROKEN)


def test_one_that_is_asked_for_again_after_its_renewal_has_failed_is_not_being_renewed() -> None:
    told = Told(node("a", restarts=1))
    told.deploy("a")
    told.lose("a")
    told.failing["a"] = KeyboardInterrupt()
    told.held.add("a")
    told.come("a")
    told.end_teardown("a")
    claim = told.deploy("a")
    told.failing["a"] = BROKEN
    told.end_teardown("a")
    told.end_teardown("a")
    assert claim.failure == Failure(("a",), "failed to deploy: RuntimeError: broken", BROKEN)


def test_the_time_of_a_renewal_that_a_restart_forestalled_is_forgotten() -> None:
    told = Told(node("a", restarts=1))
    told.deploy("a")
    told.lose("a")
    assert told["a"].due is not None
    claim = told.tell(told.engine.restart, "a")
    told.tell(told.engine.leave, claim, granted=True)
    told.lose("a")
    assert told["a"].due is None


def test_a_restart_that_fails_is_no_renewal() -> None:
    told = Told(node("a", restarts=2))
    told.deploy("a")
    told.lose("a")
    told.come("a")
    told.failing["a"] = BROKEN
    claim = told.tell(told.engine.restart, "a")
    assert claim.failure == Failure(("a",), "failed to deploy: RuntimeError: broken", BROKEN)


def test_every_event_has_the_time_of_what_was_told() -> None:
    told = Told(node("a"))
    told.deploy("a")
    assert [(event.step, event.when) for event in told.events] == [
        (Step.DEMANDED, 1), (Step.BEGUN, 2), (Step.DEPLOYED, 3)
    ]  # fmt: skip
    assert told.engine.statuses()["a"].state is DeploymentState.LIVE


def test_what_waits_for_a_dependency_that_is_lost_names_that_and_its_error() -> None:
    engine = Engine()
    engine.claim(1, ["c"], [node("a"), node("b"), Node("c", ("a", "b"), False, True, 0, 0)])
    engine.begun(2, engine.deployments["a"])
    engine.attempt_ended(3, engine.deployments["a"], None, object())
    engine.lost(4, engine.deployments["a"], BROKEN, cut_off=False)
    events = [subject for _, subject, _ in engine.effects if isinstance(subject, DeploymentEvent)]
    (event,) = [event for event in events if event.step is Step.FAILED_BELOW]
    assert (event.name, event.because, event.error) == ("c", "a", BROKEN)


def test_a_caller_can_tell_that_the_demand_has_ended_meanwhile() -> None:
    told = Told(node("a"))
    told.deploy("a")
    live = told["a"]
    before = live.epoch
    told.tell(told.engine.withdraw, "a")
    assert live.epoch != before


@pytest.mark.parametrize("name", ["b", "c"])
def test_an_undeploy_waits_for_what_only_a_deploy_of_several_held(name: str) -> None:
    """It makes that call fail, and so drops the others."""
    engine = Engine()
    engine.claim(1, ["b", "c"], [node("a"), node("b", "a"), node("c", "a")])
    engine.begun(2, engine.deployments["a"])
    wait = engine.withdraw(3, name)
    assert list(engine.deployments) == ["a"]
    assert wait is not None
    assert not wait.settled
    below = engine.deployments["a"]
    engine.attempt_ended(4, below, BROKEN)
    engine.torn_down(5, below)
    assert wait.settled
