"""The definitions that a manager knows, resolved: checked, with everything that is needed to build a connector."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from attrs import define, field

from .checking import Flags, check_settings, find_connector_type, flags_of
from .config import DeploymentConfig
from .connector import Connector
from .exceptions import (
    DifferentDefinitionError,
    InvalidConfigError,
    UnknownDeploymentError,
    WorkflowDefinitionException,
    WorkflowExecutionException,
)
from .frozen import thaw
from .graph import closure
from .typecheck import expected, show_keys
from .wrapping import Layer, can_wrap, check_wrapped, check_wraps

#: The deployment that a wrapper without ``wraps`` stands on.
LOCAL = DeploymentConfig("__LOCAL__", "local", external=True)


# Not frozen, because that doubles the price of making one: there are as many as deployments, and more resolutions.
@define(eq=False)
class ResolvedDefinition:
    """A definition that has been checked, with the limits that it has from the manager. It is never changed.

    :ivar dependencies: names, the wrapped one first; an implicit one included
    :ivar wraps: whether the first of the dependencies is wrapped
    :ivar flags: those of its class
    :ivar config_dir: the directory that relative paths in its settings are relative to
    """

    name: str
    config: DeploymentConfig
    connector_type: type[Connector]
    dependencies: tuple[str, ...]
    wraps: bool
    flags: Flags
    retries: int
    restarts: int
    external: bool
    deploy_timeout: float | None
    undeploy_timeout: float | None
    config_dir: Path

    @property
    def interruptible(self) -> bool:
        return self.flags.interruptible

    @property
    def asks_wrapped(self) -> bool:
        """Whether it has to be checked together with what it wraps, which another definition may have replaced."""
        return self.config.wraps is not None and (self.flags.stateful or self.config.wraps.service is not None)

    def layer(self) -> Layer:
        """Return what it is to those that stand on it."""
        return Layer.of(self.config, self.connector_type, stateful=self.flags.stateful)

    def build(self, wrapped: Connector | None) -> Connector:
        """Construct the connector, with plain dicts and lists of its own as settings.

        :param wrapped: the connector of the first dependency, if this definition wraps it
        """
        arguments: dict[str, Any] = thaw(self.config.config)
        if wrapped is not None:
            service = self.config.wraps.service if self.config.wraps is not None else None
            arguments["connector"] = _place_for(self.connector_type, wrapped, service)
            arguments["service"] = service
        return self.connector_type(deployment_name=self.name, config_dir=self.config_dir, **arguments)


@define(eq=False)
class Resolution:
    """The answer to a demand for deployments: everything about it is right, and nothing has been changed yet.

    :ivar names: the names that are wanted, each once
    :ivar missing: everything that they need and that is not present, dependencies first
    :ivar added: the definitions that are new, or replace those of their names
    """

    names: tuple[str, ...]
    missing: Sequence[ResolvedDefinition]
    added: tuple[DeploymentConfig, ...] = ()


@define(eq=False)
class Definitions:
    """Definitions by name.

    A demand is checked first, and then kept::

        resolution = definitions.resolve(["web", DeploymentConfig("db", "process", settings)], present=deployments)
        definitions.commit(resolution)

    :ivar connector_types: classes by type string; they come before those of the registry
    :ivar deploy_timeout: seconds, for definitions without one of their own; likewise ``undeploy_timeout``
    """

    connector_types: Mapping[str, type[Connector]]
    config_dir: Path
    deploy_timeout: float | None = None
    undeploy_timeout: float | None = None
    _configs: dict[str, DeploymentConfig] = field(factory=dict[str, DeploymentConfig])
    #: Of names that have been checked, until they are replaced. No name is ever removed, so dependencies stay known.
    _resolved: dict[str, ResolvedDefinition] = field(factory=dict[str, ResolvedDefinition])

    @property
    def names(self) -> Sequence[str]:
        """All but the implicit one, in the order in which they were added."""
        return [name for name in self._configs if name != LOCAL.name]

    def __contains__(self, name: object) -> bool:
        return name in self._configs or name == LOCAL.name

    def __getitem__(self, name: str) -> DeploymentConfig:
        config = self.get(name)
        if config is None:
            raise UnknownDeploymentError(name, known=self._configs)
        return config

    def get(self, name: str) -> DeploymentConfig | None:
        """Return the definition of a name, if there is one."""
        return self._configs.get(name) or (LOCAL if name == LOCAL.name else None)

    def resolved(self, name: str) -> ResolvedDefinition:
        """Return the resolved form of a definition that a committed resolution has found to be right."""
        return self._resolved[name]

    def add_all(self, configs: Iterable[DeploymentConfig]) -> None:
        """Add definitions, which are checked when they are first wanted.

        :raises DifferentDefinitionError: if one name has two different definitions
        """
        for config in configs:
            if self._configs.setdefault(config.name, config) != config:
                raise DifferentDefinitionError(config.name, "has two different definitions")

    def resolve(
        self, wanted: Sequence[str | DeploymentConfig], *, present: Container[str], in_use: Container[str] = ()
    ) -> Resolution:
        """Check what is wanted, with its closure, and change nothing.

        :param wanted: names, or definitions, which may be new
        :param present: the names whose closure is present, too: what is not absent. Their definitions are in use
        :param in_use: further names whose definitions are in use
        :raises WorkflowDefinitionException: if any of it is misspecified
        """
        if len(wanted) == 1:
            known = self._find_resolved(wanted[0], present)
            if known is not None:
                return known
        added = self._find_added(wanted, present, in_use)
        names = tuple(dict.fromkeys(each if isinstance(each, str) else each.name for each in wanted))
        found: dict[str, ResolvedDefinition] = {}

        def dependencies(name: str) -> Sequence[str]:
            if name in present:
                return ()
            resolved = found[name] = self._resolve(name, added)
            return resolved.dependencies

        order = closure(names, dependencies)
        missing = [found[name] for name in order if name in found]
        self._check_wrappers(missing, found)
        return Resolution(names, missing, tuple(added.values()))

    def commit(self, resolution: Resolution) -> None:
        """Keep what a resolution has added and checked; it has to be the latest. Cannot fail."""
        for config in resolution.added:
            self._configs[config.name] = config
        for resolved in resolution.missing:
            self._resolved[resolved.name] = resolved

    def _find_resolved(self, wanted: object, present: Container[str]) -> Resolution | None:
        """Return the resolution of what adds nothing and stands on nothing that is missing, if it has been checked."""
        if isinstance(wanted, str):
            name = wanted
        elif isinstance(wanted, DeploymentConfig) and self._configs.get(wanted.name) is wanted:
            name = wanted.name
        else:
            return None
        if name in present:
            return Resolution((name,), ())
        resolved = self._resolved.get(name)
        if resolved is None or resolved.asks_wrapped:
            return None
        for dependency in resolved.dependencies:
            if dependency not in present:
                return None
        return Resolution((name,), (resolved,))

    def _find_added(
        self, wanted: Sequence[str | DeploymentConfig], present: Container[str], in_use: Container[str]
    ) -> dict[str, DeploymentConfig]:
        given: dict[str, DeploymentConfig] = {}
        for each in cast("Sequence[object]", wanted):
            if isinstance(each, DeploymentConfig):
                if given.setdefault(each.name, each) != each:
                    raise DifferentDefinitionError(each.name, "has two different definitions")
            elif not isinstance(each, str):
                raise WorkflowDefinitionException(expected("a definition (DeploymentConfig), or the name of one", each))
        added = {name: config for name, config in given.items() if self.get(name) != config}
        for name in added:
            if name in self and (name in present or name in in_use):
                raise DifferentDefinitionError(name)
        return added

    def _resolve(self, name: str, added: Mapping[str, DeploymentConfig]) -> ResolvedDefinition:
        """Return the resolved form of a definition; its dependencies are known, and not checked yet."""
        if name in self._resolved and name not in added:
            return self._resolved[name]
        config = added.get(name) or self[name]
        type_, flags = self._find_type(config)
        wraps, dependencies = config.wraps is not None, config.dependencies
        if wraps:
            for _, problem in check_wraps(config.type, type_):
                raise InvalidConfigError(name, problem)
        elif can_wrap(type_):
            wraps, dependencies = True, tuple(dict.fromkeys((LOCAL.name, *dependencies)))
        for dependency in dependencies:
            if dependency not in self and dependency not in added:
                raise UnknownDeploymentError(dependency, required_by=name, known=[*self._configs, *added])
        for path, problem in check_settings(type_, thaw(config.config), self.config_dir, external=config.external):
            raise InvalidConfigError(name, problem, setting=show_keys(path) or None)
        return ResolvedDefinition(
            name,
            config,
            type_,
            dependencies,
            wraps,
            flags,
            config.retries,
            config.restarts,
            config.external,
            config.deploy_timeout or self.deploy_timeout,
            config.undeploy_timeout or self.undeploy_timeout,
            self.config_dir,
        )

    def _check_wrappers(self, missing: Sequence[ResolvedDefinition], found: Mapping[str, ResolvedDefinition]) -> None:
        """Check definitions together with those that they wrap, which are among them or present."""

        def find(name: str) -> Layer:
            return (found.get(name) or self._resolved[name]).layer()

        for resolved in [each for each in missing if each.wraps and each.asks_wrapped]:
            for _, problem in check_wrapped(resolved.layer(), find):
                raise InvalidConfigError(resolved.name, problem)

    def _find_type(self, config: DeploymentConfig) -> tuple[type[Connector], Flags]:
        try:
            type_ = find_connector_type(config.type, self.connector_types)
            flags = flags_of(config.type, type_)
        except WorkflowDefinitionException as exc:
            raise InvalidConfigError(config.name, str(exc)) from exc.__cause__
        if flags.asyncio_only and not _is_on_asyncio():
            raise InvalidConfigError(
                config.name,
                f"type '{config.type}' works on asyncio only, and this is another event loop; expected "
                f"`anyio.run(main)` without a backend, or `--backend asyncio` on the command line",
            )
        return type_, flags


def _place_for(wrapper: type[Connector], wrapped: Connector, service: str | None) -> Connector:
    connector = cast("object", wrapped.for_wrapper(wrapper, service))
    if not isinstance(connector, Connector):
        problem = expected("a connector", connector)
        raise WorkflowExecutionException(f"`at` of {type(wrapped).__name__}, for service '{service}': {problem}")
    return connector


def _is_on_asyncio() -> bool:
    from asyncio import get_running_loop  # noqa: PLC0415 - who uses trio need not have imported it

    try:
        get_running_loop()
    except RuntimeError:
        return False
    return True
