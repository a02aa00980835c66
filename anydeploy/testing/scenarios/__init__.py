"""Concrete scenarios, at least one for every rule, as the conformance suite of managers plays them."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from .stage import Scenario, Stage, play, scenario

__all__ = ["Scenario", "Stage", "every_scenario", "play", "scenario"]

_MODULES = (
    *("deploying", "failing", "foreign", "reading", "losing", "restarting"),
    *("undeploying", "stuck", "closing", "lazy", "limits"),
)


def every_scenario() -> Sequence[Scenario]:
    """Return all scenarios, those of one theme beside each other."""
    found = [value for name in _MODULES for value in vars(import_module(f".{name}", __name__)).values()]
    return [value for value in found if isinstance(value, Scenario)]
