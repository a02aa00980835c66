"""The settings of StreamFlow's connectors, checked with the JSON schemas that come with their classes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, cast

from jsonschema import exceptions
from jsonschema.exceptions import ValidationError
from jsonschema.validators import validator_for
from streamflow.config.schema import SfSchema
from streamflow.core.deployment import Connector

from ...exceptions import did_you_mean

_LONGEST_SHOWN = 60
_NAMES = {"object": "a mapping", "array": "a list", "boolean": "true or false", "null": "null", "integer": "an integer"}


def check(connector_class: type[Connector], config: Mapping[str, Any]) -> Iterator[tuple[Sequence[Any], str]]:
    """Check the settings of a definition, and return what is wrong: the keys that lead to a value, and its problem."""
    try:
        text = connector_class.get_schema()
        schema: dict[str, Any] = json.loads(text) if text else {}
        validator = cast("Any", validator_for(schema))(schema, registry=_registry())
        errors = sorted(validator.iter_errors(dict(config)), key=lambda error: str(error.json_path))
    except Exception as exc:  # noqa: BLE001 - a plugin's schema may be anything
        yield (), f"the schema of StreamFlow's {connector_class.__name__} cannot be used: {exc!r}"
        return
    names = _properties(schema, str(schema.get("$id", "")))
    yield from dict.fromkeys(problem for error in errors for problem in _problems(error, names))


@cache
def _registry() -> Any:
    """Return all the schemas that StreamFlow knows, which may refer to each other."""
    return SfSchema().registry


def _properties(schema: Mapping[str, Any], base: str) -> set[str]:
    """Return the settings that a schema describes, in what it refers to as well."""
    names, seen = set[str](), set[str]()
    pending = [(schema, _registry().resolver(base))]
    while pending:
        part, resolver = pending.pop()
        names |= set(part.get("properties", {}))
        pending += [(inner, resolver) for inner in part.get("allOf", [])]
        if (reference := part.get("$ref")) is not None and reference not in seen:
            seen.add(reference)
            resolved = resolver.lookup(reference)
            pending.append((resolved.contents, resolved.resolver))
    return names


def _problems(error: ValidationError, names: set[str]) -> Iterator[tuple[tuple[Any, ...], str]]:
    error = cast("Any", exceptions).best_match([error])
    keys: tuple[Any, ...] = tuple(error.absolute_path)
    match error.validator:
        case "required":
            for name in cast("list[str]", error.validator_value):
                if name not in cast("Mapping[str, Any]", error.instance):
                    yield (*keys, name), "this setting is required"
        case "additionalProperties" | "unevaluatedProperties":
            # Where a value is wrong, its siblings count as unevaluated too.
            known = names if not keys else set(cast("Any", error.schema).get("properties", {}))
            for name in cast("Mapping[str, Any]", error.instance):
                if name not in known:
                    yield (*keys, name), f"unknown setting{_suggest(str(name), known)}"
        case "type":
            accepted = error.validator_value
            types = cast("list[str]", accepted if isinstance(accepted, list) else [accepted])
            expected = " or ".join(_NAMES.get(name, f"a {name}") for name in types)
            yield keys, f"expected {expected}, found {_shorten(repr(error.instance))}"
        case "enum":
            yield keys, f"expected one of {error.validator_value}, found {_shorten(repr(error.instance))}"
        case _:
            yield keys, _shorten(error.message, 3 * _LONGEST_SHOWN)


def _suggest(name: str, known: set[str]) -> str:
    """Suggest what was meant. Some connectors have eighty settings: they are listed only where none of them is near."""
    near = did_you_mean(name, known) if len(name) <= _LONGEST_SHOWN else ""
    return near or (f" (expected one of {', '.join(sorted(known))})" if known else " (there are none)")


def _shorten(text: str, longest: int = _LONGEST_SHOWN) -> str:
    return text if len(text) <= longest else f"{text[:longest]}..."
