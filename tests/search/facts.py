"""A state as it is seen from outside the engine: which environments there are, who demands them, and who waits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from anydeploy.engine.deployment import Claim, Deployment
from anydeploy.engine.state import Do, Effect
from anydeploy.lifecycle import DeploymentEvent, Phase, Step

from .violation import require
from .world import World, number_of, numbered

UP = frozenset({Phase.LIVE, Phase.RETIRING})
LOST = frozenset({Phase.LOST, Phase.RENEWING, Phase.RETIRING_LOST})
#: Nothing exists of it yet.
COMING = frozenset({Phase.WAITING, Phase.READY, Phase.STARTING, Phase.PAUSED})
#: Its teardown has begun, or waits for a slot only.
GOING = frozenset({Phase.LEAVING, Phase.UNDEPLOYING})
#: An attempt is under way that may yet make it live.
ATTEMPTED = frozenset({Phase.ATTEMPTING, Phase.ABORTING, Phase.CLEANING})
ANY = frozenset(Phase)

#: Steps that end the life of a deployment.
ENDS = frozenset({Step.UNDEPLOYED, Step.UNDEPLOY_FAILED, Step.DROPPED, Step.FAILED_BELOW})


class Facts:
    """The facts about a world.

    :ivar records: by number; None where there is none
    :ivar phases: by number; absent where there is no record, or one that was left behind
    :ivar explicit: by number, whether an explicit demand stands for it
    :ivar withdrawn: by number, whether `undeploy` was called since the last `deploy`
    :ivar claims: those with callers that have not failed: they demand their targets
    """

    __slots__ = ("_demanded", "claims", "explicit", "phases", "records", "withdrawn", "world")

    def __init__(self, world: World) -> None:
        self.world = world
        records = self.records = world.records
        self.phases = [Phase.ABSENT if record is None else record.phase for record in records]
        for name in world.engine.left_behind:
            self.phases[numbered(name)] = Phase.ABSENT
        self.explicit = [record is not None and record.explicit for record in records]
        self.withdrawn = [record is not None and record.withdrawn for record in records]
        self.claims = [claim for claim in world.claims if claim.waiters and claim.failure is None]
        self._demanded: list[bool] | None = None

    @property
    def demanded(self) -> list[bool]:
        """By number, whether an explicit `deploy` stands for it, granted or waiting, or a dependent is not down."""
        if self._demanded is None:
            phases = self.phases
            demanded = self._demanded = [
                explicit or any([phases[each] is not Phase.ABSENT for each in above])
                for explicit, above in zip(self.explicit, self.world.graph.above, strict=True)
            ]
            for claim in self.claims:
                for target in claim.targets:
                    demanded[number_of(target)] = True
        return self._demanded

    def record(self, number: int) -> Deployment:
        record = self.records[number]
        assert record is not None
        return record

    def is_live_with_closure(self, number: int) -> bool:
        return all([self.phases[each] is Phase.LIVE for each in self.world.graph.closure[number]])

    def is_awaited(self, number: int) -> bool:
        """Whether a caller waits for a deployment to be live, or a dependent does that is still to come."""
        closure = self.world.graph.closure
        return any(self.phases[above] in COMING for above in self.world.graph.above[number]) or any(
            number in closure[target] for claim in self.claims if not claim.settled for target in targets_of(claim)
        )


def targets_of(claim: Claim) -> list[int]:
    return [number_of(target) for target in claim.targets]


def present(facts: Facts, numbers: Iterable[int]) -> list[int]:
    """Return some deployments, and in place of each that is absent what it has stood on and nothing demands."""
    found: list[int] = []
    stack = list(numbers)
    while stack:
        number = stack.pop()
        if facts.phases[number] is not Phase.ABSENT:
            found.append(number)
        else:
            stack += [below for below in facts.world.graph.below[number] if not facts.demanded[below]]
    return found


def bits(numbers: Iterable[int]) -> int:
    return sum(1 << number for number in set(numbers))


def follow_down(facts: Facts, effects: Sequence[Effect]) -> None:
    """Keep account for each call of `undeploy` of what goes down with what it undeploys (rule U1).

    When that has come to its end, what it stood on follows, unless something else demands it, or it is stuck.

    :raises Violation: if the call does not learn that one of those got stuck
    """
    waits = facts.world.waits
    for do, subject, _ in effects:
        if do is not Do.TELL or not isinstance(subject, DeploymentEvent) or subject.step not in ENDS:
            continue
        number = numbered(subject.name)
        for wait, following in waits.items():
            if not following >> number & 1:
                continue
            waits[wait] = following & ~(1 << number)
            if subject.step is Step.UNDEPLOY_FAILED:
                told = any(name == subject.name for name, _ in wait.failures)
                require(told, "U1", "an undeploy does not learn what got stuck")
            else:
                below = [each for each in facts.world.graph.below[number] if not facts.demanded[each]]
                waits[wait] |= bits(present(facts, below))
