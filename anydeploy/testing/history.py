"""Histories: what connectors and callers did, shown entry by entry to the rules that watch them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import ClassVar

from anyio import current_time

from ..config import DeploymentConfig
from ..exceptions import Picklable
from .entries import Entry, EntryKind
from .instances import Call
from .observer import Observer
from .picture import Picture
from .premises import Premises


class Violation(Picklable, AssertionError):
    """A rule was broken.

    :ivar rule: its number, as in ``docs/rules.md``
    :ivar story: the sentence that tells how it was broken
    :ivar told: the history until then, as far as it is related
    """

    def __init__(self, rule: str, story: str, told: str = "") -> None:
        self.rule = rule
        self.story = story
        self.told = told
        super().__init__(f"{rule}: {story}" + (f"\n{told}" if told else ""))


class Rule:
    """One rule, checked while the history grows.

    A subclass overrides the methods that are named after the kinds of entries that it wants to see. Each is given the
    entry while ``picture`` still shows how things stood before it, and yields a story for each way in which the rule is
    broken. A rule remembers neither times nor entries, so that runs that came to the same state can be told to have::

        class NoRestarts(Rule):
            number = "X1"

            def built(self, entry):
                if entry.instance > 1:
                    yield f"{entry}, although nothing is to be built twice"
    """

    #: The number of the rule, as in ``docs/rules.md``.
    number: ClassVar[str]
    #: The kinds of entries that it has a method for.
    watched: ClassVar[tuple[EntryKind, ...]] = ()
    #: The history that it watches, with the picture and the premises of that.
    history: History
    picture: Picture
    premises: Premises

    def __init_subclass__(cls) -> None:
        cls.watched = tuple(kind for kind in EntryKind if getattr(cls, kind) is not getattr(Rule, kind))

    def watch(self, history: History) -> None:
        """Watch this history from now on."""
        self.history, self.picture, self.premises = history, history.picture, history.premises

    def see(self, entry: Entry) -> Iterable[Violation]:
        """Return the violations that the next entry amounts to."""
        for story in getattr(self, entry.kind)(entry):
            yield self.violation(story, entry.name)

    def violation(self, story: str, name: str = "") -> Violation:
        """Make a violation, by what happened to ``name`` or, without one, to all of them."""
        return Violation(self.number, story, self.history.about(name))

    def _ignore(self, entry: Entry) -> Iterable[str]:  # noqa: ARG002
        return ()

    built = began = ended = failed = cancelled = lost = _ignore
    called = asked = returned = raised = gave_up = read = _ignore

    def at_rest(self) -> Iterable[str]:
        """Yield a story for each way in which it is broken now that nothing but held connectors can go on."""
        return ()

    def at_end(self) -> Iterable[str]:
        """Yield a story for each way in which it is broken now that the manager is closed and nothing can go on."""
        return ()


def badly_told(call: Call, error: BaseException, name: str) -> Iterator[str]:
    """Yield a story for each thing that is missing in an error that tells a caller of the failure of ``name``."""
    if not is_named(name, str(error)):
        yield f"{call} raised an error that does not name {name}: {error!r}"
    if error.__cause__ is None:
        yield f"{call} raised an error without its cause: {error!r}"


def is_named(name: str, text: str) -> bool:
    """Return whether a text has a name in it, and not as a part of a longer one."""
    return re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w.-])", text) is not None


class History:
    """The entries so far, each of which was shown to the rules when it was made.

    :ivar premises: the definitions, and the limits of the manager
    :ivar picture: the state that follows from the entries
    :ivar violations: of the rules, in the order in which they were found
    """

    def __init__(
        self,
        premises: Premises | Iterable[DeploymentConfig] = (),
        rules: Iterable[Rule] = (),
        *,
        clock: Callable[[], float] = current_time,
    ) -> None:
        """:param clock: returns the time of an entry in seconds; by default that of the event loop"""
        if not isinstance(premises, Premises):
            premises = Premises({config.name: config for config in premises})
        self.premises = premises
        self.picture = Picture(premises)
        self._observer = Observer(self.picture)
        self.rules = tuple(rules)
        self.entries: list[Entry] = []
        self.violations: list[Violation] = []
        self._clock = clock
        #: The rules with a ``see`` of their own, and for the others, by kind of entry, the methods to show it to.
        self._seeing = [rule for rule in self.rules if type(rule).see is not Rule.see]
        self._watching: dict[EntryKind, list[tuple[Rule, Callable[[Entry], Iterable[str]]]]] = {
            kind: [] for kind in EntryKind
        }
        for rule in self.rules:
            rule.watch(self)
            for kind in rule.watched if rule not in self._seeing else ():
                self._watching[kind].append((rule, getattr(rule, kind)))

    def record(
        self,
        kind: EntryKind,
        operation: str,
        name: str = "",
        *,
        instance: int = 0,
        caller: int = 0,
        error: BaseException | None = None,
        refused: bool = False,
        strange: bool = False,
        external: bool = False,
        inner: int = 0,
    ) -> None:
        """Append an entry (the parameters are those of :class:`Entry`), and let every rule see it."""
        now = self._clock()
        entry = Entry(kind, operation, name, instance, caller, error, refused, strange, external, inner, now)
        self.entries.append(entry)
        for rule in self._seeing:
            self.violations += rule.see(entry)
        for rule, look in self._watching[kind]:
            self.violations += [rule.violation(story, name) for story in look(entry)]
        if kind is not EntryKind.READ:
            self._observer.update(entry)
        self.picture.now = now

    def at_rest(self) -> None:
        """Ask every rule, now that nothing can go on but connectors that are held.

        Readings are judged strictly (rule R1) from here on until something else happens.
        """
        self.picture.resting = True
        for rule in self.rules:
            self.violations += map(rule.violation, rule.at_rest())

    def at_end(self) -> None:
        """Ask every rule, now that the manager is closed and nothing can go on."""
        for rule in self.rules:
            self.violations += map(rule.violation, rule.at_end())

    def check(self) -> None:
        """Raise the :class:`Violation` that was found, or an ``ExceptionGroup`` of several; return if there is none."""
        if len(self.violations) == 1:
            raise self.violations[0]
        if self.violations:
            raise ExceptionGroup("several rules were broken", self.violations)

    def about(self, name: str = "") -> str:
        """Tell the story of a name and of those it is related to, or of all, a line for each entry."""
        related = self.premises.closure[name] | self.premises.above[name]
        return "\n".join(
            f"  {entry.when:10.3f}  {entry}"
            for entry in self.entries
            if not name or not entry.name or entry.name in related
        )

    def count(self, told: str) -> int:
        """Return how many entries read exactly like this, such as "deploy of a#1 began"."""
        return sum(str(entry) == told for entry in self.entries)

    def __str__(self) -> str:
        return self.about()
