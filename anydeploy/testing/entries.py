"""Entries of a history: one for each thing that a connector or a caller did."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from attrs import field, frozen


class EntryKind(StrEnum):
    """The kinds of entries. The value is the name of the method of :class:`~anydeploy.testing.Rule` that sees it."""

    # As that of the string that it equals; an enumeration's own is many times slower, and is asked for at every entry.
    __hash__ = str.__hash__

    #: A connector was constructed.
    BUILT = "built"
    #: An operation of a connector began, and what became of it. That of a constructor that raises is ``build``.
    BEGAN = "began"
    ENDED = "ended"
    FAILED = "failed"
    CANCELLED = "cancelled"
    #: A connector reported that its environment has ended, or that the way into it was lost.
    LOST = "lost"
    #: A caller called the manager, was asked to give up, and what became of it.
    CALLED = "called"
    ASKED = "asked"
    RETURNED = "returned"
    RAISED = "raised"
    GAVE_UP = "gave_up"
    #: ``get_connector`` was called.
    READ = "read"


@frozen
class Entry:
    """One thing that happened.

    :ivar kind: its kind
    :ivar operation: of a connector ``build``, ``deploy``, ``undeploy``, ``run`` or ``reattach``, or ``report_lost``; of
        a caller ``deploy``, ``undeploy``, ``undeploy_all``, ``restart``, ``close``, or ``use`` for an operation of the
        connector that it was given; ``get_connector`` where it is a reading
    :ivar name: the deployment; empty for ``undeploy_all`` and ``close``
    :ivar instance: the number of the connector among those of the name, from 1 in the order of their construction; of
        a reading, the one that was shown: 0 for None, and a negative number for an object that is none of them, such as
        the stand-in of a lazy deployment
    :ivar caller: the number of the caller, from 1; 0 where no caller is concerned
    :ivar error: the exception that was raised
    :ivar refused: the error is one that says that what was asked for cannot be (rule D4)
    :ivar strange: the error is none of those that the manager is supposed to raise (rule D7)
    :ivar external: the argument that the connector was given
    :ivar inner: of a wrapper that was built, the number of the connector that it was given
    :ivar when: seconds on the clock of the event loop
    """

    kind: EntryKind
    operation: str
    name: str = ""
    instance: int = 0
    caller: int = 0
    error: BaseException | None = None
    refused: bool = False
    strange: bool = False
    external: bool = False
    inner: int = 0
    when: float = field(default=0.0, eq=False)

    def __str__(self) -> str:
        return _TOLD[self.kind].format(
            call=f"{self.operation}({self.name})",
            caller=f"caller {self.caller}",
            operation=self.operation,
            instance=f"{self.name}#{self.instance}" if self.instance else self.name,
            shown=f"{self.name}#{self.instance}" if self.instance > 0 else "a stand-in" if self.instance else "None",
            error="" if self.error is None else f": {type(self.error).__name__}: {self.error}",
        )


_TOLD: Mapping[EntryKind, str] = {
    EntryKind.BUILT: "{instance} was built",
    EntryKind.BEGAN: "{operation} of {instance} began",
    EntryKind.ENDED: "{operation} of {instance} ended",
    EntryKind.FAILED: "{operation} of {instance} failed{error}",
    EntryKind.CANCELLED: "{operation} of {instance} was cancelled",
    EntryKind.LOST: "{instance} was lost{error}",
    EntryKind.CALLED: "{caller} called {call}",
    EntryKind.ASKED: "{caller} was asked to give up {call}",
    EntryKind.RETURNED: "{call} of {caller} returned",
    EntryKind.RAISED: "{call} of {caller} raised{error}",
    EntryKind.GAVE_UP: "{call} of {caller} was cancelled",
    EntryKind.READ: "{call} gave {shown}",
}
