"""The limit on how many connectors may be at work at once, and the order in which they get their turn (rule K1)."""

from __future__ import annotations

from heapq import heapify, heappop, heappush

from .deployment import Deployment


class Slots:
    """Hands out the right to run a connector's ``deploy`` or ``undeploy``.

    A deployment asks only when nothing but a slot keeps it from going on, so a slot is never held by one that waits
    for another. The next turn is decided by :meth:`next`, when everything that became ready at the same moment has
    asked: the longest remaining path goes first, then the earliest request.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken = 0
        self._number = 0
        # Each entry names the request that it stands for; one that was dropped or repeated since is out of date.
        self._waiting: list[tuple[int, int, Deployment]] = []

    @property
    def has_choice(self) -> bool:
        """Whether a slot is free and several may want it."""
        return self._taken < self._limit and len(self._waiting) > 1

    def reorder(self) -> None:
        """Look again at how urgent each request is, and forget those that are out of date."""
        waiting = [(number, deployment) for _, number, deployment in self._waiting if deployment.request == number]
        self._waiting = [(-deployment.urgency, number, deployment) for number, deployment in waiting]
        heapify(self._waiting)

    def request(self, deployment: Deployment) -> None:
        """Ask that the deployment may proceed."""
        self._number += 1
        deployment.request = self._number
        heappush(self._waiting, (-deployment.urgency, self._number, deployment))

    def release(self, deployment: Deployment) -> None:
        """Take back its slot, if it has one, and its request, if it has made one."""
        deployment.request = 0
        if deployment.has_slot:
            deployment.has_slot = False
            self._taken -= 1

    def next(self) -> Deployment | None:
        """Return the deployment whose turn it is, with its slot; None if there is none."""
        while self._waiting and self._taken < self._limit:
            _, number, deployment = heappop(self._waiting)
            if deployment.request == number:
                deployment.has_slot = True
                self._taken += 1
                return deployment
        return None
