"""The calls that wait: for deployments to come up, and for others to go down."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from ..lifecycle import Phase
from .deployment import Claim, Deployment, Failure, TeardownWait
from .state import Do, State


class Waiting(State):
    """Claims, which demand what they wait for, and waits for teardowns, which do not."""

    def _wake(self, waiter: Claim | TeardownWait) -> None:
        waiter.settled = True
        self.effects.append((Do.WAKE, waiter, None))

    def _join(self, targets: tuple[Deployment, ...]) -> Claim:
        claim = targets[0].shared if len(targets) == 1 else None
        gaps = self._gaps(targets) if self._broken else ()
        if claim is None or (claim.settled and (gaps or targets[0].phase is not Phase.LIVE)):
            missing = sum([target.phase is not Phase.LIVE for target in targets])
            claim = Claim(settled=not (missing or gaps), targets=targets, awaited=targets, missing=missing)
            self._attach(claim, targets)
            if len(targets) == 1:
                targets[0].shared = claim
        if self._broken:
            self._await_gaps(claim, gaps)
            # A caller does not wait for the time at which they would be renewed by themselves.
            for each in (*targets, *gaps):
                if each.phase is Phase.LOST:
                    each.due = None
                    self._mark(each)
        return claim

    def _attach(self, claim: Claim, awaited: Iterable[Deployment]) -> None:
        for deployment in awaited:
            if deployment.claims is None:
                deployment.claims = {}
            deployment.claims[claim] = None
            self._mark(deployment)

    def _detach(self, claim: Claim) -> None:
        for deployment in claim.awaited:
            if deployment.claims is not None:
                deployment.claims.pop(claim, None)
            if deployment.shared is claim:
                deployment.shared = None
            self._mark(deployment)

    def _await_gaps(self, claim: Claim, gaps: Iterable[Deployment]) -> None:
        """Let a claim wait for what is not live below its targets, too."""
        new = tuple([gap for gap in gaps if gap not in claim.awaited])
        claim.awaited += new
        claim.missing += len(new)
        self._attach(claim, new)

    def _gaps(self, targets: Sequence[Deployment]) -> tuple[Deployment, ...]:
        """Return what is not live below the targets."""
        found: dict[Deployment, None] = {}
        stack = list(targets)
        while stack:
            for below in stack.pop().dependencies:
                if below not in found:
                    found[below] = None
                    stack.append(below)
        return tuple([each for each in found if each.phase is not Phase.LIVE and each not in targets])

    def _grant_claim(self, claim: Claim) -> None:
        """Settle a claim whose targets are live, unless something below them was lost meanwhile (rule X2)."""
        if self._broken:
            self._await_gaps(claim, self._gaps(claim.targets))
        if claim.missing == 0:
            self._wake(claim)

    def _fail_claims(
        self,
        deployment: Deployment,
        failure: Failure | None = None,
        *,
        withdrawn: str | None = None,
        later: bool = False,
        restarts: bool = False,
    ) -> None:
        """Disappoint the callers that wait for a deployment.

        :param failure: the reason; None: the deployment itself tells why it failed
        :param withdrawn: the reason why its own callers do not get it; callers that wait for the renewal of a
            dependency are none of those
        :param later: not at once, but when it has been cleaned up
        :param restarts: only those that wait for a restart
        """
        if not deployment.claims:
            return
        if withdrawn is not None:
            failure = Failure((deployment.name,), withdrawn)
        failure = failure or deployment.why()
        for claim in list(deployment.claims):
            if (restarts and claim.grants) or (withdrawn is not None and deployment not in claim.targets):
                continue
            claim.failure = claim.failure or _seen_by(claim, deployment, failure)
            self._detach(claim)
            if not claim.settled and later:
                deployment.disappointed = [*(deployment.disappointed or ()), claim]
            elif not claim.settled:
                self._wake(claim)

    def _tell_disappointed(self, deployment: Deployment, note: str | None = None) -> None:
        for claim in deployment.disappointed or ():
            if note is not None and claim.failure is not None:
                claim.failure = Failure(claim.failure.path, claim.failure.problem, claim.failure.cause, note)
            self._wake(claim)
        deployment.disappointed = None

    # -- Teardowns -----------------------------------------------------------------------------------------------------

    def _follow(self, deployment: Deployment, waits: Sequence[TeardownWait]) -> None:
        """Let calls wait for the end of a deployment; a stuck one that nothing demands is tried again.

        Of one that is absent already, which stood for nothing, they follow what has gone down with it.
        """
        stack = [deployment]
        while stack:
            each = stack.pop()
            if each.phase is Phase.ABSENT:
                # Without a call there is nothing to follow; a long chain that fails is not gone through each time.
                stack.extend([below for below in each.dependencies if waits and not below.demanded])
            elif each.name not in self.left_behind:
                for wait in waits:
                    if each.waits is None:
                        each.waits = []
                    if wait not in each.waits:
                        wait.pending += 1
                        each.waits.append(wait)
                if each.phase is Phase.STUCK and not each.demanded:
                    self._retry(each)

    def _end_wait(self, wait: TeardownWait) -> None:
        wait.pending -= 1
        if wait.pending == 0:
            self._wake(wait)


def _seen_by(claim: Claim, deployment: Deployment, failure: Failure) -> Failure:
    """Return the failure of a deployment with the path to it from the target of a claim."""
    if deployment in claim.targets:
        return failure
    came_from: dict[Deployment, Deployment | None] = dict.fromkeys(claim.targets)
    queue = deque(claim.targets)
    while queue and deployment not in came_from:
        above = queue.popleft()
        for below in above.dependencies:
            if below not in came_from:
                came_from[below] = above
                queue.append(below)
    path: list[str] = []
    step = came_from.get(deployment)
    while step is not None:
        path.append(step.name)
        step = came_from[step]
    return Failure((*reversed(path), *failure.path), failure.problem, failure.cause, failure.note)
