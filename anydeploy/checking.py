"""The settings of a connector: the attrs fields of its class, and the check of a definition against them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast

import attrs

from .connector import Connector, ConnectorWrapper
from .exceptions import did_you_mean

_GIVEN_BY_THE_MANAGER = frozenset({"deployment_name", "config_dir", "connector", "service"})


def settings_of(connector_type: type[Connector]) -> Mapping[str, attrs.Attribute[Any]]:
    """The settings that a connector class takes, by the name that they have in a definition."""
    return {
        field.alias: field
        for field in attrs.fields(connector_type)
        if field.init and field.alias is not None and field.alias not in _GIVEN_BY_THE_MANAGER
    }


def check_settings(connector_type: type[Connector], settings: Mapping[str, Any]) -> Iterator[tuple[Sequence[Any], str]]:
    """What is wrong with the settings of a definition, as pairs: the keys that lead to a value, and its problem.

    Whatever :meth:`Connector.check_config` says; or else unknown and missing names, and what the converters and
    validators of the fields refuse. No connector is constructed. A class that has an ``__init__`` of its own in place
    of attrs fields is checked by its signature.
    """
    problems = connector_type.check_config(settings)
    if problems is None:
        problems = (((name,), problem) for name, problem in _check_fields(connector_type, settings))
    yield from problems


def _check_fields(connector_type: type[Connector], settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if not _is_made_by_attrs(connector_type):
        yield from _check_signature(connector_type, settings)
        return
    fields = settings_of(connector_type)
    yield from _check_names(settings, known=list(fields), required=[n for n, f in fields.items() if _is_required(f)])
    # Validators are written for an instance that has its fields set; this one is never initialised further.
    blank = SimpleNamespace()
    for name, value in settings.items():
        if name in fields:
            try:
                _check_value(blank, fields[name], value)
            except Exception as exc:  # noqa: BLE001 - whatever a converter of a third party raises is its verdict
                yield name, str(exc.args[0]) if exc.args else repr(exc)


def _is_made_by_attrs(connector_type: type[Connector]) -> bool:
    """Whether the ``__init__`` that constructs it is that of its attrs fields, or of those of a class above it."""
    return "__attrs_attrs__" in next(vars(base) for base in connector_type.__mro__ if "__init__" in vars(base))


def _is_required(field: attrs.Attribute[Any]) -> bool:
    return field.default is attrs.NOTHING


def _check_value(blank: SimpleNamespace, field: Any, value: object) -> None:
    converter = field.converter
    if isinstance(converter, attrs.Converter):
        # attrs sets the call that takes all three arguments on the instance, where calling does not look.
        value = cast("Any", converter).__call__(value, blank, field)
    elif converter is not None:
        value = converter(value)
    setattr(blank, field.name, value)
    if field.validator is not None:
        field.validator(blank, field, value)


def _check_signature(connector_type: type[Connector], settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    parameters = inspect.signature(connector_type).parameters.values()
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters)
    known = [p.name for p in named if p.name not in _GIVEN_BY_THE_MANAGER]
    required = [p.name for p in named if p.default is p.empty and p.name not in _GIVEN_BY_THE_MANAGER]
    yield from _check_names(settings, known=[*known, *settings] if open_ended else known, required=required)


def _check_names(settings: Mapping[str, Any], *, known: list[str], required: list[str]) -> Iterator[tuple[str, str]]:
    for name in settings:
        if name not in known:
            expected = f"expected one of {', '.join(sorted(known))}" if known else "this type takes no settings"
            yield name, f"unknown setting{did_you_mean(name, known)} ({expected})"
    for name in required:
        if name not in settings:
            yield name, "this setting is required"


def show_keys(keys: Sequence[Any]) -> str:
    """Where in the settings a value stands: ``services.web.ports[0]``."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys).removeprefix(".")


def can_wrap(connector_type: type[Connector]) -> bool:
    """Whether a connector class stands on another connector."""
    return issubclass(connector_type, ConnectorWrapper)
