"""Finds what goes round in circles for ever, among the states of an exploration."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator

from attrs import define, field


@define(eq=False)
class Node:
    """A state: who was ready in it, and which states were next, each with who ran in between.

    :ivar taken: the ways that a run took that came to it, the first ``length`` of them
    """

    ready: frozenset[str]
    taken: list[int]
    length: int
    following: dict[Node, set[str]] = field(factory=dict["Node", set[str]])


@define(eq=False)
class Graph:
    """States, and how they follow each other.

    A program that comes back to a state may do so for ever, but only if nobody is passed over for ever: an event loop
    runs everything that is ready some time. What goes round is therefore a strongly connected part of the graph within
    which everybody runs who is ready all the time.
    """

    _nodes: dict[Hashable, Node] = field(factory=dict[Hashable, Node])

    def arrive(
        self, before: Hashable | None, ran: set[str], state: Hashable, ready: Iterable[str], taken: list[int]
    ) -> None:
        """Somebody ran, and what was ``before`` is now ``state``; ``taken`` is what led there, and may be added to."""
        node = self._nodes.get(state)
        if node is None:
            node = self._nodes[state] = Node(frozenset(ready), taken, len(taken))
        source = self._nodes.get(before)
        if source is not None:
            source.following.setdefault(node, set()).update(ran)

    def livelock(self) -> tuple[list[str], list[int]] | None:
        """Who runs round and round, and how to get there, if there is a circle that an event loop may never leave."""
        for part in self._parts():
            inside = set(part)
            edges = [ran for node in part for after, ran in node.following.items() if after in inside]
            ran = set[str]().union(*edges)
            if edges and frozenset[str].intersection(*(node.ready for node in part)) <= ran:
                return sorted(ran), part[-1].taken[: part[-1].length]
        return None

    def _parts(self) -> Iterator[list[Node]]:
        """The strongly connected parts; Tarjan's algorithm, without recursion."""
        walk = _Walk()
        for root in self._nodes.values():
            if root not in walk.index:
                yield from walk.from_root(root)


@define(eq=False)
class _Walk:
    """Tarjan's algorithm, as far as it has come.

    :ivar index: the nodes that it has entered, with their numbers in that order
    :ivar lowest: the lowest number that can be reached from a node
    :ivar path: where it is, with what is still to be followed from each node
    :ivar stack: the nodes whose part is not complete
    """

    index: dict[Node, int] = field(factory=dict[Node, int])
    lowest: dict[Node, int] = field(factory=dict[Node, int])
    path: list[tuple[Node, Iterator[Node]]] = field(factory=list[tuple[Node, Iterator[Node]]])
    stack: dict[Node, None] = field(factory=dict[Node, None])

    def from_root(self, root: Node) -> Iterator[list[Node]]:
        self._enter(root)
        while self.path:
            node, following = self.path[-1]
            for after in following:
                if after not in self.index:
                    self._enter(after)
                    break
                if after in self.stack:
                    self.lowest[node] = min(self.lowest[node], self.index[after])
            else:
                yield from self._leave(node)

    def _enter(self, node: Node) -> None:
        self.index[node] = self.lowest[node] = len(self.index)
        self.stack[node] = None
        self.path.append((node, iter(node.following)))

    def _leave(self, node: Node) -> Iterator[list[Node]]:
        self.path.pop()
        if self.path:
            above = self.path[-1][0]
            self.lowest[above] = min(self.lowest[above], self.lowest[node])
        if self.lowest[node] == self.index[node]:
            part = [self.stack.popitem()[0]]
            while part[-1] is not node:
                part.append(self.stack.popitem()[0])
            yield part
