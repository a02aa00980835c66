"""One state of the world: the engine, the tasks that carry out its decisions, and the callers that wait for it."""

from __future__ import annotations

from typing import Any

from anydeploy.engine.deployment import Claim, Deployment, Failure, TeardownWait, undeploy_error
from anydeploy.engine.engine import Engine
from anydeploy.engine.slots import Slots

from .graphs import NAMES, Graph, Node

#: The activities of a task.
IDLE, TOLD, ATTEMPTING, CANCELLED, UNDEPLOYING = range(5)


class Fault(Exception):
    """The failure of a connector's operation, or the loss of its environment: one of each for each deployment."""


DEPLOY_FAULTS = [Fault(f"deploy of {name}") for name in NAMES]
UNDEPLOY_FAULTS = [Fault(f"undeploy of {name}") for name in NAMES]
LOSSES = [Fault(f"loss of {name}") for name in NAMES]
CUTS = [Fault(f"loss of the way to {name}") for name in NAMES]
CANCELLATIONS = [Fault(f"cancellation of {name}") for name in NAMES]
FAULTS = {
    fault: number
    for faults in (DEPLOY_FAULTS, UNDEPLOY_FAULTS, LOSSES, CUTS, CANCELLATIONS)
    for number, fault in enumerate(faults)
}
#: The errors that the engine makes of failed teardowns.
STUCK_ERRORS = {fault: undeploy_error(name, fault) for name, fault in zip(NAMES, UNDEPLOY_FAULTS, strict=True)}


class World:
    """A state that can be changed.

    :ivar records: of each deployment its record, or None
    :ivar tasks: of each what its task does
    :ivar exists: of each whether an environment may exist
    :ivar claims: those that the engine knows, or that have callers
    :ivar restarts: of the claims that are a restart's, the deployment that is restarted
    :ivar waits: each with the deployments, as bits, that it still has to wait for
    :ivar closers: whether callers of `close` wait
    :ivar expired: whether the shutdown deadline has passed
    """

    __slots__ = (
        "claims",
        "closers",
        "engine",
        "exists",
        "expired",
        "graph",
        "pool",
        "records",
        "restarts",
        "slots",
        "tasks",
        "waits",
    )

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.engine = Engine(graph.limit)
        internals: Any = self.engine
        self.slots: Slots | None = internals._slots
        #: A record of each deployment, to be used where a state has one.
        self.pool: list[Deployment] = []
        for node, below, depth in zip(graph.nodes, graph.below, graph.depths, strict=True):
            self.pool.append(Deployment(node.name, node, tuple(self.pool[each] for each in below), depth, 0))
        self.records: list[Deployment | None] = [None] * len(graph)
        self.tasks = [IDLE] * len(graph)
        self.exists = [False] * len(graph)
        self.claims: list[Claim] = []
        self.restarts: dict[Claim, int] = {}
        self.waits: dict[TeardownWait, int] = {}
        self.closers = False
        self.expired = False


def number_of(deployment: Deployment) -> int:
    """Return the number of a deployment in its graph."""
    return ord(deployment.name) - 97


def numbered(name: str) -> int:
    return ord(name) - 97


#: In place of the failure of a claim whose caller is not told yet: that was checked when it failed.
TOLD_BEFORE = Failure((), "was checked before")
#: A record that has not asked for a slot, in place of one that has not since.
OUTDATED = [Deployment(name, Node(name, (), False, True, 0, 0), (), 1, 0) for name in NAMES]
