"""Converters for the settings of the embedded connectors. Each refuses with a message that says what was expected."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from shlex import split
from typing import Any, cast

from attrs import field

from ..typecheck import expected, show, to_count


def refused(name: str, reason: str) -> Any:
    """Return a setting of StreamFlow's connector of the same type that this one does not have, and says so."""

    def refuse(value: object) -> None:
        if value is not None:
            raise ValueError(f"this setting of StreamFlow's connector is not supported: {reason}")

    return cast("Any", field)(default=None, alias=name, converter=refuse, repr=False, metadata={"refused": reason})


def to_text(value: object) -> str:
    """A string that is not empty."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError(expected("a string", value))
    return value


def to_flag(value: object) -> bool:
    """True or false, and nothing that merely counts as such."""
    if not isinstance(value, bool):
        raise TypeError(expected("true or false", value))
    return value


def to_positive(value: object) -> int:
    """A whole number, 1 or more."""
    return to_count(value, 1)


def to_argv(value: object) -> tuple[str, ...]:
    """A program and its arguments.

    :raises ValueError, TypeError: if it is anything but a list of strings that begins with a program
    """
    kind = "a list of strings, the program and its arguments"
    if isinstance(value, str):
        raise TypeError(f"{expected(kind, value)}{_as_list(value)}")
    if not isinstance(value, list | tuple):
        raise TypeError(expected(kind, value))
    argv = cast("list[object] | tuple[object, ...]", value)
    for position, item in enumerate(argv, start=1):
        if not isinstance(item, str):
            raise TypeError(f"expected {kind}; item {position} is {show(item)}{_in_quotes(item)}")
    if not (argv and argv[0]):
        raise ValueError(f"expected {kind}; the program is missing")
    return tuple(cast("list[str]", argv))


def to_environment(value: object) -> Mapping[str, str]:
    """Variables of an environment: a mapping from names to strings.

    Their values may be secret, and are in no message.
    """
    kind = "a mapping from names of variables to strings"
    if not isinstance(value, Mapping):
        raise TypeError(f"expected {kind}, found {kind_of(value)}")
    variables = cast("Mapping[object, object]", value)
    for name, text in variables.items():
        if not isinstance(name, str):
            raise TypeError(f"expected {kind}; {show(name)} is no name of a variable")
        if not name or "=" in name:
            raise ValueError(f"expected {kind}; one has no name, or one with `=` in it")
        if not isinstance(text, str):
            quotes = "; write it in quotes" if isinstance(text, int | float | date) else ""
            raise TypeError(f"expected {kind}; {name} is {kind_of(text)}{quotes}")
    return dict(cast("Mapping[str, str]", variables))


def kind_of(value: object) -> str:
    """Return the kind of a value, for a message that must not show it."""
    match value:
        case str():
            return "a string"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case date():
            return "a date"
        case _:
            return show(value)


def to_path(value: object) -> str:
    """The path of a file or a directory, as a string."""
    if not isinstance(value, str) or not value:
        raise ValueError(expected("a path", value))
    return value


def _as_list(written: str) -> str:
    try:
        words = split(written)
    except ValueError:
        return ""
    return f"; as a list it is {words!r}" if words else ""


def _in_quotes(item: object) -> str:
    return f'; write it in quotes: "{item}"' if isinstance(item, int | float) and not isinstance(item, bool) else ""
