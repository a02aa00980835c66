"""Asyncio, one chosen callback after the other, in virtual time."""

from __future__ import annotations

import asyncio
import gc
import heapq
from asyncio import events
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from contextvars import Context
from functools import cache
from typing import Any, NoReturn

from anyio._core._eventloop import reset_current_async_library, set_current_async_library

from .. import choices
from .play import Play
from .state import LeftOut, Reading
from .stories import where


class _Task(asyncio.Task[Any]):
    """A task that has its place in a set by its number, not by where it lies in memory."""

    number = 0

    def __hash__(self) -> int:
        return self.number


class ExploredLoop(asyncio.BaseEventLoop):
    """Runs one ready callback per step: the one that the play chooses.

    Its clock stands still while anything is ready, and then jumps to the next timer. There are no threads, sockets or
    processes in it.
    """

    def __init__(self, play: Play) -> None:
        super().__init__()
        self._play = play
        self._now = 0.0
        self.tasks: list[_Task] = []
        self.main: asyncio.Task[Any] | None = None

    def time(self) -> float:
        return self._now

    def create_task(  # type: ignore[override]
        self, coro: Any, *, name: str | None = None, context: Context | None = None
    ) -> asyncio.Task[Any]:
        task = _Task(coro, loop=self, name=name or f"task {len(self.tasks)}", context=context)
        task.number = len(self.tasks)
        self.tasks.append(task)
        return task

    def run_in_executor(self, *_: Any) -> NoReturn:
        raise RuntimeError("threads cannot be explored: what they do has no order that could be chosen")

    def call_soon_threadsafe(self, *_: Any, **__: Any) -> NoReturn:
        raise RuntimeError("threads cannot be explored: what they do has no order that could be chosen")

    def _run_once(self) -> None:
        """Everything from the first step to the last; the loop around it in `run_forever` is left after it."""
        assert self.main is not None  # noqa: S101 - for the type checker
        ready: Any = self._ready  # type: ignore[attr-defined]
        play = self._play
        while not self.main.done():
            if not play.limits.callbacks:
                self._call_back()
            waiting = [handle for handle in ready if not handle._cancelled]  # noqa: SLF001 - as the loop it extends
            if len(waiting) < len(ready):
                ready.clear()
                ready.extend(waiting)
            steps = waiting if play.limits.callbacks else [handle for handle in waiting if _is_step(handle)]
            if waiting and not steps:
                play.next(waiting[:1])
            elif waiting:
                chosen = play.next(steps)
                if chosen is None:
                    continue
                handle = steps[chosen]
                ready.remove(handle)
                handle._run()  # noqa: SLF001 - likewise
                play.stepped()
            else:
                play.rest()
                if not ready:
                    self._jump()
        self.stop()

    def _call_back(self) -> None:
        """Run what is no step of a task. What becomes ready thereby waits until a task has run, or it could go on."""
        ready: Any = self._ready  # type: ignore[attr-defined]
        callbacks = [handle for handle in ready if not _is_step(handle)]
        for handle in callbacks:
            ready.remove(handle)
            if not handle._cancelled:  # noqa: SLF001 - as the loop it extends
                handle._run()  # noqa: SLF001 - likewise
        if callbacks:
            self._play.stepped()

    def _jump(self) -> None:
        """Let time pass until a timer is due. With none, nothing will ever happen again."""
        scheduled: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        while scheduled and scheduled[0].cancelled():
            heapq.heappop(scheduled)._scheduled = False  # type: ignore[attr-defined]  # noqa: SLF001
        if not scheduled:
            self._play.deadlock([where(task.get_name(), task.get_coro()) for task in self.tasks if not task.done()])
        self._now = max(self._now, scheduled[0].when())
        while scheduled and scheduled[0].when() <= self._now:
            timer = heapq.heappop(scheduled)
            timer._scheduled = False  # type: ignore[attr-defined]  # noqa: SLF001
            self._ready.append(timer)  # type: ignore[attr-defined]

    def state(self, *, ordered: bool) -> tuple[object, ...]:
        """What everything else in the state can be reached from."""
        ready = list(self._ready) if ordered else sorted(self._ready, key=label)  # type: ignore[attr-defined]
        tasks = sorted((task for task in self.tasks if not task.done()), key=_rank)
        timers = sorted(timer for timer in self._scheduled if not timer.cancelled())  # type: ignore[attr-defined]
        return self._now, tasks, ready, timers

    def label(self, ready: events.Handle) -> str:
        return label(ready)

    def _process_events(self, event_list: object) -> None:
        pass

    def _write_to_self(self) -> None:
        pass

    def _asyncgen_finalizer_hook(self, agen: object) -> None:
        """What is dropped with its run is not to be finished in another."""


def run(scenario: Callable[[], Awaitable[object]], play: Play) -> None:
    """Play one run of a scenario.

    :raises Exception: what comes out of the scenario, or what the play has found
    :raises Abandoned: if the play does not want to know how it ends
    """
    loop = ExploredLoop(play)
    loop.set_exception_handler(play.callback_failed)
    play.backend = loop
    choices.play(play)
    # As `anyio.run` does it; anyio would otherwise not know where it is when no task is running.
    token = set_current_async_library("asyncio")
    try:
        loop.main = loop.create_task(_call(scenario), name="scenario")
        loop.run_forever()
        loop.main.result()
    finally:
        choices.play(None)
        reset_current_async_library(token)
        _abandon(loop)


async def _call(scenario: Callable[[], Awaitable[object]]) -> None:
    await scenario()


def _abandon(loop: ExploredLoop) -> None:
    """Take what is left of a run apart, now: what the collector would run later would run in the middle of another."""
    for task in reversed(loop.tasks):
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001
        coroutine = task.get_coro()
        if not task.done():
            with suppress(BaseException):
                coroutine.close()  # type: ignore[union-attr]
        # They have the same hashes in every run, and would be in each other's way in these tables.
        asyncio._unregister_task(task)  # noqa: SLF001 - meant for who has tasks of their own
        _states().pop(task, None)
    loop.close()


def _is_step(handle: events.Handle) -> bool:
    """Whether a callback is a step of a task."""
    callback: Any = handle._callback  # type: ignore[attr-defined]  # noqa: SLF001 - there is no other way to see it
    return isinstance(getattr(callback, "__self__", None), asyncio.Task)


def _rank(task: _Task) -> tuple[str, int]:
    return task.get_name(), task.number


def label(handle: events.Handle) -> str:
    """What a callback is called in stories and tapes: a step of a task has the name of the task."""
    callback: Any = handle._callback  # type: ignore[attr-defined]  # noqa: SLF001 - there is no other way to see it
    owner = getattr(callback, "__self__", None)
    if isinstance(owner, asyncio.Task):
        return owner.get_name()  # type: ignore[no-any-return]
    name = str(getattr(callback, "__qualname__", repr(callback)))
    for about in (*(handle._args or ()), getattr(owner, "_host_task", None)):  # type: ignore[attr-defined]  # noqa: SLF001
        if isinstance(about, asyncio.Task):
            return f"{name} of {about.get_name()}"
    return name


# -- How its objects are read ----------------------------------------------------------------------------------------


def _read_future(found: Any) -> tuple[Any, ...]:
    done = found.done()
    return (
        found._state,  # noqa: SLF001 - the state is what is asked for, here and below
        found._callbacks,  # noqa: SLF001
        found._result if done and found._state == "FINISHED" else None,  # noqa: SLF001
        found._exception if done and found._state == "FINISHED" else None,  # noqa: SLF001
        getattr(found, "__dict__", None),
    )


def _read_task(found: Any) -> tuple[Any, ...]:
    contexts = [each for each in gc.get_referents(found) if type(each) is Context]
    future = _read_future(found)[:-1]
    return (
        future,
        found.get_coro(),
        found._fut_waiter,  # noqa: SLF001
        found._must_cancel,  # noqa: SLF001
        found.cancelling(),
        contexts,
        _scope_of(found),
    )


def _read_handle(found: Any) -> tuple[Any, ...]:
    return found._callback, found._args, found._context, found._cancelled  # noqa: SLF001


def _read_timer(found: Any) -> tuple[Any, ...]:
    return found.when(), *_read_handle(found)


def _scope_of(task: object) -> object:
    """What anyio keeps beside its tasks, in a table of its own."""
    state = _states().get(task)
    return None if state is None else state.cancel_scope


@cache
def _states() -> Any:
    from anyio._backends import _asyncio as backend  # noqa: PLC0415 - not before anyio runs on asyncio

    return backend._task_states  # noqa: SLF001 - there is no other way to see them


def _read_group(found: Any) -> tuple[Any, ...]:
    held = vars(found)
    return {**held, "_tasks": None}, sorted(held["_tasks"], key=_rank)


def readings() -> Mapping[type, Reading]:
    """How the objects of asyncio, and of anyio on it, are read."""
    from anyio._backends import _asyncio as backend  # noqa: PLC0415 - as above

    loop: Any = asyncio.BaseEventLoop()
    waiting = asyncio.Future[Any](loop=loop).__await__()
    task = _Task(_nothing(), loop=loop)
    stepper = type(loop._ready.pop()._callback)  # noqa: SLF001 - there is no other way to see it
    loop.close()
    task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001
    task.get_coro().close()  # type: ignore[union-attr]
    return {
        asyncio.Task: _read_task,
        asyncio.Future: _read_future,
        events.TimerHandle: _read_timer,
        events.Handle: _read_handle,
        backend.TaskGroup: _read_group,
        type(waiting): gc.get_referents,
        stepper: lambda found: found.__self__,
    }


async def _nothing() -> None:
    pass


def left_out() -> LeftOut:
    """What says the same the other way round, and reasons that are made of addresses."""
    from anyio._backends import _asyncio as backend  # noqa: PLC0415 - as above

    return {
        backend.CancelScope: frozenset({"_child_scopes", "_tasks", "_cancel_reason"}),
        backend.TaskState: frozenset({"parent_id"}),
        # Known from the first wait on.
        asyncio.Event: frozenset({"_loop"}),
    }
