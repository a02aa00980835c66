"""A mapping from a file, structured into a :class:`DeploymentConfig`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs

from .config import DeploymentConfig, check_field
from .typecheck import Path, Problem, is_list, is_mapping, show_keys

#: The fields of a definition by the keys that they have in a file.
KEYS: Final[Mapping[str, str]] = {
    {"depends_on": "dependsOn", "deploy_timeout": "deployTimeout", "undeploy_timeout": "undeployTimeout"}.get(f, f): f
    for f in attrs.fields_dict(DeploymentConfig)
    if f != "name"
}


def structure(name: str, value: Mapping[str, Any], problems: list[Problem]) -> DeploymentConfig | None:
    """Return the definition that a mapping stands for, or None after its problems have been added.

    StreamFlow takes a ``config`` without a value for an empty one. A ``type`` that is missing is reported elsewhere.
    """
    given: dict[str, Any] = {KEYS[key]: item for key, item in value.items() if key in KEYS}
    if given.get("config") is None:
        given["config"] = {}
    found: list[Problem] = []
    for key, field in KEYS.items():
        if field in given:
            wrong: list[Problem] = []
            check_field(field, given[field], wrong)
            found += [((key, *path), f"'{show_keys((key, *path))}': {problem}") for path, problem in wrong]
    problems += found
    return None if found else DeploymentConfig(name, given.pop("type", ""), **given)


def mentions(value: Mapping[Any, Any]) -> Iterator[tuple[str, Path]]:
    """The names of the deployments that a mapping depends on, each with its path; what has a wrong type is left out."""
    wraps, names = value.get("wraps"), value.get("dependsOn")
    if isinstance(wraps, str):
        yield wraps, ("wraps",)
    elif is_mapping(wraps) and isinstance(inner := wraps.get("deployment"), str):
        yield inner, ("wraps", "deployment")
    if isinstance(names, str):
        yield names, ("dependsOn",)
    elif is_list(names):
        for index, name in enumerate(names):
            if isinstance(name, str):
                yield name, ("dependsOn", index)
