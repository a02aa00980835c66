"""Parts of a picture: the connectors of each name, and the calls that have not come back."""

from __future__ import annotations

from attrs import define


@define(eq=False)
class Instance:
    """One connector of a name, until its environment is gone.

    :ivar state: ``built``, ``deploying``, ``live``, ``lost``, ``broken`` (its deploy failed, was cancelled, or came to
        nothing because of a loss), ``undeploying``, ``stuck`` or ``gone``
    :ivar inner: the number of the connector that it wraps; 0 if it wraps none
    :ivar came_up: it was live once, and not only because its ``deploy`` could not be interrupted
    :ivar unwanted: at some moment nothing demanded it, or it was to be restarted: no caller may join it any more
    :ivar doubtful: at some moment it was not sure that anything demanded it
    :ivar touched: ``undeploy`` of its name was called since it was built
    :ivar tries: the number of times that its teardown has begun
    :ivar operating: the number of its ``deploy`` and ``undeploy`` calls that are running
    :ivar lost: its environment was lost, or one that it is reached through
    :ivar cut_off: only the way into it was lost
    :ivar lost_at: the time at which it was lost, or from which on it waits to come up by itself, in seconds
    :ivar charged: it comes up again by itself after a while
    :ivar renewable: since it was lost it may have been asked for
    :ivar due: since it was lost it was asked for, and so has to be renewed
    :ivar restarted: a ``restart`` takes it down
    :ivar reattached: its ``reattach`` was called
    :ivar reattaching: the number of its ``reattach`` calls that are running
    :ivar gaps: the names below it that were lost while it came up, which it did without
    """

    name: str
    number: int
    inner: int = 0
    state: str = "built"
    came_up: bool = False
    unwanted: bool = False
    doubtful: bool = False
    touched: bool = False
    tries: int = 0
    operating: int = 0
    lost: bool = False
    cut_off: bool = False
    lost_at: float = 0.0
    charged: bool = False
    renewable: bool = False
    due: bool = False
    restarted: bool = False
    reattached: bool = False
    reattaching: int = 0
    gaps: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return f"{self.name}#{self.number}"

    @property
    def told(self) -> str:
        return f"{self}, which is {self.state}"

    @property
    def exists(self) -> bool:
        """Whether there may be an environment, whole or in part."""
        return self.state not in {"built", "gone"}

    @property
    def up(self) -> bool:
        """Whether it is live or lost: it is to go down only when something wants it to."""
        return self.state in {"live", "lost"}


@define(eq=False)
class Call:
    """A call that has not come back.

    :ivar asked: its caller was asked to give up
    :ivar withdrawn: the demand that it stood for was taken back by ``undeploy``, ``undeploy_all`` or ``close``
    :ivar met: at some moment its deployments were live: it may return with that
    :ivar doomed: a deployment that it waits for has failed
    :ivar shaken: one that it may have waited for was lost or has failed: it may raise
    :ivar needed: of an ``undeploy``: when it was made, the name was demanded by others than those whose demand it takes
        back
    :ivar targets: of a ``restart``: the names that have to be live again, if they were demanded
    :ivar certain: those of them that certainly were
    :ivar renewed: the names that have been deployed, used or restarted since, with their dependencies
    :ivar found: the instances that it concerned when it was made, each with its state and tries
    :ivar failed: the names of those of them that could not be torn down since
    """

    number: int
    operation: str
    name: str
    asked: bool = False
    withdrawn: bool = False
    met: bool = False
    doomed: bool = False
    shaken: bool = False
    needed: bool = False
    targets: frozenset[str] = frozenset()
    certain: frozenset[str] = frozenset()
    renewed: frozenset[str] = frozenset()
    found: tuple[tuple[Instance, str, int], ...] = ()
    failed: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.operation}({self.name}) by caller {self.number}"
