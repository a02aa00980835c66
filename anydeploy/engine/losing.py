"""Loss, and what brings up again what was lost (rules X1 to X4)."""

from __future__ import annotations

from ..exceptions import describe
from ..lifecycle import Phase, Step
from .deploying import Deploying, pause_after
from .deployment import Deployment, Failure
from .state import Do

#: Seconds after which a deployment that was renewed by itself may be renewed as often as its definition says again.
LONG_LIFE = 60.0

UP = frozenset({Phase.LIVE, Phase.RETIRING})


class Losing(Deploying):
    """From the loss of an environment until it is renewed."""

    def _lose(self, culprit: Deployment, error: Exception) -> None:
        """Make a live deployment lost, and every live wrapper of it (rule X1)."""
        may_come = culprit.phase is Phase.RETIRING or self._schedule(culprit)
        reason = f"deployment '{culprit.name}', which it stands on, was lost: {describe(error)}"
        lost: list[Deployment] = []
        stack = [culprit]
        while stack:
            deployment = stack.pop()
            if deployment is not culprit:
                deployment.blamed = culprit
                deployment.cut_off = culprit.cut_off
                self.effects.append((Do.INVALIDATE, deployment, reason))
            self._make_lost(deployment, error)
            lost.append(deployment)
            for wrapper in _wrappers(deployment):
                if wrapper.phase in UP:
                    stack.append(wrapper)
                else:
                    self._lose_inner(wrapper, deployment, error)
        for deployment in lost:
            renewable = may_come or deployment.phase is Phase.RETIRING_LOST or self._schedule(deployment)
            if not renewable:
                self._fail_claims(deployment)
                self._fail_above(deployment)
            self._mark(deployment)

    def _make_lost(self, deployment: Deployment, error: Exception) -> None:
        was_live = deployment.phase is Phase.LIVE
        self.visible.pop(deployment.name, None)
        self._broken[deployment] = None
        self._step(deployment, Step.LOST, error, deployment.blamed.name if deployment.blamed is not None else None)
        if was_live:
            self._sink(deployment)

    def _lose_inner(self, wrapper: Deployment, inner: Deployment, error: Exception) -> None:
        """Fail a wrapper that is coming up on an environment that is lost."""
        if wrapper.phase in {Phase.ATTEMPTING, Phase.ABORTING, Phase.CLEANING}:
            wrapper.blamed = inner
            wrapper.failure = error
        if wrapper.phase is Phase.ATTEMPTING:
            self._step(wrapper, Step.ABORTED, error, inner.name)
            self._cancel(wrapper)
        elif wrapper.phase is Phase.CLEANING:
            self._fail(wrapper, error)

    def _schedule(self, deployment: Deployment) -> bool:
        """Let a deployment be renewed by itself after a pause, if its definition allows for it (rule X4)."""
        if self._now - deployment.live_since >= LONG_LIFE:
            deployment.restarts = 0
        if not self._may_renew(deployment):
            return False
        deployment.due = self._now + pause_after(deployment.restarts)
        self.effects.append((Do.WAIT_UNTIL, deployment, deployment.due))
        return True

    def _renew(self, deployment: Deployment) -> None:
        """Let a lost deployment and its wrappers go down, wrappers first, to come up again (rule X2)."""
        stack = [deployment]
        while stack:
            each = stack.pop()
            if each.phase is Phase.LOST:
                each.renewal = True
                self._step(each, Step.RENEWED)
                stack.extend(_wrappers(each))
                self._mark(each)
            elif each.phase is Phase.STUCK:
                self._retry(each)

    def _restart(self, deployment: Deployment) -> None:
        match deployment.phase:
            case Phase.LIVE:
                self._step(deployment, Step.RESTARTED)
                self._sink(deployment)
            case Phase.LOST | Phase.RENEWING:
                self._step(deployment, Step.RESTARTED)
            case Phase.ATTEMPTING | Phase.ABORTING:
                self._give_up(deployment)
            case Phase.STUCK:
                self._retry(deployment)
            case _:
                # It has not begun to come up, or is on its way down already.
                pass
        self._mark(deployment)

    def _keep_below(self, stuck: Deployment) -> None:
        """Keep what was to be restarted or renewed, and cannot be because of what is stuck upon it."""
        why = stuck.why()
        stack = [stuck]
        while stack:
            above = stack.pop()
            for deployment in above.dependencies:
                wraps = above.definition.wraps and above.dependencies[0] is deployment
                retiring = deployment.phase in {Phase.RETIRING, Phase.RETIRING_LOST}
                if not (retiring or (deployment.phase is Phase.RENEWING and wraps)):
                    continue
                self._step(deployment, Step.KEPT, because=above.name)
                stack.append(deployment)
                failure = Failure((deployment.name, *why.path), why.problem, why.cause)
                if deployment.phase is Phase.LIVE:
                    self._fail_claims(deployment, failure, restarts=True)
                    self._rise(deployment)
                elif not self._schedule(deployment):
                    self._fail_claims(deployment, failure)
                    # Not for longer: a wrapper whose attempt has not ended yet blames the loss.
                    lost_by = deployment.blamed
                    deployment.blamed = stuck
                    self._fail_above(deployment)
                    deployment.blamed = lost_by
                self._mark(deployment)


def _wrappers(deployment: Deployment) -> list[Deployment]:
    return [
        dependent
        for dependent in deployment.dependents or ()
        if dependent.definition.wraps and dependent.dependencies[0] is deployment
    ]
