"""Reads everything that a run may still depend on, so that two runs that have come to the same state are known to have.

A state is what a pickler would write of it: everything that can be reached from the tasks, the event loop and the
scripted world, in one canonical order, each object once and referred to from then on. Suspended coroutines are read with
their position, their variables and what lies on their stacks. Two equal fingerprints mean two states that go on alike,
as far as the program depends on what it holds. Not read, because hardly any program depends on it: addresses and the
orders that follow from them, tracebacks, what is weakly referenced and otherwise gone, names of tasks, and module
globals. A scenario that keeps what it does in module globals must be explored without merging.

An object that cannot be read is refused: a state that is read by halves would merge what is not the same.
"""

from __future__ import annotations

import asyncio
import enum
import gc
import inspect
import itertools
import logging
import operator
import pickle
import re
import types
import weakref
from collections.abc import Callable, Iterable, Mapping
from contextvars import Context, ContextVar, Token
from functools import cache
from hashlib import blake2b
from io import BytesIO
from pathlib import PurePath
from typing import Any, TypeAlias

from .play import Play, UnreadableStateError

#: What `pickle.Pickler.reducer_override` returns: how to make the object, and from what.
Reduced: TypeAlias = tuple[Any, tuple[Any, ...]]
Reading: TypeAlias = Callable[[Any], Any]

#: Of a class, what of its instances is no part of the state.
LeftOut: TypeAlias = Mapping[type, frozenset[str]]


class StateReader:
    """Makes the fingerprints of states. It belongs to one exploration: they can be compared only among themselves.

    :param readings: how objects of a backend's classes are read: from an object to what stands for its state
    :param left_out: attributes that are no part of the state, by class, beside the classes' own ``not_state``
    """

    def __init__(self, readings: Mapping[type, Reading], left_out: LeftOut) -> None:
        self._left_out = left_out
        self._readings: dict[type, Reading] = dict(readings)
        self._reducers: dict[type, Callable[[Any], Any]] = {}
        #: By address, what is the same in every run, with its number. Keeping it is what keeps its address.
        self._constants: dict[int, tuple[int, object]] = {}
        #: What is still to be written of objects that have been met. Writing it on the spot would recurse without end.
        self._later: list[Any] = []

    def fingerprint(self, roots: object) -> bytes:
        """What tells this state from every other one.

        :raises UnreadableStateError: if there is something in it that cannot be read
        """
        written = BytesIO()
        writer = _Writer(written, self)
        writer.dump(roots)
        while self._later:
            batch = self._later.copy()
            self._later.clear()
            writer.dump(batch)
        return blake2b(written.getbuffer(), digest_size=16).digest()

    def reduce(self, found: Any) -> Any:
        """What the pickler is to write for an object that it does not know by itself."""
        reducer = self._reducers.get(type(found)) or self._reducer(type(found))
        return reducer(found)

    def number(self, constant: object) -> int:
        """The number of something that is the same object in every run."""
        known = self._constants.get(id(constant))
        if known is None:
            known = self._constants[id(constant)] = len(self._constants), constant
        return known[0]

    # -- How a class is read, found out once -------------------------------------------------------------------------

    def _reducer(self, kind: type) -> Callable[[Any], Any]:
        """How instances of a class are written; kept for the next one."""
        local = [base for base in kind.__mro__ if _is_local(base)]
        if local and not any({"__slots__", "not_state"} & vars(base).keys() for base in local):
            # It may be made anew in every run, and would be kept for ever. What it is made of is read with it.
            return self._of_local(kind)
        reducer = self._reducers[kind] = self._find_reducer(kind)
        return reducer

    def _of_local(self, kind: type) -> Callable[[Any], Any]:
        base = next(base for base in kind.__mro__ if not _is_local(base))
        reducer = self._reducers.get(base) or self._reducer(base)

        def reduce(found: Any) -> Any:
            reduced = reducer(found)
            return (_mark, (kind,)) if isinstance(reduced, tuple) else reduced

        return reduce

    def _find_reducer(self, kind: type) -> Callable[[Any], Any]:
        if kind is _Mark:
            return str
        if issubclass(kind, type):
            return self._reduce_class
        if kind is types.FunctionType:
            return self._reduce_function
        if issubclass(kind, _CONSTANT):
            return self._reduce_constant
        reading = next((self._readings[base] for base in kind.__mro__ if base in self._readings), None)
        if reading is None:
            reading = next((_READINGS[base] for base in kind.__mro__ if base in _READINGS), None)
        if reading is None:
            if not _is_transparent(kind):
                return _refuse if kind.__reduce__ is object.__reduce__ else _leave_to_pickle
            reading = self._by_attributes(kind)
        return self._numbered(kind, reading)

    def _numbered(self, kind: type, reading: Reading) -> Callable[[Any], Any]:
        reduced = _mark, (self.number(kind),)
        later = self._later

        def reduce(found: Any) -> Reduced:
            later.append(reading(found))
            return reduced

        return reduce

    def _by_attributes(self, kind: type) -> Reading:
        """All that an instance of a Python class holds: attributes, slots, and what it is a kind of container of."""
        left_out = frozenset[str]().union(
            *(frozenset(vars(base).get("not_state", ())) for base in kind.__mro__),
            *(names for base, names in self._left_out.items() if issubclass(kind, base)),
        )
        slots = [
            descriptor.__get__
            for base in kind.__mro__
            for name, descriptor in vars(base).items()
            if isinstance(descriptor, types.MemberDescriptorType) and name not in left_out
        ]
        content = next((read for base, read in _CONTENTS.items() if issubclass(kind, base)), None)
        has_dict = kind.__dictoffset__ != 0

        def read(found: Any) -> list[Any]:
            state: list[Any] = []
            for get in slots:
                try:
                    state.append(get(found))
                except AttributeError:
                    state.append(_UNSET)
            if has_dict:
                held = found.__dict__
                state.append({k: v for k, v in held.items() if k not in left_out} if left_out else held)
            if content is not None:
                state.append(content(found))
            return state

        return read

    # -- What is no instance of a class that a program has written ---------------------------------------------------

    def _reduce_class(self, found: type) -> Reduced:
        if not _is_local(found):
            return _mark, (self.number(found),)
        own = {name: value for name, value in vars(found).items() if not name.startswith(("__", "_abc"))}
        self._later.append((found.__bases__, own))
        return _mark, (found.__module__, found.__qualname__)

    def _reduce_function(self, found: types.FunctionType) -> Reduced:
        self._later.append((found.__closure__, found.__defaults__, found.__kwdefaults__))
        return _mark, (self.number(found.__code__),)

    def _reduce_constant(self, found: object) -> Reduced:
        return _mark, (self.number(found),)


class _Writer(pickle.Pickler):
    def __init__(self, file: BytesIO, reader: StateReader) -> None:
        super().__init__(file, 5)
        self.reducer_override = reader.reduce


class _Unset:
    """Stands for a slot that holds nothing."""


_UNSET = _Unset


class _Mark:
    """Stands where a pickler wants to know what makes an object. It is never called: nothing is read again."""

    def __str__(self) -> str:
        return "_mark"

    def __call__(self) -> None: ...


_mark = _Mark()


def _refuse(found: object) -> Any:
    raise UnreadableStateError(found)


def _leave_to_pickle(found: object) -> Any:
    return NotImplemented


def _is_local(kind: type) -> bool:
    """Whether a class was made by a function, perhaps anew in every run."""
    return "<locals>" in kind.__qualname__


def _is_transparent(kind: type) -> bool:
    """Whether a class was written in Python, on top of nothing whose inside is hidden."""
    return all(
        base in _CONTENTS
        or base is object
        or base.__flags__ & _HEAP_TYPE and base.__module__ not in _COMPILED
        or issubclass(base, BaseException)
        for base in kind.__mro__
    )


_HEAP_TYPE = 1 << 9
#: Modules whose classes are heap types although they are written in C.
_COMPILED = {"_asyncio", "_contextvars", "_thread", "_io", "_socket", "select", "_queue", "_random", "_struct", "_ssl"}

_CONSTANT = (
    types.ModuleType,
    types.CodeType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
    types.WrapperDescriptorType,
    types.MethodDescriptorType,
    enum.Enum,
    ContextVar,
    logging.Logger,
    re.Pattern,
    type(NotImplemented),
    type(...),
)


def _read_exception(found: BaseException) -> tuple[Any, ...]:
    args = found.args
    if isinstance(found, asyncio.CancelledError):
        # Only its beginning means something to anyone; the rest is made of addresses.
        args = tuple(str(arg)[:26] for arg in args)
    return args, found.__cause__, found.__context__, found.__suppress_context__


_CONTENTS: dict[type, Callable[[Any], Any]] = {
    BaseException: _read_exception,
    dict: lambda found: dict[Any, Any](found),
    list: lambda found: list[Any](found),
    tuple: lambda found: tuple[Any, ...](found),
    set: lambda found: set[Any](found),
    frozenset: lambda found: frozenset[Any](found),
    int: int,
    str: str,
    float: float,
    bytes: bytes,
}


def _suspended(code: str, frame: str) -> Reading:
    """How a coroutine or a generator is read, given where it keeps its code and its frame."""
    get_code, get_frame = operator.attrgetter(code), operator.attrgetter(frame)

    def read(found: Any) -> tuple[Any, ...]:
        running = get_frame(found)
        if running is None:
            return ()
        bound, own = running.f_locals, get_code(found)
        # The collector is shown the variables and the stack: the iterators of loops, what `with` has still to leave,
        # the awaitable. It is not shown which variables are unbound, hence their names.
        held = [
            each
            for each in gc.get_referents(found)
            if each is not running
            and each is not bound
            and each is not own
            and not (type(each) is types.FunctionType and each.__code__ is own)
        ]
        if held and held[-1] is None:
            # Not on the stack, whose top is what is awaited: an exception was being handled, and is not any more.
            held.pop()
        return own, running.f_lasti, _names(tuple(bound)), held

    return read


@cache
def _names(bound: tuple[str, ...]) -> int:
    return next(_numbers)


_numbers = itertools.count()


def _read_context(found: Context) -> list[tuple[str, object]]:
    return sorted(((var.name, value) for var, value in found.items()), key=operator.itemgetter(0))


def _in_order(found: Iterable[Any]) -> list[Any]:
    return list(found)


_READINGS: dict[type, Reading] = {
    types.CoroutineType: _suspended("cr_code", "cr_frame"),
    types.GeneratorType: _suspended("gi_code", "gi_frame"),
    types.AsyncGeneratorType: _suspended("ag_code", "ag_frame"),
    types.MethodType: lambda found: (found.__func__, found.__self__),
    types.BuiltinFunctionType: lambda found: (found.__name__, found.__self__),
    types.MethodWrapperType: lambda found: (found.__name__, found.__self__),
    types.CellType: gc.get_referents,
    types.MappingProxyType: dict,
    types.SimpleNamespace: vars,
    type({}.keys()): _in_order,
    type({}.values()): _in_order,
    type({}.items()): _in_order,
    Context: _read_context,
    Token: lambda found: (found.var, found.old_value),
    weakref.ReferenceType: lambda found: found(),
    PurePath: str,
    Play: lambda _: None,
    asyncio.AbstractEventLoop: lambda _: None,
    inspect.Signature: str,
}


async def _wait() -> None:
    pass


def _learn_awaitables() -> None:
    """What `await` puts on stacks has classes without names: what they hold is what the collector is shown of them."""

    async def generate() -> Any:
        yield

    coroutine, generator = _wait(), generate()
    awaiting, step, closing = coroutine.__await__(), generator.__anext__(), generator.aclose()
    raising = generator.athrow(GeneratorExit)
    for each in (awaiting, step, closing, raising):
        _READINGS[type(each)] = gc.get_referents
        each.close()
    coroutine.close()


_learn_awaitables()
