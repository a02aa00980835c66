"""Every decision about the deployments of one manager.

The engine is told what has happened, and when: a caller came or left, an attempt ended, an environment was lost, a
pause is over. It brings all records into the state that follows, synchronously, and puts what has to be done about it
into :attr:`Engine.effects`, for the shell to carry out in that order. It runs no code but its own.

Each input changes what it is about, and marks the records that this may concern. :meth:`Engine._consider` is the one
place where a record is moved to where demand wants it: it looks at the record alone, and marks its neighbours in turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

from ..lifecycle import DeploymentStatus, Phase, Step
from .deployment import Claim, Definition, Deployment, TeardownWait
from .losing import UP
from .state import Do
from .undeploying import Undeploying

#: Phases of a deployment that comes up again only because something waits for it.
CALLED = frozenset({Phase.ABSENT, Phase.LOST, Phase.STUCK})


class Engine(Undeploying):
    """All that a manager can be told.

    Every method is an input, and its ``now`` the time on any clock that goes forward, in seconds.
    """

    # -- Callers -------------------------------------------------------------------------------------------------------

    def claim(self, now: float, names: Sequence[str], new: Iterable[Definition]) -> Claim:
        """Register a caller's demand for ``names``.

        :param new: of their closure everything that has no record, dependencies first
        """
        self._now = now
        for definition in new:
            self._add(definition)
        targets = tuple([self.deployments[name] for name in names])
        for target in targets:
            if target.withdrawn:
                target.withdrawn = False
                if target.phase in UP:
                    self.visible[target.name] = target.connector
        claim = self._join(targets)
        claim.waiters += 1
        self._settle()
        return claim

    def granted(self, name: str) -> Deployment | None:
        """Return a deployment for which nothing has to be registered or waited for: it is live, and explicit already.

        A caller who waits for something else in between has to compare its ``epoch`` then.
        """
        deployment = self.deployments.get(name)
        if deployment is None or deployment.phase is not Phase.LIVE or not deployment.explicit:
            return None
        return None if self._broken and self._gaps([deployment]) else deployment

    def leave(self, now: float, claim: Claim, *, granted: bool) -> None:
        """Let a caller go: with what it asked for, or because it was cancelled or disappointed.

        A claim that is settled is kept until its last caller has gone, so that the targets stay up meanwhile.
        """
        self._now = now
        claim.waiters -= 1
        if granted and claim.grants:
            for target in claim.targets:
                target.explicit = True
        if claim.waiters == 0:
            self._detach(claim)
            self._settle()

    def withdraw(self, now: float, name: str) -> TeardownWait | None:
        """Take back the explicit demand for a name, and try again if it is stuck (rules U1, U2, U4, U6).

        Returns what to wait for; None if the name is absent, or still needed.
        """
        self._now = now
        deployment = self.deployments.get(name)
        if deployment is None:
            return None
        self._withdraw(deployment, "was undeployed before it was up")
        # Callers that come while it goes down share what they wait for, as those of a claim do.
        wait = deployment.teardown
        shared = wait is not None and wait in (deployment.waits or ())
        if wait is None or not shared:
            # Held until all is known that goes down with it: what is dropped at once may be so in any order.
            wait = TeardownWait(pending=1)
            self._follow(deployment, [wait])
        self._mark(deployment)
        self._settle()
        if shared:
            return None if deployment.demanded else wait
        if deployment.phase is Phase.ABSENT:
            self._follow(deployment, [wait])
        wait.pending -= 1
        # Not before: what held it may have been demanded only by a call that this one has made fail.
        if deployment.demanded or wait.pending == 0:
            deployment.waits = [each for each in deployment.waits or () if each is not wait]
            return None
        deployment.teardown = wait
        return wait

    def withdraw_all(self, now: float) -> TeardownWait:
        """:meth:`withdraw` for every name at once (rule U7)."""
        self._now = now
        wait = TeardownWait()
        self._withdraw_all("was undeployed before it was up", [wait])
        self._settle()
        if wait.pending == 0:
            wait.settled = True
        return wait

    def restart(self, now: float, name: str) -> Claim | None:
        """Take down a deployment and all that stands on it, and bring up again what was asked for of that (rule X4).

        Returns a claim on that, of one caller; None if nothing of it was asked for.
        """
        self._now = now
        deployment = self.deployments.get(name)
        if deployment is None:
            return None
        above = _above(deployment)
        for each in above:
            self._restart(each)
        targets = tuple(_needed(above))
        claim = None
        if targets:
            missing = sum([each.phase is not Phase.LIVE for each in targets])
            claim = Claim(targets=targets, grants=False, awaited=targets, missing=missing, waiters=1)
            self._attach(claim, targets)
        self._settle()
        return claim

    def close(self, now: float, timeout: float) -> None:
        """Bring everything down for good, within ``timeout`` seconds (rule U8)."""
        self._now = now
        self.closing = True
        self.deadline = now + timeout
        for deployment in self.deployments.values():
            deployment.last_try = deployment.phase is Phase.STUCK
            # Lost environments are not renewed any more.
            deployment.due = None
        self._withdraw_all("was given up, because the manager was closed")
        for deployment in self.deployments.values():
            if deployment.phase.works:
                self.effects.append((Do.LIMIT, deployment, None))
        self._settle()
        if not self.deployments:
            self._wake(self.drained)

    def statuses(self) -> dict[str, DeploymentStatus]:
        """Return what can be said of every deployment that has a record, by name."""
        missing: dict[Deployment, dict[str, None]] = {}
        for deployment in self.deployments.values() if self._broken else ():
            below = missing[deployment] = dict[str, None]()
            for dependency in deployment.dependencies:
                below |= missing[dependency]
                if dependency.phase is not Phase.LIVE:
                    below[dependency.name] = None
        present = {**self.left_behind, **self.deployments}
        return {name: each.status(tuple(missing.get(each, ()))) for name, each in present.items()}

    # -- Tasks and connectors ------------------------------------------------------------------------------------------

    def begun(self, now: float, deployment: Deployment) -> None:
        """Take note that the task of a deployment has taken up its attempt: from now on something may exist."""
        self._now = now
        deployment.attempt = deployment.attempt % deployment.attempts + 1
        deployment.cut_off = False
        self._stand(deployment, 1)
        self._step(deployment, Step.BEGUN)

    def attempt_ended(
        self, now: float, deployment: Deployment, error: BaseException | None = None, connector: object = None
    ) -> None:
        """Take note that an attempt has ended: in failure with an error, or with a connector to be given out."""
        self._now = now
        if deployment.phase is Phase.GIVING_UP:
            self._step(deployment, Step.ENDED)
        elif deployment.phase is Phase.ABORTING and deployment.error is not None:
            self._attempt_failed(deployment, deployment.error)
        elif error is not None:
            self._attempt_failed(deployment, error)
        else:
            self._deployed(deployment, connector)
        self._settle()

    def torn_down(self, now: float, deployment: Deployment, error: BaseException | None = None) -> None:
        """Take note of the end of a teardown, or of a clean-up after a failed attempt; with an error if it failed.

        A clean-up that failed ends the attempts, and leaves what a failed teardown leaves. One that was given up
        meanwhile has become the teardown.
        """
        self._now = now
        if deployment.phase is Phase.CLEANING and error is None:
            self._pause(deployment)
        else:
            if deployment.phase is Phase.CLEANING:
                self._fail(deployment, deployment.error)
            if error is None:
                self._undeployed(deployment)
            else:
                self._undeploy_failed(deployment, error)
        self._settle()

    def lost(self, now: float, deployment: Deployment, error: Exception, *, cut_off: bool) -> None:
        """Take note that an environment has ended by itself (rule X1).

        :param cut_off: whether only the way into it was lost, so that it may still exist
        """
        self._now = now
        deployment.cut_off = deployment.cut_off or cut_off
        if deployment.phase in UP:
            self._lose(deployment, error)
        elif deployment.phase is Phase.ATTEMPTING:
            self._step(deployment, Step.ABORTED, error)
            self._cancel(deployment)
        self._settle()

    def due(self, now: float, deployment: Deployment) -> None:
        """Take note that the time has come which :attr:`Do.WAIT_UNTIL` named. Does nothing if it was overtaken."""
        self._now = now
        if deployment.due is None or now < deployment.due:
            return
        deployment.due = None
        if deployment.phase is Phase.PAUSED:
            self._step(deployment, Step.RESUMED)
            self._mark(deployment)
        elif deployment.phase is Phase.LOST:
            self._renew(deployment)
        self._settle()

    # -- Where demand wants a record to be -----------------------------------------------------------------------------

    def _settle(self) -> None:
        """Consider every record that was marked, then hand out the slots that are free."""
        marked = self._marked
        while True:
            while marked:
                self._consider(marked.popleft())
            if self._slots is None:
                break
            if self._outgrown and self._slots.has_choice:
                self._measure_paths(self._slots)
            granted = self._slots.next()
            if granted is None:
                break
            self._grant(granted)

    def _consider(self, deployment: Deployment) -> None:
        """Move a record to where demand wants it."""
        consider = self._CONSIDERED.get(deployment.phase)
        if consider is not None:
            consider(self, deployment)

    def _consider_absent(self, deployment: Deployment) -> None:
        if deployment.pulled and not self.closing:
            self._demand(deployment)

    def _consider_waiting(self, deployment: Deployment) -> None:
        if not self._wants(deployment):
            self._drop(deployment, Step.DROPPED)
        elif deployment.missing == 0:
            self._step(deployment, Step.READIED)
            self._request(deployment)
        else:
            # Those that were lost or failed, or are stuck, have to come up again for it.
            self._marked.extend([each for each in deployment.dependencies if each.phase in CALLED])

    def _consider_ready(self, deployment: Deployment) -> None:
        if not self._wants(deployment):
            self._drop(deployment, Step.DROPPED)
        elif deployment.missing:
            self._block(deployment)

    def _consider_paused(self, deployment: Deployment) -> None:
        if not self._wants(deployment):
            self._drop(deployment, Step.DROPPED)

    def _consider_attempting(self, deployment: Deployment) -> None:
        if not self._wants(deployment):
            self._give_up(deployment)

    def _consider_cleaning(self, deployment: Deployment) -> None:
        if not self._wants(deployment):
            self._step(deployment, Step.GIVEN_UP)

    def _consider_live(self, deployment: Deployment) -> None:
        if not deployment.demanded:
            self._release(deployment)

    def _consider_lost(self, deployment: Deployment) -> None:
        if not deployment.demanded:
            self._release(deployment)
        elif deployment.pulled and deployment.due is None and not self.closing:
            self._renew(deployment)

    def _consider_renewing(self, deployment: Deployment) -> None:
        if not deployment.demanded or deployment.wrapping == 0:
            self._release(deployment)

    def _consider_retiring(self, deployment: Deployment) -> None:
        if not deployment.demanded or deployment.standing == 0:
            self._release(deployment)

    def _consider_stuck(self, deployment: Deployment) -> None:
        if deployment.pulled:
            self._retry(deployment)

    #: The reaction to demand in each phase. A deployment on its way down is considered when it has arrived.
    _CONSIDERED: ClassVar[Mapping[Phase, Callable[[Any, Deployment], None]]] = {
        Phase.ABSENT: _consider_absent,
        Phase.WAITING: _consider_waiting,
        Phase.READY: _consider_ready,
        Phase.STARTING: _consider_ready,
        Phase.ATTEMPTING: _consider_attempting,
        Phase.ABORTING: _consider_attempting,
        Phase.CLEANING: _consider_cleaning,
        Phase.PAUSED: _consider_paused,
        Phase.LIVE: _consider_live,
        Phase.LOST: _consider_lost,
        Phase.RENEWING: _consider_renewing,
        Phase.RETIRING: _consider_retiring,
        Phase.RETIRING_LOST: _consider_retiring,
        Phase.STUCK: _consider_stuck,
    }


def _needed(deployments: Sequence[Deployment]) -> list[Deployment]:
    """Return those of some deployments that were asked for, and what these stand on; not what is only going down."""
    concerned = set(deployments)
    found = {each: None for each in deployments if each.explicit or each.claims}
    stack = list(found)
    while stack:
        for below in stack.pop().dependencies:
            if below in concerned and below not in found:
                found[below] = None
                stack.append(below)
    return list(found)


def _above(deployment: Deployment) -> list[Deployment]:
    """Return a deployment and all that depends on it, across what is absent under something live, too."""
    found: dict[Deployment, None] = {deployment: None}
    stack = [deployment]
    while stack:
        for dependent in stack.pop().dependents or ():
            if dependent not in found:
                found[dependent] = None
                stack.append(dependent)
    return list(found)
