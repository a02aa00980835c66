"""The records of all deployments, the steps between their phases, and what has to be done about them."""

from __future__ import annotations

import math
from collections import deque
from enum import Enum
from typing import TypeAlias

from ..lifecycle import SILENT, DeploymentEvent, Phase, Step
from .deployment import Claim, Deployment, TeardownWait
from .slots import Slots


class Do(Enum):
    """Instructions for the shell; each effect is a triple of one of them, its subject, and a detail."""

    #: Start the task of a deployment, or let it go on: look at its phase.
    PROCEED = "proceed"
    #: End the task of a deployment, which has nothing to clean up.
    DISMISS = "dismiss"
    #: Cancel the connector's `deploy`.
    CANCEL = "cancel"
    #: Let neither `deploy` nor `undeploy` run beyond the shutdown deadline.
    LIMIT = "limit"
    #: Wake the task of a deployment at the time that the detail says, to call :meth:`Engine.due`.
    WAIT_UNTIL = "wait until"
    #: Make a connector refuse all operations; the detail is the reason.
    INVALIDATE = "invalidate"
    #: Wake the callers that wait for the subject.
    WAKE = "wake"
    #: Report the event.
    TELL = "tell"


Effect: TypeAlias = tuple[Do, Deployment | Claim | TeardownWait | DeploymentEvent, object]


class State:
    """The records that decisions are about. The only place where a phase changes.

    :ivar deployments: by name; a dependency stands before its dependents
    :ivar visible: what ``get_connector`` gives (rule R1), by name
    :ivar effects: what has to be done, in this order
    :ivar left_behind: what may still exist, because its last teardown failed while closing
    :ivar drained: settled when a closing engine has nothing left that could be torn down
    :ivar deadline: the time at which the shutdown timeout passes
    :ivar verbose: whether events without an error are wanted
    """

    def __init__(self, max_concurrent: int | None = None) -> None:
        self.deployments: dict[str, Deployment] = {}
        self.visible: dict[str, object] = {}
        self.effects: deque[Effect] = deque()
        self.left_behind: dict[str, Deployment] = {}
        self.closing = False
        self.drained = TeardownWait()
        self.deadline = math.inf
        self.verbose = True
        self._slots = Slots(max_concurrent) if max_concurrent is not None else None
        self._now = 0.0
        #: Lost and not live since. While there is one, a live deployment may stand on something that is not.
        self._broken: dict[Deployment, None] = {}
        self._marked: deque[Deployment] = deque()
        #: The remaining path of one that has to come may be longer than its `height` says.
        self._outgrown = False

    def _mark(self, deployment: Deployment) -> None:
        self._marked.append(deployment)

    def _step(
        self, deployment: Deployment, step: Step, error: BaseException | None = None, because: str | None = None
    ) -> None:
        """Apply a step of the table, and report it."""
        before = deployment.phase
        try:
            phase = deployment.phase = before.then[step]
        except KeyError:
            raise RuntimeError(f"deployment '{deployment.name}' is {before} and was told that it {step}") from None
        if step in SILENT:
            return
        if phase.state is not before.state:
            deployment.since = self._now
        deployment.step = step
        deployment.when = self._now
        deployment.because = because
        if error is not None:
            deployment.error = error
        if error is not None or self.verbose:
            event = DeploymentEvent(
                deployment.name,
                phase.state,
                step,
                self._now,
                deployment.attempt,
                deployment.attempts,
                because,
                error,
            )
            self.effects.append((Do.TELL, event, None))

    def _wants(self, deployment: Deployment) -> bool:
        """Whether a deployment is to come up: nothing does while the manager is closing (rule U8)."""
        return deployment.demanded and not self.closing

    # -- The right to go on --------------------------------------------------------------------------------------------

    def _request(self, deployment: Deployment) -> None:
        if self._slots is None:
            self._grant(deployment)
        else:
            self._slots.request(deployment)

    def _retry(self, deployment: Deployment) -> None:
        self._step(deployment, Step.RETRIED)
        self._request(deployment)

    def _grant(self, deployment: Deployment) -> None:
        self._step(deployment, Step.GRANTED)
        self.effects.append((Do.PROCEED, deployment, None))

    def _free_slot(self, deployment: Deployment) -> None:
        if self._slots is not None:
            self._slots.release(deployment)

    def _measure_paths(self, slots: Slots) -> None:
        self._outgrown = False
        for deployment in reversed(self.deployments.values()):
            deployment.height = 1 + max((each.height for each in deployment.dependents or ()), default=0)
        slots.reorder()

    # -- Links ---------------------------------------------------------------------------------------------------------

    def _stand(self, deployment: Deployment, change: int) -> None:
        """Count a deployment among those that stand on its dependencies, or no longer."""
        for dependency in deployment.dependencies:
            dependency.standing += change
        if deployment.definition.wraps:
            deployment.dependencies[0].wrapping += change

    def _remove(self, deployment: Deployment) -> None:
        """Forget a record that is absent or left behind, unless something live depends on it.

        Those that were kept for it alone are forgotten with it.
        """
        stack = [deployment]
        while stack:
            each = stack.pop()
            if each.dependents or self.deployments.get(each.name) is not each:
                continue
            del self.deployments[each.name]
            self._broken.pop(each, None)
            for dependency in each.dependencies:
                if dependency.dependents is not None:
                    dependency.dependents.pop(each, None)
                if dependency.phase is Phase.ABSENT or dependency.name in self.left_behind:
                    stack.append(dependency)
