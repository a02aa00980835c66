"""The definitions that a command is about: loaded from a file, and selected by names."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from typing import IO, Any

import attrs
import click
from attrs import frozen

from ..config import DeploymentConfig
from ..exceptions import Picklable, WorkflowDefinitionException, did_you_mean
from ..graph import closure
from .output import clean, stderr


class Misuse(Picklable, click.ClickException):
    """An error in the arguments or the file, which ends the command with status 2.

    :ivar problems: one text for each problem, of one line or more
    """

    exit_code = 2

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))

    def show(self, file: IO[Any] | None = None) -> None:  # noqa: ARG002 - click's signature
        stream = stderr()
        for problem in self.problems:
            stream.line(clean(f"error: {problem}"))


def require(*modules: str) -> None:
    """Check that optional dependencies are installed.

    :raises Misuse: naming those that are not
    """
    missing = [module for module in modules if not _is_installed(module)]
    if missing:
        are = "is" if len(missing) == 1 else "are"
        raise Misuse([f"{', '.join(missing)} {are} not installed: pip install 'anydeploy[cli]'"])


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False


@frozen
class Selection:
    """The definitions that a command is about.

    :ivar configs: all definitions of the file, by name
    :ivar names: the names that were given
    :ivar order: their closure, dependencies first
    """

    configs: Mapping[str, DeploymentConfig]
    names: Sequence[str]
    order: Sequence[str]

    def dependencies(self, name: str) -> Sequence[str]:
        return self.configs[name].dependencies

    def eager(self) -> list[DeploymentConfig]:
        """Return all definitions, none of them lazy: a deployment that is named on a command line is used."""
        return [attrs.evolve(config, lazy=False) for config in self.configs.values()]


def load(path: str, *, quiet: bool = False) -> Mapping[str, DeploymentConfig]:
    """Return the definitions of a file, and show its warnings, one line each.

    :raises Misuse: with all problems of the file, or if it defines no deployments
    """
    require("ruamel.yaml")
    from ..file import FileError, FileWarning, load_file  # noqa: PLC0415 - an extra, and slow to import

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", FileWarning)
        try:
            configs = load_file(path)
        except FileError as exc:
            raise Misuse(str(problem) for problem in exc.problems) from None
        finally:
            _show_warnings([] if quiet else [str(w.message) for w in caught if issubclass(w.category, FileWarning)])
    if not configs:
        raise Misuse([f"{path}: it defines no deployments; expected at least one in the section 'deployments'"])
    return configs


def _show_warnings(messages: Iterable[str]) -> None:
    stream = stderr()
    for message in messages:
        stream.line(f"warning: {clean(message)}")


def select(configs: Mapping[str, DeploymentConfig], names: Iterable[str]) -> Selection:
    """Select the closure of the names, or of all definitions if there are no names.

    :raises Misuse: for names that are not defined
    """
    chosen = list(dict.fromkeys(names)) or list(configs)
    unknown = [name for name in chosen if name not in configs]
    if unknown:
        raise Misuse(f"there is no deployment '{name}' in the file{did_you_mean(name, configs)}" for name in unknown)
    try:
        order = closure(chosen, lambda name: configs[name].dependencies)
    except WorkflowDefinitionException as exc:
        raise Misuse([str(exc)]) from None
    return Selection(configs, chosen, order)
