"""Reads everything that a run may still depend on, so that two runs that have come to the same state are known to have.

A state is what a pickler would write of it: everything that can be reached from the tasks, the event loop and the
scripted world, in one canonical order, each object once and referred to from then on. Suspended coroutines are read
with their position, their variables and what lies on their stacks. Two equal fingerprints mean two states that go on
alike, as far as the program depends on what it holds.

Not read, because hardly any program depends on it: addresses and the orders that follow from them, tracebacks, the
texts of cancellations, names of tasks, settings of loggers, which of two equal module-level lists or dicts is meant,
and attributes that somebody sets on a plain future of asyncio. Not read either, because they are the same in every run
of a scenario that starts everything afresh: module globals, and the attributes of classes that can be imported. A
scenario that keeps in these what it does must be explored without merging.

An object that cannot be read is refused: a state that is read by halves would merge what is not the same.
"""

# What is read here can be anything.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false

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
import struct
import sys
import types
import weakref
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextvars import Context, ContextVar, Token
from functools import cached_property, partial
from hashlib import blake2b
from io import BytesIO
from pathlib import PurePath
from pickle import PickleError
from random import Random, SystemRandom
from typing import Any, TypeAlias

from anyio import TaskInfo

from .play import Play, UnreadableStateError

#: What `pickle.Pickler.reducer_override` returns: how to make the object, and from what.
Reduced: TypeAlias = tuple[Any, tuple[Any, ...]]
Reading: TypeAlias = Callable[[Any], Any]

#: Of a class, what of its instances is no part of the state.
LeftOut: TypeAlias = Mapping[type, frozenset[str]]


class StateReader:
    """Makes the fingerprints of states. It belongs to one exploration: they can be compared only among themselves.

    :param readings: how objects of a backend's classes are read: from an object to what stands for its state
    :param left_out: attributes that are no part of the state, by class
    """

    def __init__(self, readings: Mapping[type, Reading], left_out: LeftOut) -> None:
        # A lock that keeps threads apart is no state of a program without them, and addresses are none of any.
        self._left_out = {cached_property: frozenset({"lock"}), TaskInfo: frozenset({"id", "parent_id"}), **left_out}
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
        try:
            writer.dump(roots)
            while self._later:
                batch = self._later.copy()
                self._later.clear()
                writer.dump(batch)
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError, PickleError) as exc:
            # Somebody's opinion of what can be asked of their objects.
            raise UnreadableStateError(roots, why=exc) from exc
        finally:
            self._later.clear()
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
        if _is_local(kind) and not issubclass(kind, (type, enum.Enum)):
            # It may be made anew in every run, and would be kept for ever. What it is made of is read with it.
            return self._of_local(kind)
        reducer = self._reducers[kind] = self._find_reducer(kind)
        return reducer

    def _find_reducer(self, kind: type) -> Callable[[Any], Any]:
        if kind is _Mark:
            return str
        if issubclass(kind, type):
            return self._reduce_class
        if kind is types.FunctionType:
            return self._reduce_function
        if issubclass(kind, _CONSTANT):
            return self._reduce_constant
        return self._numbered(kind, self._reading(kind))

    def _of_local(self, kind: type) -> Callable[[Any], Any]:
        reading = self._reading(kind)

        def reduce(found: Any) -> Reduced:
            self._later.append(reading(found))
            return _mark, (kind,)

        return reduce

    def _numbered(self, kind: type, reading: Reading) -> Callable[[Any], Any]:
        reduced = _mark, (self.number(kind),)
        later = self._later
        lasting = _lasting().get(kind)
        if lasting is None:

            def reduce(found: Any) -> Reduced:
                later.append(reading(found))
                return reduced
        else:

            def reduce(found: Any) -> Reduced:
                later.append(reading(found))
                return (_mark, (self.number(kind), self.number(found))) if id(found) in lasting else reduced

        return reduce

    def _reading(self, kind: type) -> Reading:
        """How to see what is inside an instance."""
        for known in kind.__mro__:
            read = self._readings.get(known) or _READINGS.get(known)
            if read is not None:
                return self._and_attributes(kind, known, read)
        if _is_transparent(kind):
            return self._by_attributes(kind, kind.__mro__)
        base: Any = next(base for base in kind.__mro__ if not _is_written_in_python(base))
        if base.__reduce__ is _OBJECT.__reduce__:
            return _refuse
        return self._and_attributes(kind, base, partial(_by_reduction, base))

    def _and_attributes(self, kind: type, base: type, read: Reading) -> Reading:
        """What is read of a base class, and what a class derived from it has beside that."""
        added = [each for each in kind.__mro__[: kind.__mro__.index(base)] if each.__module__ != base.__module__]
        if not added or read is no_state:
            return read
        attributes = self._by_attributes(kind, added)
        return lambda found: (read(found), attributes(found))

    def _by_attributes(self, kind: type, bases: Sequence[type]) -> Reading:
        """All that an instance of a Python class holds: attributes, slots, and what it is a kind of container of."""
        left_out = frozenset[str]().union(*(names for base, names in self._left_out.items() if issubclass(kind, base)))
        slots = [
            descriptor.__get__
            for base in bases
            for name, descriptor in vars(base).items()
            if isinstance(descriptor, types.MemberDescriptorType) and name not in left_out
        ]
        content = next((read for base, read in _CONTENTS.items() if issubclass(kind, base)), None)
        has_dict = kind.__dictoffset__ != 0
        attributes = operator.attrgetter("__dict__") if kind.__getattribute__ in _PLAIN_ACCESS else _attributes

        def read(found: Any) -> list[Any]:
            state: list[Any] = []
            for get in slots:
                try:
                    state.append(get(found))
                except AttributeError:
                    state.append(_UNSET)
            if has_dict:
                held = attributes(found)
                state.append({k: v for k, v in held.items() if k not in left_out} if left_out else held)
            if content is not None:
                state.append(content(found))
            return state

        return read

    # -- What is no instance of a class that a program has written ---------------------------------------------------

    def _reduce_class(self, found: type) -> Reduced:
        if not _is_local(found):
            return self._reduce_constant(found)
        own = {name: value for name, value in vars(found).items() if name not in _ABOUT_CLASSES}
        self._later.append((found.__bases__, own))
        return _mark, (found.__module__, found.__qualname__)

    def _reduce_function(self, found: types.FunctionType) -> Reduced:
        held = found.__closure__, found.__defaults__, found.__kwdefaults__, found.__dict__ or None
        if held == _NOTHING_HELD:
            return _mark, (self.number(found.__code__), False)
        self._later.append(held)
        return _mark, (self.number(found.__code__), True)

    def _reduce_constant(self, found: object) -> Reduced:
        # Not what an instance of it would be, if it is a class: of that there is more to be written later.
        return _mark, (self.number(found), None)


class _Writer(pickle.Pickler):
    def __init__(self, file: BytesIO, reader: StateReader) -> None:
        super().__init__(file, 5)
        self.reducer_override = reader.reduce  # type: ignore[method-assign]


#: Of a function: its closure, defaults, keyword defaults, and attributes.
_NOTHING_HELD = (None, None, None, None)


class _Unset:
    """Stands for a slot that holds nothing."""


_UNSET = _Unset


class _Mark:
    """Stands where a pickler wants to know what makes an object. It is never called: nothing is read again."""

    def __str__(self) -> str:
        return "_mark"

    def __call__(self) -> None: ...


_mark = _Mark()


def no_state(_: object) -> None:
    """How something is read that is no part of a state, or of which the parts are read elsewhere."""


def _refuse(found: object) -> Any:
    raise UnreadableStateError(found)


def _by_reduction(base: Any, found: Any) -> Any:
    """What copies are made from, by the word of a class that is written in C."""
    try:
        reduced = base.__reduce_ex__(found, 5)
    except Exception as exc:
        raise UnreadableStateError(found, why=exc) from exc
    if isinstance(reduced, str):
        # The name of something that can be imported, whose inside is no part of any state, if that is what it is.
        if getattr(sys.modules.get(found.__module__), reduced, None) is not found:
            raise UnreadableStateError(found)
        return found.__module__, reduced
    make, arguments, *rest = reduced
    return make, arguments, [each if index == 0 or each is None else list(each) for index, each in enumerate(rest)]


def _attributes(found: object) -> dict[str, Any]:
    """The attributes of an object whose class has its own opinion of what they are."""
    return object.__getattribute__(found, "__dict__")  # type: ignore[no-any-return]


_OBJECT: Any = object
_PLAIN_ACCESS: tuple[Any, ...] = (object.__getattribute__, BaseException.__getattribute__)


def _is_local(kind: type) -> bool:
    """Whether a class was made by a function, perhaps anew in every run."""
    return "<locals>" in kind.__qualname__


def _is_transparent(kind: type) -> bool:
    """Whether a class was written in Python, on top of nothing whose inside is hidden."""
    return all(
        base in _CONTENTS or base is object or _is_written_in_python(base) or issubclass(base, BaseException)
        for base in kind.__mro__
    )


def _is_written_in_python(kind: type) -> bool:
    """Whether all that a class adds to its base are attributes and slots."""
    if not kind.__flags__ & _HEAP_TYPE or kind.__base__ is None:
        return False
    own = vars(kind)
    seen = sum(isinstance(each, types.MemberDescriptorType) for each in own.values())
    seen += ("__dict__" in own) + ("__weakref__" in own)
    return kind.__basicsize__ - kind.__base__.__basicsize__ <= seen * _POINTER


_HEAP_TYPE = 1 << 9
_POINTER = struct.calcsize("P")

#: What every class has, or what says nothing that its other attributes do not say.
_ABOUT_CLASSES = frozenset(
    {
        "__dict__", "__weakref__", "__module__", "__qualname__", "__doc__", "__annotations__", "__slots__",
        "__firstlineno__", "__static_attributes__", "__abstractmethods__", "_abc_impl",
    }
)  # fmt: skip

_CONSTANT = (
    types.ModuleType,
    types.CodeType,
    types.WrapperDescriptorType,
    types.MethodDescriptorType,
    types.ClassMethodDescriptorType,
    enum.Enum,
    ContextVar,
    logging.Logger,
    re.Pattern,
    type(NotImplemented),
    type(...),
)


def _lasting() -> Mapping[type, Mapping[int, object]]:
    """By class and address, what module globals and attributes of their classes refer to.

    These objects are the same in every run, and a program may ask whether it has the one or the other.
    """
    for module in list(sys.modules.values()):
        if id(module) not in _scanned:
            _scanned[id(module)] = module
            for value in list(getattr(module, "__dict__", {}).values()):
                _keep(value)
                if isinstance(value, type) and value.__module__ == module.__name__:
                    for attribute in vars(value).values():
                        _keep(attribute)
    return _kept


def _keep(found: object) -> None:
    kind = type(found)
    if not issubclass(kind, (type, types.FunctionType, types.ModuleType)):
        _kept.setdefault(kind, {})[id(found)] = found


_scanned: dict[int, object] = {}
_kept: dict[type, dict[int, object]] = {}


def _read_exception(found: BaseException) -> tuple[Any, ...]:
    args = found.args
    if isinstance(found, asyncio.CancelledError):
        args = tuple(map(without_address, args))
    return args, found.__cause__, found.__context__, found.__suppress_context__


def without_address(message: object) -> object:
    """What a cancellation says of its reason. Only its beginning means something to anyone."""
    return _BY_SCOPE if isinstance(message, str) and message.startswith(_BY_SCOPE) else message


_BY_SCOPE = "Cancelled via cancel scope "

#: What an instance of these holds, whatever the methods of its class make of it.
_CONTENTS: dict[type, Callable[[Any], Any]] = {
    BaseException: _read_exception,
    dict: lambda found: list(dict[Any, Any].items(found)),
    list: list.copy,
    tuple: lambda found: list(tuple.__iter__(found)),
    set: lambda found: list(set.__iter__(found)),
    frozenset: lambda found: list(frozenset.__iter__(found)),
    int: int.__int__,
    str: str.__str__,
    float: float.__float__,
    bytes: lambda found: bytes.__getitem__(found, slice(None)),
    complex: lambda found: (found.real, found.imag),
}


def _suspended(code: str, frame: str, awaited: str, running: str = "__class__") -> Reading:
    """How a coroutine or a generator is read, given where it keeps its code, its frame and what it waits for."""
    get_code, get_frame, get_awaited = map(operator.attrgetter, (code, frame, awaited))
    get_running = operator.attrgetter(running)

    def read(found: Any) -> tuple[Any, ...]:
        stopped = get_frame(found)
        if stopped is None:
            return ()
        bound, own = stopped.f_locals, get_code(found)
        # The collector is shown the variables and the stack: the iterators of loops, what `with` has still to leave,
        # the awaitable. It is not shown which variables are unbound, hence their names.
        place = _place(own, tuple(bound))
        if type(bound) is dict:
            # A copy, which the frame keeps, and with it what its variables have held.
            bound.clear()
        held = gc.get_referents(found)
        # What comes first is about the frame: its function and its code are the last of that.
        first = 0
        while type(held[first]) is not types.FunctionType or held[first].__code__ is not own:
            first += 1
        del held[: first + 2]
        if held and held[-1] is None:
            # Not on the stack, whose top is what is awaited: an exception was being handled, and is not any more.
            held.pop()
        if not STEPS.isdisjoint(map(type, held)):
            # One that is awaited has begun and not ended; of another one that could not be told.
            step = get_awaited(found)
            held = [tuple(gc.get_referents(each)) if each is step else each for each in held]
        return place, stopped.f_lasti, held, get_running(found)

    return read


#: Steps of asynchronous generators: whether they have begun, and whether they have ended, cannot be seen.
STEPS: set[type] = set()


def _place(code: types.CodeType, bound: tuple[str, ...]) -> int:
    """The number of a function with the names of those of its variables that are bound."""
    known = _places.get((id(code), bound))
    if known is None:
        known = _places[id(code), bound] = next(_numbers), code
    return known[0]


#: With the code, which keeps its address as long as it is kept.
_places: dict[tuple[int, tuple[str, ...]], tuple[int, types.CodeType]] = {}
_numbers = itertools.count()


def _read_context(found: Context) -> list[tuple[str, ContextVar[Any], object]]:
    return sorted(((var.name, var, value) for var, value in found.items()), key=operator.itemgetter(0))


def _read_token(found: Token[Any]) -> tuple[Any, ...]:
    # That it has been used says nothing but its text.
    return gc.get_referents(found), repr(found).startswith("<Token used")


def _read_iterator(found: Any) -> tuple[Any, ...]:
    """What an iterator over a dict or a set is over, and what is still to come."""
    over = gc.get_referents(found)[:1]
    try:
        return over, found.__reduce__()[1]
    except RuntimeError:
        # Its container has changed. How big it was cannot be seen: no other state is the same as this one.
        return over, next(_numbers)


def _read_proxy(found: Any) -> object:
    try:
        return found.__reduce_ex__.__self__
    except ReferenceError:
        return None


_READINGS: dict[Any, Reading] = {
    types.CoroutineType: _suspended("cr_code", "cr_frame", "cr_await"),
    types.GeneratorType: _suspended("gi_code", "gi_frame", "gi_yieldfrom"),
    types.AsyncGeneratorType: _suspended("ag_code", "ag_frame", "ag_await", "ag_running"),
    types.MethodType: lambda found: (found.__func__, found.__self__),
    types.BuiltinFunctionType: lambda found: (found.__name__, found.__self__),
    types.MethodWrapperType: lambda found: (found.__name__, found.__self__),
    types.GetSetDescriptorType: lambda found: (found.__objclass__, found.__name__),
    types.MemberDescriptorType: lambda found: (found.__objclass__, found.__name__),
    types.CellType: gc.get_referents,
    types.MappingProxyType: gc.get_referents,
    types.SimpleNamespace: vars,
    types.UnionType: lambda found: found.__args__,
    property: lambda found: (found.fget, found.fset, found.fdel),
    classmethod: lambda found: (found.__func__, found.__dict__),
    staticmethod: lambda found: (found.__func__, found.__dict__),
    type({}.keys()): gc.get_referents,
    type({}.values()): gc.get_referents,
    type({}.items()): gc.get_referents,
    **{
        type(iterator): _read_iterator
        for empty in (dict[Any, Any](), OrderedDict[Any, Any]())
        for view in (empty.keys(), empty.values(), empty.items())
        for iterator in (iter(view), reversed(view))
    },
    type(iter(set[Any]())): _read_iterator,
    deque: lambda found: (list(deque.__iter__(found)), found.maxlen),
    # Whether it has changed since they began, they do not show.
    type(iter(deque[Any]())): _refuse,
    type(reversed(deque[Any]())): _refuse,
    Context: _read_context,
    Token: _read_token,
    weakref.ProxyType: _read_proxy,
    weakref.CallableProxyType: _read_proxy,
    weakref.ReferenceType: lambda found: (found(), found.__callback__),
    PurePath: str,
    types.TracebackType: no_state,
    SystemRandom: _refuse,
    Random: lambda found: found.getstate(),
    Play: no_state,
    asyncio.AbstractEventLoop: no_state,
    inspect.Signature: str,
}


async def _wait() -> None:
    pass


async def _generate() -> AsyncGenerator[None, None]:
    yield


def _learn_awaitables() -> None:
    """What `await` puts on stacks has classes without names: what they hold is what the collector is shown of them."""
    coroutine, generator = _wait(), _generate()
    awaiting = coroutine.__await__()
    steps: list[Any] = [generator.__anext__(), generator.aclose(), generator.athrow(GeneratorExit)]
    _READINGS[type(awaiting)] = gc.get_referents
    for step in steps:
        _READINGS[type(step)] = _refuse
        STEPS.add(type(step))
        step.close()
    coroutine.close()


_learn_awaitables()
