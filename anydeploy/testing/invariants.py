"""The rules of ``docs/rules.md`` that can be seen from outside, each as a monitor of the history.

They never look into a manager: they know the calls that were made, the operations of connectors, and the readings.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .entries import Entry
from .history import Rule
from .picture import STAND_IN
from .rules_deploy import (
    Cancellation,
    Failure,
    Identity,
    NoOverlap,
    OneInstance,
    Order,
    Reading,
    Support,
    Validity,
)
from .rules_lose import Loss, Reattachment, Renewal, Restart
from .rules_undeploy import (
    Closing,
    Everything,
    Needed,
    OneTeardown,
    Persistence,
    Stuck,
    Teardown,
    Withdrawal,
)

#: The operations of a connector that the manager alone calls, and that change its environment.
DEPLOYMENT = frozenset({"deploy", "undeploy"})


class Trust(Rule):
    """Callers are told of all that connectors do by the manager's own errors (D7)."""

    number = "D7"

    def raised(self, entry: Entry) -> Iterator[str]:
        # Out of a use comes what its operation raises, and out of the block what was raised in it.
        if entry.strange and entry.operation not in {"use", "close"}:
            yield f"{entry}, which is none of the errors of a manager"


class Retries(Rule):
    """A failed deploy is tried again as often as its definition says, and not when nothing demands it (K3)."""

    number = "K3"

    def began(self, entry: Entry) -> Iterator[str]:
        if entry.operation == "deploy" and not self.picture.closing and not self.picture.demanded(entry.name):
            yield f"{entry}, but nothing demands it"


class Limit(Rule):
    """Not more than ``max_concurrent`` connectors are brought up or torn down at once (K1)."""

    number = "K1"

    def began(self, entry: Entry) -> Iterator[str]:
        limit = self.premises.max_concurrent
        if entry.operation in DEPLOYMENT and limit is not None and len(self.picture.operating) >= limit:
            others = ", ".join(instance.told for instance in self.picture.operating)
            yield f"{entry} beside {others}; the limit is {limit}"


class Lazy(Rule):
    """A lazy deployment comes up at its first use and not before, and has a connector from its ``deploy`` on (L1)."""

    number = "L1"

    def began(self, entry: Entry) -> Iterator[str]:
        lazy = entry.operation == "deploy" and entry.name in self.premises.lazy
        if lazy and not self.picture.closing and not self.picture.demanded(entry.name):
            yield f"{entry}, but it was not used"

    def read(self, entry: Entry) -> Iterable[str]:
        shown = STAND_IN if entry.instance else 0
        if entry.name not in self.premises.lazy or shown in self.picture.shown(entry.name):
            return ()
        was = "was deployed" if entry.name in self.picture.armed else "is not deployed"
        return [f"{entry}, but {entry.name} {was}, and {self.picture.how(entry.name)}"]


class External(Rule):
    """The connector is given the ``external`` of its definition (E1)."""

    number = "E1"

    def began(self, entry: Entry) -> Iterator[str]:
        config = self.premises.configs.get(entry.name)
        if config is not None and entry.operation in DEPLOYMENT and entry.external != config.external:
            yield f"{entry} with external={entry.external}, but {entry.name} is defined with {config.external}"


#: Every rule, in the order of their numbers in ``docs/rules.md``.
RULES: tuple[type[Rule], ...] = (
    Order,
    OneInstance,
    NoOverlap,
    Failure,
    Cancellation,
    Trust,
    Reading,
    Identity,
    Support,
    Validity,
    Loss,
    Renewal,
    Reattachment,
    Restart,
    Teardown,
    Needed,
    OneTeardown,
    Withdrawal,
    Persistence,
    Stuck,
    Everything,
    Closing,
    Lazy,
    Limit,
    Retries,
    External,
)


def every_rule() -> list[Rule]:
    """A fresh monitor of each rule."""
    return [rule() for rule in RULES]
