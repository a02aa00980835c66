"""Values against the types that they must have, without coercion.

``"5"`` is no number, ``true`` is no number either, and a string is no list of letters. A problem is a pair: the keys
and indices that lead to a value, and a text that shows what was expected and what was found.
"""

from __future__ import annotations

from collections import abc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from types import NoneType, UnionType
from typing import Any, Literal, TypeAlias, TypeGuard, Union, get_args, get_origin

from .exceptions import describe

Path: TypeAlias = tuple[Any, ...]
Problem: TypeAlias = tuple[Path, str]

_LONGEST_SHOWN = 60
_LARGEST_SHOWN = 10**30
_SEQUENCES = (list, tuple, abc.Sequence, abc.MutableSequence)
#: Annotations that a set meets as well as a list does.
_COLLECTIONS = (set, frozenset, abc.Set, abc.MutableSet, abc.Collection, abc.Iterable)
_MAPPINGS = (dict, abc.Mapping, abc.MutableMapping)
_KINDS: Mapping[str, tuple[type, ...]] = {"a mapping": (Mapping,), "a list": (list, tuple), "a set": (set, frozenset)}
_NAMES = {
    str: "a string",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    bytes: "binary data",
    NoneType: "null",
}


# Both type checkers narrow to the same type with these, and not with `isinstance`.
def is_mapping(value: object) -> TypeGuard[Mapping[Any, Any]]:
    """Whether a value is a mapping, of unknown keys and values."""
    return isinstance(value, Mapping)


def is_list(value: object) -> TypeGuard[list[Any]]:
    """Whether a value is a list, of unknown items."""
    return isinstance(value, list)


def is_list_or_tuple(value: object) -> TypeGuard[Sequence[Any]]:
    """Whether a value is a list or a tuple, of unknown items."""
    return isinstance(value, list | tuple)


def is_set(value: object) -> TypeGuard[abc.Set[Any]]:
    """Whether a value is a set, of unknown items."""
    return isinstance(value, set | frozenset)


def is_iterable(value: object) -> TypeGuard[Iterable[Any]]:
    """Whether a value can be iterated over."""
    return isinstance(value, Iterable)


def is_number(value: object, *types: type) -> TypeGuard[float]:
    """Whether a value has one of the types, and is no bool, which to Python is an int."""
    return isinstance(value, types) and not isinstance(value, bool)


def to_count(value: object, least: int) -> int:
    """Return a whole number.

    :raises ValueError: if it is none, or below the least
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(expected(f"a whole number, {least} or more", value))
    return value


def expected(what: str, value: object) -> str:
    """Return the text of a problem: what a value should have been, and what it is."""
    return f"expected {what}, found {show(value)}"


def unreadable(error: BaseException) -> str:
    """Return the text of a problem: reading a value has raised an error."""
    return f"cannot be read: {describe(error)}"


def show(value: object) -> str:
    """Return the kind of a value and a short form of it, for an error message."""
    match value:
        case None:
            shown = "nothing (null)"
        case bool():
            shown = "true" if value else "false"
        case str():
            shown = f"the string '{shorten(value)}'"
        case int() if abs(value) >= _LARGEST_SHOWN:
            shown = "a very large number"  # Python refuses to print an integer of several thousand digits
        case int() | float():
            shown = f"the number {value}"
        case date():
            shown = f"the date {value} (put it in quotes to make it a string)"
        case type():
            shown = f"the class {value.__name__}"
        case _:
            shown = _kind(value)
    return shown


def _kind(value: object) -> str:
    kinds = (kind for kind, types in _KINDS.items() if isinstance(value, types))
    return next(kinds, f"a value of type {type(value).__name__}")


def shorten(text: str) -> str:
    """Return a text with the end left out if it is long."""
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def show_keys(keys: Sequence[Any]) -> str:
    """Return where in a value a problem is: ``services.web.ports[0]``."""
    return "".join(map(_show_key, keys)).removeprefix(".")


def _show_key(key: object) -> str:
    if is_number(key, int):
        return f"[{show(key).removeprefix('the number ')}]"
    return f".{key}"


def check_type(value: Any, annotation: Any) -> Iterator[Problem]:
    """Yield the problems of a value that has to be of the annotated type.

    An annotation that says nothing about values (a type variable, a protocol) is met by any value.
    """
    if annotation is Any:
        return
    origin = get_origin(annotation) or annotation
    arguments = get_args(annotation)
    if origin in (Union, UnionType):
        yield from _check_union(value, arguments)
    elif origin is Literal:
        if not any(value == choice and type(value) is type(choice) for choice in arguments):
            yield (), expected(_name(annotation), value)
    elif origin in _MAPPINGS:
        yield from _check_mapping(value, *(arguments or (Any, Any)))
    elif origin in _SEQUENCES or origin in _COLLECTIONS:
        yield from _check_items(value, origin, arguments or (Any, ...))
    elif not _is_instance(value, origin):
        yield (), expected(_name(annotation), value)


def _is_instance(value: object, type_: Any) -> bool:
    if type_ in (int, float):
        return is_number(value, *((int, float) if type_ is float else (int,)))
    try:
        return not isinstance(type_, type) or isinstance(value, type_)
    except TypeError:  # a protocol, or a typed dictionary
        return True


def _check_union(value: object, members: tuple[Any, ...]) -> Iterator[Problem]:
    problems = [list(check_type(value, member)) for member in members]
    if not all(problems):
        return
    # An error inside the only member of the right kind says more than that no member fits.
    inside = [found for found in problems if all(path for path, _ in found)]
    if len(inside) == 1:
        yield from inside[0]
    else:
        yield (), expected(" or ".join(dict.fromkeys(map(_name, members))), value)


def _check_mapping(value: object, key_type: Any, value_type: Any) -> Iterator[Problem]:
    if not is_mapping(value):
        yield (), expected("a mapping", value)
        return
    for key, item in value.items():
        for checked, type_ in ((key, key_type), (item, value_type)):
            for path, problem in check_type(checked, type_):
                yield (key, *path), problem


def _check_items(value: object, origin: Any, types: tuple[Any, ...]) -> Iterator[Problem]:
    if not (is_list_or_tuple(value) or (is_set(value) and origin in _COLLECTIONS)):
        yield (), expected("a list", value)
        return
    items = list(value)
    if origin is not tuple or types[-1] is Ellipsis:
        types = types[:1] * len(items)
    if len(items) != len(types):
        yield (), f"expected a list of {len(types)}, found one of {len(items)}"
        return
    for index, (item, type_) in enumerate(zip(items, types, strict=True)):
        for path, problem in check_type(item, type_):
            yield (index, *path), problem


def _name(type_: Any) -> str:
    origin = get_origin(type_) or type_
    if origin in _MAPPINGS:
        return "a mapping"
    if origin in _SEQUENCES or origin in _COLLECTIONS:
        return "a list"
    if origin is Literal:
        return f"one of {', '.join(map(repr, get_args(type_)))}"
    return _NAMES.get(origin) or f"a value of type {getattr(origin, '__name__', origin)}"
