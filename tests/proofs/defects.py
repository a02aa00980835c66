"""Seeded defects of the manager: functions that break the package in one place, and a program that looks for one.

``python -m proofs.defects NAME BACKEND EXAMPLES``, with ``tests`` on the path, runs the state machine on the broken
manager, or with 0 examples the suite of scenarios. It is a process of its own, because a manager that hangs takes its
event loop with it.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import Phase as HypothesisPhase

from anydeploy import DefaultDeploymentManager, UndeployError
from anydeploy import DeploymentState as State
from anydeploy.engine import engine, losing
from anydeploy.engine.deployment import Claim, Deployment, Failure, TeardownWait
from anydeploy.engine.engine import Engine
from anydeploy.engine.state import Do
from anydeploy.lazy import FutureConnector
from anydeploy.lifecycle import Phase, Step
from anydeploy.runner import Runner
from anydeploy.shell import Shell
from anydeploy.testing import AnydeploySubject, ManagerMachine, check_manager
from anydeploy.testing.conformance import run
from anydeploy.testing.scenarios import every_scenario, play

#: In place of a name: the manager as it is, in which nothing is to be found.
SOUND = "sound"

DEFECTS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {}


def defect(function: Callable[[pytest.MonkeyPatch], None]) -> Callable[[pytest.MonkeyPatch], None]:
    DEFECTS[function.__name__] = function
    return function


@defect
def cancellation_is_not_noticed(patch: pytest.MonkeyPatch) -> None:
    async def await_claim(self: Any, claim: Claim) -> None:
        await self._shell.wait(claim)
        self._engine.leave(self._shell.now(), claim, granted=True)
        self._shell.perform()

    patch.setattr(DefaultDeploymentManager, "_await_claim", await_claim)


@defect
def the_first_cancelled_caller_takes_the_others_with_it(patch: pytest.MonkeyPatch) -> None:
    def leave(self: Any, now: float, claim: Claim, *, granted: bool) -> None:
        if not granted and not claim.settled:
            claim.waiters = 1
        original(self, now, claim, granted=granted)

    original = Engine.leave
    patch.setattr(Engine, "leave", leave)


@defect
def the_event_is_not_set_on_failure(patch: pytest.MonkeyPatch) -> None:
    def wake(self: Any, waiter: Claim | TeardownWait) -> None:
        if not (isinstance(waiter, Claim) and waiter.failure is not None and waiter.failure.cause is not None):
            original(self, waiter)

    original = Engine._wake
    patch.setattr(Engine, "_wake", wake)


@defect
def undeploy_does_not_tell_the_waiting_callers(patch: pytest.MonkeyPatch) -> None:
    def fail_claims(self: Any, deployment: Deployment, failure: Failure | None = None, **what: Any) -> None:
        if what.get("withdrawn") is None:
            original(self, deployment, failure, **what)

    original = Engine._fail_claims
    patch.setattr(Engine, "_fail_claims", fail_claims)


@defect
def the_connector_is_visible_while_deploying(patch: pytest.MonkeyPatch) -> None:
    def build(self: Runner) -> Any:
        connector = self.shell.engine.visible[self.deployment.name] = original(self)
        return connector

    original = Runner._build
    patch.setattr(Runner, "_build", build)


@defect
def the_connector_is_visible_after_undeploy(patch: pytest.MonkeyPatch) -> None:
    def withdraw(self: Any, deployment: Deployment, why: str) -> None:
        shown = self.visible.get(deployment.name)
        original(self, deployment, why)
        if shown is not None:
            self.visible[deployment.name] = shown

    original = Engine._withdraw
    patch.setattr(Engine, "_withdraw", withdraw)


@defect
def a_new_deploy_does_not_make_it_visible_again(patch: pytest.MonkeyPatch) -> None:
    def claim(self: Any, now: float, names: Any, new: Any) -> Claim:
        hidden = [name for name in names if name in self.deployments and self.deployments[name].withdrawn]
        result = original(self, now, names, new)
        for name in hidden:
            self.visible.pop(name, None)
            self.deployments[name].withdrawn = True
        return result

    original = Engine.claim
    patch.setattr(Engine, "claim", claim)


@defect
def dependents_do_not_count_as_demand(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Deployment, "demanded", property(lambda self: self.explicit or bool(self.claims)))


@defect
def dependents_count_only_once_they_are_live(patch: pytest.MonkeyPatch) -> None:
    def demanded(self: Deployment) -> bool:
        above = [d for d in self.dependents or () if d.phase.state not in (State.ABSENT, State.DEPLOYING)]
        return self.explicit or bool(self.claims) or bool(above)

    patch.setattr(Deployment, "demanded", property(demanded))


@defect
def waiting_callers_do_not_count_as_demand(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Deployment, "demanded", property(lambda self: self.explicit or self.holders > 0))


@defect
def a_newcomer_joins_the_doomed_attempt(patch: pytest.MonkeyPatch) -> None:
    def join(self: Any, targets: tuple[Deployment, ...]) -> Claim:
        doomed = targets[0].disappointed
        return doomed[0] if doomed else original(self, targets)

    original = Engine._join
    patch.setattr(Engine, "_join", join)


@defect
def a_failed_deploy_is_not_cleaned_up(patch: pytest.MonkeyPatch) -> None:
    async def clean_up(self: Runner) -> None:
        self._gone = True
        self._torn_down(None)

    patch.setattr(Runner, "_clean_up", clean_up)


@defect
def what_waits_for_a_failed_deployment_hangs(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Engine, "_fail_above", lambda self, deployment: None)


@defect
def dependencies_stay_up_for_ever(patch: pytest.MonkeyPatch) -> None:
    def arrive(self: Any, deployment: Deployment) -> None:
        for dependency in deployment.dependencies:
            dependency.holders += 1
        original(self, deployment)

    original = Engine._arrive
    patch.setattr(Engine, "_arrive", arrive)


@defect
def a_failed_teardown_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    def torn_down(self: Any, now: float, deployment: Deployment, error: BaseException | None = None) -> None:
        original(self, now, deployment, None)

    original = Engine.torn_down
    patch.setattr(Engine, "torn_down", torn_down)


@defect
def a_stuck_environment_lets_go_of_what_it_stands_on(patch: pytest.MonkeyPatch) -> None:
    def undeploy_failed(self: Any, deployment: Deployment, error: BaseException) -> None:
        original(self, deployment, error)
        for dependency in deployment.dependencies:
            dependency.holders -= 1
            self._mark(dependency)

    original = Engine._undeploy_failed
    patch.setattr(Engine, "_undeploy_failed", undeploy_failed)


@defect
def a_fresh_deploy_overlaps_the_old_teardown(patch: pytest.MonkeyPatch) -> None:
    def release(self: Any, deployment: Deployment) -> None:
        original(self, deployment)
        # A record of its own for the next life, as if this one were over.
        if not deployment.dependents:
            self.deployments.pop(deployment.name, None)

    original = Engine._release
    patch.setattr(Engine, "_release", release)


@defect
def it_starts_with_its_first_live_dependency(patch: pytest.MonkeyPatch) -> None:
    def demand(self: Any, deployment: Deployment) -> None:
        deployment.missing = min(deployment.missing, 1)
        original(self, deployment)

    original = Engine._demand
    patch.setattr(Engine, "_demand", demand)


@defect
def a_granted_deploy_is_not_remembered(patch: pytest.MonkeyPatch) -> None:
    def leave(self: Any, now: float, claim: Claim, *, granted: bool) -> None:
        original(self, now, claim, granted=False)

    original = Engine.leave
    patch.setattr(Engine, "leave", leave)


@defect
def what_cannot_be_interrupted_is_interrupted(patch: pytest.MonkeyPatch) -> None:
    def cancel(self: Any, deployment: Deployment) -> None:
        self.effects.append((Do.CANCEL, deployment, None))

    patch.setattr(Engine, "_cancel", cancel)


@defect
def all_callers_get_the_same_exception(patch: pytest.MonkeyPatch) -> None:
    def error(self: Failure) -> Any:
        found = errors.get(id(self))
        if found is None:
            found = errors[id(self)] = self, original(self)
        return found[1]

    errors: dict[int, Any] = {}
    original = Failure.error
    patch.setattr(Failure, "error", error)


@defect
def undeploy_returns_before_it_is_down(patch: pytest.MonkeyPatch) -> None:
    async def wait(self: Shell, waiter: Claim | TeardownWait) -> None:
        if isinstance(waiter, Claim):
            await original(self, waiter)

    original = Shell.wait
    patch.setattr(Shell, "wait", wait)


@defect
def undeploy_does_not_wait_for_what_follows(patch: pytest.MonkeyPatch) -> None:
    def arrive(self: Any, deployment: Deployment) -> None:
        for wait in deployment.waits or ():
            self._end_wait(wait)
        deployment.waits = None
        original(self, deployment)

    original = Engine._arrive
    patch.setattr(Engine, "_arrive", arrive)


@defect
def a_failed_lazy_deployment_is_not_tried_again(patch: pytest.MonkeyPatch) -> None:
    async def resolve(self: FutureConnector) -> Any:
        try:
            return await original(self)
        except Exception:
            self.armed = False
            raise

    original = FutureConnector.resolve
    patch.setattr(FutureConnector, "resolve", resolve)


@defect
def lazy_is_eager(patch: pytest.MonkeyPatch) -> None:
    async def deploy(self: Any, wanted: Any) -> None:
        await original(self, wanted)
        resolution = self._definitions.resolve(wanted, present=self._engine.deployments)
        await self._bring_up(resolution.names, resolution.missing)

    original = DefaultDeploymentManager._deploy
    patch.setattr(DefaultDeploymentManager, "_deploy", deploy)


@defect
def a_failed_teardown_keeps_its_slot(patch: pytest.MonkeyPatch) -> None:
    def undeploy_failed(self: Any, deployment: Deployment, error: BaseException) -> None:
        with pytest.MonkeyPatch.context() as within:
            within.setattr(self, "_free_slot", lambda deployment: None, raising=False)
            original(self, deployment, error)

    original = Engine._undeploy_failed
    patch.setattr(Engine, "_undeploy_failed", undeploy_failed)


@defect
def a_second_undeploy_runs_beside_the_first(patch: pytest.MonkeyPatch) -> None:
    def withdraw(self: Any, now: float, name: str) -> TeardownWait | None:
        deployment = self.deployments.get(name)
        under_way = deployment is not None and deployment.phase is Phase.UNDEPLOYING
        wait = original(self, now, name)
        if deployment is not None and under_way and not deployment.holders:
            # Its task goes on with the teardown, and a new life of the name knows nothing of that.
            deployment.task = None
            self._undeployed(deployment)
            self._settle()
        return wait

    original = Engine.withdraw
    patch.setattr(Engine, "withdraw", withdraw)


@defect
def a_loss_is_not_noticed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Engine, "lost", lambda self, now, deployment, error, *, cut_off: None)


@defect
def wrappers_outlive_what_they_wrap(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(losing, "_wrappers", lambda deployment: [])


@defect
def whatever_depends_on_it_is_lost_with_it(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(losing, "_wrappers", lambda deployment: list(deployment.dependents or ()))


@defect
def what_is_lost_is_still_shown(patch: pytest.MonkeyPatch) -> None:
    def make_lost(self: Any, deployment: Deployment, error: Exception) -> None:
        shown = self.visible.get(deployment.name)
        original(self, deployment, error)
        if shown is not None:
            self.visible[deployment.name] = shown

    original = Engine._make_lost
    patch.setattr(Engine, "_make_lost", make_lost)


@defect
def what_is_reached_through_a_lost_one_can_be_used(patch: pytest.MonkeyPatch) -> None:
    def invalidate(self: Runner, reason: str) -> None:
        if self.deployment.phase is not Phase.LOST:
            original(self, reason)

    original = Runner.invalidate
    patch.setattr(Runner, "invalidate", invalidate)


@defect
def a_wrapper_comes_up_on_what_is_lost(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Engine, "_lose_inner", lambda self, wrapper, inner, error: None)


@defect
def a_loss_before_it_is_live_is_not_noticed(patch: pytest.MonkeyPatch) -> None:
    def lost(self: Any, now: float, deployment: Deployment, error: Exception, *, cut_off: bool) -> None:
        if deployment.phase is not Phase.ATTEMPTING:
            original(self, now, deployment, error, cut_off=cut_off)

    original = Engine.lost
    patch.setattr(Engine, "lost", lost)


@defect
def what_is_lost_is_renewed_although_nothing_asks(patch: pytest.MonkeyPatch) -> None:
    def consider_lost(self: Any, deployment: Deployment) -> None:
        if deployment.demanded and deployment.due is None:
            self._renew(deployment)
        else:
            original(self, deployment)

    original = Engine._consider_lost
    patch.setitem(Engine._CONSIDERED, Phase.LOST, consider_lost)  # type: ignore[arg-type]


@defect
def what_is_lost_is_never_taken_down(patch: pytest.MonkeyPatch) -> None:
    def consider_lost(self: Any, deployment: Deployment) -> None:
        if deployment.demanded:
            original(self, deployment)

    original = Engine._consider_lost
    patch.setitem(Engine._CONSIDERED, Phase.LOST, consider_lost)  # type: ignore[arg-type]


@defect
def a_deploy_returns_on_what_was_lost(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Engine, "_gaps", lambda self, targets: ())


@defect
def a_renewal_waits_for_mere_dependents(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(Engine._CONSIDERED, Phase.RENEWING, Engine._consider_retiring)  # type: ignore[arg-type]


@defect
def a_renewal_overtakes_its_wrappers(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(Engine._CONSIDERED, Phase.RENEWING, Engine._release)  # type: ignore[arg-type]


@defect
def a_renewal_ends_the_demand(patch: pytest.MonkeyPatch) -> None:
    def step(self: Any, deployment: Deployment, step: Step, *what: Any, **more: Any) -> None:
        original(self, deployment, step, *what, **more)
        if step is Step.RENEWED:
            self._end_demand(deployment)

    original = Engine._step
    patch.setattr(Engine, "_step", step)


@defect
def a_renewal_forgets_the_old_environment(patch: pytest.MonkeyPatch) -> None:
    async def undeploy(self: Runner, scope: Any) -> None:
        if self.deployment.renewal:
            self._gone = True
        else:
            await original(self, scope)

    original = Runner._undeploy
    patch.setattr(Runner, "_undeploy", undeploy)


@defect
def undeploy_ends_the_renewal_for_others(patch: pytest.MonkeyPatch) -> None:
    def fail_claims(self: Any, deployment: Deployment, failure: Failure | None = None, **what: Any) -> None:
        withdrawn = what.pop("withdrawn", None)
        failure = Failure((deployment.name,), withdrawn) if withdrawn is not None else failure
        original(self, deployment, failure, **what)

    original = Engine._fail_claims
    patch.setattr(Engine, "_fail_claims", fail_claims)


@defect
def what_is_stuck_does_not_end_a_renewal(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Engine, "_keep_below", lambda self, stuck: None)


@defect
def nothing_reattaches(patch: pytest.MonkeyPatch) -> None:
    async def reattach(self: Runner, wrapper: str, scope: Any) -> None:
        pass

    patch.setattr(Runner, "reattach", reattach)


@defect
def what_has_ended_reattaches(patch: pytest.MonkeyPatch) -> None:
    def lost(self: Any, now: float, deployment: Deployment, error: Exception, *, cut_off: bool) -> None:
        original(self, now, deployment, error, cut_off=True)

    original = Engine.lost
    patch.setattr(Engine, "lost", lost)


@defect
def a_failed_way_in_prevents_the_teardown(patch: pytest.MonkeyPatch) -> None:
    async def reattach(self: Runner, wrapper: str, scope: Any) -> None:
        assert self.connector is not None
        await self.connector.reattach()

    patch.setattr(Runner, "reattach", reattach)


@defect
def the_way_in_is_open_to_users(patch: pytest.MonkeyPatch) -> None:
    async def reattach(self: Runner, wrapper: str, scope: Any) -> None:
        await original(self, wrapper, scope)
        assert self.connector is not None
        self.connector._invalid = None

    original = Runner.reattach
    patch.setattr(Runner, "reattach", reattach)


@defect
def a_restart_leaves_dependents_up(patch: pytest.MonkeyPatch) -> None:
    def consider(self: Any, deployment: Deployment) -> None:
        self._release(deployment)

    patch.setattr(engine, "_above", lambda deployment: [deployment])
    patch.setitem(Engine._CONSIDERED, Phase.RETIRING, consider)  # type: ignore[arg-type]


@defect
def a_restart_takes_down_what_it_stands_on(patch: pytest.MonkeyPatch) -> None:
    def above(deployment: Deployment) -> list[Deployment]:
        return [*original(deployment), *deployment.dependencies]

    original = engine._above
    patch.setattr(engine, "_above", above)


@defect
def a_restart_returns_before_it_is_up(patch: pytest.MonkeyPatch) -> None:
    def restart(self: Any, now: float, name: str) -> Claim | None:
        claim = original(self, now, name)
        if claim is not None:
            self.leave(now, claim, granted=False)
        return None

    original = Engine.restart
    patch.setattr(Engine, "restart", restart)


@defect
def a_cancelled_restart_is_called_off(patch: pytest.MonkeyPatch) -> None:
    def leave(self: Any, now: float, claim: Claim, *, granted: bool) -> None:
        for target in claim.targets if not (claim.grants or granted) else ():
            if target.phase is Phase.RETIRING:
                self._step(target, Step.KEPT)
                self._rise(target)
        original(self, now, claim, granted=granted)

    original = Engine.leave
    patch.setattr(Engine, "leave", leave)


@defect
def nothing_comes_up_by_itself(patch: pytest.MonkeyPatch) -> None:
    def due(self: Any, now: float, deployment: Deployment) -> None:
        if deployment.phase is Phase.LOST:
            deployment.due = None
        else:
            original(self, now, deployment)

    original = Engine.due
    patch.setattr(Engine, "due", due)


@defect
def it_comes_up_by_itself_without_an_end(patch: pytest.MonkeyPatch) -> None:
    def may_renew(self: Any, deployment: Deployment) -> bool:
        deployment.restarts = 0
        return original(self, deployment)

    original = Engine._may_renew
    patch.setattr(Engine, "_may_renew", may_renew)


@defect
def it_comes_up_by_itself_at_once(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(losing, "pause_after", lambda failures: 0.0)


@defect
def one_attempt_more_than_its_definition_says(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Deployment, "attempts", property(lambda self: self.definition.retries + 2))


@defect
def nothing_is_tried_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Deployment, "attempts", property(lambda self: 1))


@defect
def the_failure_of_what_follows_is_told_to_nobody(patch: pytest.MonkeyPatch) -> None:
    async def undeploy(self: Any, deployment_name: str) -> None:
        try:
            await original(self, deployment_name)
        except UndeployError as exc:
            if exc.deployment_name == deployment_name:
                raise

    original = DefaultDeploymentManager.undeploy
    patch.setattr(DefaultDeploymentManager, "undeploy", undeploy)


@defect
def only_one_of_several_failures_is_told(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(UndeployError, "add_note", lambda self, note: None)


@defect
def a_failing_hook_stops_the_teardown(patch: pytest.MonkeyPatch) -> None:
    def invalidate(self: Runner, reason: str) -> None:
        if self.connector is not None:
            self.connector.invalidate(reason)

    patch.setattr(Runner, "invalidate", invalidate)


@defect
def a_system_exit_is_raised_into_the_block(patch: pytest.MonkeyPatch) -> None:
    def outcome(self: Runner, exc: BaseException, raised: BaseException | None) -> BaseException:
        if isinstance(exc, SystemExit):
            raise exc
        return original(self, exc, raised)

    original = Runner._outcome
    patch.setattr(Runner, "_outcome", outcome)


def found_by_machine(backend: str, examples: int) -> str | None:
    """Return the first violation that the machine finds, if there is one."""
    try:
        check_manager(
            ManagerMachine,
            backend=backend,
            max_examples=examples,
            database=None,
            derandomize=True,
            report_multiple_bugs=False,
            phases=[HypothesisPhase.generate],
        )
    except BaseException as exc:  # noqa: BLE001 - in whatever way it fails, it is found
        return str(exc)
    return None


def found_by_suite(backend: str) -> str | None:
    """Return the finding of the first scenario that fails, if one does."""
    for scenario in every_scenario():
        try:
            run(backend, partial(play, scenario, AnydeploySubject()))
        except BaseException as exc:  # noqa: BLE001 - as above
            return f"{scenario.id}: {exc}"
    return None


def main() -> None:
    logging.disable(logging.CRITICAL)
    name, backend, examples = sys.argv[1:]
    if name != SOUND:
        DEFECTS[name](pytest.MonkeyPatch())
    found = found_by_machine(backend, int(examples)) if int(examples) else found_by_suite(backend)
    if found is not None:
        print(f"found: {found}")
    sys.stdout.flush()
    # A broken manager may never come to an end.
    os._exit(0 if found is not None else 1)


if __name__ == "__main__":
    main()
