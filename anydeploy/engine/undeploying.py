"""How deployments go down (rules U1 to U8)."""

from __future__ import annotations

from collections.abc import Sequence

from ..lifecycle import Phase, Step
from .deployment import Deployment, TeardownWait, undeploy_error
from .losing import Losing
from .state import Do


class Undeploying(Losing):
    """From the end of demand until a deployment is absent, or stuck."""

    def _withdraw(self, deployment: Deployment, why: str) -> None:
        self._end_demand(deployment)
        deployment.withdrawn = True
        self.visible.pop(deployment.name, None)
        self._fail_claims(deployment, withdrawn=why)

    def _withdraw_all(self, why: str, waits: Sequence[TeardownWait] = ()) -> None:
        deployments = list(reversed(self.deployments.values()))
        for deployment in deployments:
            self._withdraw(deployment, why)
        for deployment in deployments:
            if not deployment.demanded:
                self._follow(deployment, waits)
            self._mark(deployment)

    def _release(self, deployment: Deployment) -> None:
        was_live = deployment.phase is Phase.LIVE
        deployment.withdrawn = deployment.withdrawn and deployment.demanded
        self.visible.pop(deployment.name, None)
        self.effects.append((Do.INVALIDATE, deployment, "its environment is being undeployed, or gone"))
        self._step(deployment, Step.RELEASED)
        if was_live:
            self._sink(deployment)
        self._request(deployment)

    def _undeployed(self, deployment: Deployment) -> None:
        renewed = deployment.failure is None
        self._free_slot(deployment)
        self._stand(deployment, -1)
        deployment.connector = None
        self._step(deployment, Step.UNDEPLOYED)
        self.effects.append((Do.DISMISS, deployment, None))
        self._tell_disappointed(deployment)
        # After a failure it comes up again only for callers that have asked since; live dependents get on without it.
        if self._wants(deployment) and (renewed or deployment.pulled):
            for wait in deployment.waits or ():
                self._end_wait(wait)
            deployment.waits = None
            self._marked.extend(deployment.dependencies)
            self._begin_life(deployment, anew=not renewed)
        else:
            self._arrive(deployment)

    def _undeploy_failed(self, deployment: Deployment, error: BaseException) -> None:
        """Make a deployment stuck (rule U6)."""
        self._free_slot(deployment)
        self._end_demand(deployment)
        deployment.blamed = None
        deployment.failure = undeploy_error(deployment.name, error)
        # Before it is stuck: what is dropped because of it does not ask that it be tried again.
        self._fail_above(deployment)
        self._step(deployment, Step.UNDEPLOY_FAILED, error)
        self._tell_disappointed(deployment, note=str(undeploy_error(deployment.name, error)))
        self._fail_claims(deployment)
        self._keep_below(deployment)
        for wait in deployment.waits or ():
            wait.failures.append((deployment.name, error))
            self._end_wait(wait)
        deployment.waits = None
        if self.closing and deployment.last_try:
            self.left_behind[deployment.name] = deployment
            self.effects.append((Do.DISMISS, deployment, None))
            self._stand(deployment, -1)
            self._arrive(deployment)
        elif self.closing:
            deployment.last_try = True
            self._retry(deployment)
