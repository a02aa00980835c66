"""Settings that nobody can change, and plain copies of them (rule D4)."""

from __future__ import annotations

import copy
import pickle
import threading
from collections import OrderedDict
from datetime import date
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pytest

import anydeploy.file
from anydeploy.frozen import EMPTY, MAX_DEPTH, FrozenMapping, freeze, thaw

VALUE = {"a": [1, 2.5, True, None, b"x", {"b": (3, "s")}], "c": {4, 5}, "d": {}, 6: date(2020, 1, 1)}


class Entity:
    """Compared by identity."""


def test_frozen_all_the_way_down() -> None:
    frozen = freeze(VALUE)
    assert isinstance(frozen, FrozenMapping)
    assert frozen["a"] == (1, 2.5, True, None, b"x", {"b": (3, "s")})
    assert isinstance(frozen["a"][5], FrozenMapping)
    assert frozen["c"] == frozenset({4, 5})
    assert isinstance(frozen["c"], frozenset)
    assert list(frozen) == list(VALUE)
    assert len(frozen) == 4
    assert frozen["d"] is EMPTY
    assert freeze(frozen) is frozen
    assert freeze(OrderedDict(a=[1])) == freeze(MappingProxyType({"a": [1]})) == {"a": (1,)}


def test_it_cannot_be_changed() -> None:
    frozen: Any = freeze({"a": 1})
    for change in (
        lambda: frozen.__setitem__("a", 2),
        lambda: frozen.update(a=2),
        lambda: dict.__setitem__(frozen, "a", 2),
        lambda: setattr(frozen, "_entries", {}),
        lambda: delattr(frozen, "_entries"),
        lambda: frozen._entries.update(a=2),
    ):
        with pytest.raises((AttributeError, TypeError)):
            change()
    assert frozen == {"a": 1}
    with pytest.raises(TypeError, match="unhashable"):
        hash(frozen)


def test_thawed_values_are_plain_and_their_owner_s() -> None:
    """D4: connectors get plain dicts and lists of their own."""
    frozen = freeze(VALUE)
    thawed = thaw(frozen)
    assert thawed == VALUE | {"a": [1, 2.5, True, None, b"x", {"b": [3, "s"]}]}
    assert type(thawed) is type(thawed["a"][5]) is type(thawed["d"]) is dict
    assert type(thawed["a"]) is type(thawed["a"][5]["b"]) is list
    assert type(thawed["c"]) is set
    thawed["a"].append(1)
    thawed["d"]["x"] = 1
    assert thaw(frozen) == thaw(freeze(VALUE))


def test_equality() -> None:
    frozen = freeze({"a": [1, {"b": 2}]})
    assert frozen == {"a": [1, {"b": 2}]}
    assert frozen == {"a": (1, {"b": 2})}
    assert frozen == freeze({"a": (1, {"b": 2})})
    assert frozen != {"a": [1, {"b": 3}]}
    assert frozen != freeze({"a": [1]})
    assert frozen != [("a", 1)]
    assert frozen != {"a": [1, {"b": 2}], "c": 1}


def test_it_pickles_copies_and_prints() -> None:
    frozen = freeze(VALUE)
    pickled = [pickle.loads(pickle.dumps(frozen, n)) for n in range(pickle.HIGHEST_PROTOCOL + 1)]
    for found in [copy.copy(frozen), copy.deepcopy(frozen), *pickled]:
        assert type(found) is FrozenMapping
        assert found == frozen
        assert type(found["a"]) is tuple
    assert repr(freeze({"a": {"b": [1]}})) == "{'a': {'b': (1,)}}"


def test_other_objects_are_copied() -> None:
    given = {"box": SimpleNamespace(items=[1]), "bytes": bytearray(b"x")}
    frozen = freeze(given)
    given["box"].items.append(2)  # type: ignore[attr-defined]
    given["bytes"].append(1)  # type: ignore[attr-defined]
    assert frozen["box"] == SimpleNamespace(items=[1])
    assert frozen["bytes"] == bytearray(b"x")
    thaw(frozen)["box"].items.append(3)
    assert frozen["box"] == SimpleNamespace(items=[1])


def test_what_cannot_be_copied_is_kept() -> None:
    """So is an object compared by identity: with a copy the definition would not be equal to itself."""

    class Uncopyable(SimpleNamespace):
        def __deepcopy__(self, memo: object) -> None:
            raise SystemExit

    entity, uncopyable, lock = Entity(), Uncopyable(), threading.Lock()
    given = {"entity": entity, "uncopyable": uncopyable, "lock": lock, "function": len, "module": copy}
    frozen = freeze(given)
    for found in (frozen, thaw(frozen)):
        assert all(found[key] is value for key, value in given.items())
    assert frozen == freeze(given)


def test_a_keyboard_interrupt_is_not_swallowed() -> None:
    class Slow(SimpleNamespace):
        def __deepcopy__(self, memo: object) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        freeze({"a": Slow()})


def test_endless_and_deep_values_are_refused() -> None:
    endless: list[Any] = []
    endless.append({"a": endless})
    with pytest.raises(
        ValueError, match=f"nested too deeply, or containing itself; expected at most {MAX_DEPTH} levels"
    ):
        freeze(endless)
    deep: Any = 1
    for _ in range(MAX_DEPTH + 1):
        deep = [deep]
    freeze(deep)
    assert MAX_DEPTH == anydeploy.file.MAX_DEPTH == 64
    with pytest.raises(ValueError, match="nested too deeply"):
        freeze([deep])
