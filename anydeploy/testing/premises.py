"""The definitions, and the limits of the manager: the facts that hold whatever happens."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from functools import cached_property

from attrs import define, field

from ..config import DeploymentConfig


@define(eq=False, slots=False)
class Premises:
    """The definitions, and the limits of the manager.

    :ivar configs: the definitions, by name; change them with :meth:`add` only
    :ivar uninterruptible: the names of those whose ``deploy`` must not be cancelled (rule D6)
    :ivar max_concurrent: the manager's limit (rule K1)
    :ivar deploy_timeout: the manager's limit (rule K2)
    :ivar undeploy_timeout: likewise
    """

    configs: dict[str, DeploymentConfig] = field(factory=dict[str, DeploymentConfig])
    uninterruptible: frozenset[str] = frozenset()
    max_concurrent: int | None = None
    deploy_timeout: float | None = None
    undeploy_timeout: float | None = None

    def add(self, config: DeploymentConfig) -> None:
        """Add a definition."""
        if config.name not in self.configs:
            self.configs[config.name] = config
            for derived in ("dependencies", "dependents", "closure", "above", "wraps", "lazy"):
                vars(self).pop(derived, None)

    @cached_property
    def dependencies(self) -> Mapping[str, tuple[str, ...]]:
        """The direct dependencies of each name; none, where it is not known."""
        return defaultdict(tuple, {name: config.dependencies for name, config in self.configs.items()})

    @cached_property
    def dependents(self) -> Mapping[str, tuple[str, ...]]:
        """The direct dependents of each name."""
        found: defaultdict[str, tuple[str, ...]] = defaultdict(tuple)
        for name, config in self.configs.items():
            for dependency in config.dependencies:
                found[dependency] += (name,)
        return found

    @cached_property
    def closure(self) -> Mapping[str, frozenset[str]]:
        """Each name with everything it depends on."""
        return _Reached(self.dependencies)

    @cached_property
    def above(self) -> Mapping[str, frozenset[str]]:
        """Each name with everything that depends on it."""
        return _Reached(self.dependents)

    @cached_property
    def wraps(self) -> Mapping[str, str]:
        """The name that each one wraps, if it wraps one."""
        return {name: config.wraps.deployment for name, config in self.configs.items() if config.wraps is not None}

    @cached_property
    def lazy(self) -> frozenset[str]:
        """The names of the deployments that come up at their first use."""
        return frozenset(name for name, config in self.configs.items() if config.lazy)

    def has_deploy_timeout(self, name: str) -> bool:
        config = self.configs.get(name)
        return self.deploy_timeout is not None or (config is not None and config.deploy_timeout is not None)

    def has_undeploy_timeout(self, name: str) -> bool:
        config = self.configs.get(name)
        return self.undeploy_timeout is not None or (config is not None and config.undeploy_timeout is not None)


class _Reached(dict[str, frozenset[str]]):
    """Each name with everything that can be reached from it, found when it is asked for."""

    def __init__(self, edges: Mapping[str, tuple[str, ...]]) -> None:
        super().__init__()
        self._edges = edges

    def __missing__(self, name: str) -> frozenset[str]:
        found, stack = {name}, [name]
        while stack:
            for other in self._edges[stack.pop()]:
                if other not in found:
                    found.add(other)
                    stack.append(other)
        self[name] = frozenset(found)
        return self[name]
