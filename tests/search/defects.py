"""Seeded defects of the engine: functions that break it in one place, each with a graph on which that is found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
from attrs import frozen

from anydeploy.engine import losing
from anydeploy.engine.deployment import Claim, Deployment, Failure
from anydeploy.engine.engine import Engine
from anydeploy.engine.slots import Slots
from anydeploy.engine.state import Do
from anydeploy.lifecycle import Phase

from .graphs import PLAIN, Graph, Option

Seed: TypeAlias = Callable[[pytest.MonkeyPatch], None]

ONE = Graph(((),), (PLAIN,))
RETRIED = Graph(((),), (Option(retries=1),))
RENEWED = Graph(((),), (Option(restarts=1),))
UNINTERRUPTIBLE = Graph(((),), (Option(interruptible=False),))
CHAIN = Graph(((), ((0, False),)), (PLAIN, PLAIN))
WRAPPED = Graph(((), ((0, True),)), (PLAIN, PLAIN))
CROWDED = Graph(((), (), ((1, False),)), (PLAIN, PLAIN, PLAIN), limit=1)


@frozen
class Defect:
    seed: Seed
    graph: Graph
    calls: int
    faults: int


DEFECTS: dict[str, Defect] = {}


def defect(graph: Graph, calls: int = 2, faults: int = 1) -> Callable[[Seed], Seed]:
    """Register a defect with a search that finds it."""

    def register(seed: Seed) -> Seed:
        DEFECTS[seed.__name__] = Defect(seed, graph, calls, faults)
        return seed

    return register


def afterwards(patch: pytest.MonkeyPatch, name: str, more: Callable[..., None]) -> None:
    """Let a method of the engine do something more at its end; that is called with the same arguments."""
    original = getattr(Engine, name)

    def method(self: Any, *arguments: Any, **named: Any) -> Any:
        result = original(self, *arguments, **named)
        more(self, *arguments)
        return result

    patch.setattr(Engine, name, method)


def omitted(patch: pytest.MonkeyPatch, name: str) -> None:
    """Let a method of the engine do nothing."""
    patch.setattr(Engine, name, lambda *_, **__: None)


def without(patch: pytest.MonkeyPatch, name: str, do: Do) -> None:
    """Take effects of one kind from those of a method of the engine."""

    def take(self: Any, *_: object) -> None:
        kept = [effect for effect in self.effects if effect[0] is not do]
        self.effects.clear()
        self.effects.extend(kept)

    afterwards(patch, name, take)


@defect(CROWDED, faults=0)
def one_more_than_the_limit(patch: pytest.MonkeyPatch) -> None:
    """K1: the limit is one too high."""
    original = Slots.__init__
    patch.setattr(Slots, "__init__", lambda self, limit: original(self, limit + 1))


@defect(CROWDED, faults=0)
def slot_is_kept(patch: pytest.MonkeyPatch) -> None:
    """K1: what has done its work keeps its slot."""

    def release(self: Any, deployment: Deployment) -> None:
        deployment.request = 0

    patch.setattr(Slots, "release", release)


@defect(CROWDED, calls=3, faults=0)
def shortest_path_goes_first(patch: pytest.MonkeyPatch) -> None:
    """K1: the least urgent goes first."""
    patch.setattr(Deployment, "urgency", property(lambda self: -self.depth if self.phase.stands else -self.height))


@defect(ONE, faults=0)
def last_caller_leaves_its_demand(patch: pytest.MonkeyPatch) -> None:
    """D6: the demand of callers who have left stays."""
    omitted(patch, "_detach")


@defect(ONE, faults=0)
def demand_is_not_granted(patch: pytest.MonkeyPatch) -> None:
    """Terms: what was deployed is not demanded when its callers have left."""
    original = Engine.leave
    patch.setattr(Engine, "leave", lambda self, now, claim, granted: original(self, now, claim, granted=False))


@defect(ONE, faults=0)
def first_cancelled_caller_takes_the_others_along(patch: pytest.MonkeyPatch) -> None:
    """D6: the cancellation of one caller is that of all."""
    original = Engine.leave

    def leave(self: Any, now: float, claim: Claim, *, granted: bool) -> None:
        claim.waiters = claim.waiters if granted else 1
        original(self, now, claim, granted=granted)

    patch.setattr(Engine, "leave", leave)


@defect(UNINTERRUPTIBLE, faults=0)
def everything_is_interrupted(patch: pytest.MonkeyPatch) -> None:
    """D6: what must not be interrupted is."""
    patch.setattr(Engine, "_cancel", lambda self, deployment: self.effects.append((Do.CANCEL, deployment, None)))


@defect(CHAIN, faults=0)
def starts_without_what_it_needs(patch: pytest.MonkeyPatch) -> None:
    """D1: a deployment is started although a dependency is not live."""

    def consider(engine: Any, deployment: Deployment) -> None:
        deployment.missing = 0
        Engine._consider_waiting(engine, deployment)

    patch.setitem(Engine._CONSIDERED, Phase.WAITING, consider)


@defect(CHAIN)
def loss_does_not_block(patch: pytest.MonkeyPatch) -> None:
    """D1: the loss of a dependency does not stop what is about to be started."""
    omitted(patch, "_block")
    patch.setattr(Engine, "_fail_above", lambda *_: None)


@defect(RETRIED)
def never_tried_again(patch: pytest.MonkeyPatch) -> None:
    """K3: the first failure is the last one."""
    patch.setattr(Engine, "_attempt_failed", lambda self, deployment, error: self._fail(deployment, error))


@defect(CHAIN)
def dependents_wait_for_what_failed(patch: pytest.MonkeyPatch) -> None:
    """D5: dependents do not fail with what they wait for."""
    omitted(patch, "_fail_above")


@defect(ONE)
def callers_are_not_told_of_the_failure(patch: pytest.MonkeyPatch) -> None:
    """D5: callers of what has failed wait for ever."""
    omitted(patch, "_tell_disappointed")


@defect(CHAIN)
def nothing_but_itself_is_blamed(patch: pytest.MonkeyPatch) -> None:
    """D5: the error does not name the deployment that failed."""
    patch.setattr(Deployment, "why", lambda self: Failure((self.name,), "failed", self.failure or self.error))


@defect(CHAIN)
def dependents_are_not_told_of_a_loss(patch: pytest.MonkeyPatch) -> None:
    """Engine: what stands on something lost does not know."""
    omitted(patch, "_sink")


@defect(WRAPPED)
def wrappers_outlive_what_they_wrap(patch: pytest.MonkeyPatch) -> None:
    """X1, R3: the loss of an environment is that of no wrapper."""
    patch.setattr(losing, "_wrappers", lambda deployment: [])


@defect(WRAPPED)
def lost_connection_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    """X3: nothing is reattached."""

    def forget(self: Any, now: float, deployment: Deployment, error: Exception) -> None:
        deployment.cut_off = False

    afterwards(patch, "lost", forget)


@defect(CHAIN)
def gaps_are_not_looked_for(patch: pytest.MonkeyPatch) -> None:
    """X2: what stands on something lost is taken for live."""
    patch.setattr(Engine, "_gaps", lambda self, targets: ())


@defect(WRAPPED)
def renewed_before_its_wrappers_are_down(patch: pytest.MonkeyPatch) -> None:
    """X2, R3: what is renewed goes down under its wrappers."""
    patch.setitem(Engine._CONSIDERED, Phase.RENEWING, lambda engine, deployment: engine._release(deployment))


@defect(RENEWED, calls=1)
def restarts_are_not_counted(patch: pytest.MonkeyPatch) -> None:
    """X4: something renews itself without an end."""
    patch.setattr(Engine, "_may_renew", lambda self, deployment: deployment.definition.restarts > 0)


@defect(RENEWED, calls=1)
def renewal_is_never_due(patch: pytest.MonkeyPatch) -> None:
    """X4: what is to renew itself never does."""
    omitted(patch, "due")


@defect(CHAIN, faults=0)
def restarted_before_its_dependents_are_down(patch: pytest.MonkeyPatch) -> None:
    """X4, R3: what is restarted goes down under its dependents."""
    patch.setitem(Engine._CONSIDERED, Phase.RETIRING, lambda engine, deployment: engine._release(deployment))


@defect(CHAIN, faults=1)
def restart_goes_on_below_what_is_stuck(patch: pytest.MonkeyPatch) -> None:
    """X4: what cannot be restarted, for a dependent is stuck, is not kept."""
    omitted(patch, "_keep_below")


@defect(ONE, faults=0)
def restart_forgets_its_caller(patch: pytest.MonkeyPatch) -> None:
    """X4: a restart returns before anything is up again."""
    original = Engine.restart

    def restart(self: Any, now: float, name: str) -> None:
        claim = original(self, now, name)
        if claim is not None:
            self._detach(claim)

    patch.setattr(Engine, "restart", restart)


@defect(ONE, faults=0)
def undeployed_connector_is_given_out(patch: pytest.MonkeyPatch) -> None:
    """R1: a connector is given out while it goes down."""

    def give_out(self: Any, deployment: Deployment) -> None:
        self.visible[deployment.name] = deployment.connector

    afterwards(patch, "_release", give_out)


@defect(ONE, faults=0)
def connector_stays_valid(patch: pytest.MonkeyPatch) -> None:
    """R4: a connector outlives its environment."""
    without(patch, "_release", Do.INVALIDATE)


@defect(CHAIN, faults=0)
def undeploy_returns_too_early(patch: pytest.MonkeyPatch) -> None:
    """U1: `undeploy` does not wait for what goes down with it."""
    original = Engine._arrive

    def arrive(self: Any, deployment: Deployment) -> None:
        for wait in deployment.waits or ():
            self._end_wait(wait)
        deployment.waits = None
        original(self, deployment)

    patch.setattr(Engine, "_arrive", arrive)


@defect(CHAIN, faults=0)
def teardown_does_not_wait_for_dependents(patch: pytest.MonkeyPatch) -> None:
    """U2: what `undeploy` was called for goes down under its dependents."""
    patch.setattr(Deployment, "demanded", property(lambda self: self.explicit or bool(self.claims)))


@defect(ONE)
def failed_teardown_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    """U6: what could not be undeployed is taken for absent."""
    patch.setattr(Engine, "_undeploy_failed", lambda self, deployment, error: self._undeployed(deployment))


@defect(ONE, calls=3)
def stuck_for_good(patch: pytest.MonkeyPatch) -> None:
    """U6: no teardown is tried again."""
    omitted(patch, "_retry")


@defect(ONE, faults=0)
def closing_sets_no_deadline(patch: pytest.MonkeyPatch) -> None:
    """U8: what is at work when the manager closes has no deadline."""
    without(patch, "close", Do.LIMIT)


@defect(ONE, calls=3)
def every_try_is_the_last(patch: pytest.MonkeyPatch) -> None:
    """U8: what gets stuck while the manager closes is left behind at once."""

    def give_up(self: Any, *_: object) -> None:
        for deployment in self.deployments.values():
            deployment.last_try = True

    afterwards(patch, "close", give_up)


@defect(ONE, faults=0)
def closing_never_ends(patch: pytest.MonkeyPatch) -> None:
    """U8: closing ends too late."""
    original = Engine._wake

    def wake(self: Any, waiter: Any) -> None:
        if waiter is not self.drained:
            original(self, waiter)

    patch.setattr(Engine, "_wake", wake)
