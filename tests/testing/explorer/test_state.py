"""Whatever a program may depend on is read, or refused: two orders that leave different things behind are not merged.

Each case is a box into which two tasks put 1 and 2. Nothing but the box tells which of them was the last.
"""

from __future__ import annotations

import array
import asyncio
import collections
import contextvars
import datetime
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
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import Any

import anyio
import attrs
import pytest
from anyio.lowlevel import checkpoint

from anydeploy.testing.explorer import UnreadableStateError, explore
from anydeploy.testing.virtual import BACKENDS

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


class TupleLike(tuple[Any, ...]):
    value: Any


class IntLike(int):
    value: Any

    def __int__(self) -> int:
        return 0


class StrLike(str):
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


def local_left_out() -> Any:
    class Local:
        not_state = frozenset({"number"})
        value: Any

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
    "instance of a local class": (lambda: local_class()(), set_value, get_value),
    "attribute of a local class": (local_class, set_value, get_value),
    "slots of a local class": (local_slots, set_value, get_value),
    "local class with something left out": (local_left_out, set_value, get_value),
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
        lambda box: tuple(box),
    ),
    "OrderedDict": (
        lambda: collections.OrderedDict({1: 1, 2: 2}),
        lambda box, value: box.move_to_end(value),
        lambda box: tuple(box),
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
    "cell": (lambda: types.CellType(0), lambda box, value: setattr(box, "cell_contents", value), lambda b: b.cell_contents),
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
        lambda box, value: box.update(it=datetime.datetime(2000, 1, value)),
        lambda box: box["it"].day,
    ),
    "random": (
        lambda: random.Random(0),
        lambda box, value: box.seed(value),
        lambda box: box.random(),
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
