"""The scripted world in an exploration: operations that may fail, callers that may be cancelled, and an onlooker."""

from __future__ import annotations

from typing import Any

from anyio.abc import TaskGroup
from explorer.choices import cancellable, choose, watch

from anydeploy.testing import Caller, Plan, Recorded, Script, ScriptedError


class FalliblePlan(Plan):
    """Instructions of an operation that fails if the exploration chooses so."""

    async def play(self, connector: Any) -> None:
        await super().play(connector)
        if choose(2, f"{self.operation} fails"):
            raise ScriptedError(f"{self.operation}: by choice")


class FallibleScript(Script):
    """A script in which every ``deploy`` and ``undeploy`` that has no plan may fail."""

    def unplanned(self, kind: str, name: str) -> Plan:
        return Plan(f"run {name}") if kind == "run" else FalliblePlan(f"{kind} {name}")


def start(tasks: TaskGroup, manager: Recorded, operation: str, name: str = "") -> None:
    """Make a call in a task of its own, which the exploration may cancel."""
    caller = manager.caller(operation, name)
    tasks.start_soon(_on_offer, caller, name=str(caller))


async def _on_offer(caller: Caller) -> None:
    take_back = cancellable(str(caller), caller.cancel)
    try:
        await caller.run()
    finally:
        take_back()


class Onlooker:
    """Reads the connector of every name after each step, and raises the first violation of a rule."""

    def __init__(self, manager: Recorded) -> None:
        self._manager = manager
        self._history = manager.script.history
        self._shown: dict[str, Any] = {}
        self._happened = -1

    def watch(self) -> None:
        """Look from now on, until the run ends."""
        watch(self.look, self.rest)

    def look(self) -> None:
        """Write down each reading that may tell something new: another answer, or one after something has happened."""
        entries, get_connector, known = self._history.entries, self._manager.manager.get_connector, self._shown
        nothing_new = len(entries) == self._happened
        for name in self._manager.script.premises.configs:
            shown = get_connector(name)
            if nothing_new and shown is known.get(name):
                continue
            known[name] = shown
            self._manager.was_shown(name, shown)
        self._happened = len(entries)
        if self._history.violations:
            raise self._history.violations[0]

    def rest(self) -> None:
        """Look when nothing can run: more must be true then than in between."""
        self._history.at_rest()
        self._happened = -1
        self.look()
