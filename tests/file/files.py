"""Files that are written and loaded, and connector types for them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import attrs
import pytest
from attrs import define, field
from attrs.validators import gt

from anydeploy import Connector, ConnectorWrapper, DeploymentConfig, WorkflowDefinitionException
from anydeploy.file import FileError, load_file

DATA = Path(__file__).parent / "data"


@define(kw_only=True, eq=False, slots=False)
class Host(Connector):
    hostname: str = "localhost"
    port: int = 22
    factor: float = 1.0
    verbose: bool = False
    proxy: str | None = None
    key: str | int = ""
    mode: Literal["fast", "safe"] = "fast"
    labels: Mapping[str, str] = field(factory=dict)
    ports: dict[int, int] = field(factory=dict)
    argv: tuple[str, ...] = ()
    pair: tuple[str, int] = ("", 0)
    anything: Any = None
    home: PurePosixPath | None = field(default=None, converter=attrs.converters.optional(PurePosixPath))
    size: int = field(default=1, validator=gt(0))

    async def deploy(self, external: bool) -> None: ...

    async def undeploy(self, external: bool) -> None: ...


@define(kw_only=True, eq=False, slots=False)
class Layer(ConnectorWrapper):
    pass


@define(kw_only=True, eq=False, slots=False)
class Needy(Host):
    token: str


TYPES: dict[str, type[Connector]] = {"host": Host, "layer": Layer, "needy": Needy}


def load(file: Path, text: str | bytes) -> Mapping[str, DeploymentConfig]:
    file.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    return load_file(file, connector_types=TYPES)


def load_deployments(file: Path, *lines: str) -> Mapping[str, DeploymentConfig]:
    """The deployments start in line 3, column 3."""
    return load(file, "\n".join(["version: v1.0", "deployments:", *("  " + line for line in lines)]) + "\n")


def problems(file: Path, text: str | bytes) -> list[str]:
    with pytest.raises(FileError) as caught:
        load(file, text)
    assert isinstance(caught.value, WorkflowDefinitionException)
    assert str(caught.value) == "\n".join(map(str, caught.value.problems))
    assert caught.value.path == str(file)
    shown = [str(problem) for problem in caught.value.problems]
    assert all(problem.startswith(str(file)) for problem in shown)
    return [problem.removeprefix(str(file)).removeprefix(":") for problem in shown]


def problems_in(file: Path, *lines: str) -> list[str]:
    return problems(file, "\n".join(["version: v1.0", "deployments:", *("  " + line for line in lines)]) + "\n")


def problem(file: Path, text: str | bytes) -> str:
    (only,) = problems(file, text)
    return only


def setting(file: Path, name: str, value: str) -> list[str]:
    return problems_in(file, f"a: {{type: host, config: {{{name}: {value}}}}}")
