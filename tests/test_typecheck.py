"""Values against annotations, without coercion, and how they are shown."""

from __future__ import annotations

import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import date
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Optional, Protocol, TypedDict, TypeVar

import pytest

from anydeploy.typecheck import check_type, show, show_keys


class Colour(Enum):
    RED = "red"


class Closable(Protocol):
    def close(self) -> None: ...


class Movie(TypedDict):
    title: str


T = TypeVar("T")


@pytest.mark.parametrize(
    ("annotation", "right", "wrong"),
    [
        (str, ["", "x"], [(1, "a string, found the number 1"), (None, "a string, found nothing (null)")]),
        (bool, [True], [(1, "true or false, found the number 1"), ("true", "true or false, found the string 'true'")]),
        (int, [0, -5], [(True, "a whole number, found true"), (1.0, "a whole number, found the number 1.0")]),
        (float, [1, 0.5], [(False, "a number, found false"), ("1", "a number, found the string '1'")]),
        (bytes, [b"x"], [("x", "binary data, found the string 'x'")]),
        (type(None), [None], [(0, "null, found the number 0")]),
        (Any, [None, 1, object()], []),
        (object, [None, 1, object()], []),
        (str | None, ["x", None], [(5, "a string or null, found the number 5")]),
        (Optional[int], [5, None], [("x", "a whole number or null, found the string 'x'")]),  # noqa: UP045
        (Literal["a", 1], ["a", 1], [("b", "one of 'a', 1, found the string 'b'")]),
        (Literal[1], [1], [(True, "one of 1, found true")]),
        (Literal["a"] | int, ["a", 2], [("b", "one of 'a' or a whole number, found the string 'b'")]),
        (list[str], [[], ["x"], ("x",)], [("abc", "a list, found the string 'abc'"), ({"x"}, "a list, found a set")]),
        (list, [[1, "x"]], [({}, "a list, found a mapping")]),
        (Sequence[int], [[1], (1,)], [({1}, "a list, found a set")]),
        (Iterable[int], [[1], {1}], [("1", "a list, found the string '1'")]),
        (Collection[int], [[1], {1}], [(1, "a list, found the number 1")]),
        (set[int], [[1], {1}, frozenset({1})], [(1, "a list, found the number 1")]),
        (tuple[str, int], [["a", 1], ("a", 1)], [(["a"], None), (["a", 1, 2], None)]),
        (tuple[str], [["a"]], [(1, "a list, found the number 1")]),
        (tuple[int, ...], [[], [1, 2]], [(1, "a list, found the number 1")]),
        (dict[str, int], [{}, {"a": 1}], [([], "a mapping, found a list")]),
        (Mapping[str, Any], [{"a": []}], [(1, "a mapping, found the number 1")]),
        (dict, [{1: 2}], [("x", "a mapping, found the string 'x'")]),
        (Path, [Path("x")], [("x", "a value of type Path, found the string 'x'")]),
        (Colour, [Colour.RED], [("red", "a value of type Colour, found the string 'red'")]),
        (date, [date(2020, 1, 1)], [("x", "a value of type date, found the string 'x'")]),
        (Callable[[int], None], [len], [(1, "a value of type Callable, found the number 1")]),
        (type[int], [bool], [(1, "a value of type type, found the number 1")]),
        (list[int] | dict[str, int], [[1], {"a": 1}], [(1, "a list or a mapping, found the number 1")]),
        *((vague, [1, "x"], []) for vague in (T, Closable, Movie, typing.NewType("N", int), "ForwardRef", {})),
    ],
)  # fmt: skip
def test_types(annotation: Any, right: list[Any], wrong: list[tuple[Any, str | None]]) -> None:
    for value in right:
        assert list(check_type(value, annotation)) == []
    for value, problem in wrong:
        expected = (
            [((), f"expected {problem}")] if problem else [((), f"expected a list of 2, found one of {len(value)}")]
        )
        assert list(check_type(value, annotation)) == expected


@pytest.mark.parametrize(
    ("annotation", "value", "problems"),
    [
        (list[str], ["a", 1, None], {(1,): "a string, found the number 1", (2,): "a string, found nothing (null)"}),
        (dict[str, int], {"a": "x"}, {("a",): "a whole number, found the string 'x'"}),
        (dict[str, int], {1: 1}, {(1,): "a string, found the number 1"}),
        (tuple[str, int], ["a", "b"], {(1,): "a whole number, found the string 'b'"}),
        (dict[str, list[int]], {"a": [1, "x"]}, {("a", 1): "a whole number, found the string 'x'"}),
        (str | list[int], ["x"], {(0,): "a whole number, found the string 'x'"}),
        (list[int] | list[str], [None], {(): "a list, found a list"}),
    ],
)  # fmt: skip
def test_a_problem_inside_has_the_path_to_it(annotation: Any, value: Any, problems: dict[Any, str]) -> None:
    """The error inside the only member of a union that is of the right kind says the most."""
    assert dict(check_type(value, annotation)) == {path: f"expected {text}" for path, text in problems.items()}


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "nothing (null)"),
        (True, "true"),
        ("x" * 60, f"the string '{'x' * 60}'"),
        ("x" * 61, f"the string '{'x' * 60}...'"),
        (10**30, "a very large number"),
        (10**30 - 1, f"the number {'9' * 30}"),
        (10**40, "a very large number"),
        (-(10**40), "a very large number"),
        (1.5, "the number 1.5"),
        (date(2020, 1, 1), "the date 2020-01-01 (put it in quotes to make it a string)"),
        ({}, "a mapping"),
        ((), "a list"),
        (frozenset(), "a set"),
        (Path, "the class Path"),
        (Path(), "a value of type PosixPath"),
        (b"", "a value of type bytes"),
    ],
)
def test_how_a_value_is_shown(value: object, shown: str) -> None:
    assert show(value) == shown


def test_how_a_path_is_shown() -> None:
    assert show_keys(("services", "web", "ports", 0)) == "services.web.ports[0]"
    assert show_keys(()) == ""
    assert show_keys(("a", 10**5000, True, None)) == "a[a very large number].True.None"
