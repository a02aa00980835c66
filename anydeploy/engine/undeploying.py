"""How deployments go down (rules U1 to U8)."""

from __future__ import annotations

from collections.abc import Sequence

from ..lifecycle import Phase, Step
from .deploying import NOT_BEGUN
from .deployment import Deployment, TeardownWait, undeploy_error
from .losing import Losing
from .state import Do

GOING_DOWN = frozenset({Phase.GIVING_UP, Phase.LEAVING, Phase.UNDEPLOYING, Phase.STUCK})


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
        if deployment.missing and not deployment.demanded:
            self._drop_below(deployment)
        self._request(deployment)

    def _drop_below(self, deployment: Deployment) -> None:
        """Drop what was to be renewed for nothing but a deployment that goes down without it."""
        stack = list(deployment.dependencies)
        while stack:
            below = stack.pop()
            if below.phase in NOT_BEGUN and not _is_called_for(below):
                self._drop(below, Step.DROPPED)
                stack.extend(below.dependencies)

    def _undeployed(self, deployment: Deployment) -> None:
        renewed = deployment.failure is None
        self._free_slot(deployment)
        self._stand(deployment, -1)
        deployment.connector = None
        self._step(deployment, Step.UNDEPLOYED)
        self.effects.append((Do.DISMISS, deployment, None))
        self._tell_disappointed(deployment)
        # What failed for good comes up again for those only that asked since; live dependents get on without it.
        comes_again = self._wants(deployment) and (renewed or deployment.pulled) and _is_called_for(deployment)
        if comes_again:
            for wait in deployment.waits or ():
                self._end_wait(wait)
            deployment.waits = None
            self._marked.extend(deployment.dependencies)
            self._begin_life(deployment)
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


def _is_called_for(deployment: Deployment) -> bool:
    """Tell whether a call needs a deployment to come up, or a dependent that is not on its way down for good."""
    return (
        deployment.explicit
        or bool(deployment.claims)
        or any(
            dependent.phase is not Phase.ABSENT and (dependent.phase not in GOING_DOWN or dependent.demanded)
            for dependent in deployment.dependents or ()
        )
    )
