"""Explores a scenario: what a test calls."""

from __future__ import annotations

import gc
import sys
import time
import warnings
from asyncio import events
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from attrs import frozen
from trio.lowlevel import in_trio_run

from . import choices
from .play import Limits, LivelockError, Play, Replay
from .search import Runner, Scenario, Search
from .state import LeftOut, StateReader
from .tape import Tape

_MODULES = {"asyncio": "asyncio_loop", "trio": "trio_hook"}
#: The event loops that scenarios can be explored on.
BACKENDS = tuple(_MODULES)

_COLLECTIONS = 10
#: The number of lines of a story that are shown. All of them are kept.
_LONGEST_STORY = 200


class ExplorationFailure(AssertionError):
    """A run of a scenario went wrong. Its ``__cause__`` is what came out, or what was found.

    :ivar tape: plays the run again
    :ivar story: the run, step by step
    """

    def __init__(self, tape: Tape, error: BaseException, story: list[str]) -> None:
        self.tape = tape
        self.error = error
        self.story = tuple(story)
        if len(story) > _LONGEST_STORY:
            half = _LONGEST_STORY // 2
            story = [*story[:half], f"... ({len(story) - 2 * half:,} more steps) ...", *story[-half:]]
        steps = "\n".join(f"  {line}" for line in story)
        super().__init__(f"{type(error).__name__}: {error}\nthe run, step by step:\n{steps}\nits tape: {tape}")
        self.__cause__ = error


@frozen
class Exploration:
    """What an exploration has done and found.

    :ivar backend: ``asyncio`` or ``trio``
    :ivar limits: what it was allowed to do in a run
    :ivar merged: whether what follows a state was played once, however many runs led to it
    :ivar complete: whether every run within the limits has been played, or came to a state from which it was
    :ivar schedules: the number of runs that were begun
    :ivar states: the number of states that were met; 0 if they were not read
    :ivar steps: the number of steps of all runs
    :ivar seconds: how long it took
    :ivar failure: what went wrong, if anything did; the exploration ended with it
    """

    backend: str
    limits: Limits
    merged: bool
    complete: bool
    schedules: int
    states: int
    steps: int
    seconds: float
    failure: ExplorationFailure | None = None

    def check(self) -> None:
        """Raise what was found.

        :raises ExplorationFailure: if something was
        """
        if self.failure is not None:
            raise self.failure

    def __str__(self) -> str:
        if self.failure is not None:
            end = f"failed: {self.failure.error!r}"
        elif self.complete and self.limits.bound is None:
            end = "complete: every order"
        elif self.complete:
            end = f"complete: every order with at most {self.limits.bound} deviations from the default one"
        else:
            end = "NOT complete"
        states = f", {self.states:,} states" if self.merged else ""
        return f"{self.backend}: {end}; {self.schedules:,} schedules{states} in {self.seconds:.1f} s"


def explore(
    scenario: Scenario,
    *,
    backend: str = "asyncio",
    cancellations: int = 0,
    failures: int = 0,
    bound: int | None = None,
    merge: bool = True,
    most: int | None = None,
    steps: int = Limits().steps,
    callbacks: bool = False,
    not_state: LeftOut | None = None,
) -> Exploration:
    """Run a scenario under every order in which the event loop could run the tasks that are ready, and look for errors.

    A scenario is an async function without arguments that starts everything afresh. It fails by raising an exception,
    by not ending (a deadlock, a livelock, more than ``steps`` steps), by an exception in a callback of the event loop,
    or by what a function given to :func:`~anydeploy.testing.choices.watch` finds between two steps. Time is virtual,
    and passes only when nothing can run. Threads, processes and sockets cannot be explored.

    :param backend: ``asyncio`` or ``trio``
    :param cancellations: how many of those on offer may be cancelled in one run, each between any two steps
    :param failures: how many choices of the scripted world may go another way than the ordinary one, in one run
    :param bound: how many steps of a run may be other ones than the default, which is that of who has been ready for
        the longest time; None: any number
    :param merge: read the states, and play what follows each of them only once. What a state is read from, and what is
        left out, says :mod:`anydeploy.testing.explorer.state`.
    :param most: begin no more runs than this; the exploration is then not complete
    :param callbacks: on asyncio, choose as well when callbacks run that are no step of a task: what a future or a task
        calls when it is done, and how anyio delivers a cancellation. By default they run before the next task does.
    :param not_state: names of attributes by class that are left out of states, because nothing depends on them
    :raises UnreadableStateError: if something was met, with ``merge``, that cannot be read
    :raises UnreproducibleError: if a run could not be repeated
    :raises ValueError: if a number is too low, or callbacks are to be chosen on trio, which has none
    """
    if callbacks and backend != "asyncio":
        raise ValueError("only asyncio has callbacks whose order could be chosen")
    limits = Limits(cancellations, failures, bound, steps, callbacks)
    runner, module = _backend(backend)
    ordered = bound is not None
    left_out = {**module.left_out(ordered=ordered), **(not_state or {})}
    reader = StateReader(module.readings(ordered=ordered), left_out) if merge else None
    search = Search(limits, reader)
    started = time.perf_counter()
    with undisturbed(backend):
        play: Play | None = search.run(scenario, runner, most)
        failure = None if play is None else _tell(scenario, backend, play, runner)
    complete = search.complete and play is None
    if complete and (found := search.graph.livelock()) is not None:
        tasks, taken = found
        with undisturbed(backend):
            story = _lead(scenario, limits, taken, runner)
        story.append(f"(from here on {', '.join(tasks)} can run round and round, in some order)")
        failure = ExplorationFailure(Tape.of(backend, limits, taken), LivelockError(tasks), story)
        complete = False
    seconds = time.perf_counter() - started
    return Exploration(
        backend, limits, merge, complete, search.schedules, len(search.seen), search.steps, seconds, failure
    )


def replay(scenario: Scenario, tape: Tape | str) -> list[str]:
    """Play one run of a scenario again. Returns what happened, step by step.

    :param tape: of the run, as a failure shows it
    :raises ExplorationFailure: if it goes wrong, as it did before
    :raises ValueError: if it is no tape
    """
    tape = Tape.parse(tape) if isinstance(tape, str) else tape
    runner, _ = _backend(tape.backend)
    play = Replay(tape.limits, tape=tape.ways, story=[])
    with undisturbed(tape.backend):
        play.play(scenario, runner)
    assert play.story is not None
    if play.failure is not None:
        raise ExplorationFailure(tape, play.failure, play.story)
    return play.story


def _backend(name: str) -> tuple[Runner, Any]:
    if name not in _MODULES:
        raise ValueError(f"unknown backend {name!r} (expected one of {', '.join(_MODULES)})")
    module = import_module(f".{_MODULES[name]}", __package__)
    return module.run, module


def _lead(scenario: Scenario, limits: Limits, taken: Sequence[int], runner: Runner) -> list[str]:
    """How a run comes to where a circle begins."""
    run = Replay(limits, tape=taken, story=[])
    run.play(scenario, runner)
    return (run.story or [])[: run.told]


def _tell(scenario: Scenario, backend: str, play: Play, runner: Runner) -> ExplorationFailure:
    """Play the run that failed once more, for its story."""
    assert play.failure is not None
    again = Replay(play.limits, tape=play.taken, story=[])
    again.play(scenario, runner)
    story = again.story or []
    if type(again.failure) is not type(play.failure):
        story.append(f"(played again, it ended in another way: {again.failure!r})")
    return ExplorationFailure(Tape.of(backend, play.limits, play.taken), play.failure, story)


@contextmanager
def undisturbed(backend: str) -> Generator[None, None, None]:
    """No collector in the middle of a run, and no complaints about coroutines that were dropped with their run.

    :raises RuntimeError: if an event loop is running here
    """
    if choices.exploring() or events._get_running_loop() is not None or in_trio_run():
        raise RuntimeError("an exploration runs event loops of its own: call it where none is running")
    _, module = _backend(backend)
    enabled, hook = gc.isenabled(), sys.unraisablehook
    gc.disable()
    # What there is already is none of the runs', and looking through it each time would take longer than they do.
    gc.freeze()
    sys.unraisablehook = _ignore
    try:
        with warnings.catch_warnings(), module.prepared():
            warnings.simplefilter("ignore", RuntimeWarning)
            # How far an iterator has come is read by what is to be removed from Python 3.14.
            warnings.filterwarnings("ignore", "Pickle, copy, and deepcopy support", DeprecationWarning)
            try:
                yield
            finally:
                # What the runs have left would complain later, where nobody knows of them any more. Generators may be
                # revived by it, to be finished by an event loop that is gone.
                for _ in range(_COLLECTIONS):
                    if not gc.collect():
                        break
    finally:
        sys.unraisablehook = hook
        gc.unfreeze()
        if enabled:
            gc.enable()


def _ignore(_: object) -> None:
    pass
