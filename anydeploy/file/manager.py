"""The settings of anydeploy's deployment manager for StreamFlow, which the section ``deploymentManager`` may have.

StreamFlow checks them with the JSON schema of the plugin, which says the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final

from ..duration import to_positive_seconds
from ..exceptions import did_you_mean
from ..typecheck import Problem, expected, is_mapping, to_count

#: The type of the manager.
TYPE: Final = "anydeploy"
#: The converter of each setting. It raises ValueError for a wrong value.
SETTINGS: Final[Mapping[str, Callable[[object], Any]]] = {
    "maxConcurrent": partial(to_count, least=1),
    "deployTimeout": to_positive_seconds,
    "undeployTimeout": to_positive_seconds,
    "retries": partial(to_count, least=0),
}


def check_manager(value: Mapping[Any, Any]) -> Iterator[Problem]:
    """Yield the problems of a ``deploymentManager`` of our type."""
    if "config" not in value:
        yield (), "the key 'config' is missing; expected a mapping of its settings"
        return
    config = value["config"]
    if not is_mapping(config):
        yield ("config",), expected("a mapping of settings", config)
        return
    for name, given in config.items():
        problem = _check_setting(name, given)
        if problem is not None:
            yield ("config", name), f"setting '{name}': {problem}"


def _check_setting(name: object, value: object) -> str | None:
    if name not in SETTINGS:
        return f"unknown setting{did_you_mean(str(name), SETTINGS)} (expected one of {', '.join(sorted(SETTINGS))})"
    try:
        SETTINGS[str(name)](value)
    except ValueError as exc:
        return str(exc)
    return None
