"""Definitions are resolved: everything is checked first, then kept (rule D4)."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field
from scripted import World

from anydeploy import (
    Connector,
    ConnectorWrapper,
    DefaultDeploymentManager,
    DependencyCycleError,
    DeployError,
    DeploymentConfig,
    DeploymentState,
    DifferentDefinitionError,
    InvalidConfigError,
    UnknownDeploymentError,
    WorkflowDefinitionException,
    WrapsConfig,
)
from anydeploy.definitions import LOCAL, Definitions, Resolution
from anydeploy.testing import unit, wrapper


def definitions_of(*configs: DeploymentConfig, **options: Any) -> Definitions:
    definitions = Definitions(World().types, Path("/x"), **options)
    definitions.add_all(configs)
    return definitions


def missing(resolution: Resolution) -> list[str]:
    return [definition.name for definition in resolution.missing]


def state(definitions: Definitions) -> Any:
    return list(definitions._configs.items()), dict(definitions._resolved)


# -- Looking up --------------------------------------------------------------------------------------------------------


def test_looking_up() -> None:
    definitions = definitions_of(unit("b"), unit("a"), LOCAL, unit("B"))
    assert definitions.names == ["b", "a", "B"]
    assert definitions["a"] == definitions.get("a") == unit("a")
    assert "a" in definitions
    for name in ("c", "A", "zzz"):
        assert name not in definitions
        assert definitions.get(name) is None
    with pytest.raises(UnknownDeploymentError, match=r"'aa'.*did you mean 'a'"):
        definitions["aa"]


def test_the_implicit_one_is_always_known_and_never_listed() -> None:
    """StreamFlow's `__LOCAL__`."""
    definitions = definitions_of()
    assert definitions["__LOCAL__"] is definitions.get("__LOCAL__") is LOCAL
    assert "__LOCAL__" in definitions
    assert definitions.names == []
    (local,) = definitions.resolve(["__LOCAL__"], present=()).missing
    assert local.external


def test_two_definitions_of_one_name_at_the_start() -> None:
    """D4"""
    assert definitions_of(unit("a"), unit("a")).names == ["a"]
    with pytest.raises(DifferentDefinitionError, match=r"^deployment 'a' has two different definitions$"):
        definitions_of(unit("a"), unit("a", retries=1))


# -- Resolving ---------------------------------------------------------------------------------------------------------


def test_a_resolved_definition_has_all_that_is_needed() -> None:
    definitions = definitions_of(
        unit("a", retries=1, restarts=2, deploy_timeout=1, external=True),
        unit("b", type="stubborn", undeploy_timeout="2s"),
        wrapper("c", "a", "b", "a"),
        unit("d", "b", type="wrapper"),
        deploy_timeout=5,
    )
    found = {each.name: each for each in definitions.resolve(["a", "c", "d"], present=()).missing}
    assert list(found) == ["a", "b", "c", "__LOCAL__", "d"]
    a, b, c, d = (found[name] for name in "abcd")
    assert (a.retries, a.restarts, a.deploy_timeout, a.undeploy_timeout, a.external) == (1, 2, 1, None, True)
    assert (b.retries, b.restarts, b.deploy_timeout, b.undeploy_timeout, b.external) == (0, 0, 5, 2, False)
    assert (a.interruptible, b.interruptible) == (True, False)
    assert (a.dependencies, a.wraps) == ((), False)
    assert (c.dependencies, c.wraps) == (("a", "b"), True)
    assert (d.dependencies, d.wraps) == (("__LOCAL__", "b"), True)
    assert a.config is definitions["a"]
    assert len({a, b, c, d}) == 4, "they are compared by identity"
    assert a.connector_type is definitions.connector_types["scripted"]
    assert a.config_dir == Path("/x")


def test_what_is_present_is_left_out_with_what_lies_under_it() -> None:
    """D2"""
    definitions = definitions_of(unit("a"), unit("b", "a"), unit("c", "b"), unit("x", "a"))
    assert missing(definitions.resolve(["c"], present=())) == ["a", "b", "c"]
    assert missing(definitions.resolve(["c"], present={"b"})) == ["c"]
    assert missing(definitions.resolve(["c", "x"], present={"b", "c"})) == ["a", "x"]
    assert missing(definitions.resolve(["c"], present={"c"})) == []
    assert definitions.resolve(["c", "x", "c"], present=()).names == ("c", "x")
    nothing = definitions.resolve([], present=())
    assert (nothing.names, missing(nothing), nothing.added) == ((), [], ())


def test_nothing_is_changed_before_the_commit() -> None:
    definitions = definitions_of(unit("a"))
    before = state(definitions)
    new = unit("b", "a")
    resolution = definitions.resolve([new], present=())
    assert state(definitions) == before
    assert resolution.added == (new,)
    assert len({resolution, definitions}) == 2, "they are compared by identity"
    definitions.commit(resolution)
    assert definitions.names == ["a", "b"]
    assert definitions.resolved("b") is resolution.missing[1]
    with pytest.raises(UnknownDeploymentError):
        definitions.resolve([unit("c", "d")], present=())
    assert definitions.names == ["a", "b"]


def test_new_definitions_may_depend_on_each_other() -> None:
    definitions = definitions_of()
    resolution = definitions.resolve([unit("b", "a"), unit("a"), "b"], present=())
    assert resolution.names == ("b", "a")
    assert missing(resolution) == ["a", "b"]
    assert [config.name for config in resolution.added] == ["b", "a"]


def test_what_was_resolved_is_not_checked_again() -> None:
    """Checks of settings may cost much, as those with a schema do."""
    checks: list[Any] = []

    class Checked(World().types["scripted"]):  # type: ignore[misc]
        @classmethod
        def check_config(cls, config: Mapping[str, Any]) -> None:
            checks.append(config)

    definitions = Definitions({"checked": Checked}, Path())
    config = DeploymentConfig("a", "checked", {"setting": 1})
    for wanted in (config, config, "a", DeploymentConfig("a", "checked", {"setting": 1})):
        resolution = definitions.resolve([wanted], present=())
        definitions.commit(resolution)
        assert missing(resolution) == ["a"]
    assert checks == [{"setting": 1}]
    definitions.commit(definitions.resolve([DeploymentConfig("a", "checked", {"setting": 2})], present=()))
    assert checks == [{"setting": 1}, {"setting": 2}]
    assert definitions.resolved("a").config.config == {"setting": 2}


def test_resolving_what_stands_on_what_is_present_looks_up_no_more_than_that() -> None:
    """The size of the closure does not matter."""
    asked: list[object] = []

    class Present:
        def __contains__(self, name: object) -> bool:
            asked.append(name)
            return name != "d99"

    definitions = definitions_of(unit("d0"), *(unit(f"d{i}", f"d{i - 1}") for i in range(1, 100)))
    definitions.commit(definitions.resolve(["d99"], present=()))
    for wanted in ("d99", definitions["d99"]):
        asked.clear()
        resolution = definitions.resolve([wanted], present=Present())
        assert (resolution.names, missing(resolution), resolution.added) == (("d99",), ["d99"], ())
        assert asked == ["d99", "d98"]


def test_long_chains_do_not_recurse() -> None:
    n = 5 * sys.getrecursionlimit()
    definitions = definitions_of(unit("d0"), *(unit(f"d{i}", f"d{i - 1}") for i in range(1, n)))
    assert missing(definitions.resolve([f"d{n - 1}"], present=())) == [f"d{i}" for i in range(n)]


# -- What is refused ---------------------------------------------------------------------------------------------------


@define(kw_only=True, eq=False, slots=False)
class Typed(Connector):
    port: int = 1
    labels: dict[str, str] = field(factory=dict)

    async def deploy(self, external: bool) -> None: ...

    async def undeploy(self, external: bool) -> None: ...


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        (DeploymentConfig("a", "sripted"), InvalidConfigError, "^deployment 'a': unknown type 'sripted'.*scripted"),
        (wrapper("a", "nothing"), UnknownDeploymentError, "^deployment 'a' depends on 'nothing', which is not defined"),
        (unit("a", "knwn"), UnknownDeploymentError, "did you mean 'known'"),
        (unit("a", "a"), DependencyCycleError, "depends on itself: a -> a"),
        (unit("a", wraps="known"), InvalidConfigError, "^deployment 'a': type 'scripted' cannot wrap another"),
        (unit("a", config={"seting": 1}), InvalidConfigError, "^deployment 'a', setting 'seting': unknown setting;"),
        (unit("a", config={"setting": "x"}), InvalidConfigError, "^deployment 'a', setting 'setting': invalid literal"),
        (unit("a", type="typed", config={"port": "5"}), InvalidConfigError,
         "^deployment 'a', setting 'port': expected a whole number, found the string '5'$"),
        (unit("a", type="typed", config={"labels": {"x": 5}}), InvalidConfigError,
         "^deployment 'a', setting 'labels.x': expected a string, found the number 5$"),
        (5, WorkflowDefinitionException, r"^expected a definition \(DeploymentConfig\), or the name of one, found"),
        (None, WorkflowDefinitionException, "found nothing"),
        ("unknown", UnknownDeploymentError, "^there is no deployment 'unknown' among the definitions"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_and_leaves_no_trace(
    config: DeploymentConfig, error: type[Exception], message: str
) -> None:
    """D4: again and again, with the same error."""
    definitions = Definitions({**World().types, "typed": Typed}, Path())
    definitions.add_all([unit("known"), unit("a", "known")])
    definitions.commit(definitions.resolve(["a"], present=()))
    before = state(definitions)
    for _ in range(2):
        with pytest.raises(error, match=message):
            definitions.resolve(["known", config], present=())
        assert state(definitions) == before


def test_a_cycle_through_a_new_definition() -> None:
    """D4"""
    definitions = definitions_of(unit("a"), unit("b", "a"))
    definitions.commit(definitions.resolve(["b"], present=()))
    with pytest.raises(DependencyCycleError, match="a -> b -> a"):
        definitions.resolve([unit("a", "b")], present=())
    assert missing(definitions.resolve(["b"], present=())) == ["a", "b"]


def test_a_definition_that_is_in_use_is_not_replaced() -> None:
    """D4: for what is present, or in use in another way."""
    definitions = definitions_of(unit("a"), unit("b"))
    other = unit("a", retries=1)
    for present, in_use in ((["a"], ()), ((), ["a"])):
        for wanted in ([other], ["b", other]):
            with pytest.raises(DifferentDefinitionError, match="'a' is in use with a different definition; undeploy"):
                definitions.resolve(wanted, present=present, in_use=in_use)
            assert definitions.resolve([unit("a")], present=present, in_use=in_use).added == ()
    resolution = definitions.resolve([other], present=["b"], in_use=["b"])
    definitions.commit(resolution)
    assert definitions["a"] is other
    assert definitions.resolved("a").retries == 1
    with pytest.raises(DifferentDefinitionError):
        definitions.resolve([other_local()], present=["__LOCAL__"])


def other_local() -> DeploymentConfig:
    return DeploymentConfig("__LOCAL__", "local")


@pytest.mark.parametrize("wanted", [[unit("a"), unit("a", retries=1)], [unit("a", retries=1), "b", unit("a")]])
def test_two_definitions_of_one_name_at_once(wanted: list[Any]) -> None:
    """D4: whichever of them is known."""
    definitions = definitions_of(unit("a"), unit("b"))
    with pytest.raises(DifferentDefinitionError, match="has two different definitions"):
        definitions.resolve(wanted, present=())


class AsyncioOnly(Typed):
    asyncio_only = True


def test_a_type_for_asyncio_is_refused_elsewhere() -> None:
    """D4: here there is no event loop at all."""
    definitions = Definitions({"picky": AsyncioOnly}, Path())
    with pytest.raises(InvalidConfigError, match=r"^deployment 'a': type 'picky' works on asyncio only, and this"):
        definitions.resolve([DeploymentConfig("a", "picky")], present=())


@pytest.mark.anyio
async def test_a_type_for_asyncio_on_every_event_loop(anyio_backend_name: str) -> None:
    """D4"""
    definitions = Definitions({"picky": AsyncioOnly}, Path())
    if anyio_backend_name == "asyncio":
        assert missing(definitions.resolve([DeploymentConfig("a", "picky")], present=())) == ["a"]
    else:
        with pytest.raises(InvalidConfigError, match=r"expected `anyio.run"):
            definitions.resolve([DeploymentConfig("a", "picky")], present=())


# -- Building ----------------------------------------------------------------------------------------------------------


@define(kw_only=True, eq=False, slots=False)
class Services(Typed):
    def at(self, service: str) -> Connector:
        return Typed(deployment_name=service, config_dir=self.config_dir)


@define(kw_only=True, eq=False, slots=False)
class Greedy(ConnectorWrapper):
    things: list[Any]
    more: dict[str, Any]


def test_a_connector_has_settings_of_its_own() -> None:
    """D4: plain dicts and lists, which it may change."""
    settings = {"things": [{"a": (1,)}], "more": {"b": [2]}}
    definitions = Definitions({"greedy": Greedy, "services": Services}, Path("/x"))
    config = DeploymentConfig("g", "greedy", settings, wraps="t")
    definitions.add_all([DeploymentConfig("t", "services"), config])
    inner, greedy = definitions.resolve(["g"], present=()).missing
    first, second = (greedy.build(inner.build(None)) for _ in range(2))
    assert isinstance(first, Greedy)
    assert isinstance(second, Greedy)
    first.things[0]["a"].append(3)
    first.more["b"].clear()
    assert (second.things, second.more) == ([{"a": [1]}], {"b": [2]})
    assert config.config == settings


def test_what_a_wrapper_is_given() -> None:
    """It is given the connector that it wraps, or the service of it that the definition names, or nothing."""
    definitions = Definitions({"greedy": Greedy, "services": Services}, Path("/x"))
    settings = {"things": [], "more": {}}
    wraps = {"whole": "t", "part": WrapsConfig("t", "s"), "here": None}
    definitions.add_all([DeploymentConfig("t", "services")])
    definitions.add_all(DeploymentConfig(name, "greedy", settings, wraps=what) for name, what in wraps.items())
    found = {each.name: each for each in definitions.resolve(list(wraps), present=()).missing}
    inner = found["t"].build(None)
    assert (inner.deployment_name, inner.config_dir) == ("t", Path("/x"))
    whole, part, here = (found[name].build(inner) for name in wraps)
    assert isinstance(whole, Greedy)
    assert isinstance(part, Greedy)
    assert isinstance(here, Greedy)
    assert (whole.deployment_name, whole.connector, whole.service) == ("whole", inner, None)
    assert (part.connector.deployment_name, part.service) == ("s", "s")
    assert (here.connector, here.service) == (inner, None)


@pytest.mark.anyio
@pytest.mark.parametrize("answer", [None, 5])
async def test_at_gives_no_connector(answer: object) -> None:
    """D5, D7: checked as the result of a constructor is, and not found out at the first use."""

    class Odd(Typed):
        def at(self, service: str) -> Any:
            return answer

    configs = [DeploymentConfig("t", "odd"), DeploymentConfig("p", "plain", wraps=WrapsConfig("t", "s"))]
    async with DefaultDeploymentManager(configs, connector_types={"odd": Odd, "plain": ConnectorWrapper}) as manager:
        with pytest.raises(DeployError) as caught:
            await manager.deploy("p")
        assert str(caught.value.__cause__).startswith("`at` of Odd, for service 's': expected a connector, found ")
        assert manager.status()["p"].state is DeploymentState.ABSENT


@pytest.mark.anyio
async def test_a_refused_definition_leaves_the_one_that_was_there():
    """D4: nothing is changed by a definition that is wrong."""
    async with DefaultDeploymentManager([DeploymentConfig("a", "local")]) as manager:
        with pytest.raises(WorkflowDefinitionException):
            await manager.deploy(DeploymentConfig("a", "nonesuch"))
        with pytest.raises(WorkflowDefinitionException):
            await manager.deploy(DeploymentConfig("b", "nonesuch"))
        await manager.deploy_all()
        assert manager.get_connector("a") is not None
        with pytest.raises(WorkflowDefinitionException):
            await manager.deploy("b")
        assert list(manager.status()) == ["a"]
