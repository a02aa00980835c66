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
from anydeploy.deployment import Claim, Deployment
from anydeploy.fleet import Fleet
from anydeploy.slots import Slots
from hypothesis import Phase

from anydeploy import DefaultDeploymentManager, DeploymentState
from anydeploy.lazy import FutureConnector
from anydeploy.lifecycle import Step
from anydeploy.testing import AnydeploySubject, Feature, ManagerMachine, Script, check_manager
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
    async def bring_up(self: Any, names: list[str]) -> None:
        claim = self._fleet.claim(names, self._definitions.closure(names, is_met=self._is_met))
        await claim.wait()
        self._fleet.leave(claim, granted=True)

    patch.setattr(DefaultDeploymentManager, "_bring_up", bring_up)


@defect
def the_first_cancelled_caller_takes_the_others_with_it(patch: pytest.MonkeyPatch) -> None:
    def leave(self: Any, claim: Claim, *, granted: bool) -> None:
        if not granted and not claim.settled:
            claim.waiters = 1
        original(self, claim, granted=granted)

    original = Fleet.leave
    patch.setattr(Fleet, "leave", leave)


@defect
def the_event_is_not_set_on_failure(patch: pytest.MonkeyPatch) -> None:
    def fail_claims(self: Any, deployment: Deployment, why: str | None = None) -> list[Deployment]:
        return [] if why is None else original(self, deployment, why)

    original = Fleet._fail_claims
    patch.setattr(Fleet, "_fail_claims", fail_claims)


@defect
def undeploy_does_not_tell_the_waiting_callers(patch: pytest.MonkeyPatch) -> None:
    def fail_claims(self: Any, deployment: Deployment, why: str | None = None) -> list[Deployment]:
        return [] if why is not None else original(self, deployment, why)

    original = Fleet._fail_claims
    patch.setattr(Fleet, "_fail_claims", fail_claims)


@defect
def the_connector_is_visible_while_deploying(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Deployment, "visible", property(lambda self: self.joinable and not self.hidden))


@defect
def the_connector_is_visible_after_undeploy(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Deployment, "visible", property(lambda self: self.state is DeploymentState.LIVE))


@defect
def a_new_deploy_does_not_make_it_visible_again(patch: pytest.MonkeyPatch) -> None:
    def claim(self: Any, names: Any, new: Any) -> Claim:
        hidden = {name: d.hidden for name, d in self.deployments.items()}
        result = original(self, names, new)
        for target in result.targets:
            target.hidden = hidden.get(target.name, False)
        return result

    original = Fleet.claim
    patch.setattr(Fleet, "claim", claim)


@defect
def dependents_do_not_count_as_demand(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Deployment, "demanded", property(lambda self: self.explicit or bool(self.claims)))


@defect
def dependents_count_only_once_they_are_live(patch: pytest.MonkeyPatch) -> None:
    def demanded(self: Deployment) -> bool:
        above = [d for d in self.dependents if d.state is not DeploymentState.DEPLOYING]
        return self.explicit or bool(self.claims) or bool(above)

    patch.setattr(Deployment, "demanded", property(demanded))


@defect
def waiting_callers_do_not_count_as_demand(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Deployment, "demanded", property(lambda self: self.explicit or bool(self.dependents)))


@defect
def a_newcomer_joins_the_doomed_attempt(patch: pytest.MonkeyPatch) -> None:
    joined = (DeploymentState.DEPLOYING, DeploymentState.LIVE, DeploymentState.UNDEPLOYING)
    patch.setattr(Deployment, "joinable", property(lambda self: self.state in joined))


@defect
def a_failed_deploy_is_not_cleaned_up(patch: pytest.MonkeyPatch) -> None:
    async def clean_up(self: Deployment) -> None:
        self._gone = True

    patch.setattr(Deployment, "_clean_up", clean_up)


@defect
def what_waits_for_a_failed_deployment_hangs(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Fleet, "_fail_dependents", lambda self, deployment, error: [])


@defect
def dependencies_stay_up_for_ever(patch: pytest.MonkeyPatch) -> None:
    def forget(self: Any, deployment: Deployment) -> list[Deployment]:
        original(self, deployment)
        return []

    original = Fleet._forget
    patch.setattr(Fleet, "_forget", forget)


@defect
def a_failed_teardown_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Deployment, "_teardown_error", lambda self, failure: None)


@defect
def a_stuck_environment_lets_go_of_what_it_stands_on(patch: pytest.MonkeyPatch) -> None:
    def undeploy_failed(self: Any, deployment: Deployment, error: BaseException) -> bool:
        for dependency in deployment.dependencies:
            dependency.dependents.pop(deployment, None)
        self._settle_demand(list(deployment.dependencies))
        return original(self, deployment, error)

    original = Fleet.undeploy_failed
    patch.setattr(Fleet, "undeploy_failed", undeploy_failed)


@defect
def a_fresh_deploy_overlaps_the_old_teardown(patch: pytest.MonkeyPatch) -> None:
    def create(self: Any, blueprint: Any) -> Deployment:
        deployment = original(self, blueprint)
        if deployment.predecessor is not None:
            deployment.missing -= 1
        return deployment

    original = Fleet._create
    patch.setattr(Fleet, "_create", create)


@defect
def it_starts_with_its_first_live_dependency(patch: pytest.MonkeyPatch) -> None:
    def create(self: Any, blueprint: Any) -> Deployment:
        deployment = original(self, blueprint)
        deployment.missing = min(deployment.missing, 1)
        return deployment

    original = Fleet._create
    patch.setattr(Fleet, "_create", create)


@defect
def a_granted_deploy_is_not_remembered(patch: pytest.MonkeyPatch) -> None:
    def leave(self: Any, claim: Claim, *, granted: bool) -> None:
        original(self, claim, granted=False)

    original = Fleet.leave
    patch.setattr(Fleet, "leave", leave)


@defect
def what_cannot_be_interrupted_is_interrupted(patch: pytest.MonkeyPatch) -> None:
    def give_up(self: Deployment) -> None:
        if self._attempt is None:
            self._wake.set()
        else:
            self._attempt.cancel()

    patch.setattr(Deployment, "give_up", give_up)


@defect
def all_callers_get_the_same_exception(patch: pytest.MonkeyPatch) -> None:
    def deploy_error(self: Deployment) -> Any:
        found = errors.get(self)
        if found is None:
            found = errors[self] = original(self)
        return found

    errors: dict[Deployment, Any] = {}
    original = Deployment.deploy_error
    patch.setattr(Deployment, "deploy_error", deploy_error)


@defect
def undeploy_returns_before_it_is_down(patch: pytest.MonkeyPatch) -> None:
    async def wait_gone(self: Deployment) -> None:
        pass

    patch.setattr(Deployment, "wait_gone", wait_gone)


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
    async def deploy(self: Any, names: list[str]) -> None:
        await original(self, names)
        await self._bring_up(names)

    original = DefaultDeploymentManager._deploy
    patch.setattr(DefaultDeploymentManager, "_deploy", deploy)


@defect
def a_failed_teardown_keeps_its_slot(patch: pytest.MonkeyPatch) -> None:
    def release(self: Any, deployment: Deployment) -> None:
        if deployment.state is not DeploymentState.UNDEPLOYING:
            original(self, deployment)

    original = Slots.release
    patch.setattr(Slots, "release", release)


@defect
def a_second_undeploy_runs_beside_the_first(patch: pytest.MonkeyPatch) -> None:
    def withdraw(self: Any, name: str) -> Deployment | None:
        deployment = original(self, name)
        if deployment is not None and deployment.state is DeploymentState.UNDEPLOYING and deployment._ending:
            self.slots.release(deployment)
            deployment.fleet._finish(deployment, Step.UNDEPLOYED)
        return deployment

    original = Fleet.withdraw
    patch.setattr(Fleet, "withdraw", withdraw)


class Hasty(AnydeploySubject):
    """A manager that shows connectors before they are up, and knows no limits."""

    name = "a hasty manager"
    features = frozenset(Feature) - {Feature.LIMITS}

    def manager(self, script: Script, **options: Any) -> DefaultDeploymentManager:
        manager = super().manager(script, **options)
        manager.get_connector = lambda name: script.connectors.get(name, [None])[-1]  # type: ignore[method-assign]
        return manager


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
            phases=[Phase.generate],
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
