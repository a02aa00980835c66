"""Asyncio, one chosen callback after the other, in virtual time."""

# The inside of asyncio and anyio is driven here, and there is no public way to do so.
# pyright: reportPrivateUsage=false, reportAttributeAccessIssue=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
import math
import threading
from asyncio import events
from bisect import bisect_right, insort
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from contextvars import Context
from functools import cache
from typing import Any, NoReturn

from anyio._core._eventloop import reset_current_async_library, set_current_async_library

from . import choices
from .play import LeftOverError, Play, ThreadError, UnhandledError, close
from .stories import where


class _Task(asyncio.Task[Any]):
    """A task that has its place in a set by its number, not by where it lies in memory.

    :ivar number: in the order in which tasks were created
    :ivar title: its name, with a number if others had the same name before it
    """

    __slots__ = ("number", "title")
    number: int
    title: str

    def __hash__(self) -> int:
        return self.number


class ExploredLoop(asyncio.BaseEventLoop):
    """Runs one ready callback per step: the one that the play chooses.

    Its clock stands still while anything is ready, and then jumps to the next timer. There are no threads, sockets or
    processes in it.
    """

    # Of the class it is derived from.
    _ready: deque[Any]
    _scheduled: list[asyncio.TimerHandle]

    def __init__(self, play: Play) -> None:
        super().__init__()
        self._play = play
        self._now = 0.0
        self._thread = threading.get_ident()
        self._titles: dict[str, int] = {}
        self.tasks: list[_Task] = []
        self.main: asyncio.Task[Any] | None = None

    def time(self) -> float:
        return self._now

    def create_task(self, coro: Any, *, name: object = None, context: Context | None = None) -> asyncio.Task[Any]:
        # Before it exists: the base class may look at it as soon as it does.
        number = len(self.tasks)
        name = str(name or f"task {number}")
        task = _Task.__new__(_Task)
        task.number, task.title = number, self._title(name)
        _Task.__init__(task, coro, loop=self, name=name, context=context)
        self.tasks.append(task)
        return task

    def _title(self, name: str) -> str:
        used = self._titles[name] = self._titles.get(name, 0) + 1
        return name if used == 1 else f"{name} {used}"

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """As the loop it extends, but timers of the same moment keep the order in which they were set."""
        if math.isnan(when):
            raise ValueError("a timer needs a time")
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        insort(self._scheduled, timer)
        timer._scheduled = True  # type: ignore[attr-defined]
        return timer

    def run_in_executor(self, executor: object, func: object, *args: object) -> NoReturn:
        error = ThreadError()
        self._play.give_up(error)
        raise error

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Any, *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        if threading.get_ident() != self._thread:
            raise ThreadError
        return self.call_soon(callback, *args, context=context)

    def _run_once(self) -> None:
        """Everything from the first step to the last; the loop around it in `run_forever` is left after it."""
        assert self.main is not None
        ready: Any = self._ready
        play = self._play
        while not self.main.done():
            if not play.limits.callbacks:
                self._call_back()
            waiting = [handle for handle in ready if not handle._cancelled]
            if len(waiting) < len(ready):
                ready.clear()
                ready.extend(waiting)
            steps = waiting if play.limits.callbacks else [handle for handle in waiting if _is_step(handle)]
            if waiting and not steps:
                # Callbacks that have made others ready are next, and count as steps, or some would go on for ever.
                play.next(waiting[:1])
            elif waiting:
                chosen = play.next(steps)
                if chosen is None:
                    continue
                handle = steps[chosen]
                ready.remove(handle)
                handle._run()
                play.stepped()
            else:
                play.rest()
                if not ready:
                    self._jump()
        self.stop()

    def _call_back(self) -> None:
        """Run the callbacks that are no step of a task. Those that they make ready wait until a task has run."""
        ready: Any = self._ready
        callbacks = [handle for handle in ready if not _is_step(handle)]
        for handle in callbacks:
            ready.remove(handle)
            if not handle._cancelled:
                handle._run()
        if callbacks:
            self._play.stepped()

    def _jump(self) -> None:
        """Let time pass until a timer is due. With none, nothing will ever happen again."""
        scheduled: list[asyncio.TimerHandle] = self._scheduled
        timers = [timer for timer in scheduled if not timer.cancelled()]
        # Sleeping for ever is a timer, too, which is never due.
        if not timers or timers[0].when() == math.inf:
            self._play.deadlock([where(task.title, task.get_coro()) for task in self.tasks if not task.done()])
        self._now = max(self._now, timers[0].when())
        due = bisect_right(timers, self._now, key=asyncio.TimerHandle.when)
        self._ready.extend(timers[:due])
        scheduled[:] = timers[due:]

    def label(self, ready: events.Handle) -> str:
        return label(ready)

    def _process_events(self, event_list: object) -> None:
        pass

    def _write_to_self(self) -> None:
        pass

    def _asyncgen_finalizer_hook(self, agen: Any) -> None:
        """As the loop it extends; but a generator that is dropped with its run is not to be finished in another."""
        if self.is_running():
            self.call_soon(self.create_task, agen.aclose())


def run(scenario: Callable[[], Awaitable[object]], play: Play) -> None:
    """Play one run of a scenario.

    :raises Exception: the one that comes out of the scenario, or that the play has found
    :raises Abandoned: if the play has left the run
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
        _look_for_what_is_left(loop.tasks)
    finally:
        choices.play(None)
        reset_current_async_library(token)
        _abandon(loop)


async def _call(scenario: Callable[[], Awaitable[object]]) -> None:
    await scenario()


def _look_for_what_is_left(tasks: Sequence[_Task]) -> None:
    """Look for tasks that a scenario that has returned has started, and not waited for.

    :raises UnhandledError: if a task has failed and its exception was not asked for
    :raises LeftOverError: if a task is still there
    """
    for task in tasks:
        if task.done() and _is_unheard(task):
            raise UnhandledError(f"{task.title} has failed, and no task has waited for it") from task.exception()
    # The end of a generator that was dropped is the event loop's own task.
    left = [task for task in tasks if not task.done() and not isinstance(task.get_coro(), _closing_type())]
    if left:
        raise LeftOverError([where(task.title, task.get_coro()) for task in left])


def _is_unheard(task: Any) -> bool:
    """Return whether it has failed, and its exception was not asked for."""
    return bool(task._log_traceback)


def _abandon(loop: ExploredLoop) -> None:
    """Take the rest of a run apart now: the collector would do it in the middle of another run."""
    for task in reversed(loop.tasks):
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        coroutine = task.get_coro()
        if not task.done():
            close(coroutine)
        # They have the same hashes in every run, and would be in each other's way in these tables.
        asyncio._unregister_task(task)
        _task_states().pop(task, None)
    loop.close()
    loop.tasks.clear()
    loop.main = None
    _scopes.clear()


@cache
def _task_states() -> Any:
    from anyio._backends import _asyncio as backend

    return backend._task_states


@cache
def _closing_type() -> type:
    closing: Any = _generate().aclose()
    closing.close()
    return type(closing)


async def _generate() -> AsyncGenerator[None, None]:
    yield


def _is_step(handle: events.Handle) -> bool:
    """Whether a callback is a step of a task."""
    callback: Any = handle._callback  # type: ignore[attr-defined]
    return isinstance(getattr(callback, "__self__", None), asyncio.Task)


def label(handle: events.Handle) -> str:
    """Return the name of a callback in stories and tapes: a step of a task has the name of the task."""
    callback: Any = handle._callback  # type: ignore[attr-defined]
    owner = getattr(callback, "__self__", None)
    if isinstance(owner, _Task):
        return owner.title
    name = str(getattr(callback, "__qualname__", repr(callback)))
    for about in (*(handle._args or ()), getattr(owner, "_host_task", None)):
        if isinstance(about, _Task):
            return f"{name} of {about.title}"
    return name


# -- Sets of cancel scopes -------------------------------------------------------------------------------------------

#: By address, the cancel scopes of the run, with their numbers. Keeping them is what keeps their addresses.
_scopes: dict[int, tuple[int, Any]] = {}


@contextmanager
def prepared() -> Generator[None, None, None]:
    """Have anyio go through its cancel scopes in an order that is the same in every run, and not by address."""
    from anyio._backends import _asyncio as backend

    scope: Any = backend.CancelScope
    scope.__hash__ = _hash_of_scope
    try:
        yield
    finally:
        del scope.__hash__
        _scopes.clear()


def _hash_of_scope(found: Any) -> int:
    known = _scopes.get(id(found))
    if known is None:
        if not isinstance(events._get_running_loop(), ExploredLoop):
            return object.__hash__(found)
        known = _scopes[id(found)] = len(_scopes), found
    return known[0]
