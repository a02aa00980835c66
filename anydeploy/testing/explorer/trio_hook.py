"""Trio, one chosen task after the other, through the hook for those who want its schedule to be deterministic.

Where trio shuffles the tasks that can run, all but the chosen one are put back. Its clock is a
:class:`trio.testing.MockClock` that jumps to the next deadline when nothing can run.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import trio
from trio._core import _run as internals
from trio.testing import MockClock

from .. import choices
from .play import Play
from .state import LeftOut, Reading
from .stories import where


class _Stop(BaseException):
    """Carries out of the event loop what ends a run: trio lets nothing else through."""

    def __init__(self, reason: BaseException) -> None:
        self.reason = reason
        super().__init__(reason)


class ExploredRunner:
    """Stands in for trio's source of randomness in one run."""

    def __init__(self, play: Play, clock: MockClock) -> None:
        self._play = play
        self._clock = clock
        self._running = False
        #: Who can run, in the order in which they became ready.
        self._ready: dict[Any, None] = {}
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
        runner = self._runner = internals.GLOBAL_RUN_CONTEXT.runner
        if self._running:
            self._running = False
            self._play.stepped()
        own = [task for task in batch if _is_trios(task, runner)]
        for task in batch:
            if task not in self._ready and not _is_trios(task, runner):
                self._ready[task] = None
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
            tasks = sorted((task for task in runner.tasks if not _is_trios(task, runner)), key=_rank)
            self._play.deadlock([where(self._name(task), task.coro) for task in tasks])

    def state(self, *, ordered: bool) -> tuple[object, ...]:
        """What everything else in the state can be reached from."""
        runner = self._runner
        tasks = sorted((task for task in runner.tasks if not _is_trios(task, runner)), key=_rank)
        ready = list(self._ready) if ordered else sorted(self._ready, key=_rank)
        return self._clock.current_time(), tasks, ready

    def label(self, ready: Any) -> str:
        return self._name(ready)

    def _name(self, task: Any) -> str:
        return "scenario" if task is self._runner.main_task else str(task.name)

    def tasks(self) -> list[Any]:
        return [] if self._runner is None else list(self._runner.tasks)


def _is_trios(task: Any, runner: Any) -> bool:
    """Whether it is one of the tasks in which trio looks after itself."""
    if task is runner.main_task:
        return False
    nursery = task.parent_nursery
    return nursery is None or nursery.parent_task is runner.init_task


def _rank(task: Any) -> tuple[str, int]:
    return task.name, task._counter  # noqa: SLF001 - what trio itself sorts by


def run(scenario: Callable[[], Awaitable[object]], play: Play) -> None:
    """Play one run of a scenario; as for asyncio."""
    clock = MockClock(autojump_threshold=0)
    explored = ExploredRunner(play, clock)
    play.backend = explored
    choices.play(play)
    reason: BaseException | None = None
    tasks: list[Any] = []
    try:
        with _hooked(explored):
            try:
                trio.run(scenario, clock=clock)
            except trio.TrioInternalError as exc:
                if not isinstance(exc.__cause__, _Stop):
                    raise
                reason = exc.__cause__.reason
    finally:
        tasks = explored.tasks()
        choices.play(None)
        _abandon(tasks)
    if reason is not None:
        raise reason.with_traceback(None)


@contextmanager
def _hooked(explored: ExploredRunner) -> Iterator[None]:
    before = internals._ALLOW_DETERMINISTIC_SCHEDULING, internals._r  # noqa: SLF001 - the hook
    internals._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]  # noqa: SLF001
    internals._r = explored  # type: ignore[assignment]  # noqa: SLF001
    try:
        yield
    finally:
        internals._ALLOW_DETERMINISTIC_SCHEDULING, internals._r = before  # type: ignore[misc]  # noqa: SLF001


def _abandon(tasks: list[Any]) -> None:
    """Take what is left of a run apart, now: what the collector would run later would run in the middle of another."""
    for task in reversed(tasks):
        with suppress(BaseException):
            task.coro.close()
        for nursery in task.child_nurseries:
            # Or it complains, when it is collected, that it was not left.
            nursery._children.clear()  # noqa: SLF001


# -- How its objects are read ----------------------------------------------------------------------------------------


def _read_task(found: Any) -> tuple[Any, ...] | None:
    if found.parent_nursery is None:
        # The task that all others stand on is trio's own, and holds the event loop.
        return None
    return (
        found.parent_nursery,
        found.coro,
        found.context,
        found._next_send_fn,  # noqa: SLF001 - the state is what is asked for, here and below
        found._next_send,  # noqa: SLF001
        found._abort_func,  # noqa: SLF001
        found.custom_sleep_data,
        found.child_nurseries,
        found._eventual_parent_nursery,  # noqa: SLF001
        found._cancel_status,  # noqa: SLF001
    )


def _read_nursery(found: Any) -> tuple[Any, ...]:
    return (
        found._parent_task,  # noqa: SLF001
        sorted(found._children, key=_rank),  # noqa: SLF001
        found.cancel_scope,
        found._pending_excs,  # noqa: SLF001
        found._nested_child_running,  # noqa: SLF001
        found._parent_waiting_in_aexit,  # noqa: SLF001
        found._pending_starts,  # noqa: SLF001
        found._closed,  # noqa: SLF001
    )


def _read_event(found: Any) -> tuple[Any, ...]:
    return found.is_set(), sorted(found._tasks, key=_rank)  # noqa: SLF001


def readings() -> Mapping[type, Reading]:
    """How the objects of trio are read."""
    return {
        trio.lowlevel.Task: _read_task,
        trio.Nursery: _read_nursery,
        trio.Event: _read_event,
        internals.Runner: lambda _: None,
        MockClock: lambda _: None,
    }


def left_out() -> LeftOut:
    """What says the same the other way round, and reasons that are made of addresses."""
    return {
        internals.CancelStatus: frozenset({"_children", "_tasks"}),
        trio.CancelScope: frozenset({"_cancel_reason"}),
    }
