"""The checks of rule D4 that go beyond the values of a definition: connector types, settings, parameters of a manager.

A check returns problems, pairs of a path and a text, as :mod:`anydeploy.typecheck` has them. The manager raises the
first, and the file loader places all of them. Connector classes are foreign code: whatever that raises in a check,
apart from KeyboardInterrupt, is a problem of the definition (rule D7).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from os import PathLike
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, TypeGuard, TypeVar, cast, get_type_hints
from weakref import WeakKeyDictionary

import attrs
from attrs import define, frozen

from .config import DeploymentConfig
from .connector import Connector
from .connectors import UnknownConnectorTypeError, connector_type
from .duration import to_positive_seconds
from .exceptions import InvalidParameterError, WorkflowDefinitionException, describe, did_you_mean
from .lifecycle import DeploymentEvent
from .typecheck import Problem, check_type, expected, is_iterable, is_mapping, is_number, show, show_keys, unreadable

_Checked = TypeVar("_Checked")

_GIVEN_BY_THE_MANAGER = frozenset({"deployment_name", "config_dir", "connector", "service"})


# -- Connector types ---------------------------------------------------------------------------------------------------


def find_connector_type(type_: str, connector_types: Mapping[str, type[Connector]]) -> type[Connector]:
    """Return the class that a type string stands for.

    :param connector_types: classes by type string; they come before those of the registry
    :raises WorkflowDefinitionException: if there is none, or if it cannot be used
    """
    try:
        found: object = connector_types.get(type_) or _find_registered(type_, connector_types)
    except (KeyboardInterrupt, WorkflowDefinitionException):
        raise
    except BaseException as exc:
        raise WorkflowDefinitionException(f"type '{type_}' cannot be used: {describe(exc)}") from exc
    if not _is_connector_type(found):
        raise WorkflowDefinitionException(f"type '{type_}': {expected('a subclass of anydeploy.Connector', found)}")
    return found


def _find_registered(type_: str, added: Iterable[str]) -> type[Connector]:
    try:
        return connector_type(type_)
    except UnknownConnectorTypeError as exc:
        if added:
            raise WorkflowDefinitionException(f"{exc}; added by the caller: {', '.join(added)}") from None
        raise


def _is_connector_type(value: object) -> TypeGuard[type[Connector]]:
    return isinstance(value, type) and issubclass(value, Connector)


@frozen
class Flags:
    """The class variables by which a connector class tells the manager about itself, as :class:`Connector` has them."""

    interruptible: bool
    asyncio_only: bool
    stateful: bool
    keeps_place: bool
    finds_strays: bool


_FLAGS: Final = tuple(attrs.fields_dict(Flags))


def flags_of(type_: str, connector_type: type[Connector]) -> Flags:
    """Return the flags of a connector class, each read once: a metaclass may compute it.

    :raises WorkflowDefinitionException: if one cannot be read, is neither true nor false, or was made a setting. An
        annotation other than ``ClassVar`` makes it an attrs field, and takes it from the class
    """
    try:
        fields = attrs.fields(connector_type)
        values = {name: cast("object", getattr(connector_type, name)) for name in _FLAGS}
    except KeyboardInterrupt:
        raise
    except BaseException as exc:
        raise WorkflowDefinitionException(f"type '{type_}' cannot be used: {describe(exc)}") from exc
    for name, value in values.items():
        where = f"type '{type_}', class variable '{name}' of {connector_type.__name__}"
        if hasattr(fields, name):
            raise WorkflowDefinitionException(f"{where}: it is a setting; expected `{name}: ClassVar[bool] = ...`")
        if not isinstance(value, bool):
            raise WorkflowDefinitionException(f"{where}: {expected('true or false', value)}")
    return Flags(**cast("dict[str, bool]", values))


# -- Settings ----------------------------------------------------------------------------------------------------------


def settings_of(connector_type: type[Connector]) -> Mapping[str, attrs.Attribute[Any]]:
    """Return the settings that a connector class takes, by the name that they have in a definition."""
    return {
        attribute.alias: attribute
        for attribute in attrs.fields(connector_type)
        if attribute.init and attribute.alias is not None and attribute.alias not in _GIVEN_BY_THE_MANAGER
    }


def check_settings(
    connector_type: type[Connector],
    settings: Mapping[str, Any],
    config_dir: Path | None = None,
    *,
    external: bool = False,
) -> list[Problem]:
    """Return the problems with the settings of a definition; the paths begin with the name of a setting.

    They are those that :meth:`Connector.check_config` finds; or else unknown and missing names, values that the
    converters and validators of the fields refuse, and values that do not have the type of a field without these. No
    connector is constructed. A class with an ``__init__`` of its own in place of attrs fields is checked by its
    signature. Where none of these has a problem, and the environment exists already, they are those that
    :meth:`Connector.check_external` finds.

    :param settings: in plain dicts and lists, as the constructor is given them
    :param config_dir: the directory that relative paths are relative to, for validators; None: it is not known
    :param external: whether the definition is
    """
    try:
        problems = connector_type.check_config(settings)
        if problems is None:
            schema = _SCHEMAS.get(connector_type)
            if schema is None:
                schema = _SCHEMAS[connector_type] = _Schema.of(connector_type)
            problems = schema.check(connector_type, settings, config_dir)
        found = _as_problems(problems)
        return found or (_as_problems(connector_type.check_external(settings)) if external else [])
    except KeyboardInterrupt:
        raise
    except BaseException as exc:  # noqa: BLE001 - whatever foreign code raises is its verdict
        return [((), f"the settings cannot be checked: {describe(exc)}")]


def _as_problems(problems: Iterable[tuple[Sequence[Any], str]]) -> list[Problem]:
    return [(tuple(path), str(problem)) for path, problem in problems]


@define
class _Schema:
    """The settings that a class takes: found out once, because many definitions have the same type.

    :ivar attributes: the settings that are attrs fields
    :ivar open_ended: whether other names will do as well
    """

    names: Sequence[str]
    required: Sequence[str]
    attributes: Mapping[str, attrs.Attribute[Any]]
    open_ended: bool = False
    #: Evaluated when a setting has nothing else to be checked by.
    _annotations: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, connector_type: type[Connector]) -> _Schema:
        # The `__init__` that constructs it may be that of its attrs fields, or of those of a class above it.
        if "__attrs_attrs__" in next(vars(base) for base in connector_type.__mro__ if "__init__" in vars(base)):
            attributes = settings_of(connector_type)
            required = [name for name, attribute in attributes.items() if attribute.default is attrs.NOTHING]
            return cls(list(attributes), required, attributes)
        parameters = inspect.signature(connector_type).parameters.values()
        named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        settings = [p for p in named if p.name not in _GIVEN_BY_THE_MANAGER]
        open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters)
        required = [p.name for p in settings if p.default is p.empty]
        return cls([p.name for p in settings], required, {}, open_ended)

    def check(
        self, connector_type: type[Connector], settings: Mapping[str, Any], config_dir: Path | None
    ) -> Iterator[Problem]:
        # Validators are written for an instance that has its fields set; this one is never initialised further.
        blank = SimpleNamespace(config_dir=config_dir)
        for name, value in settings.items():
            is_known = name in self.names or (self.open_ended and name not in _GIVEN_BY_THE_MANAGER)
            if not is_known:
                yield (name,), f"unknown setting{did_you_mean(name, self.names)} ({self._expected()})"
            elif name in self.attributes:
                for path, problem in self._check_value(connector_type, blank, self.attributes[name], value):
                    yield (name, *path), problem
        for name in self.required:
            if name not in settings:
                yield (name,), "this setting is required"

    def _expected(self) -> str:
        if self.open_ended:
            return "it is given by the manager"
        return f"expected one of {', '.join(sorted(self.names))}" if self.names else "this type takes no settings"

    def _check_value(
        self, connector_type: type[Connector], blank: SimpleNamespace, attribute: Any, value: object
    ) -> Iterator[Problem]:
        if attribute.converter is None and attribute.validator is None:
            if self._annotations is None:
                self._annotations = _annotations(connector_type)
            yield from check_type(value, self._annotations.get(attribute.name, Any))
            return
        try:
            _convert_and_validate(blank, attribute, value)
        except KeyboardInterrupt:
            raise
        except BaseException as exc:  # noqa: BLE001 - as above
            # Validators of attrs give more arguments than the text.
            yield (), str(exc.args[0]) if isinstance(exc, (ValueError, TypeError)) and exc.args else describe(exc)


#: Weak, because connector classes may be made anew all the time, as scripted ones are.
_SCHEMAS: WeakKeyDictionary[type[Connector], _Schema] = WeakKeyDictionary()


def _annotations(connector_type: type[Connector]) -> Mapping[str, Any]:
    try:
        return get_type_hints(connector_type)
    except Exception:  # noqa: BLE001 - an annotation may be any code; one that cannot be evaluated checks nothing
        return {}


def _convert_and_validate(blank: SimpleNamespace, attribute: Any, value: object) -> None:
    converter = attribute.converter
    if isinstance(converter, attrs.Converter):
        # attrs sets the call that takes all three arguments on the instance, where calling does not look.
        value = cast("Any", converter).__call__(value, blank, attribute)
    elif converter is not None:
        value = converter(value)
    setattr(blank, attribute.name, value)
    if attribute.validator is not None:
        attribute.validator(blank, attribute, value)


# -- Names -------------------------------------------------------------------------------------------------------------


def check_name(value: object) -> None:
    """Check what was given as the name of a deployment.

    :raises WorkflowDefinitionException: if it is not a string
    """
    if not isinstance(value, str):
        raise WorkflowDefinitionException(expected("the name of a deployment", value))


def check_names(value: object) -> list[str]:
    """Return what was given as the names of deployments in a list.

    :raises WorkflowDefinitionException: if it holds anything but strings, or is one
    """
    if isinstance(value, str) or not is_iterable(value):
        raise WorkflowDefinitionException(expected("the names of deployments, in a list for example", value))
    try:
        names = list(value)
    except KeyboardInterrupt:
        raise
    except BaseException as exc:
        raise WorkflowDefinitionException(f"the names of deployments: {unreadable(exc)}") from exc
    for name in names:
        check_name(name)
    return names


# -- Parameters of a manager -------------------------------------------------------------------------------------------


@frozen
class Parameters:
    """The parameters of a deployment manager, checked and converted.

    :ivar deploy_timeout: seconds; None: no limit. Likewise ``undeploy_timeout`` and ``shutdown_timeout``
    """

    deployments: tuple[DeploymentConfig, ...]
    connector_types: Mapping[str, type[Connector]]
    config_dir: Path
    max_concurrent: int | None
    deploy_timeout: float | None
    undeploy_timeout: float | None
    shutdown_timeout: float | None
    on_event: Callable[[DeploymentEvent], None] | None


def check_parameters(
    deployments: Iterable[DeploymentConfig] | Mapping[str, DeploymentConfig],
    *,
    connector_types: Mapping[str, type[Connector]] | None,
    config_dir: str | PathLike[str] | None,
    max_concurrent: int | None,
    deploy_timeout: float | str | None,
    undeploy_timeout: float | str | None,
    shutdown_timeout: float | str | None,
    on_event: Callable[[DeploymentEvent], None] | None,
) -> Parameters:
    """Return the parameters of a deployment manager in the types that it works with.

    :raises InvalidParameterError: for the first that is wrong
    """
    return Parameters(
        _read("deployments", _check_deployments, deployments),
        _read("connector_types", _check_connector_types, connector_types),
        _read("config_dir", _check_config_dir, config_dir),
        _check_max_concurrent(max_concurrent),
        _check_timeout("deploy_timeout", deploy_timeout),
        _check_timeout("undeploy_timeout", undeploy_timeout),
        _check_timeout("shutdown_timeout", shutdown_timeout),
        _read("on_event", _check_listener, on_event),
    )


def _read(parameter: str, check: Callable[[object], _Checked], value: object) -> _Checked:
    """Return what a check makes of a value whose reading is foreign code."""
    try:
        return check(value)
    except (KeyboardInterrupt, InvalidParameterError):
        raise
    except BaseException as exc:
        raise InvalidParameterError(parameter, unreadable(exc)) from exc


def _check_deployments(value: object) -> tuple[DeploymentConfig, ...]:
    if isinstance(value, str) or not is_iterable(value):
        raise InvalidParameterError("deployments", expected("definitions, or a mapping of names to them", value))
    entries = tuple(value.items() if is_mapping(value) else enumerate(value))
    for key, config in entries:
        if not isinstance(config, DeploymentConfig):
            problem = expected("a definition (DeploymentConfig)", config)
            raise InvalidParameterError(show_keys(("deployments", key)), problem)
    return tuple(config for _, config in entries)


def _check_connector_types(value: object) -> Mapping[str, type[Connector]]:
    if value is None:
        return {}
    if not is_mapping(value):
        raise InvalidParameterError("connector_types", expected("a mapping of types to connector classes", value))
    # Another mapping may make its classes on demand; they are checked when they are needed.
    kind: object = type(value)
    for key, class_ in value.items() if kind is dict else ():
        if not isinstance(key, str):
            raise InvalidParameterError("connector_types", f"{show(key)} is no type; expected a string")
        if not _is_connector_type(class_):
            problem = expected("a subclass of anydeploy.Connector", class_)
            raise InvalidParameterError(show_keys(("connector_types", key)), problem)
    return value


def _check_config_dir(value: object) -> Path:
    if value is None:
        return Path.cwd()
    if not isinstance(value, str | PathLike):
        raise InvalidParameterError("config_dir", expected("the path of a directory", value))
    return Path(cast("str", value))


def _check_max_concurrent(value: object) -> int | None:
    if value is not None and not (is_number(value, int) and value >= 1):
        raise InvalidParameterError(
            "max_concurrent", expected("a whole number, 1 or more, or None for no limit", value)
        )
    return cast("int | None", value)


def _check_timeout(parameter: str, value: object) -> float | None:
    try:
        return None if value is None else to_positive_seconds(value)
    except ValueError as exc:
        raise InvalidParameterError(parameter, f"{exc} (None is no limit)") from None


def _check_listener(value: object) -> Callable[[DeploymentEvent], None] | None:
    if value is not None and (not callable(value) or _is_async(value)):
        found = "an async function" if callable(value) else show(value)
        raise InvalidParameterError("on_event", f"expected a function that is not async, or None, found {found}")
    return cast("Callable[[DeploymentEvent], None] | None", value)


def _is_async(function: object) -> bool:
    """Whether calling a function, or an object with ``__call__``, only makes something that has to be awaited."""
    while isinstance(function, partial):
        function = cast("Any", function).func
    called = function, cast("Any", type(function)).__call__
    return any(inspect.iscoroutinefunction(each) or inspect.isasyncgenfunction(each) for each in called)
