"""What is known of every deployment, from the events alone: what the progress of a command is drawn from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum

from attrs import define, field

from ..exceptions import describe
from ..graph import dependents
from ..lifecycle import DeploymentEvent, DeploymentState
from .loading import Selection
from .output import first_line, seconds

_MOST_NAMES_SHOWN = 5
_MOST_LINES_OF_TREE = 200
_DEEPEST_OF_TREE = 30


class Failure(StrEnum):
    """Why an entry has an error."""

    OWN = "its own deploy failed"
    BELOW = "something it depends on failed"


@define(eq=False)
class Entry:
    """One deployment as the last event left it.

    :ivar since: when it came to its state, and before that: when the command began
    :ivar deploying_since: when it began to come up last
    :ivar took: seconds from there until it was live
    :ivar failed_at: when it, or something below it, failed to come up last
    """

    name: str
    type: str
    since: float
    state: DeploymentState = DeploymentState.ABSENT
    deploying_since: float | None = None
    took: float | None = None
    failed_at: float | None = None
    lost: bool = False
    failure: Failure | None = None
    error: BaseException | None = None

    @property
    def label(self) -> str:
        return f"{self.name} ({self.type})"

    @property
    def problem(self) -> str:
        """What went wrong last; empty if nothing did."""
        return describe(self.error) if self.error is not None else ""

    @property
    def shown_state(self) -> str:
        if self.failure is not None and self.state is DeploymentState.ABSENT:
            return "failed" if self.failure is Failure.OWN else "not started"
        return "lost" if self.lost and self.state is DeploymentState.LIVE else str(self.state)


@define(eq=False)
class Board:
    """The entries of a selection, dependencies first. The implicit deployments of the manager are not among them.

    :ivar stopping: set when everything is to go down: from then on who is live waits for its dependents
    """

    selection: Selection
    began: float
    stopping: bool = False
    entries: Mapping[str, Entry] = field(init=False)
    _dependents: Mapping[str, list[str]] = field(init=False)

    def __attrs_post_init__(self) -> None:
        configs = self.selection.configs
        self.entries = {name: Entry(name, configs[name].type, self.began) for name in self.selection.order}
        self._dependents = dependents(self.selection.order, self.selection.dependencies)

    def apply(self, event: DeploymentEvent) -> Entry | None:
        """Take an event in; returns the entry that it is about, if it is about one."""
        entry = self.entries.get(event.name)
        if entry is None:
            return None
        if event.error is not None:
            entry.error = event.error
        if event.state is DeploymentState.LOST:
            entry.lost = True
            return entry
        self._change(entry, event)
        entry.state, entry.since = event.state, event.when
        return entry

    def _change(self, entry: Entry, event: DeploymentEvent) -> None:
        if event.state is DeploymentState.DEPLOYING:
            entry.deploying_since, entry.took = event.when, None
            entry.failure, entry.error, entry.lost = None, None, False
        elif event.state is DeploymentState.LIVE and entry.deploying_since is not None:
            entry.took = event.when - entry.deploying_since
        elif entry.state is DeploymentState.DEPLOYING and event.error is not None:
            entry.failure = Failure.OWN if event.state is DeploymentState.UNDEPLOYING else Failure.BELOW
            entry.failed_at = event.when

    def waits_for(self, name: str) -> list[str]:
        """The dependencies that keep it from starting, or the dependents that keep it from going."""
        entry = self.entries[name]
        if entry.state is DeploymentState.DEPLOYING:
            names = self.selection.dependencies(name)
            return [n for n in names if n in self.entries and self.entries[n].state is not DeploymentState.LIVE]
        if entry.state is DeploymentState.LIVE and self.stopping:
            return [n for n in self._dependents[name] if self.entries[n].state is not DeploymentState.ABSENT]
        return []

    def present(self) -> list[Entry]:
        """Everything that exists, or may exist, or is on its way."""
        return [entry for entry in self.entries.values() if entry.state is not DeploymentState.ABSENT]

    def failed(self) -> list[Entry]:
        return [entry for entry in self.entries.values() if entry.failure is Failure.OWN]

    def counts(self) -> str:
        """How many are in which state: ``3 live, 2 deploying``."""
        count: dict[str, int] = {}
        for entry in self.entries.values():
            count[entry.shown_state] = count.get(entry.shown_state, 0) + 1
        return ", ".join(f"{number} {state}" for state, number in count.items())

    def describe(self, name: str, now: float) -> str:
        """A line on one deployment: its state, for how long, and what it waits for."""
        entry = self.entries[name]
        waiting = self.waits_for(name)
        what = f"waiting for {enumerate_names(waiting)}" if waiting else entry.shown_state
        why = f": {first_line(entry.problem)}" if entry.problem else ""
        return f"{entry.label}: {what}, {seconds(now - entry.since)}{why}"

    def starting_tree(self, now: float) -> str:
        """What is still coming up, each above what it waits for."""
        return "\n".join(self._tree_lines(now))

    def _tree_lines(self, now: float) -> Iterator[str]:
        awaited = {name for entry in self.present() for name in self.waits_for(entry.name)}
        roots = [
            entry.name
            for entry in self.present()
            if entry.state is not DeploymentState.LIVE and entry.name not in awaited
        ]
        stack = [(name, 0) for name in reversed(roots)]
        seen: set[str] = set()
        lines = 0
        while stack and lines < _MOST_LINES_OF_TREE:
            name, depth = stack.pop()
            below = self.waits_for(name)
            again = name in seen and bool(below)
            seen.add(name)
            lines += 1
            yield "  " * min(depth, _DEEPEST_OF_TREE) + self.describe(name, now) + (" (see above)" if again else "")
            if not again:
                stack += [(dependency, depth + 1) for dependency in reversed(below)]
        if stack:
            yield f"... and {len(stack)} more"


def enumerate_names(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    shown = ", ".join(names[:_MOST_NAMES_SHOWN])
    more = len(names) - _MOST_NAMES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
