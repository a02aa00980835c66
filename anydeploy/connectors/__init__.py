"""The registry of connector types.

A type string stands for one of the built-in classes, for a class that an installed package provides in the
entry-point group ``anydeploy.connectors``, or for a class of a *family*: the connectors of another system, which a
package provides as a whole in the group ``anydeploy.connector_families``. ``family:type`` selects the class of one
family if several have the same type. Classes and families are imported when a definition first needs them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Protocol, cast

from ..connector import Connector
from ..exceptions import WorkflowDefinitionException, did_you_mean

ENTRY_POINT_GROUP = "anydeploy.connectors"
FAMILY_ENTRY_POINT_GROUP = "anydeploy.connector_families"

_BUILTIN = {
    "local": "anydeploy.connectors.local:LocalConnector",
    "process": "anydeploy.connectors.process:ProcessConnector",
    "command": "anydeploy.connectors.command:CommandConnector",
    "slurm": "anydeploy.connectors.slurm:SlurmConnector",
    "ssh": "anydeploy.connectors.ssh:SshConnector",
    "docker": "anydeploy.connectors.docker:DockerConnector",
    "podman": "anydeploy.connectors.docker:PodmanConnector",
    "docker-compose": "anydeploy.connectors.compose:ComposeConnector",
}


class Family(Protocol):
    """The connector types of another system: an object, or a module with these functions, that an entry point names."""

    def types(self) -> Iterable[str]:
        """Return all types of the family.

        :raises WorkflowDefinitionException: if they cannot be listed, for example because the system is not installed
        """
        ...

    def connector_type(self, type_: str) -> type[Connector]:
        """Return the class of one of :meth:`types`.

        :raises WorkflowDefinitionException: if it cannot be used
        """
        ...


class UnknownConnectorTypeError(WorkflowDefinitionException):
    """No connector class has this type.

    :ivar type: the type string
    """

    def __init__(self, type_: str, *, of_families: Mapping[str, Iterable[str]], problems: Iterable[str] = ()) -> None:
        self.type = type_
        listed = {"known types": sorted(_registry())} | {f"of {n}": sorted(types) for n, types in of_families.items()}
        full = [f"{n}:{each}" for n, types in of_families.items() for each in types] if ":" in type_ else []
        near = did_you_mean(type_, [*full, *(name for names in listed.values() for name in names)])
        known = "; ".join(f"{group}: {', '.join(names)}" for group, names in listed.items())
        super().__init__("; ".join([f"unknown type '{type_}'{near} ({known})", *problems]))


@cache
def _registry() -> Mapping[str, EntryPoint]:
    builtin = {name: EntryPoint(name, target, ENTRY_POINT_GROUP) for name, target in _BUILTIN.items()}
    return {entry.name: entry for entry in entry_points(group=ENTRY_POINT_GROUP)} | builtin


@cache
def _families() -> Mapping[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=FAMILY_ENTRY_POINT_GROUP)}


@cache
def connector_type(type_: str) -> type[Connector]:
    """Return the class that a type string stands for.

        connector_type("process")  # <class 'anydeploy.connectors.process.ProcessConnector'>

    :raises UnknownConnectorTypeError: if there is none
    :raises WorkflowDefinitionException: if the class of an installed package cannot be imported, or is no connector
    """
    family, _, member = type_.partition(":")
    if type_ in _registry():
        entry = _registry()[type_]
        found, origin = _load(entry, f"type '{type_}'"), entry.value
    elif member and family in _families():
        found, origin = _member(type_, member, [family])
    else:
        found, origin = _member(type_, type_, _families())
    if not (isinstance(found, type) and issubclass(found, Connector)):
        raise WorkflowDefinitionException(f"type '{type_}' ({origin}) is not a subclass of anydeploy.Connector")
    return found


def _load(entry: EntryPoint, subject: str) -> object:
    try:
        return cast("object", entry.load())
    except Exception as exc:
        raise WorkflowDefinitionException(f"{subject} ({entry.value}) cannot be imported: {exc}") from exc


def _member(type_: str, member: str, families: Iterable[str]) -> tuple[object, str]:
    """Return the class of a type from the first family that has it, and the name of the family."""
    types: dict[str, list[str]] = {}
    problems: list[str] = []
    for name in families:
        try:
            family = cast("Family", _load(_families()[name], f"the connectors of {name}"))
            types[name] = list(family.types())
        except WorkflowDefinitionException as exc:
            problems.append(str(exc))
        else:
            if member in types[name]:
                return family.connector_type(member), name
    raise UnknownConnectorTypeError(type_, of_families=types, problems=problems)
