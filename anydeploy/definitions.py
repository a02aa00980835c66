"""The definitions that a manager knows, and what is checked of them before anything is deployed (rule D4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from .checking import can_wrap, check_settings, show_keys
from .config import DeploymentConfig
from .connector import Connector
from .connectors import UnknownConnectorTypeError, connector_type
from .exceptions import (
    DifferentDefinitionError,
    InvalidConfigError,
    UnknownDeploymentError,
    WorkflowDefinitionException,
)
from .graph import closure

#: What a wrapper without ``wraps`` stands on.
LOCAL = DeploymentConfig("__LOCAL__", "local", external=True)


@frozen(eq=False)
class ResolvedDefinition:
    """A definition that has been checked: everything that is needed to build its connector.

    :ivar dependencies: names, the wrapped one first; an implicit one included
    :ivar wraps: whether the first of the dependencies is wrapped
    """

    config: DeploymentConfig
    connector_type: type[Connector]
    dependencies: tuple[str, ...]
    wraps: bool
    config_dir: Path
    deploy_timeout: float | None
    undeploy_timeout: float | None

    @property
    def name(self):
        return self.config.name

    @property
    def interruptible(self):
        return self.connector_type.interruptible

    @property
    def retries(self):
        return self.config.retries

    @property
    def restarts(self):
        return getattr(self.config, "restarts", 0)

    @property
    def external(self):
        return self.config.external

    def build(self, wrapped: Connector | None) -> Connector:
        """Construct the connector, as StreamFlow does: a wrapper is given what it wraps, and the service in it."""
        extra: dict[str, Any] = {}
        if wrapped is not None:
            wraps = self.config.wraps
            service = wraps.service if wraps is not None else None
            extra = {"connector": wrapped if service is None else wrapped.at(service), "service": service}
        return self.connector_type(
            deployment_name=self.config.name, config_dir=self.config_dir, **extra, **self.config.config
        )


@define(eq=False)
class Definitions:
    """Definitions by name, and their blueprints as soon as they have been checked.

    :ivar connector_types: classes by type string; they come before those of the registry
    :ivar deploy_timeout: seconds, for definitions without one of their own; likewise ``undeploy_timeout``
    """

    connector_types: Mapping[str, type[Connector]]
    config_dir: Path
    deploy_timeout: float | None
    undeploy_timeout: float | None
    _configs: dict[str, DeploymentConfig] = field(factory=dict[str, DeploymentConfig])
    _blueprints: dict[str, ResolvedDefinition] = field(factory=dict[str, ResolvedDefinition])

    def __getitem__(self, name: str) -> DeploymentConfig:
        try:
            return self._configs[name]
        except KeyError:
            raise UnknownDeploymentError(name, known=self._configs) from None

    @property
    def names(self) -> Sequence[str]:
        """All but the implicit ones, in the order in which they were added."""
        return [name for name in self._configs if name != LOCAL.name]

    def add(self, config: DeploymentConfig, *, in_use: bool) -> None:
        """Add a definition, or replace that of its name.

        :param in_use: whether the name is not absent
        :raises DifferentDefinitionError: if it is in use with a different definition
        """
        known = self._configs.get(config.name)
        if known is not config and known != config:
            if known is not None and in_use:
                raise DifferentDefinitionError(config.name)
            self._replace(config.name, config)

    def add_checked(self, config: DeploymentConfig, *, in_use: bool, is_met: Callable[[str], bool]) -> None:
        """:meth:`add`, but a definition that is refused leaves the one that was there."""
        before = self._configs.get(config.name)
        self.add(config, in_use=in_use)
        try:
            self.closure([config.name], is_met=is_met)
        except WorkflowDefinitionException:
            self._replace(config.name, before)
            raise

    def add_all(self, configs):
        for c in configs:
            self.add(c, in_use=True)

    def definition(self, name):
        return self.blueprint(name)

    def resolve(self, wanted, *, present, in_use=()):
        from types import SimpleNamespace

        names = []
        before = {}
        try:
            for w in wanted:
                if not isinstance(w, str):
                    before.setdefault(w.name, self._configs.get(w.name))
                    self.add(w, in_use=w.name in present or w.name in in_use)
                    names.append(w.name)
                else:
                    self[w]
                    names.append(w)
            names = list(dict.fromkeys(names))
            return SimpleNamespace(names=names, missing=self.closure(names, is_met=present.__contains__))
        except WorkflowDefinitionException:
            for n, c in before.items():
                self._replace(n, c)
            raise

    def commit(self, r):
        pass

    def _replace(self, name: str, config: DeploymentConfig | None) -> None:
        self._blueprints.pop(name, None)
        if config is None:
            self._configs.pop(name, None)
        else:
            self._configs[name] = config

    def closure(self, names: Sequence[str], *, is_met: Callable[[str], bool]) -> list[ResolvedDefinition]:
        """The blueprints of everything that ``names`` need, dependencies first, less what is met already.

        :raises WorkflowDefinitionException: if any of it is misspecified
        """

        def dependencies(name: str) -> Sequence[str]:
            return () if is_met(name) else self.blueprint(name).dependencies

        if all(map(is_met, names)):
            return []
        order = closure(names, dependencies)
        return [self.blueprint(name) for name in order if not is_met(name)]

    def blueprint(self, name: str) -> ResolvedDefinition:
        """The checked form of a definition.

        :raises WorkflowDefinitionException: if it is misspecified, apart from cycles
        """
        found = self._blueprints.get(name)
        if found is None:
            found = self._blueprints[name] = self._check(self[name])
        return found

    def _check(self, config: DeploymentConfig) -> ResolvedDefinition:
        type_ = self._connector_type(config)
        wraps, dependencies = config.wraps is not None, config.dependencies
        if can_wrap(type_):
            if not wraps:
                self._configs.setdefault(LOCAL.name, LOCAL)
                wraps, dependencies = True, tuple(dict.fromkeys((LOCAL.name, *dependencies)))
        elif wraps:
            raise InvalidConfigError(config.name, f"type '{config.type}' cannot wrap another deployment")
        for dependency in dependencies:
            if dependency not in self._configs:
                raise UnknownDeploymentError(dependency, required_by=config.name, known=self._configs)
        for keys, problem in check_settings(type_, config.config):
            raise InvalidConfigError(config.name, problem, setting=show_keys(keys) or None)
        return ResolvedDefinition(
            config,
            type_,
            dependencies,
            wraps,
            self.config_dir,
            config.deploy_timeout or self.deploy_timeout,
            config.undeploy_timeout or self.undeploy_timeout,
        )

    def _connector_type(self, config: DeploymentConfig) -> type[Connector]:
        try:
            type_ = self.connector_types.get(config.type) or connector_type(config.type)
        except UnknownConnectorTypeError as exc:
            raise InvalidConfigError(config.name, str(exc)) from None
        if type_.asyncio_only and not _on_asyncio():
            raise InvalidConfigError(
                config.name,
                f"type '{config.type}' works on asyncio only, and this is another event loop; expected "
                f"`anyio.run(main)` without a backend, or `--backend asyncio` on the command line",
            )
        return type_


def _on_asyncio() -> bool:
    from asyncio import get_running_loop  # noqa: PLC0415 - who uses trio need not have imported it

    try:
        get_running_loop()
    except RuntimeError:
        return False
    return True
