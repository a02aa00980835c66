"""A document structured into definitions: everything that is wrong, each problem with its place.

The checks are those of :mod:`anydeploy.config` and :mod:`anydeploy.checking`, so that a file is told what Python is.
"""

from __future__ import annotations

import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import attrs
from attrs import define, field, frozen

from .. import graph
from ..checking import Flags, check_settings, find_connector_type, flags_of
from ..config import DeploymentConfig, check_field
from ..connector import Connector
from ..exceptions import DependencyCycleError, WorkflowDefinitionException, did_you_mean
from ..typecheck import Path, is_list, is_mapping, shorten, show, show_keys
from ..typecheck import Problem as Wrong
from ..wrapping import Layer, can_wrap, check_wrapped, check_wraps
from . import manager
from .values import BROKEN, Document
from .yaml import MappingNode, Node, Position, compose, position_of, read_text

#: The fields of a definition by the keys that they have in a file.
KEYS: Final[Mapping[str, str]] = {
    {"depends_on": "dependsOn", "deploy_timeout": "deployTimeout", "undeploy_timeout": "undeployTimeout"}.get(f, f): f
    for f in attrs.fields_dict(DeploymentConfig)
    if f != "name"
}
_VERSION: Final = "v1.0"
_NAME: Final = re.compile(r"[a-z][a-zA-Z0-9._-]*")
_SECTIONS: Final = (
    *("version", "workflows", "deployments", "models", "bindingFilters", "scheduling", "database"),
    *("checkpointManager", "dataManager", "deploymentManager", "failureManager"),
)
#: Sections and keys that begin so are the user's, for anchors or for other programs.
_USERS: Final = "x-"
_WRAPS_KEYS: Final = ("deployment", "service")
#: Each search for cycles, and each for the nearest name, is a pass over the file: bounded, to stay linear.
_MOST_CYCLES: Final = 10
_MOST_SUGGESTIONS: Final = 20

_Entries = dict[str, tuple[Node, Node]]


@frozen
class Problem:
    """Something wrong in a file, or something to be warned of.

    :ivar path: the file, as it was given
    :ivar position: where in it; None when it is about the file as a whole
    :ivar deployment: the name of the deployment it is in, if it is in one
    :ivar message: what is wrong and what was expected
    """

    path: str
    position: Position | None
    deployment: str | None
    message: str

    def __str__(self) -> str:
        where = f"{self.path}:{self.position.line}:{self.position.column}" if self.position else self.path
        whose = f"deployment '{shorten(self.deployment)}': " if self.deployment is not None else ""
        return _one_line(f"{where}: {whose}{self.message}")


def _one_line(text: str) -> str:
    """The text without line breaks, and without what a terminal would obey or could not encode."""
    joined = " ".join(text.split())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in joined)


@define(eq=False)
class Loader:
    """Reads one file once. Nothing that is wrong stops the search for more.

    :ivar path: the file
    :ivar connector_types: connector classes by type string, looked at before the installed ones
    :ivar problems: what is wrong
    :ivar warnings: what is merely ignored
    """

    path: str
    connector_types: Mapping[str, type[Connector]]
    problems: list[Problem] = field(factory=list[Problem])
    warnings: list[Problem] = field(factory=list[Problem])
    _current: str | None = None
    # Where values are that could not be read: they are wrong for whatever they are used as, which is not said again.
    _broken: set[Position | None] = field(factory=set[Position | None])
    _classes: dict[str, tuple[type[Connector], Flags] | str] = field(
        factory=dict[str, tuple[type[Connector], Flags] | str]
    )
    _layers: dict[str, Layer] = field(factory=dict[str, Layer])
    #: The names of layers whose settings are wrong: nothing can be said of what stands on them.
    _unsound: set[str] = field(factory=set[str])
    _edges: dict[str, dict[str, Position]] = field(factory=dict[str, dict[str, Position]])
    _suggested: int = 0

    def load(self) -> dict[str, DeploymentConfig]:
        """The definitions; they are only of use if no problems were found."""
        text = read_text(self.path, self._report_broken)
        composed = compose(text, self._report_broken) if text is not None else None
        if composed is None:
            return {}
        root, document = composed[0], Document(composed[1], self._report_broken)
        if not isinstance(root, MappingNode):
            found = show(document.build(root))
            self._report(position_of(root), f"expected a mapping with 'version' and 'deployments', found {found}")
            return {}
        sections = self._entries(document, root)
        self._warn_of_unknown(sections, _SECTIONS, "section")
        self._check_version(document, root, sections)
        self._check_manager(document, sections)
        deployments = self._deployments(document, sections)
        fields = {name: self._definition(document, name, nodes) for name, nodes in deployments.items()}
        self._check_edges(deployments)
        self._check_wrappers(document, deployments)
        # Constructing a definition raises, and its name is not checked before: nothing is constructed of a wrong file.
        if self.problems:
            return {}
        return _inherit_workdirs({name: DeploymentConfig(name, **given) for name, given in fields.items()})

    def _report(self, position: Position | None, message: str) -> None:
        if position not in self._broken:
            self.problems.append(Problem(self.path, position, self._current, message))

    def _report_broken(self, position: Position | None, message: str) -> None:
        self.problems.append(Problem(self.path, position, self._current, message))
        self._broken.add(position)

    def _warn(self, node: Node, message: str) -> None:
        self.warnings.append(Problem(self.path, position_of(node), self._current, message))

    def _suggest(self, word: str, known: Iterable[str]) -> str:
        """Return a suggestion for one of the first unknown words."""
        self._suggested += 1
        return did_you_mean(word, known) if self._suggested <= _MOST_SUGGESTIONS else ""

    def _entries(self, document: Document, node: Node) -> _Entries:
        """The entries of a mapping whose keys have to be strings."""
        entries: _Entries = {}
        for key, nodes in document.entries(node).items():
            if isinstance(key, str):
                entries[key] = nodes
            else:
                self._report(position_of(nodes[0]), f"the key is {show(key)}; expected a string")
        return entries

    def _warn_of_unknown(self, entries: _Entries, known: Iterable[str], what: str) -> None:
        for key, (node, _) in entries.items():
            if key not in known and not key.startswith(_USERS):
                near = self._suggest(key, known)
                self._warn(node, f"unknown {what} '{shorten(key)}' is ignored{near} (expected: {', '.join(known)})")

    def _check_version(self, document: Document, root: Node, sections: _Entries) -> None:
        if "version" not in sections:
            self._report(position_of(root), f"the key 'version' is missing; expected 'version: {_VERSION}'")
            return
        node = sections["version"][1]
        version = document.build(node)
        if version != _VERSION:
            self._report(position_of(node), f"unsupported version: expected {_VERSION}, found {show(version)}")

    def _check_manager(self, document: Document, sections: _Entries) -> None:
        """The ``deploymentManager``, if it is ours: others may be anything."""
        node = sections["deploymentManager"][1] if "deploymentManager" in sections else None
        if not isinstance(node, MappingNode):
            return
        entries = document.entries(node)
        if "type" not in entries or document.build(entries["type"][1]) != manager.TYPE:
            return
        value = document.build(node)
        for path, problem in manager.check_manager(value) if is_mapping(value) else ():
            self._report(document.position(node, path), f"'deploymentManager': {problem}")

    def _deployments(self, document: Document, sections: _Entries) -> _Entries:
        section = self._choose_section(document, sections)
        if section is None:
            return {}
        node = sections[section][1]
        if not isinstance(node, MappingNode):
            found = show(document.build(node))
            self._report(position_of(node), f"'{section}': expected a mapping of names to deployments, found {found}")
            return {}
        deployments = self._entries(document, node)
        for name, (key_node, _) in deployments.items():
            if not _NAME.fullmatch(name):
                expected = "expected a lower-case letter, then letters, digits, '.', '_' or '-'"
                self._report(position_of(key_node), f"the name '{shorten(name)}' is not allowed; {expected}")
        return deployments

    def _choose_section(self, document: Document, sections: _Entries) -> str | None:
        """``deployments``, or the deprecated ``models`` where StreamFlow takes those: when the former has nothing."""
        node = sections["deployments"][1] if "deployments" in sections else None
        is_empty = node is None or (isinstance(node, MappingNode) and document.is_empty(node))
        if "models" in sections and is_empty:
            self._warn(sections["models"][0], "'models' is deprecated; expected 'deployments'")
            return "models"
        if "models" in sections:
            self._warn(sections["models"][0], "'models' is ignored, because there are 'deployments'")
        return "deployments" if node is not None else None

    def _definition(self, document: Document, name: str, nodes: tuple[Node, Node]) -> dict[str, Any]:
        """The fields of a definition, which are only of use if no problems were found."""
        self._current = name
        try:
            value = document.build(nodes[1])
            if is_mapping(value):
                return self._check_definition(document, name, nodes, value)
            if value is not BROKEN:
                expected = "expected a mapping with 'type' and 'config'"
                self._report(position_of(nodes[1]), f"{expected}, found {show(value)}")
            return {}
        finally:
            self._current = None

    def _check_definition(
        self, document: Document, name: str, nodes: tuple[Node, Node], value: Mapping[Any, Any]
    ) -> dict[str, Any]:
        key, node = nodes
        entries = self._entries(document, node)
        self._warn_of_unknown(entries, KEYS, "key")
        if is_mapping(value.get("wraps")):
            self._warn_of_unknown(self._entries(document, entries["wraps"][1]), _WRAPS_KEYS, "key of 'wraps'")
        for required, expected in (("type", "the type of a connector"), ("config", "a mapping of its settings")):
            if required not in entries:
                self._report(position_of(key), f"the key '{required}' is missing; expected {expected}")
        problems: list[Wrong] = []
        fields = structure(value, problems)
        self._check_connector(name, value, problems)
        for path, problem in problems:
            self._report(document.position(node, path), problem)
        self._edges[name] = {other: document.position(node, path) for other, path in mentions(value)}
        return fields

    def _check_connector(self, name: str, value: Mapping[Any, Any], problems: list[Wrong]) -> None:
        """The type of a deployment, and its settings as far as they can be checked without constructing anything."""
        type_, config = value.get("type"), value.get("config")
        if not isinstance(type_, str) or not type_:
            return
        found = self._class(type_)
        if isinstance(found, str):
            problems.append((("type",), found))
            return
        class_, flags = found
        if "wraps" in value:
            problems += check_wraps(type_, class_)
        if config is None or is_mapping(config):
            settings = {key: item for key, item in (config or {}).items() if isinstance(key, str)}
            directory = pathlib.Path(self.path).absolute().parent
            wrong = check_settings(class_, settings, directory, external=value.get("external") is True)
            problems += [
                (("config", *keys), f"setting '{shorten(show_keys(keys))}': {what}" if keys else what)
                for keys, what in wrong
            ]
            below = _wraps(value) if can_wrap(class_) else ()
            self._layers[name] = Layer(name, type_, class_, flags.stateful, settings, *below)
            if wrong:
                self._unsound.add(name)

    def _class(self, type_: str) -> tuple[type[Connector], Flags] | str:
        """The class of a type with its flags, or the problem with it."""
        if type_ not in self._classes:
            try:
                class_ = find_connector_type(type_, self.connector_types)
                self._classes[type_] = class_, flags_of(type_, class_)
            except WorkflowDefinitionException as exc:
                self._classes[type_] = str(exc)
        return self._classes[type_]

    def _check_edges(self, deployments: _Entries) -> None:
        """Every dependency exists, and there are no cycles."""
        graph_: dict[str, list[str]] = {name: [] for name in deployments}
        for name, edges in self._edges.items():
            self._current = name
            for other, position in edges.items():
                if other == name:
                    self._report(position, "depends on itself; expected the name of another deployment")
                elif other not in deployments:
                    near = self._suggest(other, deployments)
                    problem = f"depends on '{shorten(other)}', which is not defined{near}"
                    self._report(position, f"{problem}; expected the name of a deployment in this file")
                else:
                    graph_[name].append(other)
        self._current = None
        self._check_cycles(graph_)

    def _check_wrappers(self, document: Document, deployments: _Entries) -> None:
        """Every service that is wrapped exists, and what has to come back to its place can."""

        def find(name: str) -> Layer | None:
            return self._layers.get(name) if name not in self._unsound else None

        for name, layer in self._layers.items():
            self._current = name
            for path, problem in check_wrapped(layer, find):
                self._report(document.position(deployments[name][1], path), problem)
        self._current = None

    def _check_cycles(self, graph_: dict[str, list[str]]) -> None:
        for _ in range(_MOST_CYCLES):
            try:
                graph.closure(graph_, graph_.__getitem__)
            except DependencyCycleError as exc:
                first, second = exc.cycle[:2]
                self._current = first
                self._report(self._edges[first][second], f"{exc}; expected no cycles")
                # The members of a reported cycle lead nowhere now; what is left may have cycles of its own.
                graph_ |= {name: [] for name in exc.cycle}
            else:
                break
        self._current = None


def structure(value: Mapping[str, Any], problems: list[Wrong]) -> dict[str, Any]:
    """Return the fields of the definition that a mapping stands for, as far as it has them, after adding its problems.

    StreamFlow takes a ``config`` without a value for an empty one. Unknown keys are ignored, and any key may be left
    out.
    """
    given: dict[str, Any] = {KEYS[key]: item for key, item in value.items() if key in KEYS}
    if given.get("config") is None:
        given["config"] = {}
    if is_mapping(wraps := given.get("wraps")):
        given["wraps"] = {key: wraps[key] for key in _WRAPS_KEYS if key in wraps}
    fields: dict[str, Any] = {}
    for key, attribute in KEYS.items():
        if attribute in given:
            wrong: list[Wrong] = []
            fields[attribute] = check_field(attribute, given[attribute], wrong)
            problems += [((key, *path), f"'{shorten(show_keys((key, *path)))}': {problem}") for path, problem in wrong]
    return fields


def mentions(value: Mapping[Any, Any]) -> Iterator[tuple[str, Path]]:
    """Yield the names of the deployments that a mapping depends on, each with its path, as far as they are names."""
    wraps, names = value.get("wraps"), value.get("dependsOn")
    found: list[tuple[Any, Path]] = [(wraps, ("wraps",)), (names, ("dependsOn",))]
    if is_mapping(wraps):
        found.append((wraps.get("deployment"), ("wraps", "deployment")))
    if is_list(names):
        found += [(name, ("dependsOn", index)) for index, name in enumerate(names)]
    yield from ((name, path) for name, path in found if isinstance(name, str) and name)


def _wraps(value: Mapping[Any, Any]) -> tuple[str, str | None] | tuple[()]:
    """Return the deployment and the service that a mapping wraps, as far as they are names."""
    wraps = value.get("wraps")
    name, service = (wraps.get("deployment"), wraps.get("service")) if is_mapping(wraps) else (wraps, None)
    return (name, service if isinstance(service, str) else None) if isinstance(name, str) else ()


def _inherit_workdirs(definitions: dict[str, DeploymentConfig]) -> dict[str, DeploymentConfig]:
    """Give each definition without a ``workdir`` that of the one it wraps, which may have it from the next one."""
    result = dict(definitions)
    for name in graph.closure(definitions, lambda name: definitions[name].dependencies):
        definition = result[name]
        if definition.workdir is None and definition.wraps is not None:
            inherited = result[definition.wraps.deployment].workdir
            result[name] = attrs.evolve(definition, workdir=inherited) if inherited is not None else definition
    return result
