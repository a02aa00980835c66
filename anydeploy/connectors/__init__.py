"""The registry of connector types.

A type string stands for a class: one of the embedded three, or one that an installed package offers in the entry-point
group ``anydeploy.connectors``. A class is imported when a definition of its type is first met.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import cast

from ..connector import Connector
from ..exceptions import WorkflowDefinitionException, did_you_mean

ENTRY_POINT_GROUP = "anydeploy.connectors"

_EMBEDDED = {
    "local": "anydeploy.connectors.local:LocalConnector",
    "process": "anydeploy.connectors.process:ProcessConnector",
    "command": "anydeploy.connectors.command:CommandConnector",
}


class UnknownConnectorTypeError(WorkflowDefinitionException):
    """No connector class has this type.

    :ivar type: the type string
    """

    def __init__(self, type_: str) -> None:
        self.type = type_
        known = sorted(_registry())
        super().__init__(f"unknown type '{type_}'{did_you_mean(type_, known)} (known types: {', '.join(known)})")


@cache
def _registry() -> Mapping[str, EntryPoint]:
    embedded = {name: EntryPoint(name, target, ENTRY_POINT_GROUP) for name, target in _EMBEDDED.items()}
    return {entry.name: entry for entry in entry_points(group=ENTRY_POINT_GROUP)} | embedded


@cache
def connector_type(type_: str) -> type[Connector]:
    """The class that a type string stands for.

    :raises UnknownConnectorTypeError: if there is none
    :raises WorkflowDefinitionException: if an installed package offers one that cannot be imported or is no connector
    """
    try:
        entry = _registry()[type_]
    except KeyError:
        raise UnknownConnectorTypeError(type_) from None
    try:
        found = cast("object", entry.load())
    except Exception as exc:
        raise WorkflowDefinitionException(f"type '{type_}' ({entry.value}) cannot be imported: {exc}") from exc
    if not (isinstance(found, type) and issubclass(found, Connector)):
        raise WorkflowDefinitionException(f"type '{type_}' ({entry.value}) is not a subclass of anydeploy.Connector")
    return found
