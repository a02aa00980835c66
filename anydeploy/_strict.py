"""Structuring without coercion: cattrs with hooks that take a value of the annotated type and no other.

``"5"`` is no number, ``true`` is no number either, and a string is no list of letters. What is wrong comes out as
pairs of a path into the value and a message that shows what was expected.
"""

from __future__ import annotations

import types
from collections import abc
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from typing import Any, Literal, TypeAlias, TypeGuard, Union, cast, get_args, get_origin

try:
    from cattrs import ClassValidationError, Converter, IterableValidationError, StructureHandlerNotFoundError
    from cattrs.errors import IterableValidationNote
except ImportError as missing:
    raise ImportError("reading files needs ruamel.yaml and cattrs: pip install 'anydeploy[file]'") from missing

Path: TypeAlias = tuple[Any, ...]
Hook: TypeAlias = Callable[[Any, Any], Any]

_LONGEST_SHOWN = 60
_LARGEST_SHOWN = 10**30
_LISTS = (list, tuple, set, frozenset, abc.Sequence, abc.MutableSequence, abc.Collection, abc.Iterable, abc.Set)
_MAPPINGS = (dict, abc.Mapping, abc.MutableMapping)


# Narrowing to what the two type checkers call the same.
def is_mapping(value: object) -> TypeGuard[Mapping[Any, Any]]:
    return isinstance(value, Mapping)


def is_list(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def show(value: object) -> str:
    """A value as an error message shows it: its kind, and a short form of itself."""
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
        case dict():
            shown = "a mapping"
        case list():
            shown = "a list"
        case _:
            shown = f"a value of type {type(value).__name__}"
    return shown


def shorten(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def expect(what: str, value: object) -> ValueError:
    return ValueError(f"expected {what}, found {show(value)}")


def problems_of(error: Exception, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """The errors that cattrs has collected, each with the path of the value it is about."""
    if isinstance(error, ClassValidationError):
        noted, others = error.group_exceptions()
        for inner, note in noted:
            yield from problems_of(inner, (*path, note.name))
    elif isinstance(error, IterableValidationError):
        items, others = error.group_exceptions()
        for inner, item in items:
            yield from problems_of(inner, (*path, item.index))
    elif isinstance(error, KeyError):
        yield path[:-1], f"the key '{error.args[0]}' is required"
        return
    else:
        yield path, str(error) or type(error).__name__
        return
    for inner in others:
        yield from problems_of(inner, path)


def strict_converter() -> Converter:
    converter = Converter()
    for type_, what, accepted in (
        (str, "a string", str),
        (bool, "true or false", bool),
        (int, "a whole number", int),
        (float, "a number", (int, float)),
        (bytes, "binary data", bytes),
    ):
        converter.register_structure_hook(type_, _instance_hook(what, accepted, of_bool=type_ is bool))
    factories: tuple[tuple[Callable[[Any], bool], Callable[[Any, Converter], Hook]], ...] = (
        (_is_list, _list_hook),
        (_is_mapping, _mapping_hook),
        (_is_union, _union_hook),
        (_is_literal, _literal_hook),
    )
    for applies, factory in factories:
        converter.register_structure_hook_factory(applies, _with_converter(factory, converter))
    return converter


def check_type(converter: Converter, value: object, type_: Any) -> Iterator[tuple[Path, str]]:
    """What is wrong with a value for an annotation; nothing for an annotation that cattrs has no notion of."""
    try:
        converter.structure(value, type_)
    except StructureHandlerNotFoundError:
        return
    except Exception as exc:  # noqa: BLE001 - the classes in an annotation are anybody's, and so are their exceptions
        yield from problems_of(exc)


def _instance_hook(what: str, accepted: type | tuple[type, ...], *, of_bool: bool) -> Hook:
    def structure(value: object, _: object) -> object:
        # A bool is an int to Python, and to nobody who writes a file.
        if not isinstance(value, accepted) or (isinstance(value, bool) and not of_bool):
            raise expect(what, value)
        return value

    return structure


def _with_converter(factory: Callable[[Any, Converter], Hook], converter: Converter) -> Callable[[Any], Hook]:
    return lambda type_: factory(type_, converter)


def _is_literal(type_: Any) -> bool:
    return bool(get_origin(type_) == Literal)


def _is_list(type_: Any) -> bool:
    return type_ in _LISTS or get_origin(type_) in _LISTS


def _is_mapping(type_: Any) -> bool:
    return type_ in _MAPPINGS or get_origin(type_) in _MAPPINGS


def _is_union(type_: Any) -> bool:
    return get_origin(type_) in {Union, types.UnionType}


def _list_hook(type_: Any, converter: Converter) -> Hook:
    elements = get_args(type_) or (Any,)
    fixed = get_origin(type_) is tuple and elements[-1] is not Ellipsis
    hooks = [(_hook_for(element, converter), element) for element in elements if element is not Ellipsis]

    def structure(value: Any, _: object) -> Any:
        if not is_list(value):
            raise expect("a list", value)
        items = value
        if fixed and len(items) != len(hooks):
            raise ValueError(f"expected a list of {len(hooks)}, found one of {len(items)}")
        chosen = hooks if fixed else hooks[:1] * len(items)
        return _each(list(zip(range(len(items)), items, chosen, strict=True)), type_)

    return structure


def _mapping_hook(type_: Any, converter: Converter) -> Hook:
    key_type, value_type = get_args(type_) or (Any, Any)
    key_hook, value_hook = _hook_for(key_type, converter), _hook_for(value_type, converter)

    def structure(value: Any, _: object) -> Any:
        if not is_mapping(value):
            raise expect("a mapping", value)
        keys = _each([(key, key, (key_hook, key_type)) for key in value], type_)
        values = _each([(key, item, (value_hook, value_type)) for key, item in value.items()], type_)
        return dict(zip(keys, values, strict=True))

    return structure


def _each(items: list[tuple[Any, Any, tuple[Hook, Any]]], type_: Any) -> list[Any]:
    """Structure every item, and raise for all the wrong ones at once."""
    results: list[Any] = []
    errors: list[Exception] = []
    for index, item, (hook, element) in items:
        try:
            results.append(hook(item, element))
        except Exception as exc:  # noqa: BLE001 - collected, and raised together
            exc.add_note(IterableValidationNote(f"at {index!r}", index, element))
            errors.append(exc)
    if errors:
        raise cast("Any", IterableValidationError)("wrong items", errors, type_)
    return results


def _union_hook(type_: Any, converter: Converter) -> Hook:
    members: list[tuple[Hook, Any]] = [(_hook_for(member, converter), member) for member in get_args(type_)]

    def structure(value: object, _: object) -> Any:
        problems: list[Exception] = []
        for call, member in members:
            try:
                return call(value, member)
            except Exception as exc:  # noqa: BLE001 - not this member
                problems.append(exc)
        raise _closest(problems, value, [member for _, member in members])

    return structure


def _closest(problems: list[Exception], value: object, members: list[Any]) -> Exception:
    """The error inside the only member of the right kind, where there is one; it says more than that none fits."""
    inside = [exc for exc in problems if isinstance(exc, ClassValidationError | IterableValidationError)]
    return inside[0] if len(inside) == 1 else expect(" or ".join(_name(member) for member in members), value)


def _literal_hook(type_: Any, _: Converter) -> Hook:
    accepted = get_args(type_)

    def structure(value: Any, _: object) -> Any:
        if not any(value == choice and type(value) is type(choice) for choice in accepted):
            raise expect(f"one of {', '.join(map(repr, accepted))}", value)
        return value

    return structure


def _hook_for(type_: Any, converter: Converter) -> Hook:
    if type_ is type(None):
        return _structure_none
    return converter.get_structure_hook(type_)


def _structure_none(value: object, _: object) -> None:
    if value is not None:
        raise expect("nothing (null)", value)


_NAMES = {str: "a string", bool: "true or false", int: "a whole number", float: "a number", type(None): "null"}


def _name(type_: Any) -> str:
    if _is_list(type_):
        return "a list"
    if _is_mapping(type_):
        return "a mapping"
    return _NAMES.get(type_, getattr(type_, "__name__", str(type_)))
