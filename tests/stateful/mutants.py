"""Seeded defects of the manager, and a program that says whether the state machine, or the suite, finds one.

Each is a function that breaks the package in one place. ``python -m stateful.mutants NAME BACKEND EXAMPLES`` runs the
machine on the broken manager, or with 0 examples the suite, in a process of its own, because a manager that hangs takes
its event loop with it.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from hypothesis import Phase

from anydeploy import DefaultDeploymentManager, DeploymentState
from anydeploy.deployment import Claim, Deployment
from anydeploy.fleet import Fleet
from anydeploy.lazy import FutureConnector
from anydeploy.lifecycle import Step
from anydeploy.slots import Slots
from anydeploy.testing import AnydeploySubject
from anydeploy.testing.conformance import run
from anydeploy.testing.machine import ManagerMachine, check_manager
from anydeploy.testing.scenarios import every_scenario, play

#: In place of a name: the manager as it is, in which nothing is to be found.
SOUND = "sound"

MUTANTS: dict[str, Callable[[], None]] = {}


def mutant(function: Callable[[], None]) -> Callable[[], None]:
    MUTANTS[function.__name__] = function
    return function


@mutant
def cancellation_is_not_noticed() -> None:
    async def bring_up(self: Any, resolution: Any) -> None:
        claim = self._fleet.claim(resolution.names, resolution.missing)
        await claim.wait()
        self._fleet.leave(claim, granted=True)

    DefaultDeploymentManager._bring_up = bring_up


@mutant
def the_first_cancelled_caller_takes_the_others_with_it() -> None:
    def leave(self: Any, claim: Claim, *, granted: bool) -> None:
        if not granted and not claim.settled:
            claim.waiters = 1
        original(self, claim, granted=granted)

    original, Fleet.leave = Fleet.leave, leave


@mutant
def the_event_is_not_set_on_failure() -> None:
    def fail_claims(self: Any, deployment: Deployment, why: str | None = None) -> list[Deployment]:
        return [] if why is None else original(self, deployment, why)

    original, Fleet._fail_claims = Fleet._fail_claims, fail_claims


@mutant
def undeploy_does_not_tell_the_waiting_callers() -> None:
    def fail_claims(self: Any, deployment: Deployment, why: str | None = None) -> list[Deployment]:
        return [] if why is not None else original(self, deployment, why)

    original, Fleet._fail_claims = Fleet._fail_claims, fail_claims


@mutant
def the_connector_is_visible_while_deploying() -> None:
    Deployment.visible = property(lambda self: self.joinable and not self.hidden)


@mutant
def the_connector_is_visible_after_undeploy() -> None:
    Deployment.visible = property(lambda self: self.state is DeploymentState.LIVE)


@mutant
def a_new_deploy_does_not_make_it_visible_again() -> None:
    def claim(self: Any, names: Any, new: Any) -> Claim:
        hidden = {name: d.hidden for name, d in self.deployments.items()}
        result = original(self, names, new)
        for target in result.targets:
            target.hidden = hidden.get(target.name, False)
        return result

    original, Fleet.claim = Fleet.claim, claim


@mutant
def dependents_do_not_count_as_demand() -> None:
    Deployment.demanded = property(lambda self: self.explicit or bool(self.claims))


@mutant
def dependents_count_only_once_they_are_live() -> None:
    def demanded(self: Deployment) -> bool:
        above = [d for d in self.dependents if d.state is not DeploymentState.DEPLOYING]
        return self.explicit or bool(self.claims) or bool(above)

    Deployment.demanded = property(demanded)


@mutant
def waiting_callers_do_not_count_as_demand() -> None:
    Deployment.demanded = property(lambda self: self.explicit or bool(self.dependents))


@mutant
def a_newcomer_joins_the_doomed_attempt() -> None:
    joined = (DeploymentState.DEPLOYING, DeploymentState.LIVE, DeploymentState.UNDEPLOYING)
    Deployment.joinable = property(lambda self: self.state in joined)


@mutant
def a_failed_deploy_is_not_cleaned_up() -> None:
    async def clean_up(self: Deployment) -> None:
        self._gone = True

    Deployment._clean_up = clean_up


@mutant
def what_waits_for_a_failed_deployment_hangs() -> None:
    Fleet._fail_dependents = lambda self, deployment, error: []


@mutant
def dependencies_stay_up_for_ever() -> None:
    def forget(self: Any, deployment: Deployment) -> list[Deployment]:
        original(self, deployment)
        return []

    original, Fleet._forget = Fleet._forget, forget


@mutant
def a_failed_teardown_is_forgotten() -> None:
    Deployment._teardown_error = lambda self, failure: None


@mutant
def a_stuck_environment_lets_go_of_what_it_stands_on() -> None:
    def undeploy_failed(self: Any, deployment: Deployment, error: BaseException) -> bool:
        for dependency in deployment.dependencies:
            dependency.dependents.pop(deployment, None)
        self._settle_demand(list(deployment.dependencies))
        return original(self, deployment, error)

    original, Fleet.undeploy_failed = Fleet.undeploy_failed, undeploy_failed


@mutant
def a_fresh_deploy_overlaps_the_old_teardown() -> None:
    def create(self: Any, blueprint: Any) -> Deployment:
        deployment = original(self, blueprint)
        if deployment.predecessor is not None:
            deployment.missing -= 1
        return deployment

    original, Fleet._create = Fleet._create, create


@mutant
def it_starts_with_its_first_live_dependency() -> None:
    def create(self: Any, blueprint: Any) -> Deployment:
        deployment = original(self, blueprint)
        deployment.missing = min(deployment.missing, 1)
        return deployment

    original, Fleet._create = Fleet._create, create


@mutant
def a_granted_deploy_is_not_remembered() -> None:
    def leave(self: Any, claim: Claim, *, granted: bool) -> None:
        original(self, claim, granted=False)

    original, Fleet.leave = Fleet.leave, leave


@mutant
def what_cannot_be_interrupted_is_interrupted() -> None:
    def give_up(self: Deployment) -> None:
        if self._attempt is None:
            self._wake.set()
        else:
            self._attempt.cancel()

    Deployment.give_up = give_up


@mutant
def all_callers_get_the_same_exception() -> None:
    def deploy_error(self: Deployment) -> Any:
        found = errors.get(self)
        if found is None:
            found = errors[self] = original(self)
        return found

    errors: dict[Deployment, Any] = {}
    original, Deployment.deploy_error = Deployment.deploy_error, deploy_error


@mutant
def undeploy_returns_before_it_is_down() -> None:
    async def wait_gone(self: Deployment) -> None:
        pass

    Deployment.wait_gone = wait_gone


@mutant
def a_failed_lazy_deployment_is_not_tried_again() -> None:
    async def resolve(self: FutureConnector) -> Any:
        try:
            return await original(self)
        except Exception:
            self.armed = False
            raise

    original, FutureConnector.resolve = FutureConnector.resolve, resolve


@mutant
def lazy_is_eager() -> None:
    async def deploy(self: Any, names: list[str]) -> None:
        await original(self, names)
        await self._bring_up(self._resolve(names))

    original, DefaultDeploymentManager._deploy = DefaultDeploymentManager._deploy, deploy


@mutant
def a_failed_teardown_keeps_its_slot() -> None:
    def release(self: Any, deployment: Deployment) -> None:
        if deployment.state is not DeploymentState.UNDEPLOYING:
            original(self, deployment)

    original, Slots.release = Slots.release, release


@mutant
def a_second_undeploy_runs_beside_the_first() -> None:
    def withdraw(self: Any, name: str) -> Deployment | None:
        deployment = original(self, name)
        if deployment is not None and deployment.state is DeploymentState.UNDEPLOYING and deployment._ending:
            self.slots.release(deployment)
            deployment.fleet._finish(deployment, Step.UNDEPLOYED)
        return deployment

    original, Fleet.withdraw = Fleet.withdraw, withdraw


def found_by_machine(backend: str, examples: int) -> str | None:
    """What the machine finds, if anything."""
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
    """What the first scenario finds that finds anything."""
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
        MUTANTS[name]()
    found = found_by_machine(backend, int(examples)) if int(examples) else found_by_suite(backend)
    if found is not None:
        print(f"found: {found}")
    sys.stdout.flush()
    # A broken manager may never come to an end.
    os._exit(0 if found is not None else 1)


if __name__ == "__main__":
    main()
