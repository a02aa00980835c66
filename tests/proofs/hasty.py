"""A manager that breaks some rules, for the tests of the survey and of the report."""

from __future__ import annotations

from typing import Any

from anydeploy import DefaultDeploymentManager
from anydeploy.testing import AnydeploySubject, Feature, Script


class Hasty(AnydeploySubject):
    """A manager that shows connectors before they are up, and knows no limits."""

    name = "a hasty manager"
    features = frozenset(Feature) - {Feature.LIMITS}

    def manager(self, script: Script, **options: Any) -> DefaultDeploymentManager:
        manager = super().manager(script, **options)
        manager.get_connector = lambda name: script.connectors.get(name, [None])[-1]  # type: ignore[method-assign, assignment]
        return manager
