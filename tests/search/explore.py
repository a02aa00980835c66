"""The search: every state of one graph that a few calls and faults can lead to, breadth first."""

from __future__ import annotations

import gc
import time
from array import array
from collections import deque
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager

from attrs import define, field, frozen

from anydeploy.lifecycle import TRANSITIONS, Phase, Step

from .facts import Facts, follow_down
from .freezing import Freezer, State
from .graphs import Graph
from .invariants import check_state
from .moves import Kind, Move, Next, make, moves, show
from .passage import Passage
from .rules import check_passage
from .violation import Violation
from .world import World

CALLS = 3
FAULTS = 2

Row = tuple[Phase, Step]


class Found(Exception):
    """The engine has broken a rule.

    :ivar trace: the shortest way there: what happened, move by move
    """

    def __init__(self, graph: Graph, problem: Exception, trace: tuple[str, ...]) -> None:
        super().__init__(str(graph), f"{type(problem).__name__}: {problem}", trace)
        self.graph = graph
        self.problem = problem
        self.trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return Found, (self.graph, self.problem, self.trace)


@frozen
class Result:
    """The outcome of a search.

    :ivar transitions: how many moves were made and checked
    :ivar rows: the rows of the table of transitions that were taken
    """

    graph: Graph
    states: int
    transitions: int
    seconds: float
    rows: frozenset[Row]

    def __str__(self) -> str:
        return f"{self.graph}: {self.states:,} states, {self.transitions:,} transitions, {self.seconds:.0f} s"


class Search:
    """A breadth-first search.

    A state does not know how many calls and faults have led to it. One that can be reached with several budgets left is
    searched with the largest ones: what can follow on a smaller one can follow on them.

    :ivar transitions: how many moves were made and checked
    :ivar states: all that were found, the first one first
    """

    def __init__(
        self, graph: Graph, calls: int = CALLS, faults: int = FAULTS, *, cancellations_are_faults: bool = False
    ) -> None:
        self.graph = graph
        self.transitions = 0
        self.states: list[State] = []
        self._calls = calls
        self._faults = faults
        self._cancellation = int(cancellations_are_faults)
        self._freezer = Freezer(graph)
        self._before = World(graph)
        self._world = World(graph)
        self._numbers: dict[State, int] = {}
        #: For each state the one from which it was found, and how.
        self._parents = array("l")
        self._moves: list[Move] = []
        #: For each state the budgets, as bits, with which it has been searched, or with more.
        self._searched = array("l")
        #: The edges of progress: the numbers of the states that they lead from, and to.
        self._froms = array("l")
        self._tos = array("l")

    def run(self) -> Result:
        """Search all states.

        :raises Found: at the first violation
        """
        begun = time.process_time()
        with recorded_rows() as rows, without_collection():
            self._search()
            self._check_that_all_ends()
        seconds = time.process_time() - begun
        return Result(self.graph, len(self.states), self.transitions, seconds, frozenset(rows))

    def follow(self, trace: Iterable[str]) -> None:
        """Make some moves one after the other, as they are shown.

        :raises Found: at the first violation
        """
        number = self._start()
        for shown in trace:
            self._freezer.thaw(self.states[number], self._before)
            possible = [move for made, _, _ in self._prices(moves(self._before)) for move in made]
            (move,) = [each for each in possible if show(each) == shown]
            number = self._pass(number, Facts(self._before), move)

    def _start(self) -> int:
        return self._number(self._freezer.freeze(self._world), -1, (Kind.LAST, 0))

    def _search(self) -> None:
        start = self._start()
        # By how much has been spent: the largest budgets come first.
        queues: list[deque[tuple[int, int, int]]] = [deque() for _ in range(self._calls + self._faults + 1)]
        queues[0].append((start, self._calls, self._faults))
        for spent, queue in enumerate(queues):
            while queue:
                number, calls, faults = queue.popleft()
                if self._is_searched(number, calls, faults):
                    continue
                is_new = not self._searched[number]
                self._searched[number] |= self._covered(calls, faults)
                self._freezer.thaw(self.states[number], self._before)
                before = Facts(self._before)
                following = moves(self._before)
                for made, of_calls, of_faults in self._prices(following):
                    if of_calls > calls or of_faults > faults:
                        continue
                    later = queues[spent + of_calls + of_faults]
                    for move in made:
                        reached = self._pass(number, before, move)
                        later.append((reached, calls - of_calls, faults - of_faults))
                        if is_new and made is following.progress:
                            self._froms.append(number)
                            self._tos.append(reached)

    def _prices(self, following: Next) -> Iterable[tuple[list[Move], int, int]]:
        """Return moves with the number of calls and of faults that each of them is."""
        return (
            (following.progress, 0, 0),
            (following.leisure, 0, 0),
            (following.cancellations, 0, self._cancellation),
            (following.calls, 1, 0),
            (following.faults, 0, 1),
        )

    def _pass(self, number: int, before: Facts, move: Move) -> int:
        """Make a move from a state, check it, and return the number of the state that it leads to."""
        world = self._world
        self.transitions += 1
        try:
            self._freezer.thaw(self.states[number], world)
            effects = make(world, move)
            after = Facts(world)
            if effects and world.waits:
                follow_down(after, effects)
            check_passage(Passage(before, move[0], move[1], effects, after))
            state = self._freezer.freeze(world)
            reached = self._numbers.get(state)
            if reached is None:
                check_state(after)
                reached = self._number(state, number, move)
        except Exception as problem:
            # Every exception of the engine is a defect.
            raise Found(self.graph, problem, self._trace(number, move)) from problem
        return reached

    def _number(self, state: State, parent: int, move: Move) -> int:
        number = self._numbers[state] = len(self.states)
        self.states.append(state)
        self._parents.append(parent)
        self._moves.append(move)
        self._searched.append(0)
        return number

    def _covered(self, calls: int, faults: int) -> int:
        """Return all budgets that are not larger than one, as bits."""
        row = (1 << faults + 1) - 1
        return sum(row << each * (self._faults + 1) for each in range(calls + 1))

    def _is_searched(self, number: int, calls: int, faults: int) -> bool:
        return bool(self._searched[number] >> calls * (self._faults + 1) + faults & 1)

    def _trace(self, number: int, move: Move) -> tuple[str, ...]:
        trace = [show(move)]
        while number > 0:
            trace.append(show(self._moves[number]))
            number = self._parents[number]
        return tuple(reversed(trace))

    def _check_that_all_ends(self) -> None:
        """Check that progress leads to rest, from every state: that it never comes back to a state.

        In states at rest no caller waits, which is an invariant.

        :raises Found: if something can go round and round although nothing goes wrong
        """
        waiting = array("l", bytes(self._parents.itemsize * len(self.states)))
        following: list[list[int]] = [[] for _ in self.states]
        for number, reached in zip(self._froms, self._tos, strict=True):
            following[number].append(reached)
            waiting[reached] += 1
        ready = [number for number, count in enumerate(waiting) if not count]
        ended = 0
        while ready:
            ended += 1
            for reached in following[ready.pop()]:
                waiting[reached] -= 1
                if not waiting[reached]:
                    ready.append(reached)
        if ended < len(self.states):
            # Each of those that are left follows on another one of them: back long enough, there is a cycle.
            edges = zip(self._froms, self._tos, strict=True)
            came_from = {reached: number for number, reached in edges if waiting[number]}
            number = next(iter(came_from))
            for _ in self.states:
                number = came_from[number]
            trace = self._trace(self._parents[number], self._moves[number])
            raise Found(self.graph, Violation("liveness", "something goes on for ever"), trace)


@contextmanager
def without_collection() -> Generator[None]:
    """Run without the collection of garbage in circles, of which a search leaves none that counts."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def recorded_rows() -> Generator[set[Row]]:
    """Record which rows of the table of transitions are taken."""
    rows: set[Row] = set()
    for phase in Phase:
        phase.then = Recorded(phase, rows, TRANSITIONS[phase])
    try:
        yield rows
    finally:
        for phase in Phase:
            phase.then = TRANSITIONS[phase]


class Recorded(dict[Step, Phase]):
    """One row of the table of transitions, which notes the steps that are looked up."""

    def __init__(self, phase: Phase, rows: set[Row], then: Mapping[Step, Phase]) -> None:
        super().__init__(then)
        self._phase = phase
        self._rows = rows

    def __getitem__(self, step: Step) -> Phase:
        phase = super().__getitem__(step)
        self._rows.add((self._phase, step))
        return phase


@define
class Total:
    """The sum of some results."""

    searches: int = 0
    states: int = 0
    transitions: int = 0
    rows: set[Row] = field(factory=set[Row])

    def add(self, result: Result) -> None:
        self.searches += 1
        self.states += result.states
        self.transitions += result.transitions
        self.rows |= result.rows

    def include(self, other: Total) -> None:
        self.searches += other.searches
        self.states += other.states
        self.transitions += other.transitions
        self.rows |= other.rows

    def rows_not_taken(self) -> list[str]:
        """Return the rows of the table that nothing has led to, as text."""
        rows = {(phase, step) for phase, then in TRANSITIONS.items() for step in then}
        return sorted(f"{phase} {step}" for phase, step in rows - self.rows)
