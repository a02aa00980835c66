"""Whatever a program may depend on is read, or refused: two orders that leave different things behind are not merged.

Each case is a box into which two tasks put 1 and 2. Nothing but the box tells which of them was the last.
"""

from __future__ import annotations

import array
import asyncio
import collections
import contextvars
import datetime as dt
import decimal
import enum
import functools
import io
import itertools
import random
import socket
import threading
import types
import weakref
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import attrs
import pytest
import trio
from anyio.lowlevel import RunVar, checkpoint

from . import UnreadableStateError, explore
from .outcomes import outcomes, record

Put = Callable[[Any, int], Any]
Get = Callable[[Any], Any]


def race(make: Callable[[], Any], put: Put, get: Get) -> Callable[[], Awaitable[None]]:
    async def setter(box: Any, value: int) -> None:
        await checkpoint()
        put(box, value)

    async def scenario() -> None:
        box = make()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(setter, box, 1)
            tasks.start_soon(setter, box, 2)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(checkpoint)
            tasks.start_soon(checkpoint)
        record(get(box))

    return scenario


class Plain:
    value: Any = None


class Slotted:
    __slots__ = ("__weakref__", "value")


class Both(Slotted):
    other: Any


class DictLike(dict[Any, Any]):
    """A dict with attributes."""

    value: Any


class ListLike(list[Any]):
    value: Any


class SetLike(set[Any]):
    value: Any


class FrozenLike(frozenset[Any]):
    value: Any


class TupleLike(tuple[Any, ...]):  # noqa: SLOT001 - with attributes
    value: Any


class IntLike(int):
    value: Any

    def __int__(self) -> int:
        return 0


class StrLike(str):  # noqa: SLOT000 - with attributes
    value: Any

    def __str__(self) -> str:
        return ""


class BytesLike(bytes):
    value: Any


class FloatLike(float):
    value: Any


class DequeLike(collections.deque[Any]):
    __slots__ = ("value",)


class PartialLike(functools.partial[Any]):
    __slots__ = ("value",)


class RefLike(weakref.ref[Any]):
    __slots__ = ("value",)


class FutureLike(asyncio.Future[Any]):
    value: Any


class Silent:
    """Tells picklers and copies nothing of what it holds."""

    value: Any

    def __reduce__(self) -> Any:
        return Silent, ()

    def __getstate__(self) -> Any:
        return None


class Secretive:
    value: Any

    def __getattribute__(self, name: str) -> Any:
        return {} if name == "__dict__" else object.__getattribute__(self, name)


class Cached:
    @functools.cached_property
    def value(self) -> int:
        return 3


class WrongError(Exception):
    value: Any


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


@attrs.define
class Record:
    value: Any = None


@attrs.frozen
class Frozen:
    value: Any = None


class Overridden(DictLike):
    def keys(self) -> Any:
        return ()

    def __iter__(self) -> Any:
        return iter(())

    def items(self) -> Any:
        return ()


ONE, TWO = object(), object()
FIRST, SECOND = Plain(), Plain()
VARIABLE: contextvars.ContextVar[int] = contextvars.ContextVar("variable")


class Holder:
    ONE, TWO = Plain(), Plain()


def set_value(box: Any, value: int) -> None:
    box.value = value


def get_value(box: Any) -> Any:
    return box.value


def local_class() -> Any:
    class Local:
        value: Any

    return Local


def local_slots() -> Any:
    class Local:
        __slots__ = ("value",)

    return Local()


def local_subclass() -> Any:
    class Local(ListLike):
        pass

    return Local()


def local_function() -> Any:
    def function() -> None:
        pass

    return function


def local_method() -> Any:
    kept = 0

    class Local:
        def __call__(self, *value: int) -> int:
            nonlocal kept
            if value:
                (kept,) = value
            return kept

    return Local()


def local_property() -> Any:
    kept = 0

    def get(_: Any) -> int:
        return kept

    def put(_: Any, value: int) -> None:
        nonlocal kept
        kept = value

    class Local:
        value = property(get, put)

    return Local()


def closure() -> Any:
    kept = 0

    def function(*value: int) -> int:
        nonlocal kept
        if value:
            (kept,) = value
        return kept

    return function


def default() -> Any:
    def function(*value: int, kept: list[int] = []) -> Any:  # noqa: B006 - that is the point
        kept[:] = value or kept
        return kept[0]

    return function


def generator() -> Any:
    def generate() -> Any:
        kept = 0
        while True:
            kept = (yield kept) or kept

    started = generate()
    next(started)
    return started


def coroutine(box: dict[Any, Any], value: int) -> None:
    async def wait() -> int:
        return value

    if "it" in box:
        box["it"].close()
    box["it"] = wait()


def finish(found: Any) -> Any:
    with pytest.raises(StopIteration) as stopped:
        found.send(None)
    return stopped.value.value


def advance(box: Any, value: int) -> None:
    """Whoever is the first takes as many as its number: what is left is one of two positions."""
    if not box.get("taken"):
        box["taken"] = True
        for _ in range(value):
            next(box["it"])


def iterated(make: Callable[[], Any]) -> tuple[Any, Any, Any]:
    def build() -> Any:
        return {"it": make()}

    return build, advance, lambda box: next(box["it"])


def over(*values: int) -> dict[int, int]:
    return {value: value for value in values}


def put_item(box: Any, value: int) -> None:
    box["it"] = value


def get_item(box: Any) -> Any:
    return box["it"]


def put_iterator(box: Any, value: int) -> None:
    """Two iterators with as much to come, over two equal dicts, only one of which is changed at the end."""
    box["it"] = iter(box[value])


def survives(box: Any) -> Any:
    box[1]["new"] = 1
    try:
        return next(box["it"])
    except RuntimeError as exc:
        return str(exc)


def seen_through(box: Any) -> Any:
    box[1]["new"] = 1
    return len(box["it"])


def run_in(box: Any, value: int) -> None:
    box["it"].run(VARIABLE.set, value)


def use_token(box: Any, value: int) -> None:
    if value == 2 and not box["twice"]:
        box["context"].run(VARIABLE.reset, box["token"])
    box["twice"] = True


def token_used(box: Any) -> Any:
    try:
        box["context"].run(VARIABLE.reset, box["token"])
    except RuntimeError:
        return "used"
    return "not used"


def make_token() -> Any:
    context = contextvars.copy_context()
    token = context.run(VARIABLE.set, 1)
    context.run(VARIABLE.set, 1)
    return {"context": context, "token": token, "twice": False}


def put_weak(box: Any, value: int) -> None:
    box["it"] = weakref.ref(box[value])


def put_callback(box: Any, value: int) -> None:
    box["it"] = weakref.ref(box["of"], functools.partial(put_item, {}, value))


def put_exit(box: Any, value: int) -> None:
    box.pop_all()
    box.callback(int, value)


def left_in(box: Any) -> Any:
    (_, callback) = box._exit_callbacks[-1]
    return callback.__closure__[0].cell_contents


def put_cause(box: Any, value: int) -> None:
    box["it"].__cause__ = WrongError(value)


CASES: dict[str, tuple[Callable[[], Any], Put, Get]] = {
    "dict": (dict, put_item, get_item),
    "list": (lambda: [0], lambda box, value: box.__setitem__(0, value), lambda box: box[0]),
    "a set": (lambda: {0}, lambda box, value: (box.clear(), box.add(value)), min),
    "bytearray": (lambda: bytearray(1), lambda box, value: box.__setitem__(0, value), lambda box: box[0]),
    "attributes": (Plain, set_value, get_value),
    "slots": (Slotted, set_value, get_value),
    "slots of a class with attributes": (Both, set_value, get_value),
    "attributes of a class with slots": (Both, lambda box, value: setattr(box, "other", value), lambda box: box.other),
    "attrs": (Record, set_value, get_value),
    "frozen attrs": (dict, lambda box, value: box.update(it=Frozen(value)), lambda box: box["it"].value),
    "instance of a local class": (local_class(), set_value, get_value),
    "attribute of a local class": (local_class, set_value, get_value),
    "slots of a local class": (local_slots, set_value, get_value),
    "local subclass": (local_subclass, set_value, get_value),
    "content of a local subclass": (local_subclass, lambda box, value: box.append(value), lambda box: box[-1]),
    "method of a local class": (local_method, lambda box, value: box(value), lambda box: box()),
    "property of a local class": (local_property, set_value, get_value),
    "attribute of a function": (local_function, set_value, get_value),
    "closure": (closure, lambda box, value: box(value), lambda box: box()),
    "default": (default, lambda box, value: box(value), lambda box: box()),
    "attribute of a dict": (DictLike, set_value, get_value),
    "content of a dict": (Overridden, put_item, lambda box: dict.__getitem__(box, "it")),
    "attribute of a list": (ListLike, set_value, get_value),
    "attribute of a set": (SetLike, set_value, get_value),
    "content of a set": (SetLike, lambda box, value: (box.clear(), box.add(value)), min),
    "attribute of a frozenset": (FrozenLike, set_value, get_value),
    "attribute of a tuple": (TupleLike, set_value, get_value),
    "content of a tuple": (dict, lambda box, value: box.update(it=TupleLike([value])), lambda box: box["it"][0]),
    "attribute of an int": (IntLike, set_value, get_value),
    "value of an int": (dict, lambda box, value: box.update(it=IntLike(value)), lambda box: box["it"] == 1),
    "attribute of a str": (StrLike, set_value, get_value),
    "value of a str": (dict, lambda box, value: box.update(it=StrLike(value)), lambda box: box["it"] == "1"),
    "value of a bytes": (dict, lambda box, value: box.update(it=BytesLike(value)), lambda box: len(box["it"])),
    "value of a float": (dict, lambda box, value: box.update(it=FloatLike(value)), lambda box: float(box["it"])),
    "attribute of a float": (FloatLike, set_value, get_value),
    "complex": (dict, lambda box, value: box.update(it=complex(0, value)), lambda box: box["it"].imag),
    "sign of a zero": (dict, lambda box, value: box.update(it=[0.0, -0.0][value - 1]), lambda box: str(box["it"])),
    "bool and int": (dict, lambda box, value: box.update(it=[1, True][value - 1]), lambda box: str(box["it"])),
    "deque": (collections.deque, lambda box, value: box.append(value), lambda box: box[-1]),
    "slot of a deque": (DequeLike, set_value, get_value),
    "content of a deque": (DequeLike, lambda box, value: box.append(value), lambda box: box[-1]),
    "length of a deque": (
        dict,
        lambda box, value: box.update(it=collections.deque(maxlen=value)),
        lambda box: box["it"].maxlen,
    ),
    "defaultdict": (
        lambda: collections.defaultdict(int),
        lambda box, value: setattr(box, "default_factory", [int, str][value - 1]),
        lambda box: repr(box["it"]),
    ),
    "order of a dict": (
        dict,
        lambda box, value: box.setdefault(value, None),
        tuple,
    ),
    "OrderedDict": (
        lambda: collections.OrderedDict({1: 1, 2: 2}),
        collections.OrderedDict.move_to_end,
        tuple,
    ),
    "ChainMap": (collections.ChainMap, put_item, get_item),
    "UserDict": (collections.UserDict, put_item, get_item),
    "SimpleNamespace": (types.SimpleNamespace, set_value, get_value),
    "partial": (
        dict,
        lambda box, value: box.update(it=functools.partial(int, value)),
        lambda box: box["it"](),
    ),
    "slot of a partial": (lambda: PartialLike(int), set_value, get_value),
    "method": (
        dict,
        lambda box, value: box.update(it=[Plain(), Plain.__new__(Plain)][0].__eq__, value=value),
        lambda box: box["value"],
    ),
    "bound builtin": (
        dict,
        lambda box, value: box.update(it=[value].count),
        lambda box: box["it"](1),
    ),
    "method wrapper": (
        dict,
        lambda box, value: box.update(it=value.__add__),
        lambda box: box["it"](1),
    ),
    "enum": (dict, lambda box, value: box.update(it=Colour(value)), lambda box: box["it"].name),
    "class": (dict, lambda box, value: box.update(it=[Plain, Both][value - 1]), lambda box: box["it"].__name__),
    "sentinel": (dict, lambda box, value: box.update(it=[ONE, TWO][value - 1]), lambda box: box["it"] is ONE),
    "global object": (
        dict,
        lambda box, value: box.update(it=[FIRST, SECOND][value - 1]),
        lambda box: box["it"] is FIRST,
    ),
    "object of a class": (
        dict,
        lambda box, value: box.update(it=[Holder.ONE, Holder.TWO][value - 1]),
        lambda box: box["it"] is Holder.ONE,
    ),
    "which of two equal objects": (
        lambda: {1: [], 2: []},
        lambda box, value: box.update(it=box[value]),
        lambda box: box["it"] is box[1],
    ),
    "which is the class": (
        dict,
        lambda box, value: box.update(it=[Plain, Plain()] if value == 1 else [Plain(), Plain]),
        lambda box: box["it"][0] is Plain,
    ),
    "which is the function": (
        lambda: {"it": [local_function(), local_function()]},
        lambda box, value: (vars(box["it"][2 - value]).clear(), vars(box["it"][value - 1]).update(value=1)),
        lambda box: tuple(len(vars(each)) for each in box["it"]),
    ),
    "which is the code": (
        dict,
        lambda box, value: box.update(it=[closure, closure.__code__][:: 3 - 2 * value]),
        lambda box: box["it"][0] is closure,
    ),
    "silent to picklers": (Silent, set_value, get_value),
    "secretive": (Secretive, set_value, get_value),
    "cached property": (
        lambda: {"it": Cached()},
        lambda box, value: (value == 1 and "n" not in box and box["it"].value, box.update(n=1)),
        lambda box: "value" in vars(box["it"]),
    ),
    "args of an exception": (dict, lambda box, value: box.update(it=WrongError(value)), lambda box: box["it"].args),
    "attribute of an exception": (WrongError, set_value, get_value),
    "errno": (
        dict,
        lambda box, value: box.update(it=OSError(value, "no")),
        lambda box: box["it"].errno,
    ),
    "note": (
        dict,
        lambda box, value: (box.update(it=WrongError()), box["it"].add_note(str(value))),
        lambda box: box["it"].__notes__[0],
    ),
    "cause": (lambda: {"it": WrongError()}, put_cause, lambda box: box["it"].__cause__.args),
    "exception group": (
        dict,
        lambda box, value: box.update(it=ExceptionGroup("", [WrongError(value)])),
        lambda box: box["it"].exceptions[0].args,
    ),
    "message of a cancellation": (
        dict,
        lambda box, value: box.update(it=asyncio.CancelledError(f"{value}")),
        lambda box: box["it"].args,
    ),
    "generator": (generator, lambda box, value: box.send(value), next),
    "coroutine": (dict, coroutine, lambda box: finish(box["it"])),
    "cell": (
        lambda: types.CellType(0),
        lambda box, value: setattr(box, "cell_contents", value),
        lambda b: b.cell_contents,
    ),
    "context": (lambda: {"it": contextvars.copy_context()}, run_in, lambda box: box["it"][VARIABLE]),
    "token": (make_token, use_token, token_used),
    "weak reference": (lambda: {1: Plain(), 2: Plain()}, put_weak, lambda box: box["it"]() is box[1]),
    "slot of a weak reference": (lambda: RefLike(FIRST), set_value, get_value),
    "callback of a weak reference": (
        lambda: {"of": Plain()},
        put_callback,
        lambda box: box["it"].__callback__.args[1],
    ),
    "weak set": (
        lambda: {1: Plain(), 2: Plain(), "it": weakref.WeakSet()},
        lambda box, value: (box["it"].clear(), box["it"].add(box[value])),
        lambda box: box[1] in box["it"],
    ),
    "exit stack": (ExitStack, put_exit, left_in),
    "decimal": (dict, lambda box, value: box.update(it=decimal.Decimal(value)), lambda box: int(box["it"])),
    "datetime": (
        dict,
        lambda box, value: box.update(it=dt.date(2000, 1, value)),
        lambda box: box["it"].day,
    ),
    "random": (
        lambda: random.Random(0),
        random.Random.seed,
        random.Random.random,
    ),
    "list iterator": iterated(lambda: iter([1, 2, 3, 4])),
    "tuple iterator": iterated(lambda: iter((1, 2, 3, 4))),
    "str iterator": iterated(lambda: iter("1234")),
    "range iterator": iterated(lambda: iter(range(4))),
    "reversed list": iterated(lambda: reversed([1, 2, 3, 4])),
    "dict iterator": iterated(lambda: iter(over(1, 2, 3, 4))),
    "values iterator": iterated(lambda: iter(over(1, 2, 3, 4).values())),
    "items iterator": iterated(lambda: iter(over(1, 2, 3, 4).items())),
    "reversed dict": iterated(lambda: reversed(over(1, 2, 3, 4))),
    "OrderedDict iterator": iterated(lambda: iter(collections.OrderedDict(over(1, 2, 3, 4)))),
    "set iterator": iterated(lambda: iter({1, 2, 3, 4})),
    "enumerate": iterated(lambda: enumerate("abcd")),
    "zip": iterated(lambda: zip([1, 2, 3, 4], "abcd", strict=True)),
    "map": iterated(lambda: map(str, [1, 2, 3, 4])),
    "filter": iterated(lambda: filter(None, [1, 2, 3, 4])),
    "count": iterated(itertools.count),
    "cycle": iterated(lambda: itertools.cycle([1, 2, 3])),
    "chain": iterated(lambda: itertools.chain([1], [2, 3, 4])),
    "islice": iterated(lambda: itertools.islice([1, 2, 3, 4], 4)),
    "accumulate": iterated(lambda: itertools.accumulate([1, 2, 3, 4])),
    "product": iterated(lambda: itertools.product([1, 2], [3, 4])),
    "iterator of two equal dicts": (lambda: {1: over(1), 2: over(1)}, put_iterator, survives),
    "view of two equal dicts": (
        lambda: {1: over(1), 2: over(1)},
        lambda box, value: box.update(it=box[value].keys()),
        seen_through,
    ),
    "proxy of two equal dicts": (
        lambda: {1: over(1), 2: over(1)},
        lambda box, value: box.update(it=types.MappingProxyType(box[value])),
        seen_through,
    ),
    "queue": (asyncio.Queue, lambda box, value: box.put_nowait(value), lambda box: box._queue[0]),
}


@pytest.mark.parametrize("case", CASES)
def test_what_was_put_there_last_is_seen(case: str):
    make, put, get = CASES[case]
    merged, runs = outcomes(race(make, put, get), "asyncio", merge=True)
    every, all_runs = outcomes(race(make, put, get), "asyncio", merge=False)
    assert merged == every
    assert len(every) == 2, "the case tells nothing"
    assert runs < all_runs


def test_what_is_left_out_is_not_read():
    async def scenario() -> None:
        held, box = Plain(), Slotted()
        held.value, box.value = threading.Lock(), held
        await idle()
        del held, box

    with pytest.raises(UnreadableStateError, match="not_state"):
        explore(scenario, not_state={Both: frozenset({"value"})})
    assert explore(scenario, not_state={Slotted: frozenset({"value"}), Plain: frozenset({"value"})}).complete


async def agenerate() -> Any:
    yield 1
    yield 2


UNREADABLE: dict[str, Callable[[], Any]] = {
    "lock": threading.Lock,
    "thread": lambda: threading.Thread(target=int),
    "condition": threading.Condition,
    "thread-local": threading.local,
    "socket": socket.socket,
    "file": lambda: Path(__file__).open(),  # noqa: SIM115
    "buffer": io.BytesIO,
    "text buffer": io.StringIO,
    "array": lambda: array.array("b", b"1"),
    "memory": lambda: memoryview(b"1"),
    "deque iterator": lambda: iter(collections.deque([1, 2])),
    "reversed deque": lambda: reversed(collections.deque([1, 2])),
    "local cache": lambda: functools.lru_cache(lambda: 1),
    "future with attributes": FutureLike,
    "step of a generator": lambda: agenerate().__anext__(),
    "pairs": lambda: itertools.pairwise([1, 2]),
    "system random": random.SystemRandom,
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_what_cannot_be_read_is_refused(case: str):
    async def scenario() -> None:
        found = UNREADABLE[case]()
        try:
            await idle()
        finally:
            getattr(found, "close", int)()

    with pytest.raises(UnreadableStateError, match="not_state"):
        explore(scenario)
    explore(scenario, merge=False).check()


# -- What is suspended -------------------------------------------------------------------------------------------------


class Scenes:
    """Each is told by a task which of two orders came about, and shows it only at its end."""

    @staticmethod
    async def unbound(first: Callable[[], int]) -> object:
        if first() == 1:
            value = 1
        await idle()
        try:
            return value  # type: ignore[possibly-undefined]
        except UnboundLocalError:
            return "unbound"

    @staticmethod
    async def argument(first: Callable[[], int]) -> object:
        return [first(), await idle()]

    @staticmethod
    async def handled(first: Callable[[], int]) -> object:
        try:
            raise [KeyError, ValueError][first() - 1](1)
        except (KeyError, ValueError):
            await idle()
            try:
                raise
            except KeyError:
                return "key"
            except ValueError:
                return "value"

    @staticmethod
    async def no_longer_handled(first: Callable[[], int]) -> object:
        number = first()
        try:
            raise ValueError(number)
        except ValueError as exc:
            held = exc
        await idle()
        return str(held)

    @staticmethod
    async def loop(first: Callable[[], int]) -> object:
        number = first()
        for left in (5, 6, 7) if number == 1 else (5, 8, 9):
            del number
            await idle()
            number = left
        return number

    @staticmethod
    async def dict_loop(first: Callable[[], int]) -> object:
        seen, items = [], {1: 1, 2: 2}
        ordered = items if first() == 1 else dict(reversed(items.items()))
        del items
        for key in ordered:
            seen.append(key)
            await idle()
        return tuple(seen)

    @staticmethod
    async def exit_stack(first: Callable[[], int]) -> object:
        left: list[int] = []
        async with AsyncExitStack() as stack:
            stack.callback(left.append, first())
            await idle()
        return left[0]

    @staticmethod
    async def manager(first: Callable[[], int]) -> object:
        @asynccontextmanager
        async def enter(number: int) -> Any:
            yield
            left.append(number)

        left: list[int] = []
        async with enter(first()):
            await idle()
        return left[0]

    @staticmethod
    async def async_generator(first: Callable[[], int]) -> object:
        async def generate() -> Any:
            number = first()
            yield 0
            yield number

        generator = generate()
        await generator.__anext__()
        await idle()
        return await generator.__anext__()

    @staticmethod
    async def inside_async_generator(first: Callable[[], int]) -> object:
        async def generate() -> Any:
            number = first()
            await idle()
            yield number

        return await anext(generate())

    @staticmethod
    async def comprehension(first: Callable[[], int]) -> object:
        return [(number, await idle()) for number in range(first())]

    @staticmethod
    async def recursive(first: Callable[[], int]) -> object:
        def make(number: int) -> Any:
            async def function(other: Any) -> Any:
                await idle()
                return await other(None) if other else number

            return function

        return await make(0)(make(first()))

    @staticmethod
    async def variable(first: Callable[[], int]) -> object:
        VARIABLE.set(first())
        await idle()
        return VARIABLE.get()

    @staticmethod
    async def weak(first: Callable[[], int]) -> object:
        held = Plain()
        reference = weakref.ref(held)
        number = first()
        await idle()
        if number == 1:
            del held
        await idle()
        return reference() is None

    @staticmethod
    async def shield(first: Callable[[], int]) -> object:
        with anyio.CancelScope() as outer:
            with anyio.CancelScope(shield=first() == 1):
                await idle()
                outer.cancel()
                await checkpoint()
                return "shielded"
        return "cancelled"

    @staticmethod
    async def deadline(first: Callable[[], int]) -> object:
        with anyio.CancelScope() as scope:
            scope.deadline = anyio.current_time() + first()
            await idle()
            await anyio.sleep(1.5)
        return scope.cancelled_caught

    @staticmethod
    async def limiter(first: Callable[[], int]) -> object:
        limiter = anyio.CapacityLimiter(first())
        await idle()
        return limiter.total_tokens

    @staticmethod
    async def limiter_borrowers(first: Callable[[], int]) -> object:
        limiter = anyio.CapacityLimiter(3)
        borrowers = [Plain(), Plain()]
        await limiter.acquire_on_behalf_of(borrowers[first() - 1])
        await idle()
        try:
            limiter.release_on_behalf_of(borrowers[0])
        except RuntimeError:
            return "not the first"
        return "the first"

    @staticmethod
    async def semaphore(first: Callable[[], int]) -> object:
        semaphore = anyio.Semaphore(first())
        await idle()
        return semaphore.value

    @staticmethod
    async def stream(first: Callable[[], int]) -> object:
        send, receive = anyio.create_memory_object_stream[int](2)
        send.send_nowait(first())
        await idle()
        with send, receive:
            return receive.receive_nowait()

    @staticmethod
    async def run_variable(first: Callable[[], int]) -> object:
        RUN_VARIABLE.set(first())
        await idle()
        return RUN_VARIABLE.get()

    @staticmethod
    async def events(first: Callable[[], int]) -> object:
        events = [anyio.Event(), anyio.Event()]
        events[first() - 1].set()
        await idle()
        return events[0].is_set()


RUN_VARIABLE: RunVar[int] = RunVar("run variable")


async def idle() -> None:
    """Two beside each other: here states are read."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(checkpoint)
        tasks.start_soon(checkpoint)


async def play(scene: Callable[[Callable[[], int]], Awaitable[object]]) -> None:
    arrived: list[int] = []

    async def arrive(number: int) -> None:
        arrived.append(number)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(arrive, 1)
        tasks.start_soon(arrive, 2)
    (first, _) = arrived
    arrived.clear()
    arrived.append(first)
    del first
    record(repr(await scene(arrived.pop)))


class AsyncioScenes:
    @staticmethod
    async def result(first: Callable[[], int]) -> object:
        future = asyncio.get_running_loop().create_future()
        future.set_result(first())
        await idle()
        return await future

    @staticmethod
    async def failure(first: Callable[[], int]) -> object:
        future = asyncio.get_running_loop().create_future()
        future.set_exception(OSError(first()))
        await idle()
        return str(future.exception())

    @staticmethod
    async def timer(first: Callable[[], int]) -> object:
        seen: list[int] = []
        asyncio.get_running_loop().call_later(1, seen.append, first())
        await idle()
        await asyncio.sleep(2)
        return seen[0]

    @staticmethod
    async def later(first: Callable[[], int]) -> object:
        started = asyncio.get_running_loop().time()
        event = asyncio.Event()
        asyncio.get_running_loop().call_later(first(), event.set)
        await idle()
        await event.wait()
        return asyncio.get_running_loop().time() - started

    @staticmethod
    async def callback(first: Callable[[], int]) -> object:
        future = asyncio.get_running_loop().create_future()
        seen: list[int] = []
        future.add_done_callback(partial(after, seen, first()))
        await idle()
        future.set_result(None)
        await asyncio.sleep(1)
        return seen[0]

    @staticmethod
    async def message(first: Callable[[], int]) -> object:
        async def wait() -> None:
            await asyncio.sleep(1_000)

        task = asyncio.ensure_future(wait())
        await asyncio.sleep(1)
        task.cancel(f"for {first()}")
        try:
            await task
        except asyncio.CancelledError as exc:
            held = exc
        await idle()
        return held.args

    @staticmethod
    async def pending_message(first: Callable[[], int]) -> object:
        async def wait() -> object:
            try:
                await asyncio.sleep(1_000)
            except asyncio.CancelledError as exc:
                return exc.args
            return None

        task = asyncio.ensure_future(wait())
        await asyncio.sleep(1)
        (number,) = [first()]
        task.cancel(f"for {number}")
        del number
        await idle()
        return await task

    @staticmethod
    async def cancelling(first: Callable[[], int]) -> object:
        async def wait() -> object:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(1_000)
            await asyncio.sleep(1)
            return asyncio.current_task().cancelling()  # type: ignore[union-attr]

        task = asyncio.ensure_future(wait())
        await asyncio.sleep(1)
        for _ in range(first()):
            task.cancel()
        await idle()
        return await task

    @staticmethod
    async def attribute(first: Callable[[], int]) -> object:
        task: Any = asyncio.current_task()
        task.attribute = first()
        await idle()
        return task.attribute

    @staticmethod
    async def queue(first: Callable[[], int]) -> object:
        queue: asyncio.Queue[int] = asyncio.PriorityQueue()
        queue.put_nowait(first())
        await idle()
        return await queue.get()

    @staticmethod
    async def gather(first: Callable[[], int]) -> object:
        gathered = asyncio.gather(give(first()), give(3))
        await idle()
        return await gathered

    @staticmethod
    async def shielded(first: Callable[[], int]) -> object:
        shielded = asyncio.shield(give(first()))
        await idle()
        return await shielded

    @staticmethod
    async def timeout(first: Callable[[], int]) -> object:
        try:
            async with asyncio.timeout(first()):
                await idle()
                await asyncio.sleep(1.5)
        except TimeoutError:
            return "late"
        return "in time"

    @staticmethod
    async def group(first: Callable[[], int]) -> object:
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(give(first()))
            await idle()
        return task.result()

    @staticmethod
    async def locks(first: Callable[[], int]) -> object:
        locks = asyncio.Lock(), asyncio.Lock()
        await locks[first() - 1].acquire()
        await idle()
        return locks[0].locked()

    @staticmethod
    async def condition(first: Callable[[], int]) -> object:
        async def wait(number: int) -> None:
            async with condition:
                await condition.wait()
                order.append(number)

        condition, order, number = asyncio.Condition(), [], first()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(wait(number))
            await asyncio.sleep(1)
            tasks.create_task(wait(3 - number))
            del number
            await asyncio.sleep(1)
            await idle()
            async with condition:
                condition.notify(1)
            await asyncio.sleep(1)
            async with condition:
                condition.notify_all()
        return order


class TrioScenes:
    @staticmethod
    async def channel(first: Callable[[], int]) -> object:
        send, receive = trio.open_memory_channel[int](2)
        send.send_nowait(first())
        await idle()
        return receive.receive_nowait()

    @staticmethod
    async def scope(first: Callable[[], int]) -> object:
        with trio.CancelScope(deadline=trio.current_time() + first()) as scope:
            await idle()
            await trio.sleep(1.5)
        return scope.cancelled_caught

    @staticmethod
    async def relative(first: Callable[[], int]) -> object:
        scope = trio.CancelScope(relative_deadline=first())
        await idle()
        with scope:
            await trio.sleep(1.5)
        return scope.cancelled_caught

    @staticmethod
    async def shielded(first: Callable[[], int]) -> object:
        with trio.CancelScope() as outer:
            with trio.CancelScope(shield=first() == 1):
                await idle()
                outer.cancel()
                await checkpoint()
                return "shielded"
        return "cancelled"

    @staticmethod
    async def nursery(first: Callable[[], int]) -> object:
        async def sleep(number: int) -> None:
            await trio.sleep(number)

        started = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sleep, first())
            await idle()
        return trio.current_time() - started

    @staticmethod
    async def lot(first: Callable[[], int]) -> object:
        async def park(number: int) -> None:
            await lot.park()
            order.append(number)

        lot, order, number = trio.lowlevel.ParkingLot(), [], first()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(park, number)
            await trio.sleep(1)
            nursery.start_soon(park, 3 - number)
            del number
            await trio.sleep(1)
            await idle()
            lot.unpark()
            await trio.sleep(1)
            lot.unpark_all()
        return order

    @staticmethod
    async def run_variable(first: Callable[[], int]) -> object:
        TRIO_VARIABLE.set(first())
        await idle()
        return TRIO_VARIABLE.get()

    @staticmethod
    async def soon(first: Callable[[], int]) -> object:
        seen: list[int] = []
        trio.lowlevel.current_trio_token().run_sync_soon(seen.append, first())
        await idle()
        await trio.sleep(1)
        return seen[0]

    @staticmethod
    async def system_task(first: Callable[[], int]) -> object:
        async def wait(number: int) -> None:
            await trio.sleep(1)
            seen.append(number)

        seen: list[int] = []
        trio.lowlevel.spawn_system_task(wait, first())
        await idle()
        await trio.sleep(2)
        return seen[0]


TRIO_VARIABLE: trio.lowlevel.RunVar[int] = trio.lowlevel.RunVar("variable")


async def give(number: int) -> int:
    await checkpoint()
    return number


def after(seen: list[int], number: int, _: object) -> None:
    seen.append(number)


def scenes() -> Iterator[Any]:
    for backend, kinds in {"asyncio": (Scenes, AsyncioScenes), "trio": (Scenes, TrioScenes)}.items():
        for kind in kinds:
            for name, scene in vars(kind).items():
                if isinstance(scene, staticmethod):
                    yield pytest.param(backend, scene.__func__, id=f"{name} on {backend}")


@pytest.mark.parametrize(("backend", "scene"), list(scenes()))
def test_what_is_suspended_is_seen(backend: str, scene: Callable[..., Awaitable[object]]):
    merged, _ = outcomes(partial(play, scene), backend, merge=True)
    every, _ = outcomes(partial(play, scene), backend, merge=False, bound=2)
    assert merged == every
    assert len(every) == 2, "the scene tells nothing"
