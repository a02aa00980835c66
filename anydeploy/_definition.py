"""A mapping from a file, structured into a :class:`DeploymentConfig`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

import attrs

from ._strict import Path, expect, is_list, is_mapping, problems_of, strict_converter
from .config import DeploymentConfig, WrapsConfig
from .duration import to_positive_seconds

try:
    from cattrs.gen import make_dict_structure_fn, override
except ImportError as missing:
    raise ImportError("reading files needs ruamel.yaml and cattrs: pip install 'anydeploy[file]'") from missing

#: The fields of a definition by the keys that they have in a file.
KEYS: Final[Mapping[str, str]] = {
    {"depends_on": "dependsOn", "deploy_timeout": "deployTimeout", "undeploy_timeout": "undeployTimeout"}.get(f, f): f
    for f in attrs.fields_dict(DeploymentConfig)
    if f != "name"
}
_KEY_OF = {attribute: key for key, attribute in KEYS.items()}
_converter = strict_converter()


def structure(name: str, value: Mapping[str, Any], problems: list[tuple[Path, str]]) -> DeploymentConfig | None:
    """The definition that a mapping stands for; None after what is wrong with it has been added to ``problems``."""
    # In a file a deployment is lazy if it does not say otherwise: StreamFlow's default.
    given = {"type": "", "config": None, "lazy": True} | dict(value) | {"name": name}
    try:
        return cast("DeploymentConfig", _structure(given, DeploymentConfig))
    except Exception as exc:  # noqa: BLE001 - cattrs lets through whatever the hooks and validators raise
        for path, problem in problems_of(exc):
            keys = (_KEY_OF.get(path[0], path[0]), *path[1:]) if path else ()
            problems.append((keys, f"'{keys[0]}': {problem}" if keys else problem))
        return None


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


def _structure_text(value: object, _: object) -> str:
    """None is the default of the field, but nothing to write: a key without a value is a slip."""
    return _converter.structure(value, str)


def _structure_wraps(value: object, _: object) -> WrapsConfig:
    if isinstance(value, str):
        return WrapsConfig(value)
    if not is_mapping(value):
        raise expect("the name of a deployment, or a mapping with 'deployment' and 'service'", value)
    return cast("WrapsConfig", _structure_wraps_mapping(value, WrapsConfig))


def _structure_names(value: object, _: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    if not is_list(value):
        raise expect("the name of a deployment, or a list of names", value)
    return tuple(_converter.structure(value, list[str]))


def _structure_seconds(value: object, _: object) -> float:
    return to_positive_seconds(value)


def _structure_retries(value: object, _: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise expect("a whole number, 0 or more", value)
    return value


def _structure_config(value: object, _: object) -> object:
    """StreamFlow takes a ``config`` without a value for an empty one."""
    if value is not None and not is_mapping(value):
        raise expect("a mapping of settings", value)
    return value or {}


_structure_wraps_mapping: Any = make_dict_structure_fn(
    WrapsConfig, _converter, service=override(struct_hook=_structure_text)
)
_structure: Any = make_dict_structure_fn(
    DeploymentConfig,
    _converter,
    config=override(struct_hook=_structure_config),
    wraps=override(struct_hook=_structure_wraps),
    workdir=override(struct_hook=_structure_text),
    scheduling_policy=override(struct_hook=_structure_text),
    depends_on=override(rename="dependsOn", struct_hook=_structure_names),
    deploy_timeout=override(rename="deployTimeout", struct_hook=_structure_seconds),
    undeploy_timeout=override(rename="undeployTimeout", struct_hook=_structure_seconds),
    retries=override(struct_hook=_structure_retries),
)
