"""Merging equal states loses no outcome: random programs come to the same with it and without it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from . import BACKENDS, choices
from .outcomes import outcomes, record


class WentWrongError(Exception):
    pass


class World:
    """What the tasks of a program share."""

    def __init__(self) -> None:
        self.x = 0
        self.y = 0
        self.list: list[int] = []
        self.events = anyio.Event(), anyio.Event()
        self.lock = anyio.Lock()
        self.condition = anyio.Condition()
        self.semaphore = anyio.Semaphore(1)
        self.limiter = anyio.CapacityLimiter(1)
        self.send, self.receive = anyio.create_memory_object_stream[int](1)
        self.scopes = anyio.CancelScope(), anyio.CancelScope()
        #: What each task came to.
        self.ends: dict[int, str] = {}


Operation = Callable[[World, int], Awaitable[object]]


async def add(world: World, me: int) -> None:
    seen = world.x
    await checkpoint()
    world.x = seen + me + 1


async def double(world: World, me: int) -> None:
    world.x, world.y = world.y, world.x * 2 + me


async def set_event(world: World, me: int) -> None:
    world.events[me % 2].set()


async def wait_event(world: World, me: int) -> None:
    await world.events[1 - me % 2].wait()
    world.y += 1


async def locked(world: World, me: int) -> None:
    async with world.lock:
        world.list.append(me)
        await checkpoint()
        world.x += len(world.list)


async def limited(world: World, me: int) -> None:
    async with world.limiter:
        await checkpoint()
        world.y = world.y * 3 + me


async def counted(world: World, me: int) -> None:
    async with world.semaphore:
        world.x = world.x * 2 + me
        await checkpoint()


async def wait_condition(world: World, me: int) -> None:
    async with world.condition:
        with anyio.move_on_after(me + 1):
            await world.condition.wait()
            world.list.append(10 + me)


async def notify(world: World, me: int) -> None:
    async with world.condition:
        world.condition.notify(1)


async def send(world: World, me: int) -> None:
    with anyio.move_on_after(2):
        await world.send.send(me)


async def receive(world: World, me: int) -> None:
    with anyio.move_on_after(1 + me):
        world.list.append(await world.receive.receive())


async def sleep(world: World, me: int) -> None:
    await anyio.sleep(1 + me % 2)
    world.list.append(me)


async def cancel(world: World, me: int) -> None:
    world.scopes[1 - me % 2].cancel()


async def handle(world: World, me: int) -> None:
    try:
        if world.x > world.y:
            raise WentWrongError(world.x)
        raise KeyError(world.y)
    except (WentWrongError, KeyError) as exc:
        await checkpoint()
        world.y += int(exc.args[0]) + me


async def shielded(world: World, me: int) -> None:
    with anyio.CancelScope(shield=True):
        await checkpoint()
        world.x += 5


async def generate(world: World, me: int) -> None:
    async def numbers() -> Any:
        for number in range(world.y % 2 + 1):
            await checkpoint()
            yield number + world.x

    async for number in numbers():
        world.list.append(number)


async def spawn(world: World, me: int) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(add, world, me)
        world.y += 1


async def fail_if(world: World, me: int) -> None:
    if choices.choose(2, "fail"):
        raise WentWrongError(me)
    world.x += 1


async def iterate(world: World, me: int) -> None:
    for number in map(int, list(world.list)):
        await checkpoint()
        world.y += number


async def timed(world: World, me: int) -> None:
    try:
        with anyio.fail_after(1):
            await world.events[me % 2].wait()
    except TimeoutError:
        world.list.append(-1)


OPERATIONS: tuple[Operation, ...] = (
    add,
    double,
    set_event,
    wait_event,
    locked,
    limited,
    counted,
    wait_condition,
    notify,
    send,
    receive,
    sleep,
    cancel,
    handle,
    shielded,
    generate,
    spawn,
    fail_if,
    iterate,
    timed,
)
#: On asyncio a cancellation is tried again at every turn of the event loop until it has arrived. Without merging and
#: without a bound there is no end to that; likewise for whatever has a deadline.
CANCELLING = {cancel, wait_condition, send, receive, timed}


def program(operations: list[list[Operation]], *, offer: bool = False) -> Callable[[], Awaitable[None]]:
    async def run(world: World, me: int) -> None:
        world.ends[me] = "cancelled"
        with world.scopes[me] if me < 2 else anyio.CancelScope():
            try:
                for operation in operations[me]:
                    await operation(world, me)
                world.ends[me] = "finished"
            except WentWrongError as exc:
                world.ends[me] = repr(exc)

    async def scenario() -> None:
        world = World()
        if offer:
            choices.cancellable("the first", world.scopes[0].cancel)
        async with anyio.create_task_group() as tasks:
            for me in range(len(operations)):
                tasks.start_soon(run, world, me)
        with world.send, world.receive:
            left = world.receive.statistics().current_buffer_used
        ends = tuple(sorted(world.ends.items()))
        record((world.x, world.y, tuple(world.list), ends, left, anyio.current_time() % 64))

    return scenario


def draw(seed: int, tasks: int, length: int, operations: tuple[Operation, ...]) -> list[list[Operation]]:
    random = Random(seed)
    return [random.choices(operations, k=length) for _ in range(tasks)]


def compare(scenario: Callable[[], Awaitable[None]], backend: str, **limits: Any) -> tuple[int, int]:
    merged, few = outcomes(scenario, backend, merge=True, **limits)
    every, many = outcomes(scenario, backend, merge=False, **limits)
    assert merged == every
    return few, many


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("callbacks", [False, True])
@pytest.mark.parametrize("seed", range(12))
def test_every_order(backend: str, seed: int, callbacks: bool):
    operations = tuple(each for each in OPERATIONS if backend == "trio" or each not in CANCELLING)
    compare(program(draw(seed, 2, 2, operations)), backend, failures=seed % 2, callbacks=callbacks)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("bound", range(4))
@pytest.mark.parametrize("seed", range(6))
def test_every_order_up_to_a_bound(backend: str, bound: int, seed: int):
    shape = (3, 2) if bound < 2 else (2, 2)
    scenario = program(draw(100 + seed, *shape, OPERATIONS), offer=True)
    compare(scenario, backend, bound=bound, cancellations=seed % 2, failures=1)


def test_merging_pays():
    few, many = compare(program([[add], [add], [add]]), "asyncio", callbacks=True)
    assert few * 2 < many
