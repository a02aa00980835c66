"""How many connectors may be at work at once, and whose turn it is (rule K1)."""

from __future__ import annotations

from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .deployment import Deployment


class Slots:
    """Hands out the right to run a connector's ``deploy`` or ``undeploy``.

    A deployment asks only when nothing but a slot keeps it from going on, so a slot is never held by one that waits
    for another. Requests are answered by :meth:`dispatch`, when everything that became ready at the same moment has
    asked: the longest remaining path goes first, then who asked first.
    """

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._taken = 0
        # A request is dropped by clearing `queued`, and repeated when its urgency grows: entries may be out of date.
        self._queue: list[tuple[int, int, Deployment]] = []
        self._order = count()

    @property
    def limited(self) -> bool:
        return self._limit is not None

    def request(self, deployment: Deployment) -> None:
        """Let the deployment proceed as soon as it may."""
        if self._limit is None or deployment.has_slot:
            deployment.proceed()
        else:
            deployment.queued = True
            heappush(self._queue, (-deployment.urgency, next(self._order), deployment))

    def release(self, deployment: Deployment) -> None:
        """Take back its slot, if it has one, and its request, if it has made one."""
        deployment.queued = False
        if deployment.has_slot:
            deployment.has_slot = False
            self._taken -= 1

    def dispatch(self) -> None:
        """Give the free slots to the most urgent requests."""
        while self._queue and self._limit is not None and self._taken < self._limit:
            deployment = heappop(self._queue)[2]
            if deployment.queued:
                deployment.queued = False
                deployment.has_slot = True
                self._taken += 1
                deployment.proceed()
