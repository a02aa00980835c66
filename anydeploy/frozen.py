"""Settings that nobody can change, and plain copies of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from types import MappingProxyType, NoneType
from typing import Any, ClassVar, Final, cast

from attrs import field, frozen

from .typecheck import is_list_or_tuple, is_mapping, is_set

#: The deepest nesting of settings; deeper ones are taken for endless.
MAX_DEPTH: Final = 64

_ATOMS = frozenset({str, int, float, bool, bytes, NoneType})


@frozen(eq=False, repr=False)
class FrozenMapping(Mapping[Any, Any]):
    """A mapping that cannot be changed, nor can what it contains (see :func:`freeze`).

    It is equal to every mapping that has equal entries after freezing (:func:`is_equal`), and it pickles and copies.
    """

    __hash__: ClassVar[None] = None  # type: ignore[assignment]
    _entries: Mapping[Any, Any] = field(converter=MappingProxyType)

    def __getitem__(self, key: Any) -> Any:
        return self._entries[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, FrozenMapping):
            return is_equal(self._entries, other._entries)
        if not isinstance(other, Mapping):
            return NotImplemented
        return bool(self == freeze(cast("object", other)))

    def __repr__(self) -> str:
        return repr(dict(self._entries))

    def __reduce__(self) -> tuple[Any, ...]:
        return FrozenMapping, (dict(self._entries),)


#: Definitions without settings share it.
EMPTY: Final = FrozenMapping({})


def freeze(value: Any, depth: int = 0) -> Any:
    """Return a copy of a value that nobody can change.

    Mappings become :class:`FrozenMapping`, lists and tuples become tuples, and sets become frozen sets. Any other
    object is deep-copied. It is kept as it is if it cannot be copied (a lock, a module), or if it is compared by
    identity: a copy would be another object, and the definition another definition.

    :raises ValueError: if the value contains itself, or more than :data:`MAX_DEPTH` levels
    """
    if type(value) in _ATOMS or isinstance(value, FrozenMapping):
        return value
    if depth > MAX_DEPTH:
        raise ValueError(f"nested too deeply, or containing itself; expected at most {MAX_DEPTH} levels")
    deeper = depth + 1
    if is_mapping(value):
        return FrozenMapping({key: freeze(item, deeper) for key, item in value.items()}) if value else EMPTY
    if is_list_or_tuple(value):
        return tuple([freeze(item, deeper) for item in value])
    if is_set(value):
        return frozenset([freeze(item, deeper) for item in value])
    return _copy(value)


def thaw(value: Any) -> Any:
    """Return a copy of a frozen value in plain dicts, lists and sets, which may be changed."""
    if isinstance(value, FrozenMapping):
        return {key: thaw(item) for key, item in value.items()}
    if is_list_or_tuple(value):
        return [thaw(item) for item in value]
    if is_set(value):
        return set(value)
    return value if type(value) in _ATOMS else _copy(value)


def is_equal(one: object, other: object) -> bool:
    """Whether two values are equal. Of what cannot be compared, an array for example, only the same object is equal."""
    try:
        return bool(one == other)
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 - the objects are anybody's, and so is their comparison
        return False


def _copy(value: Any) -> Any:
    equality: object = type(value).__eq__
    if equality is object.__eq__:
        return value
    try:
        return deepcopy(value)
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 - the objects are anybody's, and so is their copying
        return value
