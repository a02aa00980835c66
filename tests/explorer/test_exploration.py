"""The failures that an exploration finds, the limits that it keeps, and its account of itself."""

from __future__ import annotations

import asyncio
import gc
import re
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from types import CoroutineType
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from . import (
    BACKENDS,
    DeadlockError,
    EndlessRunError,
    Exploration,
    ExplorationFailure,
    LeftOverError,
    ThreadError,
    UnhandledError,
    UnreproducibleError,
    choices,
    explore,
    replay,
)

Scenario = Callable[[], Awaitable[None]]


@pytest.fixture
def seen() -> Iterator[list[Any]]:
    """Collects what the runs of a scenario leave."""
    _seen.clear()
    yield _seen
    _seen.clear()


_seen: list[Any] = []


def see(found: object) -> None:
    _seen.append(found)


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return request.param


def failed(exploration: Exploration, kind: type[BaseException]) -> ExplorationFailure:
    failure = exploration.failure
    assert failure is not None
    assert isinstance(failure.error, kind), failure.error
    assert failure.__cause__ is failure.error
    assert not exploration.complete
    with pytest.raises(ExplorationFailure) as caught:
        exploration.check()
    assert caught.value is failure
    return failure


async def lost_update() -> None:
    number = 0

    async def increment(steps: int) -> None:
        nonlocal number
        for _ in range(steps):
            await checkpoint()
        seen = number
        await checkpoint()
        number = seen + 1

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(increment, 0, name="early")
        tasks.start_soon(increment, 3, name="late")
    assert number == 2, "an update is lost"


async def opposite_orders() -> None:
    one, other = anyio.Lock(), anyio.Lock()

    async def take(first: anyio.Lock, second: anyio.Lock) -> None:
        async with first:
            await checkpoint()
            async with second:
                pass

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(take, one, other, name="forward")
        tasks.start_soon(take, other, one, name="backward")


async def nothing_wrong() -> None:
    event = anyio.Event()
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(event.wait)
        await checkpoint()
        event.set()


def test_a_lost_update_is_found_and_its_tape_plays_it_again(backend: str):
    failure = failed(explore(lost_update, backend=backend), AssertionError)
    assert "an update is lost" in str(failure)
    assert str(failure.tape) in str(failure)
    with pytest.raises(ExplorationFailure) as again:
        replay(lost_update, str(failure.tape))
    assert again.value.story == failure.story
    assert any("early" in line for line in failure.story)


def test_a_deadlock_says_who_waits_where(backend: str):
    failure = failed(explore(opposite_orders, backend=backend), DeadlockError)
    assert isinstance(failure.error, DeadlockError)
    text = "\n".join(failure.error.waiting)
    assert re.search(r"^forward waits in .*take \(.*test_exploration\.py:\d+\)", text, re.MULTILINE)
    assert re.search(r"^backward waits in .*take \(", text, re.MULTILINE)
    assert "scenario waits in" in text


def test_what_is_right_is_explored_to_the_end(backend: str):
    exploration = explore(nothing_wrong, backend=backend)
    exploration.check()
    assert exploration.complete
    assert exploration.failure is None
    assert exploration.schedules > 1
    assert "complete: every order;" in str(exploration)


# -- Runs that go round ------------------------------------------------------------------------------------------------


def polling(*others: Callable[[dict[str, bool]], Awaitable[None]], goal: str = "done") -> Scenario:
    async def poll(world: dict[str, bool]) -> None:
        while not world.get(goal):
            await checkpoint()

    async def scenario() -> None:
        world: dict[str, bool] = {}
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(poll, world)
            for other in others:
                tasks.start_soon(other, world)

    return scenario


def test_two_who_give_way_to_each_other_for_ever_are_found(backend: str):
    """Only in some orders."""

    async def scenario() -> None:
        wants = [False, False]

        async def enter(me: int) -> None:
            wants[me] = True
            await checkpoint()
            while wants[1 - me]:
                wants[me] = False
                await checkpoint()
                wants[me] = True
                await checkpoint()
            wants[me] = False

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(enter, 0, name="polite")
            tasks.start_soon(enter, 1, name="courteous")

    failed(explore(scenario, backend=backend, steps=200), EndlessRunError)


def test_who_sleeps_for_ever_is_never_woken(backend: str):
    """Although that is a timer on asyncio."""

    async def another() -> None:
        await anyio.sleep_forever()
        raise AssertionError("woken")

    async def scenario() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(another)
            await anyio.sleep(1_000)
            await anyio.Event().wait()

    failure = failed(explore(scenario, backend=backend), DeadlockError)
    assert "another waits in" in str(failure)


def test_a_tape_knows_that_callbacks_were_chosen():
    async def scenario() -> None:
        log: list[str] = []
        future = asyncio.get_running_loop().create_future()
        future.add_done_callback(lambda _: log.append("callback"))

        async def another() -> None:
            log.append("task")

        task = asyncio.create_task(another())
        future.set_result(None)
        await task
        assert log != ["task"]
        await asyncio.sleep(0)

    explore(scenario).check()
    failure = failed(explore(scenario, callbacks=True), AssertionError)
    with pytest.raises(ExplorationFailure) as again:
        replay(scenario, str(failure.tape))
    assert again.value.story == failure.story


def test_errors_that_pass_what_is_left_step_by_step(backend: str):
    @asynccontextmanager
    async def left_in_steps() -> AsyncIterator[None]:
        try:
            yield
        finally:
            with anyio.CancelScope(shield=True):
                await checkpoint()

    async def fail() -> None:
        raise ValueError

    async def work() -> None:
        try:
            async with left_in_steps(), anyio.create_task_group() as tasks:
                tasks.start_soon(fail)
        except* ValueError:
            pass
        await checkpoint()

    async def scenario() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work)
            tasks.start_soon(work)

    exploration = explore(scenario, backend=backend)
    exploration.check()
    assert exploration.complete


def test_a_run_without_an_end_is_found(backend: str):
    failure = failed(explore(polling(), backend=backend, steps=1_000), EndlessRunError)
    assert "more steps) ..." in str(failure)
    with pytest.raises(ExplorationFailure, match="EndlessRunError"):
        replay(polling(), str(failure.tape))


# -- What comes out otherwise ------------------------------------------------------------------------------------------


def test_an_exception_in_a_callback_is_found():
    async def scenario() -> None:
        asyncio.get_running_loop().call_soon(int, "no number")
        await checkpoint()
        await checkpoint()

    failure = failed(explore(scenario), UnhandledError)
    assert isinstance(failure.error.__cause__, ValueError)


def test_a_failure_that_nobody_waits_for_is_found():
    async def fail() -> None:
        raise ValueError("unheard")

    async def scenario() -> None:
        task = asyncio.ensure_future(fail())
        await asyncio.sleep(1)
        del task

    failure = failed(explore(scenario), UnhandledError)
    assert isinstance(failure.error.__cause__, ValueError)


def test_a_task_that_is_left_over_is_found():
    async def linger() -> None:
        await asyncio.sleep(5)

    async def scenario() -> None:
        task = asyncio.ensure_future(linger())
        task.set_name("new name")
        await asyncio.sleep(1)

    failure = failed(explore(scenario), LeftOverError)
    assert "linger (" in str(failure.error)


def test_a_scenario_that_is_cancelled_has_failed():
    async def scenario() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(1)

    failed(explore(scenario), asyncio.CancelledError)


def test_what_a_watcher_finds_ends_the_run(backend: str, seen: list[Any]):
    async def scenario() -> None:
        numbers: list[int] = []
        choices.watch(lambda: check(numbers), lambda: see(len(numbers)))
        await anyio.sleep(1)
        for number in range(3):
            numbers.append(number)
            await checkpoint()

    def check(numbers: list[int]) -> None:
        assert 1 not in numbers, "there is a 1"

    failure = failed(explore(scenario, backend=backend), AssertionError)
    assert "there is a 1" in str(failure)
    assert seen and set(seen) == {0}


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_comes_out_at_once(backend: str, interrupt: type[BaseException]):
    runs: list[int] = []

    async def scenario() -> None:
        async def stop() -> None:
            raise interrupt

        runs.append(1)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(checkpoint)
            tasks.start_soon(stop)

    with pytest.raises(interrupt):
        explore(scenario, backend=backend)
    assert len(runs) == 1
    assert not choices.exploring()


# -- What is injected --------------------------------------------------------------------------------------------------


def test_a_cancellation_comes_at_every_await(backend: str):
    async def scenario() -> None:
        reached = []
        with anyio.CancelScope() as scope:
            take_back = choices.cancellable("the work", scope.cancel)
            for step in range(4):
                reached.append(step)
                await checkpoint()
            take_back()
            await checkpoint()
            await checkpoint()
        seen.add((len(reached), scope.cancelled_caught))

    seen: set[tuple[int, bool]] = set()
    exploration = explore(scenario, backend=backend, cancellations=1, bound=0)
    exploration.check()
    assert {(number, True) for number in (1, 2, 3, 4)} <= seen
    assert (4, False) in seen
    seen.clear()
    assert explore(scenario, backend=backend).schedules == 1
    assert seen == {(4, False)}


def test_no_more_is_cancelled_than_is_allowed(backend: str):
    async def scenario() -> None:
        cancelled = []
        for number in range(3):
            choices.cancellable(f"number {number}", lambda number=number: cancelled.append(number))
        for _ in range(4):
            await checkpoint()
        most.append(len(cancelled))

    for allowed in (0, 1, 2):
        most: list[int] = []
        explore(scenario, backend=backend, cancellations=allowed).check()
        assert set(most) == set(range(allowed + 1))


def test_a_failure_comes_at_every_choice(backend: str):
    async def scenario() -> None:
        ways = []
        for number in range(3):
            ways.append(choices.choose(3, f"choice {number}"))
            await checkpoint()
        seen.add(tuple(ways))

    def run(failures: int) -> set[tuple[int, ...]]:
        seen.clear()
        exploration = explore(scenario, backend=backend, failures=failures)
        exploration.check()
        assert exploration.complete
        return set(seen)

    seen: set[tuple[int, ...]] = set()
    every = {(a, b, c) for a in range(3) for b in range(3) for c in range(3)}
    for failures in range(4):
        assert run(failures) == {ways for ways in every if sum(map(bool, ways)) <= failures}


def test_a_choice_is_told_in_the_story(backend: str):
    async def scenario() -> None:
        with anyio.CancelScope() as scope:
            choices.cancellable("the work", scope.cancel)
            await checkpoint()
            await checkpoint()
        assert not (choices.choose(2, "deploy fails") and scope.cancel_called)

    failure = failed(explore(scenario, backend=backend, cancellations=1, failures=1), AssertionError)
    story = "\n".join(failure.story)
    assert "cancel the work" in story
    assert "deploy fails (way 1)" in story


# -- Its limits, and what it says of them ------------------------------------------------------------------------------


async def two_beside_each_other() -> None:
    async with anyio.create_task_group() as tasks:
        for _ in range(2):
            tasks.start_soon(twice)


async def twice() -> None:
    await checkpoint()
    await checkpoint()


def test_a_bound_limits_the_deviations(backend: str):
    numbers = []
    for bound in (0, 1, 2, None):
        exploration = explore(two_beside_each_other, backend=backend, bound=bound)
        assert exploration.complete
        assert exploration.limits.bound == bound
        numbers.append(exploration.schedules)
    assert numbers[0] == 1
    assert numbers == sorted(set(numbers))
    assert "at most 2 deviations" in str(explore(two_beside_each_other, backend=backend, bound=2))


def test_what_is_cut_off_is_not_complete(backend: str):
    every = explore(two_beside_each_other, backend=backend).schedules
    for most, complete in ((0, False), (every - 1, False), (every, True), (every + 1, True)):
        exploration = explore(two_beside_each_other, backend=backend, most=most)
        assert exploration.complete is complete
        assert exploration.schedules == min(most, every)
        assert ("NOT complete" in str(exploration)) is not complete


def test_time_is_virtual(backend: str, seen: list[Any]):
    async def scenario() -> None:
        with anyio.move_on_after(3_600) as scope:
            await anyio.sleep(3_599)
            see(anyio.current_time())
            await anyio.sleep(3_600)
        see(anyio.current_time())
        assert scope.cancelled_caught

    explore(scenario, backend=backend).check()
    assert {3_599, 3_600} == {time - min(seen) + 3_599 for time in seen}


def test_timers_of_one_moment_go_off_in_every_order(backend: str):
    async def scenario() -> None:
        async def sleep(number: int) -> None:
            await anyio.sleep(1)
            order.append(number)

        order: list[int] = []
        async with anyio.create_task_group() as tasks:
            for number in range(3):
                tasks.start_soon(sleep, number)
        seen.add(tuple(order))

    seen: set[tuple[int, ...]] = set()
    explore(scenario, backend=backend).check()
    assert len(seen) == 6


def test_threads_are_refused(backend: str):
    async def scenario() -> None:
        await anyio.to_thread.run_sync(int)

    with pytest.raises(ThreadError):
        explore(scenario, backend=backend)
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()


async def _fails() -> None:
    raise AssertionError("as it was to be")


async def _starts_a_thread() -> None:
    await anyio.to_thread.run_sync(int)


@pytest.mark.parametrize("ends", [_fails, _starts_a_thread, checkpoint])
def test_no_run_leaves_anything_behind(backend: str, ends: Callable[[], Awaitable[None]], seen: list[Any]):
    """However it ends: neither what was found, nor a scenario that remembers its last run, keeps coroutines."""

    async def scenario() -> None:
        async with anyio.create_task_group() as tasks:
            see(tasks)
            for _ in range(2):
                tasks.start_soon(checkpoint)
            await ends()

    found: list[object] = []
    try:
        found.append(explore(scenario, backend=backend, failures=1))
        replay(scenario, f"{backend}:c0f0:9")
    except Exception as exc:  # noqa: BLE001 - kept, whatever it is
        found.append(exc)
    gc.collect()
    assert seen
    assert found
    assert [each for each in gc.get_objects() if isinstance(each, CoroutineType) and each.cr_frame] == []


def test_what_depends_on_a_global_counter_is_refused(backend: str):
    async def scenario() -> None:
        counter.append(0)
        async with anyio.create_task_group() as tasks:
            for number in range(3):
                tasks.start_soon(twice, name=f"{number} of run {len(counter)}")

    counter: list[int] = []
    with pytest.raises(UnreproducibleError, match=r"of run 1.*of run 2"):
        explore(scenario, backend=backend)


def test_a_choice_that_depends_on_a_global_counter_is_refused(backend: str):
    """Even by a scenario that catches whatever comes."""

    async def scenario() -> None:
        counter.append(0)
        for _ in range(3):
            with suppress(Exception):
                choices.choose(2 + len(counter) % 2, "something")
            await checkpoint()

    counter: list[int] = []
    with pytest.raises(UnreproducibleError):
        explore(scenario, backend=backend, failures=1)


def test_no_exploration_inside_an_event_loop(backend: str):
    async def outer() -> None:
        with pytest.raises(RuntimeError, match="where none is running"):
            explore(nothing_wrong, backend=backend)

    anyio.run(outer, backend=backend)
    explore(outer, backend=backend).check()


def test_outside_of_an_exploration_the_world_goes_its_ordinary_way():
    assert choices.choose(3, "anything") == 0
    choices.cancellable("nobody", int)()
    choices.watch(int)
    assert not choices.exploring()
