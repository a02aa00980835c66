"""The kit that proves a deployment manager right: scripted connectors, rules, an explorer of schedules, suites.

A name is imported from its module when it is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .callers import Caller, Recorded, recorded
    from .history import Entry, History, Rule, Violation, What
    from .invariants import RULES, every_rule
    from .picture import Call, Instance, Picture, Premises
    from .scripted import Operation, Plan, Script, ScriptedError, unit, wrapper
    from .subject import AnydeploySubject, Feature, Manager, Subject

_DEFINED = {
    "callers": ("Caller", "Recorded", "recorded"),
    "history": ("Entry", "History", "Rule", "Violation", "What"),
    "invariants": ("RULES", "every_rule"),
    "picture": ("Call", "Instance", "Picture", "Premises"),
    "scripted": ("Operation", "Plan", "Script", "ScriptedError", "unit", "wrapper"),
    "subject": ("AnydeploySubject", "Feature", "Manager", "Subject"),
}
_MODULES = {name: module for module, names in _DEFINED.items() for name in names}

__all__ = [
    "RULES",
    "AnydeploySubject",
    "Call",
    "Caller",
    "Entry",
    "Feature",
    "History",
    "Instance",
    "Manager",
    "Operation",
    "Picture",
    "Plan",
    "Premises",
    "Recorded",
    "Rule",
    "Script",
    "ScriptedError",
    "Subject",
    "Violation",
    "What",
    "every_rule",
    "recorded",
    "unit",
    "wrapper",
]


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return globals().setdefault(name, getattr(import_module(f".{_MODULES[name]}", __name__), name))
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
