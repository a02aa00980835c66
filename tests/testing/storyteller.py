"""Histories made by hand: a story is a text, a line or a semicolon for each thing that happens.

``1 deploy b``, ``1 asked``, ``1 returned``, ``1 raised``, ``1 gave_up``: what caller 1 does; ``1 leaves`` is asked
and gave_up. ``a1 built``, ``a1 deploy began``, ``a1 deploy ended`` and so on: what the first connector of a does;
``coming``, ``up``, ``down`` and ``stuck`` are several of these; ``a1 lost`` and ``a1 cut`` report a loss. ``read a 1``:
a reading of get_connector. ``wait 60``: time passes. ``rest`` and ``end``: nothing can go on, and the
manager is closed.
"""

from __future__ import annotations

import re

from anydeploy import ConnectionLostError, DeployError, DeploymentConfig, InvalidConfigError
from anydeploy.testing import EntryKind, History, Premises, Rule

_SEVERAL = {
    "coming": ("built", "deploy began"),
    "up": ("built", "deploy began", "deploy ended"),
    "down": ("undeploy began", "undeploy ended"),
    "stuck": ("undeploy began", "undeploy failed"),
    "leaves": ("asked", "gave_up"),
}


class Storyteller:
    def __init__(self, rule: type[Rule], *configs: DeploymentConfig, **limits: int) -> None:
        stubborn = frozenset(config.name for config in configs if config.type == "stubborn")
        premises = Premises({config.name: config for config in configs}, stubborn, **limits)
        self.now = 0.0
        self.history = History(premises, [rule()], clock=lambda: self.now)
        self.calls: dict[int, tuple[str, str]] = {}
        self.error: BaseException | None = None

    def tell(self, story: str) -> History:
        for line in re.split(r"[;\n]", story):
            if line.strip():
                self._happens(*line.split())
        return self.history

    def _happens(self, subject: str, *rest: str) -> None:
        if subject == "rest":
            self.history.at_rest()
        elif subject == "end":
            self.history.at_end()
        elif subject == "wait":
            self.now += float(rest[0])
        elif subject == "read":
            self.history.record(EntryKind.READ, "get_connector", rest[0], instance=int(rest[1]))
        elif subject.isdigit():
            self._caller(int(subject), *rest)
        else:
            self._connector(subject[:-1], int(subject[-1]), *rest)

    def _caller(self, number: int, what: str, detail: str = "", note: str = "") -> None:
        if what in _SEVERAL:
            for part in _SEVERAL[what]:
                self._caller(number, part)
        elif what in set(EntryKind):
            operation, name = self.calls[number]
            error = self._error(name, detail, note) if what == EntryKind.RAISED else None
            self.history.record(
                EntryKind(what),
                operation,
                name,
                caller=number,
                error=error,
                refused=isinstance(error, InvalidConfigError),
                strange=detail == "strange",
            )
        else:
            self.calls[number] = what, detail
            self.history.record(EntryKind.CALLED, what, detail, caller=number)

    def _error(self, name: str, kind: str, note: str) -> BaseException:
        if kind == "same":
            assert self.error is not None
        elif kind == "refused":
            self.error = InvalidConfigError(name, "no")
        elif kind == "group":
            self.error = ExceptionGroup("all of them", [DeployError(name, "failed")])
        else:
            failed = {"nameless": "another", "causeless": name, "strange": name}.get(kind, kind or name)
            self.error = DeployError(failed, "failed")
            self.error.__cause__ = None if kind == "causeless" else ValueError()
            self.error.add_note(note)
        return self.error

    def _connector(self, name: str, number: int, what: str, outcome: str = "", detail: str = "") -> None:
        if what in _SEVERAL:
            for part in _SEVERAL[what]:
                self._connector(name, number, *part.split())
        elif what == "built":
            self.history.record(EntryKind.BUILT, "build", name, instance=number, inner=int(outcome or 0))
        elif what in {"lost", "cut"}:
            error = ConnectionLostError("cut") if what == "cut" else ValueError("lost")
            self.history.record(EntryKind.LOST, "report_lost", name, instance=number, error=error)
        else:
            self.history.record(EntryKind(outcome), what, name, instance=number, external=detail == "external")
