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
            if edges and frozenset.intersection(*(node.ready for node in part)) <= ran:
                return sorted(ran), part[-1].taken[: part[-1].length]
        return None

    def _parts(self) -> Iterator[list[Node]]:
        """The strongly connected parts; Tarjan's algorithm, without recursion."""
        index: dict[Node, int] = {}
        lowest: dict[Node, int] = {}
        stack: list[Node] = []
        on_stack: set[Node] = set()
        for root in self._nodes.values():
            if root in index:
                continue
            path: list[tuple[Node, Iterator[Node]]] = []
            self._enter(root, path, index, lowest, stack, on_stack)
            while path:
                node, following = path[-1]
                for after in following:
                    if after not in index:
                        self._enter(after, path, index, lowest, stack, on_stack)
                        break
                    if after in on_stack:
                        lowest[node] = min(lowest[node], index[after])
                else:
                    path.pop()
                    if path:
                        above = path[-1][0]
                        lowest[above] = min(lowest[above], lowest[node])
                    if lowest[node] == index[node]:
                        part = [stack.pop()]
                        while part[-1] is not node:
                            part.append(stack.pop())
                        on_stack.difference_update(part)
                        yield part

    @staticmethod
    def _enter(
        node: Node,
        path: list[tuple[Node, Iterator[Node]]],
        index: dict[Node, int],
        lowest: dict[Node, int],
        stack: list[Node],
        on_stack: set[Node],
    ) -> None:
        index[node] = lowest[node] = len(index)
        stack.append(node)
        on_stack.add(node)
        path.append((node, iter(node.following)))
