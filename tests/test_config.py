"""Definitions as data: checked when they are constructed, owned, unchangeable (rule D4)."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator, Mapping
from io import StringIO
from typing import Any

import attrs
import pytest
from attrs.exceptions import FrozenInstanceError

from anydeploy import (
    DefaultDeploymentManager,
    DeploymentConfig,
    DifferentDefinitionError,
    InvalidConfigError,
    WorkflowDefinitionException,
    WrapsConfig,
)
from anydeploy.config import check_field

NAME = "expected a name, a string that is not empty"
TYPE = "expected the type of a connector, a string that is not empty"
WRAPPED = "expected the name of a deployment, or a mapping with 'deployment' and 'service'"
DURATION = "expected a duration: seconds as a number, or a string with a unit such as 500ms, 2s, 2m or 1h"
FULL = DeploymentConfig(
    "a",
    "t",
    {"x": [1, {"y": {1, 2}}], "z": {}},
    external=True,
    lazy=True,
    scheduling_policy={"p": [1]},
    workdir="/w",
    wraps=WrapsConfig("b", "s"),
    depends_on=["c", "d"],
    deploy_timeout="2m",
    undeploy_timeout=0.5,
    retries=1,
    restarts=2,
)


class Broken(Mapping[str, Any]):
    """A mapping that fails when it is read."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __getitem__(self, key: str) -> Any:
        raise self.error

    def __iter__(self) -> Iterator[str]:
        raise self.error

    def __len__(self) -> int:
        return 1


def test_dependencies() -> None:
    """D1: `wraps` first, then `depends_on`, each once; a plain name will do for either."""
    config = DeploymentConfig("a", "t", wraps="b", depends_on=["c", "b", "c"])
    assert config.wraps == WrapsConfig("b")
    assert config.dependencies == ("b", "c")
    assert DeploymentConfig("a", "t", depends_on=["c", "b", "c"]).dependencies == ("c", "b")
    assert DeploymentConfig("a", "t", depends_on="bcd").dependencies == ("bcd",)
    assert DeploymentConfig("a", "t", depends_on=(name for name in "bc")).depends_on == ("b", "c")
    assert DeploymentConfig("a", "t", wraps={"deployment": "b", "service": "s"}).wraps == WrapsConfig("b", "s")


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("name", 3, f"{NAME}, found the number 3"),
        ("name", "", f"{NAME}, found the string ''"),
        ("name", None, f"{NAME}, found nothing (null)"),
        ("type", None, f"{TYPE}, found nothing (null)"),
        ("type", DeploymentConfig, f"{TYPE}, found the class DeploymentConfig"),
        ("type", "", f"{TYPE}, found the string ''"),
        ("config", None, "expected a mapping of settings, found nothing (null)"),
        ("config", [("a", 1)], "expected a mapping of settings, found a list"),
        ("config", "x", "expected a mapping of settings, found the string 'x'"),
        ("config[1]", {1: 2}, "the key is the number 1; expected a string"),
        ("config", Broken(OSError("no")), "cannot be read: OSError: no"),
        ("config", Broken(SystemExit(1)), "cannot be read: SystemExit: 1"),
        ("external", "false", "expected true or false, found the string 'false'"),
        ("external", 0, "expected true or false, found the number 0"),
        ("external", None, "expected true or false, found nothing (null)"),
        ("lazy", 1, "expected true or false, found the number 1"),
        ("scheduling_policy", Broken(OSError("no")), "cannot be read: OSError: no"),
        ("workdir", 1, "expected a string, found the number 1"),
        ("wraps", 5, f"{WRAPPED}, found the number 5"),
        ("wraps", "", f"{WRAPPED}, found the string ''"),
        ("wraps", {}, "the key 'deployment' is required"),
        ("wraps.deployment", {"deployment": 5}, f"{NAME}, found the number 5"),
        ("wraps.service", {"deployment": "b", "service": None}, "expected a string, found nothing (null)"),
        ("wraps.servise", {"deployment": "b", "servise": "s"}, "unknown key; expected 'deployment' or 'service'"),
        ("wraps.container", {"deployment": "b", "container": "s"}, "unknown key; expected 'deployment' or 'service'"),
        ("depends_on", 5, "expected the name of a deployment, or a list of names, found the number 5"),
        ("depends_on", None, "expected the name of a deployment, or a list of names, found nothing (null)"),
        ("depends_on", {"b": 1}, "expected the name of a deployment, or a list of names, found a mapping"),
        ("depends_on", "", "expected the name of a deployment, or a list of names, found the string ''"),
        (
            "depends_on",
            StringIO("b\n"),
            "expected the name of a deployment, or a list of names, found a value of type StringIO",
        ),
        ("depends_on[0]", [1], f"{NAME}, found the number 1"),
        ("depends_on[0]", [1, None], f"{NAME}, found the number 1"),
        ("depends_on[1]", ["b", None], f"{NAME}, found nothing (null)"),
        ("depends_on[1]", ["b", ""], f"{NAME}, found the string ''"),
        ("depends_on[0]", b"b", f"{NAME}, found the number 98"),
        ("deploy_timeout", "5", f"{DURATION}, found the string '5'"),
        ("deploy_timeout", float("nan"), f"{DURATION}, found the number nan"),
        ("deploy_timeout", float("inf"), f"{DURATION}, found the number inf"),
        ("deploy_timeout", 0, f"{DURATION}; it must be more than 0, found the number 0"),
        ("deploy_timeout", True, f"{DURATION}, found true"),
        ("undeploy_timeout", -1, f"{DURATION}, found the number -1"),
        ("undeploy_timeout", "0s", f"{DURATION}; it must be more than 0, found the string '0s'"),
        ("undeploy_timeout", [], f"{DURATION}, found a list"),
        ("retries", True, "expected a whole number, 0 or more, found true"),
        ("retries", -1, "expected a whole number, 0 or more, found the number -1"),
        ("retries", 1.0, "expected a whole number, 0 or more, found the number 1.0"),
        ("retries", "1", "expected a whole number, 0 or more, found the string '1'"),
        ("restarts", None, "expected a whole number, 0 or more, found nothing (null)"),
        ("restarts", -(10**40), "expected a whole number, 0 or more, found a very large number"),
    ],
)
def test_wrong_values(field: str, value: object, problem: str) -> None:
    """D4: never a TypeError or an AttributeError, and never later."""
    name = field.partition(".")[0].partition("[")[0]
    given: dict[str, Any] = {"name": "a", "type": "t"} | {name: value}
    with pytest.raises(InvalidConfigError) as caught:
        DeploymentConfig(**given)
    error = caught.value
    assert (error.field, error.setting) == (field, None)
    assert error.deployment_name == ("" if name == "name" else "a")
    who = "a deployment" if name == "name" else "deployment 'a'"
    assert str(error) == f"{who}, field '{field}': {problem}"
    assert isinstance(error, WorkflowDefinitionException)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((5,), f"a deployment, field 'wraps.deployment': {NAME}, found the number 5"),
        (("",), f"a deployment, field 'wraps.deployment': {NAME}, found the string ''"),
        (("b", 5), "a deployment, field 'wraps.service': expected a string, found the number 5"),
    ],
)
def test_wrong_wraps(given: tuple[Any, ...], message: str) -> None:
    """D4"""
    with pytest.raises(InvalidConfigError) as caught:
        WrapsConfig(*given)
    assert str(caught.value) == message


def test_a_keyboard_interrupt_is_not_a_problem() -> None:
    """D7"""
    with pytest.raises(KeyboardInterrupt):
        DeploymentConfig("a", "t", Broken(KeyboardInterrupt()))


def test_all_problems_of_a_field_are_told_to_those_who_ask() -> None:
    """D4: the file loader places each of them."""
    problems: list[Any] = []
    check_field("depends_on", ["a", 1, None], problems)
    assert [path for path, _ in problems] == [(1,), (2,)]
    problems = []
    check_field("wraps", {"service": 1, "x": 2}, problems)
    assert [path for path, _ in problems] == [(), ("service",), ("x",)]


def test_what_is_right_is_converted_for_those_who_ask() -> None:
    """D4: the values of a file are checked although they may be defaults."""
    problems: list[Any] = []
    given = {"retries": 0, "lazy": False, "depends_on": "b", "wraps": "b", "deploy_timeout": "2s", "config": {"x": [1]}}
    found = {field: check_field(field, value, problems) for field, value in given.items()}
    assert found == given | {"depends_on": ("b",), "wraps": WrapsConfig("b"), "deploy_timeout": 2.0}
    assert problems == []


@pytest.mark.parametrize("seconds", ["500ms", "0.5s", 0.5])
def test_durations_are_numbers_or_strings(seconds: float | str) -> None:
    """K2"""
    config = DeploymentConfig("a", "t", deploy_timeout=seconds, undeploy_timeout=seconds)
    assert config.deploy_timeout == config.undeploy_timeout == 0.5
    assert DeploymentConfig("a", "t", deploy_timeout=5).deploy_timeout == 5.0


def test_nothing_in_it_can_be_changed() -> None:
    """D4: a settings mapping that is changed in place goes unnoticed no more."""
    settings = {"list": [1, {"a": 1}], "mapping": {"b": [2]}, "set": {3}}
    names = ["b"]
    policy = {"p": [1]}
    config = DeploymentConfig("a", "t", settings, depends_on=names, scheduling_policy=policy)
    before = copy.deepcopy(config)
    settings["list"].append(2)  # type: ignore[attr-defined]
    settings["list"][1]["a"] = 2  # type: ignore[index]
    settings["mapping"]["b"].append(3)  # type: ignore[index]
    settings["set"].add(4)  # type: ignore[attr-defined]
    settings["new"] = 1
    names.append("c")
    policy["p"].append(2)
    assert config == before
    with pytest.raises(TypeError):
        config.config["new"] = 1  # type: ignore[index]
    with pytest.raises(TypeError):
        config.config["mapping"]["b"] = 1
    with pytest.raises(AttributeError):
        config.config["list"].append(1)
    with pytest.raises(AttributeError):
        config.config["set"].add(1)
    with pytest.raises(FrozenInstanceError):
        config.name = "b"  # type: ignore[misc]
    with pytest.raises(TypeError, match="unhashable"):
        hash(config)


def test_equality_is_by_value() -> None:
    """D4: what is a different definition, and what is not."""
    assert DeploymentConfig("a", "t", {"x": [1], "y": {"z": 1}}) == DeploymentConfig(
        "a", "t", {"y": {"z": 1}, "x": (1,)}
    )
    for change in ({"config": {"x": 1}}, {"lazy": False}, {"wraps": "b"}, {"restarts": 0}, {"scheduling_policy": None}):
        assert attrs.evolve(FULL, **change) != FULL
    assert FULL != "a"
    assert attrs.evolve(FULL) == FULL


def test_equality_of_the_same_object_looks_no_further() -> None:
    """Deploying the same definition again and again costs no comparison of its settings."""

    class Incomparable:
        __hash__ = None  # type: ignore[assignment]

        def __eq__(self, other: object) -> bool:
            raise AssertionError

        def __deepcopy__(self, memo: object) -> Incomparable:
            return self

    config = DeploymentConfig("a", "t", {"x": Incomparable()})
    assert config == config


class Array:
    """Compared item by item, as arrays are, with an error or without an answer that is true or false."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, error: BaseException, *, late: bool) -> None:
        self.error = error
        self.late = late

    def __eq__(self, other: object) -> Any:
        if not self.late:
            raise self.error
        return self

    def __bool__(self) -> bool:
        raise self.error

    def __deepcopy__(self, memo: object) -> Array:
        return Array(self.error, late=self.late)


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("error", [ValueError("ambiguous"), SystemExit(1)], ids=repr)
@pytest.mark.parametrize("field", ["config", "scheduling_policy"])
def test_what_cannot_be_compared_is_different(field: str, error: BaseException, late: bool) -> None:
    """D4, D7: and nothing else than the same object is equal to it."""
    one, other = (DeploymentConfig("a", "t", **{field: {"x": [Array(error, late=late)]}}) for _ in range(2))  # type: ignore[arg-type]
    assert one != other
    assert attrs.evolve(one) == one
    assert one.config == one.config
    if field == "config":
        assert one.config != other.config
    with pytest.raises(DifferentDefinitionError):
        DefaultDeploymentManager([one, other])


def test_an_interrupt_during_a_comparison_is_raised() -> None:
    """D7"""
    one, other = (DeploymentConfig("a", "t", {"x": Array(KeyboardInterrupt(), late=True)}) for _ in range(2))
    with pytest.raises(KeyboardInterrupt):
        _ = one == other


@pytest.mark.parametrize("config", [DeploymentConfig("a", "t"), FULL], ids=["plain", "full"])
def test_it_pickles_and_copies(config: DeploymentConfig) -> None:
    """D4"""
    pickled = [pickle.loads(pickle.dumps(config, n)) for n in range(pickle.HIGHEST_PROTOCOL + 1)]
    for found in [copy.copy(config), copy.deepcopy(config), *pickled]:
        assert found == config
        assert repr(found) == repr(config)
        assert found.config == config.config
        with pytest.raises(FrozenInstanceError):
            found.name = "b"


def test_it_reads_as_it_was_written() -> None:
    shown = repr(DeploymentConfig("a", "t", {"x": [1, {"y": 2}]}, wraps="b"))
    assert shown.startswith("DeploymentConfig(name='a', type='t', config={'x': (1, {'y': 2})}, external=False, ")
    assert "wraps=WrapsConfig(deployment='b', service=None)" in shown
