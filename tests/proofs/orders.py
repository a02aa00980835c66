"""Explains histories the long way: by trying every order in which things may have happened.

Independent of the sequential model in form: an order is a list of the entries and of what no entry tells (``up a``,
``fail a``, ``down a``, ``stuck a``, ``begin 1``, ``leave 1``) between them, and what it means is worked out from
intervals: the span in which each call demands its name. The outcomes of the calls are known in advance.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any, TypeAlias

from attrs import define, field

from anydeploy.testing import Entry, EntryKind

_OUTCOMES = {EntryKind.RETURNED, EntryKind.RAISED, EntryKind.GAVE_UP}
_WITHDRAWS = {"undeploy", "undeploy_all", "close"}
#: The last operation of a connector before each of these.
_WITNESSES: Mapping[str, set[tuple[str, str] | None]] = {
    "up": {("deploy", "ended")},
    "fail": {("build", "failed"), ("deploy", "failed"), ("deploy", "cancelled")},
    "down": {None, ("build", "built"), ("build", "failed"), ("undeploy", "ended")},
    "stuck": {("undeploy", "failed"), ("undeploy", "cancelled")},
}

_NEVER = 10**9
_BUDGET = 4_000


class TooManyOrdersError(Exception):
    """There are too many to try them all."""


Event: TypeAlias = Entry | tuple[str, Any]


def explicable(
    history: Sequence[Entry], below: Mapping[str, Sequence[str]], *, prompt: bool, witnessed: bool = False
) -> bool:
    """Return whether some order explains the history. ``below``: the dependencies of each name, dependencies first."""
    names = list(below)[::-1]
    outcomes = {entry.caller: entry.kind for entry in history if entry.kind in _OUTCOMES and entry.caller}
    callers = sorted({entry.caller for entry in history if entry.kind is EntryKind.CALLED})
    hidden: list[Event] = [(what, name) for what in ("up", "fail", "down", "stuck") for name in names]
    hidden += [("leave", caller) for caller in callers]
    hidden += [] if prompt else [("begin", caller) for caller in callers]

    budget = _BUDGET

    def extend(order: list[Event], left: int) -> bool:
        nonlocal budget
        budget -= 1
        if budget < 0:
            raise TooManyOrdersError
        if not _Order(order, names, below, outcomes, prompt, witnessed).makes_sense():
            return False
        if left == len(history) or extend([*order, history[left]], left + 1):
            return True
        return any(extend([*order, event], left) for event in hidden)

    return extend([], 0)


@define
class _Call:
    caller: int
    operation: str
    name: str
    called: int
    outcome: EntryKind | None
    begun: int | None = None
    asked: int | None = None
    left: int | None = None
    over: int | None = None


@define
class _Order:
    """One order, or the beginning of one."""

    events: Sequence[Event]
    names: Sequence[str]
    below: Mapping[str, Sequence[str]]
    outcomes: Mapping[int, EntryKind]
    prompt: bool
    witnessed: bool
    calls: dict[int, _Call] = field(factory=dict[int, _Call])
    #: The state of each name after each event.
    states: list[dict[str, str]] = field(factory=list[dict[str, str]])
    #: For each name, where a demand began while there was none to join.
    births: dict[str, list[int]] = field(factory=dict[str, list[int]])

    def makes_sense(self) -> bool:
        return (
            self._find_calls() and self._follow() and all(map(self._ends_well, self.calls.values())) and self._reads()
        )

    def _find_calls(self) -> bool:
        asked: dict[int, int] = {}
        for position, event in enumerate(self.events):
            if isinstance(event, tuple):
                if event[0] in ("begin", "leave"):
                    call = self.calls.get(event[1])
                    if call is None or call.over is not None or not self._take(call, event[0], position):
                        return False
            elif event.kind is EntryKind.CALLED:
                caller = event.caller
                begun = position if self.prompt else None
                outcome = self.outcomes.get(caller)
                call = _Call(caller, event.operation, event.name, position, outcome, begun, asked.get(caller))
                self.calls[caller] = call
            elif event.kind is EntryKind.ASKED:
                asked[event.caller] = position
                if event.caller in self.calls:
                    self.calls[event.caller].asked = position
            elif event.kind in _OUTCOMES and event.caller:
                call = self.calls[event.caller]
                call.over = position
                if call.begun is None and event.kind is not EntryKind.GAVE_UP:
                    return False
        return True

    def _take(self, call: _Call, what: str, position: int) -> bool:
        if what == "begin":
            free, call.begun = call.begun is None, position
            return free
        free = call.left is None and call.asked is not None and call.begun is not None and call.operation == "deploy"
        call.left = position
        # A caller whose deploy was granted does not leave.
        return free and call.outcome in (None, EntryKind.GAVE_UP)

    # -- Demand, as intervals ----------------------------------------------------------------------------------------

    def _withdrawals(self, name: str) -> Iterator[int]:
        for call in self.calls.values():
            if call.begun is not None and call.operation in _WITHDRAWS and call.name in (name, ""):
                yield call.begun

    def _closed(self) -> int:
        return min(
            (c.begun for c in self.calls.values() if c.operation == "close" and c.begun is not None), default=_NEVER
        )

    def _closure(self, name: str) -> set[str]:
        return {name}.union(*(self._closure(other) for other in self.below[name]))

    def _doom(self, call: _Call) -> int:
        """Where a deploy is doomed, unless it was granted before."""
        assert call.begun is not None
        if call.begun > self._closed():
            return call.begun
        closure = self._closure(call.name)
        failures = [
            position
            for position, event in enumerate(self.events)
            if isinstance(event, tuple) and event[0] in ("fail", "stuck") and event[1] in closure
        ]
        return min((p for p in [*failures, *self._withdrawals(call.name)] if p > call.begun), default=_NEVER)

    def _demands(self, call: _Call, at: int) -> bool:
        if call.operation != "deploy" or call.begun is None or at < call.begun or call.begun > self._closed():
            return False
        if call.outcome is EntryKind.RETURNED:
            return at < min((p for p in self._withdrawals(call.name) if p > call.begun), default=_NEVER)
        gave_up = call.outcome is EntryKind.GAVE_UP and call.left is None
        end = call.over if gave_up else call.left
        return at < self._doom(call) and (end is None or at < end)

    # -- States ------------------------------------------------------------------------------------------------------

    def _follow(self) -> bool:
        state = dict.fromkeys(self.names, "absent")
        sight: dict[str, tuple[str, str]] = {}
        for position, event in enumerate(self.events):
            before = dict(state)
            if isinstance(event, tuple) and event[0] in _WITNESSES:
                if not self._happens(event[0], event[1], state, sight, position):
                    return False
            elif isinstance(event, Entry) and not event.caller and event.operation != "get_connector":
                sight[event.name] = (event.operation, event.kind.value)
            for name in self.names:
                if state[name] == "stuck" and position in self._withdrawals(name):
                    state[name] = "undeploying"
            for name in self.names:
                self._obey(name, position, state, before)
            self.states.append(dict(state))
        return True

    def _happens(self, what: str, name: str, state: dict[str, str], sight: dict[str, tuple[str, str]], at: int) -> bool:
        forgotten = what == "down" and state[name] == "stuck" and at > self._closed()
        if self.witnessed and not forgotten and sight.get(name) not in _WITNESSES[what]:
            return False
        stands = all(state[below] == "live" for below in self.below[name])
        if what in ("up", "fail"):
            possible = state[name] == "deploying" and stands
        else:
            possible = state[name] == "undeploying" or forgotten
        state[name] = {"up": "live", "fail": "deploying", "down": "absent", "stuck": "stuck"}[what]
        return possible

    def _demanded(self, name: str, at: int, state: dict[str, str]) -> bool:
        above = [other for other in self.names if name in self.below[other]]
        return any(call.name == name and self._demands(call, at) for call in self.calls.values()) or any(
            state[other] != "absent" for other in above
        )

    def _obey(self, name: str, at: int, state: dict[str, str], before: dict[str, str]) -> None:
        """An environment exists while it is demanded, and no longer."""
        demanded = self._demanded(name, at, state)
        joined = before[name] in ("deploying", "live") or (
            bool(self.states) and self._demanded(name, at - 1, self.states[-1])
        )
        if demanded and not joined:
            self.births.setdefault(name, []).append(at)
        if demanded:
            state[name] = {"absent": "deploying", "stuck": "undeploying"}.get(state[name], state[name])
        elif state[name] == "live":
            state[name] = "undeploying"
        elif state[name] == "deploying":
            stands = all(state[below] == "live" for below in self.below[name])
            state[name] = "undeploying" if stands else "absent"

    # -- What came out of it -----------------------------------------------------------------------------------------

    def _ends_well(self, call: _Call) -> bool:
        if call.operation == "deploy" and call.outcome is EntryKind.RETURNED and call.begun is not None:
            # Even before it has returned: nothing happens to one that returns before it was granted.
            doom = self._doom(call)
            granted = any(self.states[at][call.name] == "live" for at in range(call.begun, min(doom, len(self.states))))
            return granted or (call.over is None and doom >= len(self.states))
        if call.over is None or call.outcome is EntryKind.GAVE_UP:
            return True
        assert call.begun is not None
        span = range(call.begun, call.over)
        if call.operation == "deploy":
            return self._doom(call) < call.over
        if call.operation == "undeploy":
            return self._undeploys_well(call)
        awaited = [name for name in self.names if self.states[call.begun][name] != "absent"]
        for looks in product(span, repeat=len(awaited)):
            look = dict(zip(awaited, looks, strict=True))
            seen = {name: self.states[at][name] for name, at in look.items()}
            in_turn = all(look[name] <= look[other] for name in awaited for other in self.below[name] if other in look)
            if call.operation == "close":
                ready = set(seen.values()) <= {"absent"}
            else:
                ready = "undeploying" not in seen.values()
                ready = ready and ("stuck" in seen.values()) is (call.outcome is EntryKind.RAISED)
            if in_turn and ready:
                return True
        return False

    def _undeploys_well(self, call: _Call) -> bool:
        assert call.begun is not None
        assert call.over is not None
        state = self.states[call.begun]
        if state[call.name] != "undeploying" or self._demanded(call.name, call.begun, state):
            return call.outcome is EntryKind.RETURNED
        own = (("down", call.name), ("stuck", call.name))
        ends = [e[0] for e in self.events[call.begun + 1 : call.over] if isinstance(e, tuple) and e in own]
        return bool(ends) and (ends[0] == "down") is (call.outcome is EntryKind.RETURNED)

    def _reads(self) -> bool:
        return all(self._appears(name) and self._stays_the_same(name) for name in self.names)

    def _readings(self, name: str) -> dict[int, int]:
        return {
            position: event.instance
            for position, event in enumerate(self.events)
            if isinstance(event, Entry) and event.kind is EntryKind.READ and event.name == name
        }

    def _appears(self, name: str) -> bool:
        """Whether the readings of a name give a connector where they have to, and None elsewhere."""
        readings = self._readings(name)
        hidden: bool | None = False
        for position in range(len(self.events)):
            own = [call for call in self.calls.values() if call.begun == position]
            if any(call.operation in _WITHDRAWS and call.name in (name, "") for call in own):
                hidden = True
            elif any(call.operation == "deploy" and call.name == name for call in own) and position <= self._closed():
                hidden = False
            elif position in self.births.get(name, ()) and hidden is True:
                # The rules leave open whether it is still hidden: the first reading that could show it tells.
                hidden = None
            if position in readings:
                live = self.states[position][name] == "live"
                if live and hidden is None:
                    hidden = readings[position] == 0
                if (readings[position] != 0) is not (live and not hidden):
                    return False
        return True

    def _stays_the_same(self, name: str) -> bool:
        """Whether one life has one connector, and another life a later one."""
        readings = self._readings(name)
        last, known, built = 0, 0, 0
        for position, event in enumerate(self.events):
            if self.states[position][name] != "live":
                known = 0
            if isinstance(event, Entry) and event.kind is EntryKind.BUILT and event.name == name:
                built = event.instance
            elif self.witnessed and event == ("up", name):
                known = built
            number = readings.get(position, 0)
            if number and number != known and (known or number <= last):
                return False
            if number:
                known = last = number
        return True
