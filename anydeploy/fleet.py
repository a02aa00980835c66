"""All deployments that are not absent, and every decision about them.

Each method takes one thing that has happened (a caller came or went, a connector finished or failed) and brings the
whole fleet into the state that follows from it, synchronously: between two awaits of anybody nothing is ever half
decided. What has to be awaited is left to the deployments' own tasks, which are started or woken here.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from anyio import Event, current_time
from attrs import define, field

from .definitions import ResolvedDefinition
from .deployment import Claim, Deployment, Descent
from .lifecycle import DeploymentEvent, DeploymentState, Step
from .slots import Slots


@define(eq=False)
class Fleet:
    """The deployments of one manager.

    :ivar spawn: starts the task of a deployment
    :ivar report: tells of a change of state; must not raise
    :ivar heard: whether anybody listens to what is told of a change with or without an error
    :ivar crashed: called when something that must not be kept, like KeyboardInterrupt, came out of a connector
    """

    spawn: Callable[[Deployment], None]
    report: Callable[[DeploymentEvent], None]
    heard: Callable[[BaseException | None], bool]
    crashed: Callable[[BaseException], None]
    slots: Slots
    #: The latest life of each name that is not absent. Dependencies stand before their dependents.
    deployments: dict[str, Deployment] = field(factory=dict[str, Deployment])
    closing: bool = False
    #: What may still exist, because its last teardown failed while closing.
    left_behind: dict[str, Deployment] = field(factory=dict[str, Deployment])
    _shutdown_deadline: float = math.inf
    _drained: Event = field(factory=Event)
    #: What has happened and was not told yet.
    _news: deque[DeploymentEvent] = field(factory=deque[DeploymentEvent])
    _carrying_out: bool = False
    _descents: list[Descent] = field(factory=list[Descent])
    #: The remaining path of one that has to come may be longer than its `height` says.
    _outgrown: bool = False

    # -- Callers come and go -----------------------------------------------------------------------------------------

    def claim(self, names: Sequence[str], new: Iterable[ResolvedDefinition]) -> Claim:
        """Register a caller's demand for ``names``.

        :param new: of their closure everything that no joinable deployment is there for, dependencies first
        """
        created = [self._create(blueprint) for blueprint in new]
        targets = tuple(self.deployments[name] for name in names)
        for target in targets:
            target.hidden = False
        for deployment in created:
            self._start_if_ready(deployment)
        claim = self._join(targets)
        self._carry_out()
        return claim

    def leave(self, claim: Claim, *, granted: bool) -> None:
        """A waiting caller has gone: with what it asked for, or because it was cancelled or disappointed."""
        claim.waiters -= 1
        if granted:
            for target in claim.targets:
                target.explicit = True
        if claim.waiters == 0:
            loose = self._detach(claim)
            if not granted:
                self._settle_demand(loose)
        self._carry_out()

    def withdraw(self, name: str) -> Deployment | None:
        """Take back the explicit demand for a name, and try again if it is stuck (rules U1, U2, U4, U6).

        Returns the deployment whose end is to be waited for, if there is one.
        """
        deployment = self.deployments.get(name)
        if deployment is None:
            return None
        self._settle_demand(self._withdraw(deployment, "was undeployed before it was up"))
        # What had not been started is gone already, and what came before it may still be on its way down.
        deployment = self.deployments.get(name)
        if deployment is not None and deployment.state is DeploymentState.STUCK:
            self._retry(deployment)
        self._carry_out()
        return deployment

    def withdraw_all(self) -> Descent:
        """:meth:`withdraw` for every name; returns what to wait for."""
        self._withdraw_all("was undeployed before it was up")
        descent = Descent(deque(reversed(self.deployments.values())))
        self._descents.append(descent)
        self._carry_out()
        return descent

    def close(self, timeout: float) -> None:
        """Bring everything down for good, within ``timeout`` seconds (rule U8)."""
        self.closing = True
        self._shutdown_deadline = current_time() + timeout
        for deployment in self.deployments.values():
            deployment.last_try = deployment.state is DeploymentState.STUCK
        self._withdraw_all("was given up, because the manager was closed")
        for deployment in self.deployments.values():
            deployment.limit(self._shutdown_deadline)
        if not self.deployments:
            self._drained.set()
        self._carry_out()

    async def drained(self) -> None:
        """Wait until a closing fleet has nothing left that could still be torn down."""
        await self._drained.wait()

    # -- Connectors get on, or do not --------------------------------------------------------------------------------

    def deployed(self, deployment: Deployment) -> None:
        deployment.step(Step.DEPLOYED)
        self.slots.release(deployment)
        for dependent in deployment.dependents:
            dependent.missing -= 1
            self._start_if_ready(dependent)
        for claim in deployment.claims:
            claim.missing -= 1
            if claim.missing == 0:
                claim.settle()
        self._carry_out()

    def deploy_failed(self, deployment: Deployment, error: BaseException) -> None:
        """It is not going to come up. Its own callers wait until what it may have made is cleaned away."""
        deployment.failure = error
        deployment.step(Step.GIVEN_UP, error)
        self._settle_demand(self._fail_dependents(deployment, error))
        self._carry_out()

    def undeployed(self, deployment: Deployment) -> None:
        self._settle_demand([*self._fail_claims(deployment), *self._finish(deployment, Step.UNDEPLOYED)])
        self._carry_out()

    def undeploy_failed(self, deployment: Deployment, error: BaseException) -> bool:
        """It is stuck. Returns whether its teardown may be tried again some time."""
        self.slots.release(deployment)
        loose = self._fail_claims(deployment)
        deployment.step(Step.UNDEPLOY_FAILED, error)
        deployment.teardown_ended(error)
        if deployment.successor is not None:
            loose += self._fail(deployment.successor, deployment.undeploy_error(error))
        if self.closing:
            if deployment.last_try:
                self.left_behind[deployment.name] = deployment
                loose += self._forget(deployment)
            else:
                deployment.last_try = True
                self._retry(deployment)
        self._settle_demand(loose)
        self._carry_out()
        return deployment.name not in self.left_behind

    def lost(self, deployment: Deployment, error: Exception) -> None:
        deployment.error = error
        self.tell(deployment.name, DeploymentState.LOST, error)
        self._carry_out()

    def pause(self, deployment: Deployment) -> None:
        """It needs no slot for the time being."""
        self.slots.release(deployment)
        self._carry_out()

    def resume(self, deployment: Deployment) -> None:
        self.slots.request(deployment)
        self._carry_out()

    def deadline(self, limit: float | None) -> float:
        """The moment at which an operation that starts now has taken ``limit`` seconds, or the manager its time."""
        return self._shutdown_deadline if limit is None else min(current_time() + limit, self._shutdown_deadline)

    def overdue(self) -> bool:
        """Whether the shutdown timeout has passed."""
        return current_time() >= self._shutdown_deadline

    def tell(self, name: str, state: DeploymentState, error: BaseException | None) -> float:
        """Report a change of state when what it is part of has been decided. Returns the time of it."""
        when = current_time()
        if self.heard(error):
            self._news.append(DeploymentEvent(name, state, when, error))
        return when

    # -- The steps of those decisions --------------------------------------------------------------------------------
    # Whatever takes demand away returns the deployments that may have lost their last, and _settle_demand() settles
    # them and everything below, so that no cascade recurses.

    def _carry_out(self) -> None:
        """Let those proceed whose turn it is, and tell what has happened, now that everything is decided.

        Others may run from within: asyncio's eager tasks run their first steps in the call that starts them, and so
        do those that a listener starts. What they decide is left to the loop that is under way.
        """
        if self._carrying_out:
            return
        self._carrying_out = True
        try:
            while True:
                if (deployment := self._next()) is not None:
                    deployment.proceed()
                elif self._news:
                    self.report(self._news.popleft())
                else:
                    break
            if self._descents:
                self._descents = [descent for descent in self._descents if not descent.advance()]
        finally:
            self._carrying_out = False

    def _create(self, blueprint: ResolvedDefinition) -> Deployment:
        name = blueprint.config.name
        predecessor = self.deployments.pop(name, None)
        dependencies = tuple(self.deployments[dependency] for dependency in blueprint.dependencies)
        missing = sum(dependency.state is not DeploymentState.LIVE for dependency in dependencies)
        depth = 1 + max((dependency.depth for dependency in dependencies), default=0)
        deployment = Deployment(self, blueprint, dependencies, predecessor, missing, depth)
        for dependency in dependencies:
            dependency.dependents[deployment] = None
        self._outgrown = self._outgrown or missing > 0
        if predecessor is not None:
            deployment.missing += 1
            predecessor.successor = deployment
            if predecessor.state is DeploymentState.STUCK:
                self._retry(predecessor)
        self.deployments[name] = deployment
        deployment.step(Step.DEMANDED)
        return deployment

    def _next(self) -> Deployment | None:
        """Who may proceed now. How long the paths are that remain is found out only when there is a choice."""
        if self._outgrown and self.slots.has_choice:
            self._outgrown = False
            for deployment in reversed(self.deployments.values()):
                deployment.height = 1 + max((dependent.height for dependent in deployment.dependents), default=0)
            self.slots.reorder()
        return self.slots.next()

    def _start_if_ready(self, deployment: Deployment) -> None:
        if deployment.missing == 0:
            self.slots.request(deployment)

    def _join(self, targets: tuple[Deployment, ...]) -> Claim:
        claim = targets[0].shared_claim if len(targets) == 1 else None
        if claim is None:
            missing = sum(target.state is not DeploymentState.LIVE for target in targets)
            claim = Claim(targets, missing, settled=missing == 0)
            for target in targets:
                target.claims[claim] = None
            if len(targets) == 1:
                targets[0].shared_claim = claim
        claim.waiters += 1
        return claim

    def _detach(self, claim: Claim) -> list[Deployment]:
        for target in claim.targets:
            target.claims.pop(claim, None)
            if target.shared_claim is claim:
                target.shared_claim = None
        return list(claim.targets)

    def _withdraw(self, deployment: Deployment, why: str) -> list[Deployment]:
        deployment.explicit = False
        deployment.hidden = True
        # Of a failed predecessor that is still being cleaned away, callers may be waiting as well.
        lives = [deployment] if deployment.predecessor is None else [deployment, deployment.predecessor]
        return [*(loose for life in lives for loose in self._fail_claims(life, why)), deployment]

    def _withdraw_all(self, why: str) -> None:
        loose: list[Deployment] = []
        for deployment in self.deployments.values():
            loose += self._withdraw(deployment, why)
        self._settle_demand(loose)
        for deployment in reversed(self.deployments.values()):
            if deployment.state is DeploymentState.STUCK:
                self._retry(deployment)

    def _fail_claims(self, deployment: Deployment, why: str | None = None) -> list[Deployment]:
        """Disappoint the callers that wait for it; returns what else their claims stood for."""
        loose: list[Deployment] = []
        for claim in list(deployment.claims):
            # What has failed already owes its callers that error, whoever takes back their demand meanwhile (rule D5).
            claim.failed, claim.withdrawn = deployment, why if deployment.failure is None else None
            claim.settle()
            loose += self._detach(claim)
        return loose

    def _fail_dependents(self, deployment: Deployment, error: BaseException) -> list[Deployment]:
        """Fail everything above a deployment that failed: none of it was started, so all of it is absent at once."""
        loose: list[Deployment] = []
        stack = [deployment]
        while stack:
            failed = stack.pop()
            for dependent in list(failed.dependents):
                dependent.blamed = failed
                stack.append(dependent)
                loose += self._fail_claims(dependent)
                loose += self._finish(dependent, Step.DROPPED, error)
        return loose

    def _fail(self, deployment: Deployment, error: BaseException) -> list[Deployment]:
        """Fail a deployment that was not started, and everything above it."""
        deployment.failure = error
        loose = self._fail_dependents(deployment, error)
        return [*loose, *self._fail_claims(deployment), *self._finish(deployment, Step.DROPPED)]

    def _settle_demand(self, loose: list[Deployment]) -> None:
        """End what nothing demands any more; what it stood on may follow."""
        while loose:
            deployment = loose.pop()
            if deployment.demanded:
                continue
            if deployment.state is DeploymentState.LIVE:
                self._release(deployment)
            elif deployment.state is DeploymentState.DEPLOYING and deployment.begun:
                deployment.step(Step.GIVEN_UP)
                deployment.give_up()
            elif deployment.state is DeploymentState.DEPLOYING:
                loose += self._finish(deployment, Step.DROPPED)

    def _release(self, deployment: Deployment) -> None:
        deployment.step(Step.RELEASED)
        if deployment.connector is not None:
            deployment.connector.invalidate("its environment is being undeployed, or gone")
        self.slots.request(deployment)

    def _retry(self, deployment: Deployment) -> None:
        deployment.step(Step.RETRIED)
        self.slots.request(deployment)

    def _finish(self, deployment: Deployment, step: Step, error: BaseException | None = None) -> list[Deployment]:
        """Make it absent; returns what it stood on."""
        deployment.step(step, error)
        deployment.teardown_ended(None)
        return self._forget(deployment)

    def _forget(self, deployment: Deployment) -> list[Deployment]:
        self.slots.release(deployment)
        if self.deployments.get(deployment.name) is deployment:
            del self.deployments[deployment.name]
        for dependency in deployment.dependencies:
            dependency.dependents.pop(deployment, None)
        predecessor, successor = deployment.predecessor, deployment.successor
        if predecessor is not None:
            deployment.predecessor = predecessor.successor = None
            self.deployments[deployment.name] = predecessor
        if successor is not None:
            deployment.successor = successor.predecessor = None
            successor.tell()
            successor.missing -= 1
            self._start_if_ready(successor)
        if self.closing and not self.deployments:
            self._drained.set()
        return list(deployment.dependencies)
