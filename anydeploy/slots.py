"""How many connectors may be at work at once, and whose turn it is (rule K1)."""

from __future__ import annotations

from collections import deque
from heapq import heapify, heappop, heappush
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .deployment import Deployment


class Slots:
    """Hands out the right to run a connector's ``deploy`` or ``undeploy``.

    A deployment asks only when nothing but a slot keeps it from going on, so a slot is never held by one that waits
    for another. Whose turn it is, is decided by :meth:`next`, when everything that became ready at the same moment has
    asked: the longest remaining path goes first, then who asked first.
    """

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._taken = 0
        # Each entry names the request that it stands for; one that was dropped or repeated since is out of date.
        self._waiting: list[tuple[int, int, Deployment]] = []
        self._ready: deque[tuple[int, Deployment]] = deque()
        self._number = count(1)

    @property
    def has_choice(self) -> bool:
        """Whether a slot is free and several may want it."""
        return self._limit is not None and self._taken < self._limit and len(self._waiting) > 1

    def reorder(self) -> None:
        """Look again at how urgent each request is."""
        self._waiting = [(-deployment.urgency, number, deployment) for _, number, deployment in self._waiting]
        heapify(self._waiting)

    def request(self, deployment: Deployment) -> None:
        """Ask that the deployment may proceed, in place of what was asked for it before."""
        deployment.request = number = next(self._number)
        if self._limit is None or deployment.has_slot:
            self._ready.append((number, deployment))
        else:
            heappush(self._waiting, (-deployment.urgency, number, deployment))

    def release(self, deployment: Deployment) -> None:
        """Take back its slot, if it has one, and its request, if it has made one."""
        deployment.request = 0
        if deployment.has_slot:
            deployment.has_slot = False
            self._taken -= 1

    def next(self) -> Deployment | None:
        """Who may proceed now, if anyone: its request is met."""
        while self._ready:
            number, deployment = self._ready.popleft()
            if deployment.request == number:
                return deployment
        while self._waiting and self._limit is not None and self._taken < self._limit:
            _, number, deployment = heappop(self._waiting)
            if deployment.request == number:
                deployment.has_slot = True
                self._taken += 1
                return deployment
        return None
