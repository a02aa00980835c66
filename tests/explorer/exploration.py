"""Explores scenarios, and plays their runs again: the functions that tests call."""

from __future__ import annotations

import gc
import sys
import time
import warnings
from asyncio import events
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from attrs import frozen
from trio.lowlevel import in_trio_run

from . import choices
from .play import Limits, Play, Replay
from .search import Runner, Scenario, Search
from .tape import Tape

_MODULES = {"asyncio": "asyncio_loop", "trio": "trio_hook"}
#: The event loops that scenarios can be explored on.
BACKENDS = tuple(_MODULES)

_COLLECTIONS = 10
#: The number of lines of a story that are shown. All of them are kept.
_LONGEST_STORY = 200


class ExplorationFailure(AssertionError):
    """A run of a scenario went wrong. Its ``__cause__`` is the exception that came out of it.

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
    """The result of an exploration.

    :ivar backend: ``asyncio`` or ``trio``
    :ivar limits: of its runs
    :ivar complete: whether every run within the limits has been played
    :ivar schedules: the number of runs that were begun
    :ivar steps: the number of steps of all runs
    :ivar seconds: the time that it took
    :ivar failure: of the run that ended it, if one failed
    """

    backend: str
    limits: Limits
    complete: bool
    schedules: int
    steps: int
    seconds: float
    failure: ExplorationFailure | None = None

    def check(self) -> None:
        """Return if no run failed.

        :raises ExplorationFailure: if one did
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
        return f"{self.backend}: {end}; {self.schedules:,} schedules in {self.seconds:.1f} s"


def explore(
    scenario: Scenario,
    *,
    backend: str = "asyncio",
    cancellations: int = 0,
    failures: int = 0,
    bound: int | None = None,
    most: int | None = None,
    steps: int = Limits().steps,
    callbacks: bool = False,
) -> Exploration:
    """Run a scenario under every order in which the event loop could run the tasks that are ready.

    A scenario is an async function without arguments that starts everything afresh. It fails by raising an exception,
    by not ending (a deadlock, or more than ``steps`` steps), by an exception in a callback of the event loop, or by an
    exception of a function given to :func:`explorer.choices.watch`. Time is virtual, and passes only when nothing can
    run. Threads, processes and sockets cannot be explored.

    :param backend: ``asyncio`` or ``trio``
    :param cancellations: the number of offers that may be cancelled in one run, each between any two steps
    :param failures: the number of choices that may go another way than the ordinary one in one run
    :param bound: the number of steps of a run that may be other ones than the default, which is that of the task that
        has been ready for the longest time; None: any number
    :param most: begin no more runs than this; the exploration is then not complete
    :param callbacks: on asyncio, choose as well when callbacks run that are no step of a task: those of a future or a
        task that is done, and the delivery of a cancellation by anyio. By default they run before the next task does.
    :raises UnreproducibleError: if a run could not be repeated
    :raises ValueError: if a number is too low, or callbacks are to be chosen on trio, which has none
    """
    if callbacks and backend != "asyncio":
        raise ValueError("only asyncio has callbacks whose order could be chosen")
    limits = Limits(cancellations, failures, bound, steps, callbacks)
    runner, _ = _backend(backend)
    search = Search(limits)
    started = time.perf_counter()
    with undisturbed(backend):
        play = search.run(scenario, runner, most)
        failure = None if play is None else _tell(scenario, backend, play, runner)
    seconds = time.perf_counter() - started
    complete = search.complete and play is None
    return Exploration(backend, limits, complete, search.schedules, search.steps, seconds, failure)


def replay(scenario: Scenario, tape: Tape | str) -> list[str]:
    """Play one run of a scenario again, and return its story, step by step.

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
    # Objects from before are none of the runs', and looking through them each time would take longer than the runs.
    gc.freeze()
    sys.unraisablehook = _ignore
    try:
        with warnings.catch_warnings(), module.prepared():
            warnings.simplefilter("ignore", RuntimeWarning)
            try:
                yield
            finally:
                # Objects that the runs have left would complain later. Generators may be revived by the collection, to
                # be finished by an event loop that is gone.
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
