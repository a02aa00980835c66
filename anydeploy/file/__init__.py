"""The ``deployments`` section of a StreamFlow file, as definitions.

Everything wrong with a file is reported at once, each problem with its line, its column and the deployment it is in.
Other sections are ignored. Relative paths in connector settings are relative to the directory of the file: give that
to the manager as its ``config_dir``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from os import PathLike, fsdecode
from warnings import warn

from ..config import DeploymentConfig
from ..connector import Connector
from ..exceptions import WorkflowDefinitionException
from .structure import Loader, Problem
from .yaml import MAX_BYTES, MAX_DEPTH, MAX_VALUES, Position

__all__ = ["MAX_BYTES", "MAX_DEPTH", "MAX_VALUES", "FileError", "FileWarning", "Position", "Problem", "load_file"]


class FileError(WorkflowDefinitionException):
    """A file cannot be used.

    :ivar path: the file, as it was given
    :ivar problems: everything that is wrong with it, in the order in which it stands there
    """

    def __init__(self, path: str, problems: Iterable[Problem]) -> None:
        self.path = path
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class FileWarning(UserWarning):
    """Something in a file that is ignored, or deprecated."""


def load_file(
    path: str | PathLike[str], *, connector_types: Mapping[str, type[Connector]] | None = None
) -> Mapping[str, DeploymentConfig]:
    """Return the definitions in a StreamFlow v1.0 file by name, in the order of the file.

    A definition without a ``workdir`` has that of the one it wraps. Unknown keys, and the deprecated section
    ``models``, give a :class:`FileWarning` each; those that begin with ``x-`` are the user's. A file may
    have 10 MiB, 64 levels of nesting, and a million values with aliases written out::

        async with DefaultDeploymentManager(load_file("stack.yml"), config_dir=".") as manager:
            await manager.deploy_all()

    :param path: the file
    :param connector_types: connector classes by type string, looked at before those that are installed
    :raises FileError: with everything that is wrong with the file
    """
    loader = Loader(fsdecode(path), connector_types or {})
    definitions = loader.load()
    for warning in loader.warnings:
        warn(str(warning), FileWarning, stacklevel=2)
    if loader.problems:
        raise FileError(loader.path, sorted(loader.problems, key=_place))
    return definitions


def _place(problem: Problem) -> tuple[int, int]:
    return (problem.position.line, problem.position.column) if problem.position else (0, 0)
