"""One run of a scenario: the task that goes next at every step, and the failure that is found on the way."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from inspect import CORO_CREATED, getcoroutinestate
from traceback import clear_frames
from typing import Any, NoReturn, Protocol, cast
from unittest.mock import patch

from attrs import define, field, frozen

_CLOSED_AT_MOST = 100


class Abandoned(BaseException):
    """Leaves a run whose end is of no interest any more. Not an :class:`Exception`: no scenario is to catch it."""


class DeadlockError(AssertionError):
    """Nothing can run, no timer is set, and tasks wait.

    :ivar waiting: for each task, where it waits
    """

    def __init__(self, waiting: Sequence[str]) -> None:
        self.waiting = tuple(waiting)
        super().__init__("deadlock: nothing can run and no timer is set, but\n  " + "\n  ".join(waiting))


class EndlessRunError(AssertionError):
    """A run has not ended within the number of steps that it was given."""


class UnreproducibleError(Exception):
    """The same beginning of a run went on in another way: the scenario depends on something outside of it."""

    def __init__(self, before: Sequence[str], now: Sequence[str]) -> None:
        super().__init__(
            f"a run cannot be repeated: at the same point it could go on with {', '.join(before) or 'nothing'}, and "
            f"now with {', '.join(now) or 'nothing'}; the scenario depends on something that it does not start afresh, "
            f"like a module global or an address"
        )


class ThreadError(RuntimeError):
    """A scenario wants a thread, whose steps have no order that could be chosen."""

    def __init__(self) -> None:
        super().__init__("threads cannot be explored: their steps have no order that could be chosen")


class LeftOverError(AssertionError):
    """A scenario has returned before a task that it has started.

    :ivar tasks: for each, where it stands
    """

    def __init__(self, tasks: Sequence[str]) -> None:
        self.tasks = tuple(tasks)
        super().__init__("the scenario has returned, but\n  " + "\n  ".join(tasks))


class UnhandledError(AssertionError):
    """An exception came out of a callback, or out of a task that no other waits for. It is the ``__cause__``."""


@frozen
class Limits:
    """The interventions that an exploration may make in one run.

    :ivar cancellations: the number of offers that it may cancel
    :ivar failures: the number of choices that may go another way than the ordinary one
    :ivar bound: the number of steps that may be other ones than that of the task that has waited longest; None: all
    :ivar steps: the number of steps after which a run counts as endless
    :ivar callbacks: on asyncio, whether also the order is chosen of callbacks that are no step of a task; they run
        before the next step otherwise
    """

    cancellations: int = 0
    failures: int = 0
    bound: int | None = None
    steps: int = 20_000
    callbacks: bool = False

    def __attrs_post_init__(self) -> None:
        least = {"cancellations": 0, "failures": 0, "bound": 0, "steps": 1}
        for name, lowest in least.items():
            number: object = getattr(self, name)
            if number is None and name == "bound":
                continue
            if not isinstance(number, int) or number < lowest:
                raise ValueError(f"{name} has to be a whole number, {lowest} or more, and is {number!r}")


class Backend(Protocol):
    """The event loop of one run, as a play sees it."""

    def label(self, ready: Any) -> str:
        """Return the name of something that is ready."""
        ...


@define(eq=False)
class Offer:
    """Something that may be cancelled between any two steps."""

    what: str
    cancel: Callable[[], object]
    play: Play

    def take_back(self) -> None:
        self.play.offers.pop(self, None)


@define(eq=False)
class Play(ABC):
    """Decides the order of one run. The decisions are kept as a list of numbers, which can be played again.

    At a point with several ways the first are the tasks that could run now, in the order in which they became ready,
    then the cancellations on offer. Way 0 is the one that the event loop itself would take.
    """

    limits: Limits
    #: Which way was taken at every point that had more than one.
    taken: list[int] = field(factory=list[int])
    #: The number of these that were other steps than that of the task that has waited longest.
    deviations: int = 0
    cancelled: int = 0
    failed: int = 0
    steps: int = 0
    failure: BaseException | None = None
    #: Why this is no run of an exploration at all.
    broken: Exception | None = None
    backend: Backend = field(init=False)
    #: The offers that may be cancelled now; a dict for its order.
    offers: dict[Offer, None] = field(factory=dict[Offer, None])
    watchers: list[Callable[[], object]] = field(factory=list[Callable[[], object]])
    at_rest: list[Callable[[], object]] = field(factory=list[Callable[[], object]])

    @abstractmethod
    def decide(self, ways: int, ready: Sequence[Any] | None) -> int:
        """Choose a way, and return its number.

        The scenario may ask from deep inside, and may catch an exception: give up instead of raising one.

        :param ready: the tasks that could run, or None where the scenario asks

        """

    def play(self, scenario: Callable[[], Awaitable[object]], runner: Callable[..., None]) -> None:
        """Have it played, to its end or until it is abandoned. ``failure`` is the exception that it failed with.

        :raises UnreproducibleError: if it does not begin as it did before
        :raises ThreadError: if the scenario wants a thread
        """
        try:
            with _no_threads(self):
                runner(scenario, self)
        except Abandoned:
            pass
        except (KeyboardInterrupt, SystemExit) as exc:
            _let_go(exc)
            raise
        except BaseExceptionGroup as exc:
            for each in _leaves(exc):
                if isinstance(each, (KeyboardInterrupt, SystemExit)):
                    raise each from exc
            self.violated(exc)
        except BaseException as exc:  # noqa: BLE001 - any exception of a run is its failure
            self.violated(exc)
        finally:
            self.offers.clear()
            self.watchers.clear()
            self.at_rest.clear()
        _let_go(self.failure)
        if self.broken is not None:
            _let_go(self.broken)
            raise self.broken

    # -- Asked by the event loop -------------------------------------------------------------------------------------

    def next(self, ready: Sequence[Any]) -> int | None:
        """Choose a task to run next. None: there was a cancellation, and other tasks may be ready now."""
        if self.failure is not None or self.broken is not None:
            raise Abandoned
        self.steps += 1
        if self.steps > self.limits.steps:
            raise EndlessRunError(f"the run has not ended after {self.limits.steps} steps")
        runnable = len(ready)
        ways = runnable
        if self.cancelled < self.limits.cancellations:
            ways += len(self.offers)
        way = 0
        if ways > 1:
            way = self.decide(ways, ready)
            if self.broken is not None:
                raise Abandoned
            self.taken.append(way)
        if way < runnable:
            if way:
                self.deviations += 1
            return way
        self.cancelled += 1
        list(self.offers)[way - runnable].cancel()
        self.stepped()
        return None

    def violated(self, violation: BaseException) -> None:
        """Note the failure of the run, which ends after the step that it is at."""
        if self.failure is None:
            self.failure = violation

    def stepped(self) -> None:
        for check in self.watchers:
            self._ask(check)

    def rest(self) -> None:
        for check in self.at_rest:
            self._ask(check)
        if self.failure is not None:
            raise Abandoned

    def deadlock(self, waiting: Sequence[str]) -> NoReturn:
        raise DeadlockError(waiting)

    def callback_failed(self, _: object, context: Mapping[str, Any]) -> None:
        if "handle" in context:
            error = UnhandledError(context["message"])
            error.__cause__ = context.get("exception")
            self.violated(error)

    def _ask(self, check: Callable[[], object]) -> None:
        try:
            check()
        except Exception as exc:  # noqa: BLE001 - any exception of a watcher is a failure of the run
            self.violated(exc)

    # -- Asked by the scenario ---------------------------------------------------------------------------------------

    def choose(self, ways: int, what: str) -> int:
        if self.failed >= self.limits.failures or ways < 2:
            return 0
        way = self.decide(ways, None)
        self.taken.append(way)
        if way:
            self.failed += 1
        return way

    def cancellable(self, what: str, cancel: Callable[[], object]) -> Callable[[], None]:
        offer = Offer(what, cancel, self)
        self.offers[offer] = None
        return offer.take_back

    def watch(self, between_steps: Callable[[], object], at_rest: Callable[[], object] | None) -> None:
        self.watchers.append(between_steps)
        if at_rest is not None:
            self.at_rest.append(at_rest)

    def give_up(self, reason: Exception) -> None:
        if self.broken is None:
            self.broken = reason


@define(eq=False)
class Replay(Play):
    """Goes the ways of a tape, and the ordinary ones after its end. Tells what it does, if asked.

    :ivar story: a line for each step, if it is a list
    """

    tape: Sequence[int] = ()
    story: list[str] | None = None

    def play(self, scenario: Callable[[], Awaitable[object]], runner: Callable[..., None]) -> None:
        """As every run.

        :raises ValueError: if it is no tape of this scenario
        """
        super().play(scenario, runner)
        if self.failure is None and len(self.taken) < len(self.tape):
            raise ValueError(
                f"the tape is of another scenario: the run has ended after {len(self.taken)} points with several ways"
            )

    def decide(self, ways: int, ready: Sequence[Any] | None) -> int:
        position = len(self.taken)
        way = self.tape[position] if position < len(self.tape) else 0
        if way < ways:
            return way
        self.give_up(
            ValueError(f"the tape is of another scenario: at point {position} there are {ways} ways, and no way {way}")
        )
        return 0

    def next(self, ready: Sequence[Any]) -> int | None:
        names = [self.backend.label(each) for each in ready]
        offers = list(self.offers)
        way = super().next(ready)
        if self.story is not None:
            others = [name for index, name in enumerate(names) if index != way]
            instead = f"   (ready as well: {', '.join(others)})" if others else ""
            what = names[way] if way is not None else f"cancel {offers[self.taken[-1] - len(ready)].what}"
            self.story.append(f"{self.steps}. {what}{instead}")
        return way

    def choose(self, ways: int, what: str) -> int:
        way = super().choose(ways, what)
        if self.story is not None and way:
            self.story.append(f"   {what} (way {way})")
        return way


def close(coroutine: Any) -> None:
    """End a coroutine that is not to be resumed any more, even if it resists."""
    if getattr(coroutine, "cr_frame", None) is not None and getcoroutinestate(coroutine) == CORO_CREATED:
        # A task handle of anyio's has another one to await, which would complain that it was not awaited.
        inner = getattr(coroutine.cr_frame.f_locals.get("self"), "coro", None)
        if inner is not None:
            close(inner)
    # Each await of its cleanup takes one more; and it may be one that never ends.
    for _ in range(_CLOSED_AT_MOST):
        try:
            coroutine.close()
        except KeyboardInterrupt:
            raise
        except BaseException:  # noqa: BLE001 - its run is over
            pass
        if getattr(coroutine, "cr_frame", None) is None:
            return


def _let_go(error: BaseException | None) -> None:
    """Keep an error, and nothing of the run that it came from: that is to be collected before the next run."""
    left = [error]
    known = set[int]()
    while left:
        each = left.pop()
        if each is None or id(each) in known:
            continue
        known.add(id(each))
        clear_frames(each.__traceback__)
        left += [each.__cause__, each.__context__]
        if isinstance(each, BaseExceptionGroup):
            left += cast("BaseExceptionGroup[BaseException]", each).exceptions


def _leaves(group: Any) -> Iterator[BaseException]:
    for each in group.exceptions:
        if isinstance(each, BaseExceptionGroup):
            yield from _leaves(each)
        else:
            yield each


@contextmanager
def _no_threads(play: Play) -> Generator[None, None, None]:
    """No thread is started by what runs here. Other threads may do what they like."""
    start, here = threading.Thread.start, threading.get_ident()

    def refuse(thread: threading.Thread) -> None:
        if threading.get_ident() != here:
            return start(thread)
        error = ThreadError()
        play.give_up(error)
        raise error

    with patch.object(threading.Thread, "start", refuse):
        yield
