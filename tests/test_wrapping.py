"""The checks of rule D4 between a wrapper and the deployment that it stands on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field

from anydeploy import (
    Connector,
    ConnectorWrapper,
    DefaultDeploymentManager,
    DeploymentConfig,
    DeploymentState,
    InvalidConfigError,
    WrapsConfig,
)
from anydeploy.connectors import connector_type
from anydeploy.connectors.local import LocalConnector
from anydeploy.connectors.process import ProcessConnector
from anydeploy.definitions import Definitions
from anydeploy.file import FileError, load_file
from anydeploy.frozen import thaw
from anydeploy.wrapping import Layer, can_wrap, check_service, check_wrapped, check_wraps, services_of


@define(kw_only=True, eq=False, slots=False)
class Pool(Connector):
    """Machines, one of which is taken for each command."""

    keeps_place = False
    kinds: list[str] = field(factory=list)
    pinned: bool = False

    @classmethod
    def services_of(cls, config: Mapping[str, Any]) -> Iterable[str] | None:
        return config.get("kinds", [])

    async def deploy(self, external: bool) -> None: ...

    async def undeploy(self, external: bool) -> None: ...


class Lending(Pool):
    """Gives each wrapper that has to come back a machine."""

    @classmethod
    def check_stateful(cls, config: Mapping[str, Any], *, directly: bool) -> str | None:
        return None if directly or config.get("pinned") else "set `pinned: true` there"


class Late(Pool):
    """Its services are known when it is up."""

    keeps_place = True

    @classmethod
    def services_of(cls, config: Mapping[str, Any]) -> None:
        return None


class Box(ConnectorWrapper):
    """It has to come back."""

    stateful = True


TYPES: dict[str, type[Connector]] = {
    "pool": Pool,
    "lending": Lending,
    "late": Late,
    "box": Box,
    "through": ConnectorWrapper,
}


def wrapper(name: str, wraps: str, service: str | None = None, type_: str = "through") -> DeploymentConfig:
    return DeploymentConfig(name, type_, wraps=WrapsConfig(wraps, service))


def pool(type_: str = "pool", **config: Any) -> DeploymentConfig:
    return DeploymentConfig("pool", type_, config)


def written(config: DeploymentConfig) -> str:
    shown = {"type": config.type, "config": thaw(config.config)}
    if config.wraps is not None:
        shown["wraps"] = {"deployment": config.wraps.deployment}
        if config.wraps.service is not None:
            shown["wraps"]["service"] = config.wraps.service
    return json.dumps(shown)


def told(directory: Path, *configs: DeploymentConfig) -> str | None:
    """What is said of definitions when the last one is wanted, and, in the same words, of a file with them."""
    definitions = Definitions(TYPES, directory)
    definitions.add_all(configs)
    try:
        definitions.resolve([configs[-1].name], present=())
    except InvalidConfigError as exc:
        from_python = str(exc)
    else:
        from_python = None
    path = directory / "streamflow.yml"
    lines = [f"  {config.name}: {written(config)}" for config in configs]
    path.write_text("\n".join(["version: v1.0", "deployments:", *lines, ""]))
    try:
        load_file(path, connector_types=TYPES)
    except FileError as exc:
        (problem,) = exc.problems
        assert f"deployment '{problem.deployment}': {problem.message}" == from_python
    else:
        assert from_python is None
    return from_python


NO_PLACE = "'b': type 'box' has to come back to the same place, and two commands on 'pool' may run in different ones; "


@pytest.mark.parametrize(
    ("configs", "expected"),
    [
        ([pool(kinds=["big"]), wrapper("a", "pool", "big")], None),
        ([pool(kinds=["big"]), wrapper("a", "pool")], None),
        (
            [pool(kinds=["big", "small"]), wrapper("a", "pool", "bgi")],
            "'a': deployment 'pool' has no service 'bgi'; did you mean 'big'? (expected one of big, small)",
        ),
        (
            [pool(), wrapper("a", "pool", "big")],
            "'a': deployment 'pool' (type 'pool') has no services; expected none, found 'big'",
        ),
        ([pool("late"), wrapper("a", "pool", "big")], None),
        ([pool(), wrapper("b", "pool", type_="box")], f"{NO_PLACE}expected a deployment that keeps its place"),
        ([pool(), wrapper("b", "pool")], None),
        ([pool("late"), wrapper("b", "pool", type_="box")], None),
        ([pool("lending"), wrapper("b", "pool", type_="box")], None),
        # What is in between passes its commands on.
        (
            [pool(), wrapper("a", "pool"), wrapper("b", "a", type_="box")],
            f"{NO_PLACE}expected a deployment that keeps its place",
        ),
        (
            [pool("lending"), wrapper("a2", "pool"), wrapper("a", "a2"), wrapper("b", "a", type_="box")],
            f"{NO_PLACE}set `pinned: true` there",
        ),
        ([pool("lending", pinned=True), wrapper("a", "pool"), wrapper("b", "a", type_="box")], None),
        # A box has a place: whatever stands on it comes back to it.
        ([pool("lending"), wrapper("a", "pool", type_="box"), wrapper("b", "a", type_="box")], None),
    ],
)
def test_a_wrapper_and_what_it_wraps(tmp_path: Path, configs: list[DeploymentConfig], expected: str | None):
    """D4: the same text from Python and from a file."""
    found = told(tmp_path, *configs)
    assert found == (None if expected is None else f"deployment {expected}")


@pytest.mark.parametrize(
    ("wraps", "column"), [("{deployment: pool, service: bgi}", 57), ("pool", 29), ("{deployment: pool}", 29)]
)
def test_the_place_of_the_problem(tmp_path: Path, wraps: str, column: int):
    """D4: at the service, or at the `wraps` that gives no place."""
    type_ = "through" if "service" in wraps else "box    "
    path = tmp_path / "streamflow.yml"
    path.write_text(
        f"version: v1.0\ndeployments:\n"
        f"  pool: {{type: pool, config: {{kinds: [big]}}}}\n"
        f"  a: {{type: {type_}, wraps: {wraps}, config: {{}}}}\n"
    )
    with pytest.raises(FileError) as caught:
        load_file(path, connector_types=TYPES)
    (problem,) = caught.value.problems
    assert problem.position is not None
    assert (problem.position.line, problem.position.column, problem.deployment) == (4, column, "a")


@pytest.mark.parametrize(
    "lines",
    [
        # Nothing can be said of services in settings that are wrong, and nothing of what is not defined or not named.
        ["pool: {type: pool, config: {kinds: [5]}}", "a: {type: through, wraps: {deployment: pool, service: x}}"],
        ["a: {type: through, wraps: {deployment: nothing, service: x}}"],
        ["a: {type: through, wraps: {deployment: 5, service: x}}"],
        ["pool: {type: pool}", "a: {type: through, wraps: {deployment: pool, service: 5}}"],
        ["pool: {type: pool}", "a: {type: pool, wraps: {deployment: pool, service: x}}"],
        ["a: {type: box, wraps: b}", "b: {type: through, wraps: c}", "c: {type: through, wraps: b}"],
        ["a: {type: box, wraps: a}"],
    ],
)
def test_one_problem_is_told_once(tmp_path: Path, lines: list[str]):
    """D4"""
    path = tmp_path / "streamflow.yml"
    config = [line if "config" in line else f"{line.removesuffix('}')}, config: {{}}}}" for line in lines]
    path.write_text("\n".join(["version: v1.0", "deployments:", *(f"  {line}" for line in config), ""]))
    with pytest.raises(FileError) as caught:
        load_file(path, connector_types=TYPES)
    assert len(caught.value.problems) == 1


# -- The manager -------------------------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("lazy", [False, True])
async def test_nothing_is_deployed(lazy: bool):
    """D4: and nothing is left of what was refused."""
    types = TYPES | {"pool": type("Never", (Pool,), {"deploy": None})}
    refused = [wrapper("a", "pool", "x"), wrapper("b", "pool", type_="box")]
    configs = [pool(), *(DeploymentConfig(c.name, c.type, wraps=c.wraps, lazy=lazy) for c in refused)]
    async with DefaultDeploymentManager(configs, connector_types=types) as manager:
        for name in ("a", "b", "a"):
            with pytest.raises(InvalidConfigError) as caught:
                await manager.deploy(name)
            assert caught.value.deployment_name == name
            assert manager.get_connector(name) is None
        assert {status.state for status in manager.status().values()} == {DeploymentState.ABSENT}


@pytest.mark.anyio
async def test_what_is_wrapped_may_be_up_already():
    """D4"""
    async with DefaultDeploymentManager([pool(kinds=["big"])], connector_types=TYPES) as manager:
        await manager.deploy("pool")
        with pytest.raises(InvalidConfigError, match="no service 'bgi'"):
            await manager.deploy(wrapper("a", "pool", "bgi"))
        with pytest.raises(InvalidConfigError, match="come back"):
            await manager.deploy(wrapper("a", "pool", type_="box"))
        await manager.deploy(wrapper("a", "pool", "big"))


@pytest.mark.anyio
async def test_what_is_wrapped_may_get_another_definition():
    """D4: a definition that was right is wrong when the one below it has changed."""
    through = [wrapper("a", "pool", "big"), wrapper("m", "pool"), wrapper("b", "m", type_="box")]
    configs = [pool("lending", kinds=["big"], pinned=True), *through]
    async with DefaultDeploymentManager(configs, connector_types=TYPES) as manager:
        await manager.deploy("a", "b")
        await manager.undeploy_all()
        for changed, name in ((pool("lending", kinds=["small"], pinned=True), "a"), (pool("lending"), "b")):
            with pytest.raises(InvalidConfigError, match=f"^deployment '{name}'"):
                await manager.deploy(changed, name)
            await manager.deploy(changed)
            with pytest.raises(InvalidConfigError, match=f"^deployment '{name}'"):
                await manager.deploy(name)
            await manager.undeploy_all()


# -- Foreign code ------------------------------------------------------------------------------------------------------


def layer(class_: type[Connector], **config: Any) -> Layer:
    return Layer("pool", "pool", class_, False, config)


def above(type_: type[Connector], **options: Any) -> Layer:
    return Layer("b", "box", type_, type_.stateful, {}, "pool", **options)


def raising(error: BaseException) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail


def generating(error: BaseException) -> Any:
    def read(*_: Any) -> Any:
        yield "big"
        raise error

    return read


@pytest.mark.parametrize("error", [RuntimeError("no"), SystemExit(1), GeneratorExit()], ids=repr)
def test_whatever_the_hooks_raise_is_a_problem_of_the_wrapper(error: BaseException):
    """D7"""
    for hook in (raising(error), generating(error)):
        broken = layer(type("Foreign", (Pool,), {"services_of": hook}))
        ((path, problem),) = check_wrapped(above(ConnectorWrapper, service="big"), {"pool": broken}.get)
        assert path == ("wraps", "service")
        assert problem.startswith(f"the services of deployment 'pool' cannot be told: {type(error).__name__}")
    broken = layer(type("Foreign", (Pool,), {"check_stateful": raising(error)}))
    ((path, problem),) = check_wrapped(above(Box), {"pool": broken}.get)
    assert path == ("wraps",)
    assert f"; `check_stateful` of Foreign has failed: {type(error).__name__}" in problem


@pytest.mark.parametrize("answer", [5, "big", [5]])
def test_an_answer_that_is_none(answer: object):
    """D7"""
    broken = layer(type("Foreign", (Pool,), {"services_of": classmethod(lambda cls, config: answer)}))
    problem = check_service(broken, "big")
    assert problem is not None
    assert problem.startswith(
        "the services of deployment 'pool' cannot be told: `services_of`: expected names, or None"
    )
    answering = classmethod(lambda cls, config, *, directly: [answer])
    broken = layer(type("Foreign", (Pool,), {"check_stateful": answering}))
    ((_, problem),) = check_wrapped(above(Box), {"pool": broken}.get)
    assert problem.endswith("; `check_stateful` of Foreign: expected a text, or None, found a list")


def test_a_keyboard_interrupt_is_raised():
    """D7"""
    interrupted = raising(KeyboardInterrupt())
    broken = layer(type("Foreign", (Pool,), {"services_of": interrupted, "check_stateful": interrupted}))
    for wrapping in (above(ConnectorWrapper, service="big"), above(Box)):
        with pytest.raises(KeyboardInterrupt):
            check_wrapped(wrapping, {"pool": broken}.get)


# -- Those of anydeploy ------------------------------------------------------------------------------------------------


def test_who_can_wrap():
    assert can_wrap(ProcessConnector)
    assert not can_wrap(LocalConnector)
    assert check_wraps("process", ProcessConnector) == []
    ((path, problem),) = check_wraps("local", LocalConnector)
    assert path == ("wraps",)
    assert problem.startswith("type 'local' cannot wrap another deployment; expected no 'wraps', or ")


@pytest.mark.parametrize(
    ("type_", "config", "services"),
    [
        ("local", {}, []),
        ("process", {"command": ["x"]}, []),
        ("command", {}, []),
        ("ssh", {"nodes": ["x"]}, []),
        ("docker", {"image": "x"}, []),
        ("podman", {"image": "x"}, []),
        # They stand in files that only Compose can read, with all that they include, where it runs.
        ("docker-compose", {"files": ["compose.yml"]}, None),
        ("slurm", {}, []),
        ("slurm", {"services": {"big": {"mem": "4G"}, "small": None}}, ["big", "small"]),
    ],
)
def test_services(type_: str, config: dict[str, Any], services: list[str] | None):
    assert services_of(layer(connector_type(type_), **config)) == services


@pytest.mark.parametrize("type_", ["ssh", "docker", "podman", "docker-compose", "slurm"])
@pytest.mark.parametrize(
    ("mode", "between", "advice"),
    [
        ("batch", False, "set `mode: allocation` there, or leave `mode` out"),
        ("batch", True, "set `mode: allocation` there"),
        (None, False, None),
        (None, True, "set `mode: allocation` there"),
        ("allocation", False, None),
        ("allocation", True, None),
    ],
)
def test_what_comes_back_to_slurm(type_: str, mode: str | None, between: bool, advice: str | None):
    """D4: by default only what stands on it directly gets an allocation."""
    slurm, class_ = connector_type("slurm"), connector_type(type_)
    layers = {
        "slurm": Layer("slurm", "slurm", slurm, slurm.stateful, {"mode": mode} if mode else {}),
        "prefix": Layer("prefix", "command", connector_type("command"), False, {}, "slurm"),
    }
    found = check_wrapped(Layer("x", type_, class_, class_.stateful, {}, "prefix" if between else "slurm"), layers.get)
    place = (
        f"type '{type_}' has to come back to the same place, and two commands on 'slurm' may run in different ones; "
    )
    assert found == ([] if advice is None else [(("wraps",), place + advice)])
