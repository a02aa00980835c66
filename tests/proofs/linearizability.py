"""Whether the calls of a history can have taken effect one after the other, as the sequential model says.

This is the check of Wing and Gong, made step by step: after each entry it holds every configuration of the model (how
each name stands, how far each open call has come, and so with which result it is going to come back) that the history
up to there may have led to. When none is left, the history cannot be explained, and this entry is why. Whether a call
that has not come back has done anything yet is in this way never guessed: all possibilities are kept.

Of the possibilities only those are kept that do not follow from others by steps of which no entry tells. That is much
less, and it is still one value for one set of possibilities, so that two runs that came to the same compare equal.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from typing import NamedTuple

from anydeploy.testing import Entry, EntryKind, Premises, Rule, Violation

from .sequential import Configuration, Model, Phase, Sight

#: The number of results that are kept: small ones, and those that may be large.
_REMEMBERED = 2**16
_REMEMBERED_SETS = 2**12
_MONITORS = 4
_MOST_CALLS = 5
_ENDINGS = frozenset({EntryKind.RETURNED, EntryKind.RAISED, EntryKind.GAVE_UP})
_SEEN = frozenset({"build", "deploy", "undeploy"})


class Possibilities(NamedTuple):
    """All that a history may have led to: a small value, and the same for histories that allow the same.

    :ivar least: the configurations that do not follow from others of them by themselves
    :ivar sights: the last operation that was seen of the connectors of each name, if they are witnessed
    """

    least: frozenset[Configuration]
    sights: tuple[Sight, ...]


class Monitor:
    """The check, entry by entry; it remembers its results, and can serve any number of histories."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.start = Possibilities(frozenset([model.start]), model.blind)
        #: ``all(possible)``: every configuration that is possible.
        self.all = lru_cache(_REMEMBERED_SETS)(self._all)
        self._next = lru_cache(_REMEMBERED)(self._after)
        self._steps = lru_cache(_REMEMBERED)(self._all_steps)

    def after(self, possible: Possibilities, entry: Entry) -> Possibilities:
        """Return the possibilities after one more entry: none, if the entry is impossible."""
        # Neither errors nor times decide anything.
        told = entry.kind, entry.operation, entry.name, entry.instance, entry.caller
        return self._next(possible, told, refused=entry.refused)

    def _after(
        self, possible: Possibilities, told: tuple[EntryKind, str, str, int, int], *, refused: bool
    ) -> Possibilities:
        entry = Entry(*told, refused=refused)
        concerned, sights = self.model.concerns(entry), self._look(possible.sights, entry)
        if not concerned and sights == possible.sights:
            return possible
        found = self.all(possible)
        if concerned:
            found = frozenset(after for before in found for after in self.model.after(before, entry))
        return Possibilities(found - self._closure(found, sights)[1], sights)

    def _look(self, sights: tuple[Sight, ...], entry: Entry) -> tuple[Sight, ...]:
        # An entry with a caller is a call, and not an operation of a connector.
        seen = self.model.witnessed and not entry.caller and entry.operation in _SEEN
        if not seen or entry.name not in self.model.below:
            return sights
        index = self.model.names.index(entry.name)
        sight = Sight(entry.operation, entry.kind, entry.instance)
        return (*sights[:index], sight, *sights[index + 1 :])

    def _all(self, possible: Possibilities) -> frozenset[Configuration]:
        return self._closure(possible.least, possible.sights)[0]

    def _closure(
        self, found: Iterable[Configuration], sights: tuple[Sight, ...]
    ) -> tuple[frozenset[Configuration], frozenset[Configuration]]:
        """All configurations that follow from others by themselves, with those; and only those that follow."""
        closure, follows = set(found), set[Configuration]()
        stack = list(closure)
        while stack:
            for after in self._steps(stack.pop(), sights):
                follows.add(after)
                if after not in closure:
                    closure.add(after)
                    stack.append(after)
        return frozenset(closure), frozenset(follows)

    def _all_steps(self, before: Configuration, sights: tuple[Sight, ...]) -> frozenset[Configuration]:
        return frozenset(self.model.steps(before, sights))

    # -- Explanations ------------------------------------------------------------------------------------------------

    def explain(self, possible: Possibilities, entry: Entry) -> str:
        """Tell why an entry is impossible: the entries possible in its place, and the open calls."""
        made = [call for call in next(iter(possible.least)).calls if call.phase is not Phase.EXPECTED]
        calls = ", ".join(f"{call.operation}({call.name}) by caller {call.caller}" for call in made)
        allowed = self._readings(possible, entry) if entry.kind is EntryKind.READ else self._endings(possible, entry)
        return (
            f"{entry}, but in whatever order the calls took effect, {' or '.join(allowed)}; "
            f"open calls: {calls or 'none'}"
        )

    def _readings(self, possible: Possibilities, entry: Entry) -> Sequence[str]:
        allowed: set[str] = set()
        for configuration in self.all(possible):
            standing = self.model.standing(configuration, entry.name)
            if not standing.visible:
                allowed.add("it had to be None")
            elif standing.seen:
                allowed.add(f"it had to be {entry.name}#{standing.number}")
            else:
                allowed.add(f"it had to be one built after {entry.name}#{standing.number}")
        return sorted(allowed)

    def _endings(self, possible: Possibilities, entry: Entry) -> Sequence[str]:
        told = {
            EntryKind.RETURNED: "it had to return",
            EntryKind.RAISED: "it had to raise",
            EntryKind.GAVE_UP: "it had to give up",
        }
        allowed = [
            text
            for what, text in told.items()
            if self.after(possible, Entry(what, entry.operation, entry.name, caller=entry.caller)).least
        ]
        return [text for text in allowed if text != told[EntryKind.GAVE_UP]] or ["it had to go on waiting"]


class Linearizability(Rule):
    """D1 to D6, R1, R2, U1 to U8 together: there is an order of steps that explains what every caller saw.

    It has nothing to say where a definition is lazy, wrong (rule D4), or added when calls have been made already, nor
    from where on something was lost or restarted, of which the model knows nothing, or more than five calls have been
    open at once: the possibilities double with each. With timeouts it does not ask what connectors did.

    :param model: by default that of the premises of the history, with witnessed connectors
    """

    number = "linearizability"

    def __init__(self, model: Model | None = None) -> None:
        self._model = model
        self.possible: Possibilities | None = None

    @cached_property
    def monitor(self) -> Monitor | None:
        return monitor_of(self.premises) if self._model is None else Monitor(self._model)

    def see(self, entry: Entry) -> Iterable[Violation]:
        monitor = self.monitor
        if monitor is None or (self._model is None and len(monitor.model.names) != len(self.premises.configs)):
            return ()
        before = self.possible or monitor.start
        after = monitor.after(before, entry)
        beyond_it = entry.kind is EntryKind.LOST or entry.operation == "restart"
        if after is before and not beyond_it:
            return ()
        if beyond_it or len(self.picture.calls) > _MOST_CALLS:
            # Nothing follows from no possibility.
            before = after = Possibilities(frozenset(), before.sights)
        self.possible = after
        if after.least or not before.least:
            return ()
        return [self.violation(monitor.explain(before, entry), entry.name)]


def monitor_of(premises: Premises) -> Monitor | None:
    """Return the monitor of histories of these definitions, if there is a model of them.

    Histories that follow each other share its results.
    """
    known = premises.configs
    sound = all(
        other in known and name not in premises.closure[other]
        for name, below in premises.dependencies.items()
        for other in below
    )
    if not sound or premises.lazy:
        return None
    limits = any(premises.has_deploy_timeout(name) or premises.has_undeploy_timeout(name) for name in known)
    return _monitor_of(tuple(premises.dependencies.items()), witnessed=not limits)


@lru_cache(_MONITORS)
def _monitor_of(dependencies: tuple[tuple[str, tuple[str, ...]], ...], *, witnessed: bool) -> Monitor:
    return Monitor(Model(dict(dependencies), witnessed=witnessed))


def check(history: Iterable[Entry], model: Model) -> None:
    """Check a history that is complete, or has come to wherever it has come; calls may be open at its end.

    A caller that gave up without having been asked to on record may have been asked at any time since its call.

    :raises Violation: if the calls cannot be explained. It tells the shortest beginning of the history that cannot,
        the open calls, and the entries possible in place of its last one.
    """
    entries = list(history)
    monitor, possible = Monitor(model), Monitor(model).start
    for index, entry in enumerate(entries):
        before, possible = possible, monitor.after(possible, entry)
        if before.least and not possible.least:
            told = "\n".join(f"  {each}" for each in entries[: index + 1])
            raise Violation(Linearizability.number, monitor.explain(before, entry), told)
        if entry.kind is EntryKind.CALLED and _gives_up(entries[index + 1 :], entry.caller):
            asked = Entry(EntryKind.ASKED, entry.operation, entry.name, caller=entry.caller)
            possible = monitor.after(possible, asked)


def _gives_up(entries: Iterable[Entry], caller: int) -> bool:
    """Whether the open call of a caller ends with that, without the caller having been asked to on record."""
    for entry in entries:
        if entry.caller == caller and entry.kind in {EntryKind.ASKED, *_ENDINGS}:
            return entry.kind is EntryKind.GAVE_UP
    return False
