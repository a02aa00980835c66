"""The values of YAML nodes, and where they stand.

Values are read as StreamFlow reads them, with the safe loader of ruamel.yaml (YAML 1.2: ``yes`` is a string, ``010`` is
ten). Aliases and merge keys are followed within limits.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, cast

from attrs import define, field

from ..typecheck import shorten
from .yaml import (
    MAX_DEPTH,
    MAX_VALUES,
    MappingNode,
    Node,
    Position,
    Report,
    ScalarNode,
    SequenceNode,
    items_of,
    pairs_of,
    position_of,
    tag_of,
)

#: Stands for a value that could not be read; the problem with it has been reported.
BROKEN: Final = object()

_CORE = "tag:yaml.org,2002:"
_MERGE, _STR, _VALUE, _SEQ, _MAP = (f"{_CORE}{name}" for name in ("merge", "str", "value", "seq", "map"))
_SCALARS = frozenset(f"{_CORE}{name}" for name in ("null", "bool", "int", "float", "timestamp", "binary"))


class _RefusedError(Exception):
    """A value that must not be built, because it is endless or far too large."""

    def __init__(self, node: Node, problem: str) -> None:
        super().__init__(problem)
        self.node = node


@define(eq=False)
class Document:
    """The values of the nodes of one document.

    Each node is built once, however many aliases lead to it, and with a stack instead of recursion: the graph of
    nodes may be deeper than the file is nested, and may have cycles.

    :ivar report: takes the problems found while building
    """

    _constructor: Any
    report: Report
    _values: dict[Node, Any] = field(factory=dict[Node, Any])
    _entries: dict[Node, dict[Any, tuple[Node, Node]]] = field(factory=dict[Node, dict[Any, tuple[Node, Node]]])
    # How many values, and how many levels, a node stands for; a scalar is 1 of each and not in here.
    _extent: dict[Node, tuple[int, int]] = field(factory=dict[Node, tuple[int, int]])
    # The sum of all mappings built and all results returned; it bounds the walk of any user of the values.
    _total: int = 0
    _is_full: bool = False

    def is_empty(self, node: Node) -> bool:
        """Whether a node is an empty mapping or list."""
        return not isinstance(node, ScalarNode) and not items_of(node)

    def build(self, node: Node) -> Any:
        """The value of a node; :data:`BROKEN`, after a report, where there is none. It may have such inside, too."""
        try:
            self._build(node)
            self._count(node, self._extent.get(node, (1, 1))[0])
        except _RefusedError as exc:
            self._report_refused(exc)
            return BROKEN
        return self._values[node]

    def entries(self, node: Node) -> dict[Any, tuple[Node, Node]]:
        """The entries of a mapping, merge keys followed: its keys, each with the nodes of key and value."""
        try:
            return self._find_entries(node)
        except _RefusedError as exc:
            self._report_refused(exc)
            return self._entries.setdefault(node, {})

    def position(self, node: Node, path: tuple[Any, ...]) -> Position:
        """Where the value is that a path of keys and indices leads to, or the last one on the way that there is."""
        for step in path:
            if isinstance(node, MappingNode) and step in (entries := self.entries(node)):
                node = entries[step][1]
            elif isinstance(node, SequenceNode) and isinstance(step, int) and step < len(items_of(node)):
                node = items_of(node)[step]
            else:
                break
        return position_of(node)

    def _report_refused(self, exc: _RefusedError) -> None:
        # Once there are too many values everything is refused; that is one problem.
        if not self._is_full:
            self.report(position_of(exc.node), str(exc))
        self._is_full = self._total > MAX_VALUES

    def _build(self, root: Node) -> None:
        stack, unfinished = [root], set[Node]()
        while stack:
            node = stack[-1]
            if node in self._values:
                stack.pop()
            elif isinstance(node, ScalarNode):
                self._values[node] = self._scalar(node)
            elif node not in unfinished:
                unfinished.add(node)
                children = [child for child in _children(node) if child not in self._values]
                if not unfinished.isdisjoint(children):
                    raise _RefusedError(node, "this value contains itself, through an alias")
                stack.extend(reversed(children))
            else:
                unfinished.discard(node)
                self._values[node] = self._collection(node)

    def _scalar(self, node: Node) -> Any:
        tag = tag_of(node)
        if tag in {_STR, _VALUE, _MERGE}:
            return cast("Any", node).value
        if tag not in _SCALARS:
            return self._refusetag_of(node)
        try:
            return self._constructor.construct_non_recursive_object(node)
        except Exception:  # noqa: BLE001 - a thirteenth month, an explicit tag on the wrong text
            text = shorten(cast("Any", node).value)
            self.report(position_of(node), f"this cannot be read as a YAML {tag.removeprefix(_CORE)}: '{text}'")
            return BROKEN

    def _refusetag_of(self, node: Node) -> Any:
        tag = tag_of(node)
        shown = f"!!{tag.removeprefix(_CORE)}" if tag.startswith(_CORE) else tag
        self.report(position_of(node), f"the tag {shown} is not supported here; expected plain YAML values")
        return BROKEN

    def _collection(self, node: Node) -> Any:
        value: Any
        children: list[Node]
        if tag_of(node) != (_MAP if isinstance(node, MappingNode) else _SEQ):
            return self._refusetag_of(node)
        if isinstance(node, MappingNode):
            entries = self._find_entries(node)
            children = [child for _, child in entries.values()]
            value = {key: self._values[child] for key, (_, child) in entries.items()}
            self._count(node, len(children))
        else:
            children = items_of(node)
            value = [self._values[child] for child in children]
        extents = [self._extent.get(child, (1, 1)) for child in children]
        count = 1 + sum(size for size, _ in extents)
        depth = 1 + max((levels for _, levels in extents), default=0)
        if depth > MAX_DEPTH:
            raise _RefusedError(node, f"nested too deeply, through aliases; expected at most {MAX_DEPTH} levels")
        self._extent[node] = count, depth
        return value

    def _count(self, node: Node, values: int) -> None:
        self._total += values
        if self._total > MAX_VALUES:
            raise _RefusedError(node, f"too many values, with aliases written out; expected at most {MAX_VALUES:,}")

    def _find_entries(self, node: Node) -> dict[Any, tuple[Node, Node]]:
        if node in self._entries:
            return self._entries[node]
        own: dict[Any, tuple[Node, Node]] = {}
        merged: dict[Any, tuple[Node, Node]] = {}
        for key_node, value_node in pairs_of(node):
            if tag_of(key_node) == _MERGE:
                self._merge(value_node, merged)
            elif not isinstance(key_node, ScalarNode):
                self.report(position_of(key_node), "a list or mapping is used as a key; expected a plain key")
            else:
                self._build(key_node)
                key = self._values[key_node]
                if key is not BROKEN and self._is_new(key, own, key_node):
                    own[key] = key_node, _at_key_if_empty(key_node, value_node)
        self._entries[node] = found = merged | own if merged else own
        return found

    def _is_new(self, key: object, entries: dict[Any, tuple[Node, Node]], node: Node) -> bool:
        first = entries.get(key)
        if first is not None:
            problem = f"duplicate key '{key}', which stands on line {position_of(first[0]).line} already"
            self.report(position_of(node), f"{problem}; expected each key once")
        return first is None

    def _merge(self, node: Node, merged: dict[Any, tuple[Node, Node]]) -> None:
        """Add what ``<<`` brings in; of several mappings that have a key, the first one wins."""
        # Building comes first: it is what finds cycles, and it goes through chains of merges without recursion.
        self._build(node)
        for source in items_of(node) if isinstance(node, SequenceNode) else [node]:
            if not isinstance(source, MappingNode):
                self.report(position_of(source), "expected a mapping, or a list of mappings, to merge with <<")
                continue
            entries = self._find_entries(source)
            self._count(source, len(entries))
            for key, entry in entries.items():
                merged.setdefault(key, entry)


def _children(node: Node) -> Iterator[Node]:
    if isinstance(node, SequenceNode):
        yield from items_of(node)
    else:
        for pair in pairs_of(node):
            yield from pair


def _at_key_if_empty(key: Node, value: Node) -> Node:
    """Nothing stands where whatever comes next does, maybe lines below; show the key that it is the value of."""
    start, end = cast("Any", value).start_mark, cast("Any", value).end_mark
    if isinstance(value, ScalarNode) and start.index == end.index:
        cast("Any", value).start_mark = cast("Any", key).start_mark
    return value
