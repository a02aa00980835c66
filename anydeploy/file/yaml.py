"""From the bytes of a file to the nodes of a YAML document, which know where they stand.

The file may come from anywhere: whatever is in it, problems are reported with their positions and nothing is raised,
and the time and memory that it takes are linear in its size.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from os import PathLike
from typing import Any, Final, TypeAlias, cast

from attrs import frozen

try:
    from ruamel.yaml import YAML
    from ruamel.yaml.composer import MaxDepthExceededError
    from ruamel.yaml.docinfo import DocInfo
    from ruamel.yaml.error import MarkedYAMLError
    from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
    from ruamel.yaml.reader import ReaderError
except ImportError as missing:
    raise ImportError("reading files needs ruamel.yaml: pip install 'anydeploy[file]'") from missing

__all__ = ["MAX_BYTES", "MAX_DEPTH", "MAX_VALUES", "MappingNode", "Node", "Position", "Report"]
__all__ += ["ScalarNode", "SequenceNode", "compose", "items_of", "pairs_of", "position_of", "read_text", "tag_of"]

#: The limits: bytes of a file, levels of nesting, and values once every alias and merge key is written out in full.
MAX_BYTES: Final = 10 * 2**20
MAX_DEPTH: Final = 64
MAX_VALUES: Final = 1_000_000


@frozen
class Position:
    """A place in a file, counted from 1 as editors do."""

    line: int
    column: int


#: Takes a position, where there is one, and what is wrong there.
Report: TypeAlias = Callable[[Position | None, str], None]


def read_text(path: str | PathLike[str], report: Report) -> str | None:
    """Return the text of a regular file in UTF-8, or None after a report.

    Nothing else is opened: a FIFO would block, and a device may do anything.
    """
    try:
        data = _read_bytes(path)
    except (OSError, ValueError) as exc:
        report(None, f"cannot be read: {exc.strerror if isinstance(exc, OSError) and exc.strerror else exc}")
        return None
    if len(data) > MAX_BYTES:
        report(None, f"is larger than the limit; expected at most {MAX_BYTES // 2**20} MiB")
        return None
    try:
        return data.decode()
    except UnicodeDecodeError as exc:
        before = data[: exc.start].decode()
        report(_position_at(before, len(before)), f"the byte 0x{data[exc.start]:02x} is not UTF-8; expected UTF-8 text")
        return None


def _read_bytes(path: str | PathLike[str]) -> bytes:
    _check_regular(os.stat(path).st_mode)  # noqa: PTH116 - Path() would refuse what os.stat explains
    # It may have been replaced since: O_NONBLOCK keeps a FIFO from blocking, and the second look is at what was opened.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor
        _check_regular(os.fstat(descriptor).st_mode)
        return file.read(MAX_BYTES + 1)


def _check_regular(mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise ValueError("it is a directory; expected a file")
    if not stat.S_ISREG(mode):
        raise ValueError("it is not a regular file")


def _position_at(text: str, index: int) -> Position:
    before = text[:index].replace("\r\n", "\n").replace("\r", "\n")
    return Position(before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)


def position_of(node: Node) -> Position:
    """Return where a node begins."""
    mark = cast("Any", node).start_mark
    return Position(mark.line + 1, mark.column + 1)


def compose(text: str, report: Report) -> tuple[Node, Any] | None:
    """Return the root node of the only YAML document in a text, and the constructor of its scalars.

    None after a report.
    """
    # The C parser, where it is installed, has no limit to its recursion; so the pure one is used everywhere.
    yaml: Any = YAML(typ="safe", pure=True)
    yaml.max_depth = MAX_DEPTH
    yaml.composer.warn_double_anchors = False  # YAML allows the same anchor twice
    # As `YAML.load` does: the parser notes the directives of a document here.
    yaml.doc_infos.append(DocInfo())
    yaml.tags = {}
    try:
        constructor, _ = yaml.get_constructor_parser(text)
        root = yaml.composer.get_single_node()
    except ReaderError as exc:
        index = cast("int", cast("Any", exc).position)
        report(_position_at(text, index), f"the character U+{ord(text[index]):04X} is not allowed in YAML")
    except MaxDepthExceededError as exc:
        report(_position_of_error(exc), f"nested too deeply; expected at most {MAX_DEPTH} levels")
    except MarkedYAMLError as exc:
        report(_position_of_error(exc), _describe_error(exc))
    except Exception:  # noqa: BLE001 - the parser fails with all kinds of them on what nobody would write
        position = Position(yaml.reader.line + 1, yaml.reader.column + 1)
        report(position, "not valid YAML: it cannot be read on from here; expected YAML 1.1 or 1.2")
    else:
        if root is not None:
            return root, constructor
        report(None, "is empty; expected a mapping with 'version' and 'deployments'")
    return None


def _position_of_error(exc: MarkedYAMLError) -> Position | None:
    mark = cast("Any", exc).problem_mark or cast("Any", exc).context_mark
    return Position(mark.line + 1, mark.column + 1) if mark is not None else None


def _describe_error(exc: MarkedYAMLError) -> str:
    parts = [str(part) for part in (cast("Any", exc).context, cast("Any", exc).problem) if part]
    return f"not valid YAML: {', '.join(parts)}"


# ruamel.yaml leaves the attributes of its nodes without types.
def tag_of(node: Node) -> str:
    """Return the tag of a node, in its long form."""
    return cast("str", cast("Any", node).tag)


def items_of(node: Node) -> list[Node]:
    """Return the items of a list, or what else a node has as its value."""
    return cast("list[Node]", cast("Any", node).value)


def pairs_of(node: Node) -> list[tuple[Node, Node]]:
    """Return the keys and values of a mapping, merge keys among them."""
    return cast("list[tuple[Node, Node]]", cast("Any", node).value)
