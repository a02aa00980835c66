"""What happened, entry by entry: what connectors and callers did, and the rules that watch it grow."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from typing import ClassVar

from attrs import field, frozen

from ..config import DeploymentConfig
from ..exceptions import Picklable
from . import choices
from .picture import Call, Picture
from .premises import Premises


class What(StrEnum):
    """What an entry tells. The value is the name of the method of :class:`Rule` that it is shown to."""

    # As that of the string that it equals; an enumeration's own is many times slower, and is asked for at every entry.
    __hash__ = str.__hash__

    #: A connector was constructed.
    BUILT = "built"
    #: An operation of a connector began, and what became of it. That of a constructor that raises is ``build``.
    BEGAN = "began"
    ENDED = "ended"
    FAILED = "failed"
    CANCELLED = "cancelled"
    #: A caller called the manager, was asked to give up, and what became of it.
    CALLED = "called"
    ASKED = "asked"
    RETURNED = "returned"
    RAISED = "raised"
    GAVE_UP = "gave_up"
    #: Somebody asked for the connector of a name.
    READ = "read"


@frozen
class Entry:
    """One thing that happened.

    :ivar what: what it is
    :ivar operation: of a connector ``build``, ``deploy``, ``undeploy`` or ``run``; of a caller ``deploy``,
        ``undeploy``, ``undeploy_all``, ``close``, or ``use`` for an operation of the connector that it was given;
        ``get_connector`` where it is a reading
    :ivar name: the deployment; empty for ``undeploy_all`` and ``close``
    :ivar instance: the number of the connector among those of the name, from 1 in the order of their construction; of
        a reading, the one that was shown: 0 for None, and a negative number for an object that is none of them, such as
        the stand-in of a lazy deployment
    :ivar caller: the number of the caller, from 1; 0 where no caller is concerned
    :ivar error: what was raised
    :ivar refused: the error is one that says that what was asked for cannot be (rule D4)
    :ivar external: what the connector was told
    :ivar inner: of a wrapper that was built, the number of the connector that it was given
    :ivar when: seconds on the clock of the event loop
    """

    what: What
    operation: str
    name: str = ""
    instance: int = 0
    caller: int = 0
    error: BaseException | None = None
    refused: bool = False
    external: bool = False
    inner: int = 0
    when: float = field(default=0.0, eq=False)

    def __str__(self) -> str:
        return _TOLD[self.what].format(
            call=f"{self.operation}({self.name})",
            caller=f"caller {self.caller}",
            operation=self.operation,
            instance=f"{self.name}#{self.instance}" if self.instance else self.name,
            shown=f"{self.name}#{self.instance}" if self.instance > 0 else "a stand-in" if self.instance else "None",
            error="" if self.error is None else f": {type(self.error).__name__}: {self.error}",
        )


_TOLD: Mapping[What, str] = {
    What.BUILT: "{instance} was built",
    What.BEGAN: "{operation} of {instance} began",
    What.ENDED: "{operation} of {instance} ended",
    What.FAILED: "{operation} of {instance} failed{error}",
    What.CANCELLED: "{operation} of {instance} was cancelled",
    What.CALLED: "{caller} called {call}",
    What.ASKED: "{caller} was asked to give up {call}",
    What.RETURNED: "{call} of {caller} returned",
    What.RAISED: "{call} of {caller} raised{error}",
    What.GAVE_UP: "{call} of {caller} was cancelled",
    What.READ: "{call} gave {shown}",
}


class Violation(Picklable, AssertionError):
    """A rule was broken.

    :ivar rule: its number, as in ``docs/rules.md``
    :ivar story: what broke it
    :ivar told: what had happened until then, as far as it is related
    """

    def __init__(self, rule: str, story: str, told: str = "") -> None:
        self.rule = rule
        self.story = story
        self.told = told
        super().__init__(f"{rule}: {story}" + (f"\n{told}" if told else ""))


class Rule:
    """One rule, checked while the history grows.

    A subclass overrides the methods that are named after what it wants to see. Each is given the entry while
    ``picture`` still shows how things stood before it, and yields a story for each way in which the rule is broken.
    It keeps what it needs to decide in plain attributes, and neither times nor entries: runs that came to the same
    state are taken for the same.
    """

    #: The number of the rule, as in ``docs/rules.md``.
    number: ClassVar[str]
    #: Attributes on which no decision depends.
    not_state: ClassVar[frozenset[str]] = frozenset({"history", "picture", "premises"})
    #: The kinds of entries that it has a method for.
    watched: ClassVar[tuple[What, ...]] = ()
    #: What it watches, and what that has.
    history: History
    picture: Picture
    premises: Premises

    def __init_subclass__(cls) -> None:
        cls.watched = tuple(what for what in What if getattr(cls, what) is not getattr(Rule, what))

    def watch(self, history: History) -> None:
        """Watch this history from now on."""
        self.history, self.picture, self.premises = history, history.picture, history.premises

    def see(self, entry: Entry) -> Iterable[Violation]:
        """What the next entry breaks."""
        for story in getattr(self, entry.what)(entry):
            yield self.violation(story, entry.name)

    def violation(self, story: str, name: str = "") -> Violation:
        """The rule is broken, by what happened to ``name`` or to all of them."""
        return Violation(self.number, story, self.history.about(name))

    def _ignore(self, entry: Entry) -> Iterable[str]:  # noqa: ARG002
        return ()

    built = began = ended = failed = cancelled = _ignore
    called = asked = returned = raised = gave_up = read = _ignore

    def at_rest(self) -> Iterable[str]:
        """What must hold when nothing can go on, but for connectors that are held."""
        return ()

    def at_end(self) -> Iterable[str]:
        """What must hold when the manager has been closed and nothing can go on."""
        return ()


def badly_told(call: Call, error: BaseException) -> Iterator[str]:
    """What is missing in an error that tells a caller of a failure."""
    if not re.search(rf"(?<![\w.-]){re.escape(call.name)}(?![\w.-])", str(error)):
        yield f"{call} raised an error that does not name {call.name}: {error!r}"
    if error.__cause__ is None:
        yield f"{call} raised an error without its cause: {error!r}"


class History:
    """What has happened so far, shown entry by entry to the rules.

    :ivar premises: what is known of the definitions and the manager
    :ivar picture: how things stand, as it follows from the entries
    :ivar violations: of the rules, in the order in which they were found
    """

    not_state: ClassVar[frozenset[str]] = frozenset(
        {"premises", "entries", "violations", "_clock", "_seeing", "_watching"}
    )

    def __init__(
        self,
        premises: Premises | Iterable[DeploymentConfig] = (),
        rules: Iterable[Rule] = (),
        *,
        clock: Callable[[], float] = choices.now,
    ) -> None:
        """:param clock: what tells the time of an entry; by default the clock of the event loop"""
        if not isinstance(premises, Premises):
            premises = Premises({config.name: config for config in premises})
        self.premises = premises
        self.picture = Picture(premises)
        self.rules = tuple(rules)
        self.entries: list[Entry] = []
        self.violations: list[Violation] = []
        self._clock = clock
        #: Those that decide by themselves what they look at, and by kind of entry the methods that others look with.
        self._seeing = [rule for rule in self.rules if type(rule).see is not Rule.see]
        self._watching: dict[What, list[tuple[Rule, Callable[[Entry], Iterable[str]]]]] = {what: [] for what in What}
        for rule in self.rules:
            rule.watch(self)
            for what in rule.watched if rule not in self._seeing else ():
                self._watching[what].append((rule, getattr(rule, what)))

    def record(
        self,
        what: What,
        operation: str,
        name: str = "",
        *,
        instance: int = 0,
        caller: int = 0,
        error: BaseException | None = None,
        refused: bool = False,
        external: bool = False,
        inner: int = 0,
    ) -> None:
        """Append an entry (the parameters are those of :class:`Entry`), and let every rule see it."""
        now = self._clock()
        entry = Entry(what, operation, name, instance, caller, error, refused, external, inner, now)
        self.entries.append(entry)
        for rule in self._seeing:
            self._found(rule.see(entry))
        for rule, look in self._watching[what]:
            for story in look(entry):
                self._found([rule.violation(story, name)])
        if what is not What.READ:
            self.picture.update(entry)

    def at_rest(self) -> None:
        """Let every rule say what must not be, now that nothing can go on but connectors that are held.

        What is read from here on until something else happens is judged strictly (rule R1).
        """
        self.picture.resting = True
        for rule in self.rules:
            self._found(rule.violation(story) for story in rule.at_rest())

    def at_end(self) -> None:
        """Let every rule say what must not be, now that the manager is closed and nothing can go on."""
        for rule in self.rules:
            self._found(rule.violation(story) for story in rule.at_end())

    def _found(self, violations: Iterable[Violation]) -> None:
        for violation in violations:
            self.violations.append(violation)
            choices.violated(violation)

    def check(self) -> None:
        """Raise what has been found: the :class:`Violation`, or an ``ExceptionGroup`` of several."""
        if len(self.violations) == 1:
            raise self.violations[0]
        if self.violations:
            raise ExceptionGroup("several rules were broken", self.violations)

    def about(self, name: str = "") -> str:
        """The story of a name and of what it is related to, a line for each entry; of everything by default."""
        related = self.premises.closure[name] | self.premises.above[name]
        return "\n".join(
            f"  {entry.when:10.3f}  {entry}"
            for entry in self.entries
            if not name or not entry.name or entry.name in related
        )

    def count(self, told: str) -> int:
        """How many entries read exactly like this, such as "deploy of a#1 began"."""
        return sum(str(entry) == told for entry in self.entries)

    def __str__(self) -> str:
        return self.about()
