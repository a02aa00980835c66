"""The kit that tests deployment managers and connectors: scripted connectors, rules that watch them, and suites.

A name is imported from its module when it is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .callers import Caller, Recorded, recorded
    from .conformance import ConnectorSuite, ManagerSuite
    from .entries import Entry, EntryKind
    from .history import History, Rule, Violation
    from .instances import Call, Instance
    from .invariants import RULES, every_rule
    from .machine import ManagerMachine, check_manager
    from .picture import Picture
    from .premises import Premises
    from .rest import settle
    from .scripted import Operation, Plan, Script, ScriptedError, unit, wrapper
    from .subject import AnydeploySubject, Feature, Manager, Subject
    from .virtual import run_virtual

_DEFINED = {
    "callers": ("Caller", "Recorded", "recorded"),
    "conformance": ("ConnectorSuite", "ManagerSuite"),
    "entries": ("Entry", "EntryKind"),
    "history": ("History", "Rule", "Violation"),
    "instances": ("Call", "Instance"),
    "invariants": ("RULES", "every_rule"),
    "machine": ("ManagerMachine", "check_manager"),
    "picture": ("Picture",),
    "premises": ("Premises",),
    "rest": ("settle",),
    "scripted": ("Operation", "Plan", "Script", "ScriptedError", "unit", "wrapper"),
    "subject": ("AnydeploySubject", "Feature", "Manager", "Subject"),
    "virtual": ("run_virtual",),
}
_MODULES = {name: module for module, names in _DEFINED.items() for name in names}

__all__ = [
    "RULES",
    "AnydeploySubject",
    "Call",
    "Caller",
    "ConnectorSuite",
    "Entry",
    "EntryKind",
    "Feature",
    "History",
    "Instance",
    "Manager",
    "ManagerMachine",
    "ManagerSuite",
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
    "check_manager",
    "every_rule",
    "recorded",
    "run_virtual",
    "settle",
    "unit",
    "wrapper",
]


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return globals().setdefault(name, getattr(import_module(f".{_MODULES[name]}", __name__), name))
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
