"""The sequential model that histories are compared with: the steps of a deployment manager, one at a time.

A call is no single step. It *begins*, when it takes effect for every caller, and later it *ends*, when it may
come back; between the two, and between calls, environments come up, fail and go down by themselves. Each of these is
one step, which happens at one moment or not at all. A history is right if there is an order of such steps in which
every call begins and ends between the entries of its being made and of its coming back, and in which every entry is
allowed by the model at its place. These are the steps, with the rules that they come from.

**A name** is in one of the five states. It is *demanded* while a ``deploy`` of its own was granted and not taken back,
while a ``deploy`` of its own waits, or while a dependent of it is not absent. The states follow the demand at once ("an
environment exists while it is demanded, and no longer"): demanded and absent becomes deploying; live and not demanded
becomes undeploying; deploying and not demanded becomes undeploying, or absent if it still waits for a dependency.

**By itself** (in any order, at any moment)

- a deploying name whose dependencies are live becomes live (D1), with a connector never seen before (D2, D3);
- or it fails (D5): it is undeploying from then on, and every ``deploy`` that waits for it, or for something above it,
  is *doomed*. A caller that comes during the clean-up waits for the next attempt (D6);
- an undeploying name becomes absent, and, if it is demanded meanwhile, deploying (D3);
- or its teardown fails (U6): it is stuck, which is not absent, so its dependencies stay demanded; a caller in
  ``undeploy`` of it gets the error, and a caller in ``deploy`` of it or above is doomed. The next ``deploy`` that
  needs it, and the next ``undeploy`` of it, make it undeploying again. After ``close`` it is given up, and then absent
  (U8).

**deploy(x)** begins: ``x`` is not hidden any more (R1), and this call demands it. It is *granted* at some moment at
which ``x`` is live: the demand then stands without the call, which can do nothing any more but return. It is doomed by
a failure and by an ``undeploy`` (U4), and then demands nothing and can only raise, or give up. A caller that was asked
to give up takes its demand back at some moment before it has done so (D6). After ``close`` it is doomed from the
beginning.

**undeploy(x)** begins: ``x`` is hidden, its granted demand is gone, and every ``deploy`` that waits for ``x`` itself is
doomed (U1, U4). If something demands ``x`` nevertheless, that was all, and it may return (U2). Otherwise it may return
after the teardown that is now under way has ended: U3 says "only when it is down", even if another ``deploy`` has come
meanwhile. Its caller may give up at any moment, and what it has begun stands (U5).

**undeploy_all()** and **close()** begin as ``undeploy`` of everything at once, and may return after a moment for each
name, dependents first, at which it was not undeploying (U7); ``undeploy_all`` raises if any was stuck at that moment.
``close`` waits until everything is absent, and what it reports is not part of the model.

**get_connector(x)** is one step: a connector if ``x`` is live and not hidden, and otherwise None (R1); in one life
always the same one (R2).

The rules leave open whether a name that was hidden when it was last up, or that ``undeploy`` was called of while it was
absent, is still hidden when it comes up again for the sake of a dependent. The model allows both, decided at the moment
at which it is demanded anew. Lazy deployments are not part of it: what they do depends on their use.

When does a call begin? R1 and U2 speak of the moment at which ``undeploy`` "was called", so by default (``prompt``) it
begins where the history says that it was called. Without ``prompt`` it begins at any moment until it comes back, or
never if its caller gives up: that is linearizability as it is usually defined, for managers that do something else
first.

By default nothing is known of connectors, and environments may come up, fail and go down at any moment. With
``witnessed`` the history tells of every operation of every connector: a name becomes live only after the ``deploy`` of
its connector has ended, and fails only after it failed or was cancelled; and so on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from graphlib import TopologicalSorter
from itertools import chain, combinations
from typing import Any, NamedTuple

from attrs import define

from anydeploy import DeploymentState as State
from anydeploy.testing import Entry, EntryKind

_CALLS = frozenset({"deploy", "undeploy", "undeploy_all", "close"})


class Phase(StrEnum):
    """The phase of a call."""

    #: Its caller was asked to give up before it had made the call.
    EXPECTED = "has not been made"
    CALLED = "has not begun"
    WAITING = "waits"
    #: Of ``deploy`` only: it will return, it will raise, and it has taken its demand back.
    GRANTED = "was granted"
    DOOMED = "is doomed"
    LEFT = "has taken its demand back"


class Call(NamedTuple):
    """A call that has not come back.

    :ivar asked: its caller was asked to give up
    :ivar awaits: the names that an ``undeploy``, ``undeploy_all`` or ``close`` still waits for
    :ivar failed: a teardown that it waited for failed
    """

    caller: int
    operation: str
    name: str
    asked: bool = False
    phase: Phase = Phase.CALLED
    awaits: tuple[str, ...] = ()
    failed: bool = False

    @property
    def ended(self) -> bool:
        """Whether it is an ``undeploy``, ``undeploy_all`` or ``close`` that waits for nothing any more."""
        return self.phase is Phase.WAITING and self.operation != "deploy" and not self.awaits


class Standing(NamedTuple):
    """The state of a name.

    :ivar granted: a ``deploy`` was granted and not taken back
    :ivar hidden: ``undeploy`` was called since the last ``deploy``
    :ivar number: of its connector; if that was not seen yet, of the last that was
    :ivar seen: the connector was seen
    """

    state: State = State.ABSENT
    granted: bool = False
    hidden: bool = False
    number: int = 0
    seen: bool = False

    @property
    def visible(self) -> bool:
        return self.state is State.LIVE and not self.hidden


class Configuration(NamedTuple):
    """A possible state of everything: the names in the order of the model, the calls by their callers."""

    standings: tuple[Standing, ...]
    calls: tuple[Call, ...] = ()
    closed: bool = False


class Sight(NamedTuple):
    """The last operation seen of the connectors of a name, its outcome, and the latest number."""

    operation: str = ""
    outcome: str = ""
    number: int = 0

    @property
    def shows(self) -> str:
        return f"{self.operation} {self.outcome}"


#: The last sights of the connectors of a name that allow each step, if they are witnessed.
_COMES_UP = frozenset({"deploy ended"})
_FAILS = frozenset({"build failed", "deploy failed", "deploy cancelled"})
_IS_GONE = frozenset({" ", "build built", "build failed", "undeploy ended"})
_STICKS = frozenset({"undeploy failed", "undeploy cancelled"})


class Model:
    """The names, their dependencies, and the way to read a history.

    :param dependencies: for each name the names that it depends on directly; no lazy ones among them
    :param prompt: a call begins at the moment at which it is made
    :param witnessed: the history tells what the connectors do
    """

    def __init__(
        self, dependencies: Mapping[str, Iterable[str]], *, prompt: bool = True, witnessed: bool = False
    ) -> None:
        self.below = {name: tuple(below) for name, below in dependencies.items()}
        self.prompt = prompt
        self.witnessed = witnessed
        upwards = list(TopologicalSorter(self.below).static_order())
        #: Dependents stand before what they depend on.
        self.names = tuple(reversed(upwards))
        self.above = {name: tuple(n for n in self.names if name in self.below[n]) for name in self.names}
        self.closure: dict[str, frozenset[str]] = {}
        for name in upwards:
            self.closure[name] = frozenset([name]).union(*(self.closure[below] for below in self.below[name]))
        self.start = Configuration(tuple(Standing() for _ in self.names))
        self.blind = tuple(Sight() for _ in self.names)

    def standing(self, configuration: Configuration, name: str) -> Standing:
        return configuration.standings[self.names.index(name)]

    # -- Entries of a history ----------------------------------------------------------------------------------------

    def concerns(self, entry: Entry) -> bool:
        """Whether an entry tells of a call or a reading of what the model knows."""
        if entry.kind is EntryKind.READ:
            return entry.name in self.below
        return bool(entry.caller) and entry.operation in _CALLS and (entry.name in self.below or not entry.name)

    def after(self, before: Configuration, entry: Entry) -> Iterator[Configuration]:
        """Yield the configurations after an entry that concerns the model; none if the entry is impossible."""
        if entry.kind is EntryKind.READ:
            yield from self._read(before, entry)
        else:
            yield from getattr(self, f"_{entry.kind}")(self._draft(before), entry)

    def _read(self, before: Configuration, entry: Entry) -> Iterator[Configuration]:
        standing, number = self.standing(before, entry.name), entry.instance
        if not standing.visible:
            if number == 0:
                yield before
        elif standing.seen:
            if number == standing.number:
                yield before
        elif number > standing.number:
            draft = self._draft(before)
            draft.set(entry.name, number=number, seen=True)
            yield draft.done()

    def _called(self, draft: _Draft, entry: Entry) -> Iterator[Configuration]:
        asked = entry.caller in draft.calls
        draft.calls[entry.caller] = Call(entry.caller, entry.operation, entry.name, asked)
        yield from draft.begin(entry.caller) if self.prompt else [draft.done()]

    def _asked(self, draft: _Draft, entry: Entry) -> Iterator[Configuration]:
        expected = Call(entry.caller, entry.operation, entry.name, phase=Phase.EXPECTED)
        draft.change(draft.calls.get(entry.caller, expected), asked=True)
        yield draft.done()

    def _returned(self, draft: _Draft, entry: Entry) -> Iterator[Configuration]:
        call = draft.calls.pop(entry.caller)
        if call.phase is Phase.GRANTED or (call.ended and not call.failed):
            yield draft.done()

    def _raised(self, draft: _Draft, entry: Entry) -> Iterator[Configuration]:
        call = draft.calls.pop(entry.caller)
        if call.phase is Phase.DOOMED or (call.ended and (call.failed or call.operation == "close")):
            yield draft.done()
        elif entry.refused and call.phase is not Phase.GRANTED:
            # It had no effect (rule D4), and so did not show the name again either.
            yield draft.done()
            if call.phase is not Phase.CALLED:
                draft.set(call.name, hidden=True)
                yield draft.done()

    def _gave_up(self, draft: _Draft, entry: Entry) -> Iterator[Configuration]:
        if draft.calls.pop(entry.caller).phase is not Phase.GRANTED:
            yield draft.done()

    # -- Steps without an entry ---------------------------------------------------------------------------------------

    def steps(self, before: Configuration, sights: tuple[Sight, ...]) -> Iterator[Configuration]:
        """Every configuration that one step leads to of which no entry tells. They never lead back."""
        for name, standing, sight in zip(self.names, before.standings, sights, strict=True):
            if standing.state is State.DEPLOYING and self._draft(before).stands(name):
                if self._may(_COMES_UP, sight):
                    draft = self._draft(before)
                    draft.come_up(name, sight.number)
                    yield draft.done()
                if self._may(_FAILS, sight):
                    draft = self._draft(before)
                    draft.doom(name)
                    yield draft.done()
            elif standing.state is State.UNDEPLOYING:
                if self._may(_IS_GONE, sight):
                    yield self._end_teardown(before, name, State.ABSENT)
                if self._may(_STICKS, sight):
                    yield self._end_teardown(before, name, State.STUCK)
            elif standing.state is State.STUCK and before.closed:
                yield self._end_teardown(before, name, State.ABSENT)
        for call in before.calls:
            yield from self._proceed(before, call)

    def _may(self, needed: frozenset[str], sight: Sight) -> bool:
        return not self.witnessed or sight.shows in needed

    def _end_teardown(self, before: Configuration, name: str, state: State) -> Configuration:
        draft = self._draft(before)
        draft.end_teardown(name, state)
        return draft.done()

    def _proceed(self, before: Configuration, call: Call) -> Iterator[Configuration]:
        draft = self._draft(before)
        if call.phase is Phase.CALLED:
            yield from draft.begin(call.caller)
        elif call.phase is Phase.WAITING and call.operation == "deploy":
            if draft.standings[call.name].state is State.LIVE:
                granted = self._draft(before)
                granted.change(call, phase=Phase.GRANTED)
                granted.set(call.name, granted=True)
                yield granted.done()
            if call.asked:
                draft.change(call, phase=Phase.LEFT)
                yield draft.done()
        elif call.phase is Phase.WAITING and call.operation != "undeploy":
            for name in call.awaits:
                if draft.settled(name, call):
                    left = self._draft(before)
                    stuck = left.standings[name].state is State.STUCK
                    awaits = tuple(other for other in call.awaits if other != name)
                    left.change(call, awaits=awaits, failed=call.failed or stuck)
                    yield left.done()

    def _draft(self, before: Configuration) -> _Draft:
        standings = dict(zip(self.names, before.standings, strict=True))
        return _Draft(self, standings, {call.caller: call for call in before.calls}, before.closed)


@define(eq=False)
class _Draft:
    """A configuration that is being changed."""

    model: Model
    standings: dict[str, Standing]
    calls: dict[int, Call]
    closed: bool

    def done(self) -> Configuration:
        self.follow_demand()
        calls = tuple(self.calls[caller] for caller in sorted(self.calls))
        return Configuration(tuple(self.standings[name] for name in self.model.names), calls, self.closed)

    def set(self, name: str, **what: Any) -> None:
        self.standings[name] = self.standings[name]._replace(**what)

    def change(self, call: Call, **what: Any) -> None:
        self.calls[call.caller] = call._replace(**what)

    # -- Demand ------------------------------------------------------------------------------------------------------

    def demanded(self, name: str) -> bool:
        return (
            self.standings[name].granted
            or any(self.standings[above].state is not State.ABSENT for above in self.model.above[name])
            or any(call.name == name and call.operation == "deploy" for call in self.waiting())
        )

    def waiting(self) -> list[Call]:
        return [call for call in self.calls.values() if call.phase is Phase.WAITING]

    def stands(self, name: str) -> bool:
        """Whether everything that it depends on is live."""
        return all(self.standings[below].state is State.LIVE for below in self.model.below[name])

    def follow_demand(self) -> list[str]:
        """Bring every state in line with the demand; return the names that begin to go down.

        Dependents come first: what they stand on depends on them.
        """
        before = dict(self.standings)
        for name in self.model.names:
            state, demanded = self.standings[name].state, self.demanded(name)
            if state is State.ABSENT and demanded:
                self.set(name, state=State.DEPLOYING)
            elif state is State.STUCK and demanded:
                self.set(name, state=State.UNDEPLOYING)
            elif state is State.DEPLOYING and not demanded:
                self.set(name, state=State.UNDEPLOYING if self.stands(name) else State.ABSENT)
            elif state is State.LIVE and not demanded:
                # Witnessed connectors tell their number.
                number = 0 if self.model.witnessed else self.standings[name].number
                self.set(name, state=State.UNDEPLOYING, number=number, seen=False)
        # A deployment that was going down already goes down for good with the last that waited for it to come up again.
        dropped = {name for name in before if before[name].state is State.DEPLOYING and self._is_absent(name)}
        return [
            name
            for name, standing in self.standings.items()
            if standing.state is State.UNDEPLOYING
            and (
                before[name].state in {State.DEPLOYING, State.LIVE}
                or (not dropped.isdisjoint(self.model.above[name]) and not self.demanded(name))
            )
        ]

    def _is_absent(self, name: str) -> bool:
        return self.standings[name].state is State.ABSENT

    # -- Steps of environments ---------------------------------------------------------------------------------------

    def come_up(self, name: str, number: int) -> None:
        self.set(name, state=State.LIVE)
        if self.model.witnessed:
            self.set(name, number=number, seen=True)

    def doom(self, name: str) -> None:
        """Doom the calls that wait for a name, or for one above it."""
        for call in self.waiting():
            if call.operation == "deploy" and name in self.model.closure[call.name]:
                self.change(call, phase=Phase.DOOMED)

    def end_teardown(self, name: str, state: State) -> None:
        self.set(name, state=state)
        followers = self.follow_demand()
        for below in self.model.below[name]:
            going = self.standings[below].state is State.UNDEPLOYING and not self.demanded(below)
            followers += [below] if going and below not in followers else []
        for call in self.waiting():
            if call.operation == "undeploy" and name in call.awaits:
                awaits = dict.fromkeys(other for other in call.awaits if other != name)
                if state is State.ABSENT:
                    awaits |= dict.fromkeys(followers)
                self.change(call, awaits=tuple(awaits), failed=call.failed or state is State.STUCK)
        if state is State.STUCK:
            self.doom(name)

    # -- Steps of calls ----------------------------------------------------------------------------------------------

    def begin(self, caller: int) -> Iterator[Configuration]:
        call = self.calls[caller]
        if call.operation == "deploy":
            yield from self._begin_deploy(call)
        else:
            self._begin_undeploy(call)
            yield self.done()

    def _begin_deploy(self, call: Call) -> Iterator[Configuration]:
        if self.closed:
            self.change(call, phase=Phase.DOOMED)
            yield self.done()
            return
        self.set(call.name, hidden=False)
        anew = [name for name in self.model.closure[call.name] if self.standings[name].hidden and self._is_over(name)]
        self.change(call, phase=Phase.WAITING)
        for shown in chain.from_iterable(combinations(anew, count) for count in range(len(anew) + 1)):
            draft = _Draft(self.model, dict(self.standings), dict(self.calls), self.closed)
            for name in shown:
                draft.set(name, hidden=False)
            yield draft.done()

    def _is_over(self, name: str) -> bool:
        """Whether a new demand is for a new life of the name."""
        return self.standings[name].state not in {State.DEPLOYING, State.LIVE} and not self.demanded(name)

    def _begin_undeploy(self, call: Call) -> None:
        names = [call.name] if call.operation == "undeploy" else list(self.model.names)
        self.closed = self.closed or call.operation == "close"
        for name in names:
            self.set(name, hidden=True, granted=False)
            if self.standings[name].state is State.STUCK:
                self.set(name, state=State.UNDEPLOYING)
            for waiting in self.waiting():
                if waiting.operation == "deploy" and waiting.name == name:
                    self.change(waiting, phase=Phase.DOOMED)
        followers = self.follow_demand()
        awaits = tuple(name for name in names if self._is_awaited(name, by=call))
        if call.operation == "undeploy" and self.standings[call.name].state is State.ABSENT:
            # It had not begun to come up: its dependencies are what follows it at once.
            awaits = tuple(followers)
        self.change(call, phase=Phase.WAITING, awaits=awaits)

    def _is_awaited(self, name: str, by: Call) -> bool:
        state = self.standings[name].state
        if by.operation == "undeploy":
            return state is State.UNDEPLOYING and not self.demanded(name)
        return state is not State.ABSENT

    def settled(self, name: str, call: Call) -> bool:
        """Whether an ``undeploy_all`` or ``close`` need not wait for a name any more, if it looks now."""
        if any(above in call.awaits for above in self.model.above[name]):
            return False
        state = self.standings[name].state
        return state is State.ABSENT if call.operation == "close" else state is not State.UNDEPLOYING
