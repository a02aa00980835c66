"""Asyncio, one chosen callback after the other, in virtual time."""

# The insides of asyncio and anyio are what is to be seen here, and there is no public way to see them.
# pyright: reportPrivateUsage=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
import gc
import math
import threading
from asyncio import events, mixins
from bisect import bisect_right, insort
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import Context
from functools import cache
from typing import Any, NoReturn

from anyio._core._eventloop import reset_current_async_library, set_current_async_library
from anyio.lowlevel import _run_vars

from . import choices
from .play import LeftOverError, Play, ThreadError, UnhandledError, UnreadableStateError, close
from .state import STEPS, LeftOut, Reading, without_address
from .stories import where


class _Task(asyncio.Task[Any]):
    """A task that has its place in a set by its number, not by where it lies in memory.

    :ivar number: in the order in which tasks were created
    :ivar title: what it is called, with a number if others were called the same before it
    :ivar attributes: what somebody has set on it; the class it is derived from keeps them where they cannot be seen
    """

    __slots__ = ("attributes", "number", "title")
    number: int
    title: str
    attributes: dict[str, object]

    def __hash__(self) -> int:
        return self.number

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        if not hasattr(_Task, name):
            self.attributes[name] = value

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)
        self.attributes.pop(name, None)


class ExploredLoop(asyncio.BaseEventLoop):
    """Runs one ready callback per step: the one that the play chooses.

    Its clock stands still while anything is ready, and then jumps to the next timer. There are no threads, sockets or
    processes in it.
    """

    # Of the class it is derived from.
    _ready: deque[Any]
    _scheduled: list[asyncio.TimerHandle]
    _exception_handler: object
    _task_factory: object

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
        task.number, task.title, task.attributes = number, self._title(name), {}
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
                # Callbacks that have made others ready: they are next, and count, or some would go on for ever.
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
        """Run what is no step of a task. What becomes ready thereby waits until a task has run, or it could go on."""
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

    def state(self, *, ordered: bool) -> tuple[object, ...]:
        """What everything else in the state can be reached from."""
        ready = list(self._ready)
        tasks = [task for task in self.tasks if not task.done() or _is_unheard(task)]
        timers = [timer for timer in self._scheduled if not timer.cancelled()]
        settings = self._exception_handler, self._task_factory
        variables = _run_vars.get(self)
        if ordered:
            # What is kept in sets comes in the order of these numbers.
            scopes = [(number, scope) for number, scope in _scopes.values() if scope._active]
            numbers = len(self.tasks), [task.number for task in tasks], len(_scopes), scopes
            return self._now, tasks, ready, timers, settings, variables, numbers
        tasks.sort(key=_rank)
        ready.sort(key=label)
        return self._now, tasks, ready, timers, settings, variables

    def label(self, ready: events.Handle) -> str:
        return label(ready)

    def _process_events(self, event_list: object) -> None:
        pass

    def _write_to_self(self) -> None:
        pass

    def _asyncgen_finalizer_hook(self, agen: Any) -> None:
        """As the loop it extends; but what is dropped with its run is not to be finished in another."""
        if self.is_running():
            self.call_soon(self.create_task, agen.aclose())


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
        _look_for_what_is_left(loop.tasks)
    finally:
        choices.play(None)
        reset_current_async_library(token)
        _abandon(loop)


async def _call(scenario: Callable[[], Awaitable[object]]) -> None:
    await scenario()


def _look_for_what_is_left(tasks: Sequence[_Task]) -> None:
    """What a scenario that has returned has started, and not waited for.

    :raises UnhandledError: if a task has failed and nobody knows
    :raises LeftOverError: if a task is still there
    """
    for task in tasks:
        if task.done() and _is_unheard(task):
            raise UnhandledError(f"nobody has waited for {task.title}, which failed") from task.exception()
    # That of a generator which was dropped is the event loop's own.
    left = [task for task in tasks if not task.done() and type(task.get_coro()) not in STEPS]
    if left:
        raise LeftOverError([where(task.title, task.get_coro()) for task in left])


def _is_unheard(task: Any) -> bool:
    """Whether it has failed, and nobody has asked for its exception."""
    return bool(task._log_traceback)


def _abandon(loop: ExploredLoop) -> None:
    """Take what is left of a run apart, now: what the collector would run later would run in the middle of another."""
    for task in reversed(loop.tasks):
        task._log_destroy_pending = False
        coroutine = task.get_coro()
        if not task.done():
            close(coroutine)
        # They have the same hashes in every run, and would be in each other's way in these tables.
        asyncio._unregister_task(task)
        _states().pop(task, None)
    loop.close()
    loop.tasks.clear()
    loop.main = None
    _scopes.clear()


def _is_step(handle: events.Handle) -> bool:
    """Whether a callback is a step of a task."""
    callback: Any = handle._callback  # type: ignore[attr-defined]
    return isinstance(getattr(callback, "__self__", None), asyncio.Task)


def _rank(task: _Task) -> tuple[str, int]:
    return task.get_name(), task.number


def label(handle: events.Handle) -> str:
    """What a callback is called in stories and tapes: a step of a task has the name of the task."""
    callback: Any = handle._callback  # type: ignore[attr-defined]
    owner = getattr(callback, "__self__", None)
    if isinstance(owner, _Task):
        return owner.title
    name = str(getattr(callback, "__qualname__", repr(callback)))
    for about in (*(handle._args or ()), getattr(owner, "_host_task", None)):
        if isinstance(about, _Task):
            return f"{name} of {about.title}"
    return name


# -- How its objects are read ----------------------------------------------------------------------------------------


def _read_future(found: Any) -> tuple[Any, ...]:
    done = found.done()
    return (
        found._state,
        found._callbacks,
        found._result if done and found._state == "FINISHED" else None,
        found._exception if done and found._state == "FINISHED" else None,
        without_address(found._cancel_message),
        found._log_traceback,
    )


def _read_plain_future(found: Any) -> tuple[Any, ...]:
    if type(found) is not asyncio.Future:
        # What it has beside what every future has is kept where it cannot be seen.
        raise UnreadableStateError(found)
    return _read_future(found)


def _read_gathering(found: Any) -> tuple[Any, ...]:
    return *_read_future(found), found._children, found._cancel_requested


def _read_task(found: Any) -> tuple[Any, ...]:
    contexts = [each for each in gc.get_referents(found) if type(each) is Context]
    coroutine = found.get_coro()
    if type(coroutine) in STEPS:
        # One that is not done; whether it has begun says its generator.
        coroutine = gc.get_referents(coroutine)
    return (
        _read_future(found),
        found.attributes,
        coroutine,
        found._fut_waiter,
        found._must_cancel,
        found.cancelling(),
        contexts,
        _scope_of(found),
    )


def _read_handle(found: Any) -> tuple[Any, ...]:
    return found._callback, found._args, found._context, found._cancelled


def _read_timer(found: Any) -> tuple[Any, ...]:
    return found.when(), *_read_handle(found)


def _scope_of(task: object) -> object:
    """What anyio keeps beside its tasks, in a table of its own."""
    state = _states().get(task)
    return None if state is None else state.cancel_scope


@cache
def _states() -> Any:
    from anyio._backends import _asyncio as backend

    return backend._task_states


def _read_group(found: Any) -> tuple[Any, ...]:
    held = vars(found)
    return {**held, "_tasks": None}, sorted(held["_tasks"], key=_rank)


def readings(*, ordered: bool) -> Mapping[type, Reading]:
    """How the objects of asyncio, and of anyio on it, are read."""
    from anyio._backends import _asyncio as backend

    tasks: Any = asyncio.tasks
    gathering = tasks._GatheringFuture
    loop: Any = asyncio.BaseEventLoop()
    waiting = asyncio.Future[Any](loop=loop).__await__()
    task: Any = asyncio.Task(_nothing(), loop=loop)
    stepper = type(loop._ready.pop()._callback)
    loop.close()
    task._log_destroy_pending = False
    task.get_coro().close()
    return {
        _Task: _read_task,
        gathering: _read_gathering,
        asyncio.Future: _read_plain_future,
        events.TimerHandle: _read_timer,
        events.Handle: _read_handle,
        **({} if ordered else {backend.TaskGroup: _read_group}),
        type(waiting): gc.get_referents,
        stepper: gc.get_referents,
    }


async def _nothing() -> None:
    pass


def left_out(*, ordered: bool) -> LeftOut:
    """What says the same the other way round, and reasons that are made of addresses."""
    from anyio._backends import _asyncio as backend

    inside = set[str]() if ordered else {"_child_scopes", "_tasks"}
    return {
        backend.CancelScope: frozenset({"_cancel_reason", *inside}),
        backend.TaskState: frozenset({"parent_id"}),
        # Known from the first wait on.
        mixins._LoopBoundMixin: frozenset({"_loop"}),
    }


# -- What has no order of its own ------------------------------------------------------------------------------------

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
