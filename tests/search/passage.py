"""One move as the rules see it."""

from __future__ import annotations

from collections.abc import Sequence

from anydeploy.engine.deployment import Claim, Deployment, TeardownWait
from anydeploy.engine.state import Do, Effect
from anydeploy.lifecycle import DeploymentEvent, Step

from .facts import Facts
from .moves import Kind
from .world import number_of, numbered

_ABOUT_CONNECTORS = {Do.INVALIDATE: "invalidated", Do.CANCEL: "cancelled", Do.LIMIT: "limited"}


class Passage:
    """A move, the facts before and after it, and what the engine has decided.

    :ivar moved: the deployments whose phase is another one
    :ivar told: the events
    :ivar steps: by step, the deployments that it was told of
    :ivar invalidated: the deployments whose connectors were made invalid
    :ivar cancelled: those whose attempts were cancelled
    :ivar limited: those that were told the shutdown deadline
    :ivar woken: the claims and waits that were settled
    :ivar failed: the claims that have failed
    """

    __slots__ = (
        "after",
        "before",
        "cancelled",
        "failed",
        "graph",
        "invalidated",
        "kind",
        "limited",
        "moved",
        "number",
        "steps",
        "told",
        "woken",
    )

    def __init__(self, before: Facts, kind: Kind, number: int, effects: Sequence[Effect], after: Facts) -> None:
        self.before = before
        self.kind = kind
        self.number = number
        self.after = after
        self.graph = after.world.graph
        phases = before.phases
        self.moved = [each for each, phase in enumerate(after.phases) if phase is not phases[each]]
        #: Those that had failed before have a failure without a path.
        self.failed = [claim for claim in after.world.claims if claim.failure is not None and claim.failure.path]
        self.told: list[DeploymentEvent] = []
        self.steps: dict[Step, list[int]] = {}
        self.woken: list[Claim | TeardownWait] = []
        self.invalidated: list[int] = []
        self.cancelled: list[int] = []
        self.limited: list[int] = []
        for do, subject, _ in effects:
            if do is Do.TELL:
                assert isinstance(subject, DeploymentEvent)
                self.told.append(subject)
                self.steps.setdefault(subject.step, []).append(numbered(subject.name))
            elif do is Do.WAKE:
                assert isinstance(subject, (Claim, TeardownWait))
                self.woken.append(subject)
            elif do in _ABOUT_CONNECTORS:
                assert isinstance(subject, Deployment)
                getattr(self, _ABOUT_CONNECTORS[do]).append(number_of(subject))

    def did(self, step: Step) -> Sequence[int]:
        return self.steps.get(step, ())
