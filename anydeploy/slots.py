"""How many connectors may be at work at once, and whose turn it is (rule K1)."""

from __future__ import annotations

from collections import deque
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
        self._waiting: list[tuple[int, int, Deployment]] = []
        self._ready: deque[Deployment] = deque()
        self._order = count()
        self._dispatching = False

    @property
    def limited(self) -> bool:
        return self._limit is not None

    def request(self, deployment: Deployment) -> None:
        """Let the deployment proceed as soon as it may."""
        deployment.queued = True
        if self._limit is None or deployment.has_slot:
            self._ready.append(deployment)
        else:
            heappush(self._waiting, (-deployment.urgency, next(self._order), deployment))

    def release(self, deployment: Deployment) -> None:
        """Take back its slot, if it has one, and its request, if it has made one."""
        deployment.queued = False
        if deployment.has_slot:
            deployment.has_slot = False
            self._taken -= 1

    def dispatch(self) -> None:
        """Let those proceed whose turn it is, now that everything is decided.

        A task may run its first steps from within the call that starts it (asyncio's eager tasks do), finish its
        deploy, and get here again: what became ready then is left to the loop that is under way.
        """
        if self._dispatching:
            return
        self._dispatching = True
        try:
            self._assign()
            while self._ready:
                deployment = self._ready.popleft()
                if deployment.queued:
                    deployment.queued = False
                    deployment.proceed()
                self._assign()
        finally:
            self._dispatching = False

    def _assign(self) -> None:
        """Give the free slots to the most urgent requests."""
        while self._waiting and self._limit is not None and self._taken < self._limit:
            deployment = heappop(self._waiting)[2]
            if deployment.queued and not deployment.has_slot:
                deployment.has_slot = True
                self._taken += 1
                self._ready.append(deployment)
