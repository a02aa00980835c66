"""The kit that proves a deployment manager right: scripted connectors, rules, an explorer of schedules, suites.

A name is imported from its module when it is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .callers import Caller, Recorded, recorded
    from .conformance import ConnectorSuite, ManagerSuite
    from .explorer import Exploration, ExplorationFailure, explore, replay, sample
    from .history import Entry, History, Rule, Violation, What
    from .invariants import RULES, every_rule
    from .linearizability import Linearizability
    from .machine import ManagerMachine, check_manager
    from .picture import Call, Instance, Picture
    from .premises import Premises
    from .rest import settle
    from .scopes import Scope, every_scope
    from .scripted import Operation, Plan, Script, ScriptedError, unit, wrapper
    from .sequential import Model
    from .subject import AnydeploySubject, Feature, Manager, Subject
    from .virtual import run_virtual

_DEFINED = {
    "callers": ("Caller", "Recorded", "recorded"),
    "conformance": ("ConnectorSuite", "ManagerSuite"),
    "explorer": ("Exploration", "ExplorationFailure", "explore", "replay", "sample"),
    "history": ("Entry", "History", "Rule", "Violation", "What"),
    "invariants": ("RULES", "every_rule"),
    "linearizability": ("Linearizability",),
    "machine": ("ManagerMachine", "check_manager"),
    "picture": ("Call", "Instance", "Picture"),
    "premises": ("Premises",),
    "rest": ("settle",),
    "scopes": ("Scope", "every_scope"),
    "scripted": ("Operation", "Plan", "Script", "ScriptedError", "unit", "wrapper"),
    "sequential": ("Model",),
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
    "Exploration",
    "ExplorationFailure",
    "Feature",
    "History",
    "Instance",
    "Linearizability",
    "Manager",
    "ManagerMachine",
    "ManagerSuite",
    "Model",
    "Operation",
    "Picture",
    "Plan",
    "Premises",
    "Recorded",
    "Rule",
    "Scope",
    "Script",
    "ScriptedError",
    "Subject",
    "Violation",
    "What",
    "check_manager",
    "every_rule",
    "every_scope",
    "explore",
    "recorded",
    "replay",
    "run_virtual",
    "sample",
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
