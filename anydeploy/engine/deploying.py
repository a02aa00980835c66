"""How deployments come up, and how they fail to (rules D1 to D6, K3)."""

from __future__ import annotations

from ..lifecycle import Phase, Step
from .deployment import Definition, Deployment
from .state import Do
from .waiting import Waiting

#: Seconds before the first repetition of what failed or was lost; each further one waits twice as long as the last.
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 30.0

NOT_BEGUN = frozenset({Phase.WAITING, Phase.READY, Phase.STARTING, Phase.PAUSED})


class Deploying(Waiting):
    """From the first demand until a deployment is live, or absent again."""

    def _add(self, definition: Definition) -> None:
        """Make a record of a name that has none, and demand it."""
        dependencies = tuple([self.deployments[name] for name in definition.dependencies])
        depth = 1
        missing = 0
        for dependency in dependencies:
            depth = max(depth, dependency.depth + 1)
            missing += dependency.phase is not Phase.LIVE
        deployment = Deployment(definition.name, definition, dependencies, depth, missing)
        for dependency in dependencies:
            if dependency.dependents is None:
                dependency.dependents = {}
            dependency.dependents[deployment] = None
        self.deployments[definition.name] = deployment
        self._demand(deployment)

    def _demand(self, deployment: Deployment) -> None:
        for dependency in deployment.dependencies:
            dependency.holders += 1
        self._begin_life(deployment, anew=True)

    def _begin_life(self, deployment: Deployment, *, anew: bool) -> None:
        """Let a deployment come up of which nothing exists.

        :param anew: whatever became of an earlier life does not count; it was not lost or restarted
        """
        if anew:
            deployment.renewal = False
            deployment.restarts = 0
        deployment.attempt = 0
        deployment.failure = None
        deployment.blamed = None
        deployment.error = None
        deployment.due = None
        self._outgrown = self._outgrown or deployment.missing > 0
        self._step(deployment, Step.DEMANDED)
        self._mark(deployment)

    def _block(self, deployment: Deployment) -> None:
        """Let one wait again that was about to be started."""
        self._free_slot(deployment)
        self.effects.append((Do.DISMISS, deployment, None))
        self._step(deployment, Step.BLOCKED)
        self._mark(deployment)

    def _deployed(self, deployment: Deployment, connector: object) -> None:
        self._free_slot(deployment)
        deployment.live_since = self._now
        deployment.renewal = False
        deployment.connector = connector
        self._step(deployment, Step.DEPLOYED)
        self._rise(deployment)

    def _rise(self, deployment: Deployment) -> None:
        """Spread the news that a deployment is live."""
        if not deployment.withdrawn:
            self.visible[deployment.name] = deployment.connector
        self._broken.pop(deployment, None)
        for dependent in deployment.dependents or ():
            dependent.missing -= 1
            if dependent.missing == 0:
                self._mark(dependent)
        for claim in list(deployment.claims or ()):
            if not claim.settled:
                claim.missing -= 1
                if claim.missing == 0:
                    self._grant_claim(claim)
        self._mark(deployment)

    def _sink(self, deployment: Deployment) -> None:
        """Spread the news that a deployment is not live any more."""
        for dependent in deployment.dependents or ():
            dependent.missing += 1
            if dependent.phase in NOT_BEGUN:
                self._mark(dependent)
        for claim in deployment.claims or ():
            if not claim.settled:
                claim.missing += 1

    # -- Failing -------------------------------------------------------------------------------------------------------

    def _cancel(self, deployment: Deployment) -> None:
        """Cancel an attempt, unless its connector must be allowed to finish (rule D6)."""
        if deployment.definition.interruptible:
            self.effects.append((Do.CANCEL, deployment, None))

    def _give_up(self, deployment: Deployment) -> None:
        deployment.withdrawn = deployment.withdrawn and deployment.demanded
        # It does not fail: where a restart gives it up it is demanded still, and comes up again.
        deployment.failure = None
        deployment.blamed = None
        self._step(deployment, Step.GIVEN_UP)
        self._cancel(deployment)

    def _attempt_failed(self, deployment: Deployment, error: BaseException) -> None:
        if isinstance(error, KeyboardInterrupt):
            self._fail(deployment, error)
        elif deployment.failure is None and deployment.attempt < deployment.attempts:
            deployment.pause = pause_after(deployment.attempt)
            self._step(deployment, Step.ATTEMPT_FAILED, error)
        elif deployment.failure is None and deployment.renewal and self._may_renew(deployment):
            deployment.pause = pause_after(deployment.restarts)
            self._step(deployment, Step.ATTEMPT_FAILED, error)
        else:
            self._fail(deployment, error)

    def _may_renew(self, deployment: Deployment) -> bool:
        """Use up one of the restarts of a deployment, if there is one left."""
        if self.closing or deployment.restarts >= deployment.definition.restarts:
            return False
        deployment.restarts += 1
        return True

    def _pause(self, deployment: Deployment) -> None:
        self._step(deployment, Step.CLEANED)
        self._free_slot(deployment)
        self._stand(deployment, -1)
        self._marked.extend(deployment.dependencies)
        deployment.due = self._now + deployment.pause
        self.effects.append((Do.WAIT_UNTIL, deployment, deployment.due))
        self._mark(deployment)

    def _fail(self, deployment: Deployment, error: BaseException | None) -> None:
        """End the attempts of a deployment, and fail all that waits for it (rule D5)."""
        deployment.failure = error
        self._end_demand(deployment)
        because = deployment.blamed.name if deployment.blamed is not None else None
        self._step(deployment, Step.FAILED, error, because)
        self._fail_claims(deployment, later=True)
        self._fail_above(deployment)
        deployment.withdrawn = deployment.withdrawn and deployment.demanded

    def _fail_above(self, deployment: Deployment) -> None:
        """Fail whatever waits for a deployment that is not going to come up: nothing of it exists yet."""
        culprit = deployment
        while culprit.blamed is not None:
            culprit = culprit.blamed
        error = culprit.failure if culprit.failure is not None else culprit.error
        stack = [deployment]
        while stack:
            failed = stack.pop()
            for dependent in list(failed.dependents or ()):
                if dependent.phase in NOT_BEGUN:
                    dependent.blamed = failed
                    self._end_demand(dependent)
                    self._fail_claims(dependent)
                    stack.append(dependent)
                    self._drop(dependent, Step.FAILED_BELOW, error, culprit.name)

    def _end_demand(self, deployment: Deployment) -> None:
        if deployment.explicit:
            deployment.explicit = False
            deployment.epoch += 1

    def _drop(
        self, deployment: Deployment, step: Step, error: BaseException | None = None, because: str | None = None
    ) -> None:
        """Make a deployment absent of which nothing exists."""
        self._free_slot(deployment)
        self.effects.append((Do.DISMISS, deployment, None))
        self._step(deployment, step, error, because)
        self._arrive(deployment)

    def _arrive(self, deployment: Deployment) -> None:
        """Let go of what an absent deployment stood on; the calls that wait for it follow what goes down with it."""
        waits = deployment.waits or ()
        deployment.waits = None
        for dependency in deployment.dependencies:
            dependency.holders -= 1
            if not dependency.demanded:
                self._follow(dependency, waits)
            self._mark(dependency)
        for wait in waits:
            self._end_wait(wait)
        self._remove(deployment)
        if self.closing and not self.deployments:
            self._wake(self.drained)


def pause_after(failures: int) -> float:
    """Return the seconds to wait after so many failures in a row."""
    # Bounded, because a float is: 2.0 ** 1024 is an OverflowError.
    return min(FIRST_PAUSE * 2.0 ** min(failures - 1, 16), LONGEST_PAUSE)
