"""The breadth-first search itself."""

from __future__ import annotations

from collections import deque

from .facts import Facts, follow_down
from .freezing import Freezer
from .graphs import Graph
from .invariants import check_state
from .moves import make, moves, show
from .passage import Passage
from .rules import check_passage
from .world import World


class Search:
    def __init__(self, graph: Graph, calls: int = 3, faults: int = 2) -> None:
        self.graph = graph
        self.calls = calls
        self.faults = faults

    def run(self):  # noqa: C901
        g = self.graph
        fz = Freezer(g)
        bw = World(g)
        w = World(g)
        ids = {}
        keys = []
        best = []
        succ = []
        parent = []

        def add(key, par, mv):
            i = ids.get(key)
            if i is None:
                i = ids[key] = len(keys)
                keys.append(key)
                best.append([])
                succ.append([None, None, None])
                parent.append((par, mv))
            return i

        start = add(fz.freeze(w), -1, None)
        buckets = [deque() for _ in range(self.calls + self.faults + 1)]
        buckets[0].append((start, self.calls, self.faults))
        trans = 0
        expands = 0
        for b in range(len(buckets)):
            q = buckets[b]
            while q:
                i, c, f = q.popleft()
                if any(c <= c2 and f <= f2 for c2, f2 in best[i]):
                    continue
                best[i].append((c, f))
                expands += 1
                key = keys[i]
                todo = None
                for cls, (nc, nf) in enumerate(((c, f), (c - 1, f), (c, f - 1))):
                    if nc < 0 or nf < 0:
                        continue
                    if succ[i][cls] is None:
                        if todo is None:
                            fz.thaw(key, bw)
                            todo = moves(bw)
                            facts = Facts(bw)
                        s = []
                        for mv in todo[cls]:
                            fz.thaw(key, w)
                            try:
                                effects = make(w, mv)
                                after = Facts(w)
                                if w.waits and effects:
                                    follow_down(after, effects)
                                check_passage(Passage(facts, mv[0], mv[1], effects, after))
                                k = fz.freeze(w)
                                if k not in ids:
                                    check_state(after)
                            except Exception as e:
                                e.args = (*e.args, [*self.trace(parent, i), show(mv)])
                                raise
                            trans += 1
                            s.append(add(k, i, mv))
                        succ[i][cls] = s
                    for j in succ[i][cls]:
                        if not any(nc <= c2 and nf <= f2 for c2, f2 in best[j]):
                            buckets[b + (cls > 0)].append((j, nc, nf))
        self.keys = keys
        return len(keys), trans, expands

    def trace(self, parent, i):
        out = []
        while i > 0:
            i, mv = parent[i]
            out.append(show(mv))
        return out[::-1]
