"""Compares what one call at a time leads to with the sequential model."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from attrs import frozen

from anydeploy.lifecycle import Phase

from .explore import Found
from .facts import Facts
from .freezing import Freezer, State
from .graphs import Graph
from .invariants import is_at_rest
from .moves import Kind, Move, make, moves, show
from .sequential import ABSENT, LIVE, LOST, STUCK, Model, Rest
from .violation import Violation
from .world import World, numbered

STATUS = {Phase.ABSENT: ABSENT, Phase.LIVE: LIVE, Phase.LOST: LOST, Phase.STUCK: STUCK}
#: Moves that the model does not tell from others, or from none.
LEFT_OUT = frozenset({Kind.CUT, Kind.CANCEL_WAIT, Kind.CANCEL_CLOSE})


def resting(world: World) -> Rest:
    """Return a state at rest as the model knows it: what was left behind is stuck."""
    facts = Facts(world)
    status = [STATUS[phase] for phase in facts.phases]
    for name in world.engine.left_behind:
        status[numbered(name)] = STUCK
    explicit = frozenset(number for number, each in enumerate(facts.explicit) if each)
    used = tuple(0 if record is None else record.restarts for record in world.records)
    return Rest(tuple(status), explicit, used, world.engine.closing).without_history(world.graph)


@frozen
class Compared:
    """The outcome of a comparison: how many states of rest there are, and how many calls were made in them."""

    rests: int
    calls: int


class Stepped(NamedTuple):
    """The states that may follow on one without a call: by itself, and when something goes wrong."""

    rest: Rest | None
    after: tuple[State, ...]
    after_faults: tuple[State, ...]


class Comparison:
    """A search of the states of rest that calls lead to when each is made at rest."""

    def __init__(self, graph: Graph, faults: int) -> None:
        self.graph = graph
        self._faults = faults
        self._freezer = Freezer(graph)
        self._model = Model(graph)
        self._world = World(graph)
        self._steps: dict[State, Stepped] = {}
        self._outcomes: dict[tuple[Rest, Move, int], set[tuple[Rest, int]]] = {}

    def run(self) -> Compared:
        """Compare until there is no other state of rest.

        :raises Found: if a call leads to what the model does not know
        """
        calls = 0
        rests: set[tuple[State, int]] = set()
        queue = deque([(self._freezer.freeze(self._world), self._faults)])
        while queue:
            start = queue.popleft()
            if start in rests:
                continue
            rests.add(start)
            state, faults = start
            self._freezer.thaw(state, self._world)
            rest = resting(self._world)
            for call in [] if rest.closing else moves(self._world).calls:
                calls += 1
                allowed = self._allowed(rest, call, faults)
                for reached, left, after in self._reached(state, call, faults):
                    # A fault may have had no consequence.
                    if not any((after, more) in allowed for more in range(left, faults + 1)):
                        problem = f"{rest} leads to {after}, with {left} of {faults} faults left"
                        raise Found(self.graph, Violation("model", problem), (show(call),))
                    queue.append((reached, left))
        return Compared(len(rests), calls)

    def _allowed(self, rest: Rest, call: Move, faults: int) -> set[tuple[Rest, int]]:
        key = rest, call, faults
        if key not in self._outcomes:
            self._outcomes[key] = self._model.outcomes(rest, *call, faults)
        return self._outcomes[key]

    def _reached(self, state: State, call: Move, faults: int) -> set[tuple[State, int, Rest]]:
        """Return the states of rest that a call leads to, each with the faults that are left."""
        found: set[tuple[State, int, Rest]] = set()
        seen: set[tuple[State, int]] = set()
        stack = [(self._after(state, call), faults)]
        while stack:
            each = stack.pop()
            if each in seen:
                continue
            seen.add(each)
            state, left = each
            step = self._step(state)
            if step.rest is not None:
                found.add((state, left, step.rest))
            stack.extend((after, left) for after in step.after)
            if left:
                stack.extend((after, left - 1) for after in step.after_faults)
        return found

    def _step(self, state: State) -> Stepped:
        """Return all that may follow on a state if nobody calls."""
        known = self._steps.get(state)
        if known is not None:
            return known
        self._freezer.thaw(state, self._world)
        following = moves(self._world)
        rest = resting(self._world) if is_at_rest(Facts(self._world)) else None
        by_itself = (*following.progress, *following.leisure)
        faults = (*following.cancellations, *following.faults)
        step = self._steps[state] = Stepped(
            rest,
            tuple([self._after(state, move) for move in by_itself if move[0] not in LEFT_OUT]),
            tuple([self._after(state, move) for move in faults if move[0] not in LEFT_OUT]),
        )
        return step

    def _after(self, state: State, move: Move) -> State:
        self._freezer.thaw(state, self._world)
        make(self._world, move)
        return self._freezer.freeze(self._world)
