"""Trio, one chosen task after the other, through its hook for deterministic schedules.

Where trio shuffles the tasks that can run, all but the chosen one are put back. Its clock is a
:class:`trio.testing.MockClock` that jumps to the next deadline when nothing can run.
"""

# The inside of trio is driven here, and there is no public way to do so.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import math
import sys
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn
from unittest.mock import patch

import trio
from trio.testing import MockClock

from . import choices
from .play import Play, ThreadError, close
from .stories import where

_threads: Any = import_module("trio._threads")
_internals: Any = import_module("trio._core._run")
_asyncgens: Any = import_module("trio._core._asyncgens")
_install: Any = _asyncgens.AsyncGenerators.install_hooks


class _Stop(BaseException):
    """Carries the exception that ends a run out of the event loop: trio lets no other one through."""

    def __init__(self, reason: BaseException) -> None:
        self.reason = reason
        super().__init__(reason)


class ExploredRunner:
    """Stands in for trio's source of randomness in one run."""

    def __init__(self, play: Play, clock: MockClock) -> None:
        self._play = play
        self._clock = clock
        self._running = False
        self.over = False
        #: The tasks that can run, in the order in which they became ready.
        self._ready: dict[Any, None] = {}
        self._titles: dict[Any, str] = {}
        self._used: dict[str, int] = {}
        self._runner: Any = None

    def shuffle(self, batch: list[Any]) -> None:
        """Leave one task in the batch, or as many as belong to trio itself."""
        try:
            self._leave_one(batch)
        except BaseException as exc:
            # Raised as it is, it would come out of trio as an internal error that looks like ours.
            raise _Stop(exc) from exc

    def random(self) -> float:
        """Trio reverses batches by it where it does not shuffle them."""
        return 1.0

    def _leave_one(self, batch: list[Any]) -> None:
        runner = self._runner = _internals.GLOBAL_RUN_CONTEXT.runner
        if self._running:
            self._running = False
            self._play.stepped()
        own = [task for task in batch if _is_trios(task, runner)]
        for task in batch:
            if task not in self._ready and not _is_trios(task, runner):
                self._ready[task] = None
                # A task that is ready for the first time gets its number now, even if its label is not asked for.
                self.label(task)
        if own:
            runner.runq.extend(self._ready)
            batch[:] = own
            return
        while self._ready:
            ready = list(self._ready)
            chosen = self._play.next(ready)
            if chosen is not None:
                del self._ready[ready[chosen]]
                runner.runq.extend(self._ready)
                batch[:] = [ready[chosen]]
                self._running = True
                return
            for task in runner.runq:
                self._ready.setdefault(task)
            runner.runq.clear()
        self._play.rest()
        if not runner.runq and runner.deadlines.next_deadline() == math.inf:
            self._play.deadlock([where(self.label(task), task.coro) for task in self._explored()])

    def _explored(self) -> list[Any]:
        """All tasks but trio's own, in the order in which they were created."""
        tasks = [task for task in self._runner.tasks if not _is_trios(task, self._runner)]
        tasks.sort(key=_number)
        return tasks

    def label(self, ready: Any) -> str:
        """The name of a task, with a number if others were called the same before it."""
        title = self._titles.get(ready)
        if title is None:
            name = "scenario" if ready is self._runner.main_task else str(ready.name)
            used = self._used[name] = self._used.get(name, 0) + 1
            title = self._titles[ready] = name if used == 1 else f"{name} {used}"
        return title

    def give_up(self, reason: Exception) -> None:
        self._play.give_up(reason)

    def abandon(self) -> None:
        """Take the rest of the run apart now: the collector would do it in the middle of another run."""
        tasks = [] if self._runner is None else list(self._runner.tasks)
        for task in tasks:
            for nursery in task.child_nurseries:
                # Or its parent would wait for them; and if it is not left, it complains when it is collected.
                nursery._children.clear()
                nursery._pending_starts = 0
        for task in reversed(tasks):
            close(task.coro)
        self.over = True
        self._runner = None
        self._ready.clear()
        self._titles.clear()


def _is_trios(task: Any, runner: Any) -> bool:
    """Whether it is one of the tasks in which trio looks after itself."""
    if task is runner.main_task:
        return False
    nursery = task.parent_nursery
    if nursery is None:
        return True
    return nursery.parent_task is runner.init_task and task.coro.cr_code.co_filename.startswith(_TRIO)


_TRIO = str(Path(trio.__file__).parent)


def _number(task: Any) -> int:
    return int(task._counter)


def run(scenario: Callable[[], Awaitable[object]], play: Play) -> None:
    """Play one run of a scenario; as for asyncio."""
    clock = MockClock(autojump_threshold=0)
    explored = ExploredRunner(play, clock)
    play.backend = explored
    choices.play(play)
    reason: BaseException | None = None
    try:
        with _hooked(explored):
            try:
                trio.run(scenario, clock=clock)
            except trio.TrioInternalError as exc:
                if not isinstance(exc.__cause__, _Stop):
                    raise
                reason = exc.__cause__.reason
    finally:
        choices.play(None)
        explored.abandon()
    if reason is not None:
        raise reason.with_traceback(None)


@contextmanager
def _hooked(explored: ExploredRunner) -> Generator[None, None, None]:
    before = _internals._ALLOW_DETERMINISTIC_SCHEDULING, _internals._r
    _internals._ALLOW_DETERMINISTIC_SCHEDULING = True
    _internals._r = explored

    def refuse(*_: object, **__: object) -> NoReturn:
        error = ThreadError()
        explored.give_up(error)
        raise error

    try:
        # Trio keeps its threads for the next call that wants one.
        with patch.object(_threads, "start_thread_soon", refuse):
            yield
    finally:
        _internals._ALLOW_DETERMINISTIC_SCHEDULING, _internals._r = before


@contextmanager
def prepared() -> Generator[None, None, None]:
    """Have generators that are dropped when their run is over ask for nothing any more."""
    with patch.object(_asyncgens.AsyncGenerators, "install_hooks", _install_hooks):
        yield


def _install_hooks(generators: Any, runner: Any) -> None:
    _install(generators, runner)
    explored, finalizer = _internals._r, sys.get_asyncgen_hooks().finalizer
    assert finalizer is not None
    sys.set_asyncgen_hooks(finalizer=lambda generator: None if explored.over else finalizer(generator))
