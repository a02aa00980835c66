"""The checks of rule D4: connector types, settings, and the parameters of a manager."""

from __future__ import annotations

import gc
import weakref
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from datetime import date
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, get_origin, get_type_hints

import anyio
import pytest
from attrs import Converter, define, evolve, field, fields
from attrs.validators import gt, instance_of

from anydeploy import (
    DefaultDeploymentManager,
    DeploymentConfig,
    InvalidConfigError,
    InvalidParameterError,
    WorkflowDefinitionException,
)
from anydeploy.checking import (
    Flags,
    check_parameters,
    check_settings,
    find_connector_type,
    flags_of,
    settings_of,
)
from anydeploy.connector import Connector, ConnectorWrapper
from anydeploy.connectors.command import CommandConnector
from anydeploy.connectors.local import LocalConnector
from anydeploy.connectors.process import ProcessConnector
from anydeploy.definitions import Definitions
from anydeploy.testing import unit
from anydeploy.typecheck import show_keys


def problems(connector_type: type[Connector], **settings: Any) -> dict[str, str]:
    return {show_keys(keys): problem for keys, problem in check_settings(connector_type, settings)}


def test_settings_have_the_names_of_a_definition():
    assert set(settings_of(LocalConnector)) == set()
    assert set(settings_of(ProcessConnector)) == {"command", "environment", "workdir", "log", "ready", "grace"}
    expected = {"deploy", "undeploy", "ready", "interval", "timeout", "run", "environment", "workdir", "grace"}
    assert set(settings_of(CommandConnector)) == expected


def test_unknown_and_missing():
    found = problems(ProcessConnector, comand=["x"])
    assert "did you mean 'command'" in found["comand"]
    assert "required" in found["command"]
    assert "takes no settings" in problems(LocalConnector, x=1)["x"]


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        (
            "command",
            "foo bar",
            "expected a list of strings, the program and its arguments, found the string 'foo bar'; as a l",
        ),
        ("command", [], "the program is missing"),
        ("command", ["sleep", 5], 'item 2 is the number 5; write it in quotes: "5"'),
        ("command", [date(2020, 1, 1)], "item 1 is the date 2020-01-01 (put it in quotes to make it a string)"),
        ("command", [True], "item 1 is true"),
        ("command", date(2020, 1, 1), "found the date 2020-01-01"),
        ("command", None, "expected a list of strings"),
        ("environment", {"A": 1}, "A is a number; write it in quotes"),
        ("environment", {"A": date(2020, 1, 1)}, "A is a date; write it in quotes"),
        ("environment", {"A=B": "1"}, "one has no name, or one with `=` in it"),
        ("environment", ["A"], "expected a mapping"),
        ("workdir", 3, "expected a path, found the number 3"),
        ("log", "", "expected a path, found the string ''"),
        ("grace", "soon", "expected a duration"),
        ("ready", "tcp", "expected a mapping with exactly one of tcp, http, log, command"),
        ("ready", {}, "got none of them"),
        ("ready", {"tcp": "a:1", "log": "x"}, "got tcp and log"),
        ("ready", {"tpc": "a:1"}, "did you mean 'tcp'"),
        ("ready", {"tcp": "8080"}, "expected host:port"),
        ("ready", {"tcp": "::1:80"}, "expected host:port"),
        ("ready", {"tcp": "a:70000"}, "expected host:port"),
        ("ready", {"tcp": 80}, "expected host:port, such as localhost:8080 or [::1]:8080, found the number 80"),
        ("ready", {"http": None}, "such as http://localhost:8080/health, found nothing (null)"),
        ("ready", date(2020, 1, 1), "and optionally interval and timeout, found the date 2020-01-01"),
        ("ready", {"tcp": "a:1", None: 1}, "unknown: nothing (null)"),
        ("ready", {"http": "localhost:80"}, "expected an address"),
        ("ready", {"http": "http://a:bad/"}, "expected an address"),
        ("ready", {"http": "http://a/\r\nX: y"}, "expected an address"),
        ("ready", {"log": "("}, "no regular expression"),
        ("ready", {"log": 1}, "expected a regular expression, found the number 1"),
        ("ready", {"command": "true"}, "expected a list"),
        ("ready", {"tcp": "a:1", "interval": 0}, "more than 0"),
        ("ready", {"tcp": "a:1", "timeout": "x"}, "expected a duration"),
    ],
)
def test_wrong_settings_of_process(setting, value, message):
    found = problems(ProcessConnector, **{"command": ["x"], setting: value})
    assert list(found) == [setting]
    assert message in found[setting]


@pytest.mark.parametrize("tcp", ["localhost:80", "[::1]:80", "127.0.0.1:1"])
def test_right_settings(tcp):
    assert not problems(ProcessConnector, command=["x"], log=None, workdir=None, grace="1m", ready={"tcp": tcp})
    assert not problems(CommandConnector, deploy=["x"], undeploy=["x"], run=["x"], ready=["x"], interval=1)


def test_wrong_settings_of_command_are_all_reported():
    found = problems(CommandConnector, deploy="x", undeploy=[1], run=[], ready={}, interval=0, timeout="?")
    assert set(found) == {"deploy", "undeploy", "run", "ready", "interval", "timeout"}


def test_converters_with_an_instance_and_validators():
    @define(kw_only=True, eq=False, slots=False)
    class Odd(ConnectorWrapper):
        size: int = field(
            converter=Converter(lambda v, i, f: int(v), takes_self=True, takes_field=True), validator=gt(2)
        )

    assert not problems(Odd, size="3")
    assert "2" in problems(Odd, size="1")["size"]


def test_a_validator_sees_the_fields_before_its_own():
    def more_than_low(instance: Any, _: object, value: int) -> None:
        if value <= instance.low:
            raise ValueError(f"more than {instance.low}, please")

    @define(kw_only=True, eq=False, slots=False)
    class Range(ConnectorWrapper):
        low: int = field(validator=instance_of(int))
        high: int = field(validator=more_than_low)

    assert problems(Range, low=1, high=2) == {}
    assert problems(Range, low=1, high=1) == {"high": "more than 1, please"}
    # Of the arguments that attrs gives to the exception, the first is the text.
    assert problems(Range, low="1")["low"].startswith("'low' must be <class 'int'> (got '1'")


def test_a_class_without_attrs_fields_is_checked_by_its_signature():
    class Plain(ConnectorWrapper):
        def __init__(self, deployment_name, config_dir, connector, port, host="x"):
            """Nothing."""

    assert set(problems(Plain, prt=1)) == {"prt", "port"}
    assert not problems(Plain, port=1)


@pytest.mark.parametrize("name", ["deployment_name", "config_dir", "connector", "service"])
def test_what_the_manager_gives_is_no_setting(name: str):
    """D4: it would come out as a TypeError when the connector is constructed."""

    class Open(ConnectorWrapper):
        def __init__(self, deployment_name, config_dir, connector, service=None, **settings):
            """Nothing."""

    assert problems(Open, anything=1) == {}
    assert problems(Open, **{name: 1}) == {name: "unknown setting (it is given by the manager)"}
    assert "unknown setting" in problems(ProcessConnector, command=["x"], **{name: 1})[name]


# -- Fields without converters and validators --------------------------------------------------------------------------


@define(kw_only=True, eq=False, slots=False)
class Typed(Connector):
    port: int
    labels: Mapping[str, str] = field(factory=dict)
    renamed: bool = field(default=False, alias="other")

    async def deploy(self, external: bool) -> None: ...

    async def undeploy(self, external: bool) -> None: ...


def test_plain_fields_have_their_types():
    """D4: Python callers are told what a file is told."""
    assert problems(Typed, port=1, labels={"a": "b"}, other=True) == {}
    assert problems(Typed, port="1", labels={"a": 1}, other=0) == {
        "port": "expected a whole number, found the string '1'",
        "labels.a": "expected a string, found the number 1",
        "other": "expected true or false, found the number 0",
    }


def test_an_annotation_that_cannot_be_evaluated_checks_nothing():
    @define(kw_only=True, eq=False, slots=False)
    class Odd(Typed):
        odd: "Nowhere" = None  # type: ignore[name-defined]  # noqa: F821, UP037

    assert problems(Odd, port="1", odd=1) == {}


def test_a_class_that_is_no_longer_needed_is_not_kept():
    """Scripted connectors are made anew for every script."""
    class_ = type("Passing", (Typed,), {})
    assert problems(class_, port="1")
    found = weakref.ref(class_)
    del class_
    gc.collect()
    assert found() is None


# -- Foreign code ------------------------------------------------------------------------------------------------------


def raising(error: BaseException) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail


ERRORS = [ValueError("no"), KeyError("k"), SystemExit(1), GeneratorExit()]


@pytest.mark.parametrize("error", ERRORS, ids=repr)
@pytest.mark.parametrize("what", ["converter", "validator"])
def test_whatever_a_field_raises_is_a_problem_of_the_setting(what: str, error: BaseException):
    """D7"""

    @define(kw_only=True, eq=False, slots=False)
    class Foreign(Typed):
        port: Any = field(default=1, **{what: raising(error)})
        size: int = 1

    text = "no" if isinstance(error, ValueError) else f"{type(error).__name__}" + (f": {error}" if str(error) else "")
    assert problems(Foreign, port=2, size="x") == {
        "port": text,
        "size": "expected a whole number, found the string 'x'",
    }


@pytest.mark.parametrize("error", [*ERRORS, TypeError("x")], ids=repr)
def test_whatever_check_config_raises_is_a_problem_of_the_definition(error: BaseException):
    """D7: at once, or while its problems are read."""

    def read(*_: Any) -> Iterator[Any]:
        yield ("port",), "wrong"
        raise error

    for check in (raising(error), read):
        class_ = type("Foreign", (Typed,), {"check_config": check})
        (problem,) = problems(class_, port=2).values()
        assert problem.startswith(f"the settings cannot be checked: {type(error).__name__}")


@pytest.mark.parametrize("answer", [5, "port", [5], [("port",)], [(5, "wrong")]])
def test_an_answer_of_check_config_that_is_none(answer: object):
    """D7"""
    class_ = type("Foreign", (Typed,), {"check_config": classmethod(lambda cls, config: answer)})
    assert next(iter(problems(class_, port=2).values())).startswith("the settings cannot be checked: ")


def test_check_external_is_asked_about_right_settings_of_what_is_external():
    """D4, and D7 for what it raises or answers."""

    def check(_: object, config: Mapping[str, Any]) -> Any:
        return [(("name",), "it is missing")] if config["port"] == 1 else config["port"]

    class_ = type("Foreign", (Typed,), {"check_external": classmethod(check)})
    assert check_settings(class_, {"port": 1}, external=True) == [(("name",), "it is missing")]
    assert check_settings(class_, {"port": 1}) == []
    assert list(problems(class_, port="1")) == ["port"]
    assert check_settings(class_, {"port": "1"}, external=True)[0][0] == ("port",)
    (problem,) = check_settings(class_, {"port": 5}, external=True)
    assert problem[1].startswith("the settings cannot be checked: TypeError")


def test_a_signature_that_cannot_be_read():
    """D7"""

    class Broken(Typed):
        def __init__(self) -> None:
            """Nothing."""

    Broken.__signature__ = 5  # type: ignore[attr-defined]
    assert problems(Broken)[""].startswith("the settings cannot be checked: TypeError: unexpected object 5")


def test_a_keyboard_interrupt_is_raised():
    """D7"""
    for members in ({"check_config": raising(KeyboardInterrupt())}, {}):
        class_ = define(kw_only=True, eq=False, slots=False)(
            type("Foreign", (Typed,), {"port": field(converter=raising(KeyboardInterrupt()))} | members)
        )
        with pytest.raises(KeyboardInterrupt):
            problems(class_, port=1)


# -- Connector types ---------------------------------------------------------------------------------------------------


class Types(Mapping[str, Any]):
    """Makes its classes on demand."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make

    def __getitem__(self, type_: str) -> Any:
        return self.make()

    def __iter__(self) -> Iterator[str]:
        raise AssertionError

    def __len__(self) -> int:
        return 1


def test_finding_a_type():
    assert find_connector_type("process", {}) is ProcessConnector
    assert find_connector_type("process", {"process": Typed}) is Typed
    with pytest.raises(
        WorkflowDefinitionException, match=r"^unknown type 'proces'; did you mean 'process'.*added by the"
    ):
        find_connector_type("proces", {"mine": Typed})


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: dict, "^type 't': expected a subclass of anydeploy.Connector, found the class dict$"),
        (lambda: 5, "^type 't': expected a subclass of anydeploy.Connector, found the number 5$"),
        (raising(OSError("no")), "^type 't' cannot be used: OSError: no$"),
        (raising(SystemExit(1)), "^type 't' cannot be used: SystemExit: 1$"),
    ],
)
def test_a_type_that_is_none(made: Callable[[], Any], message: str):
    """D4, D7: for mappings that make their classes on demand, as StreamFlow's registry does."""
    with pytest.raises(WorkflowDefinitionException, match=message):
        find_connector_type("t", Types(made))
    with pytest.raises(KeyboardInterrupt):
        find_connector_type("t", Types(raising(KeyboardInterrupt())))


@pytest.mark.parametrize("error", [RuntimeError("no"), SystemExit(1)], ids=repr)
@pytest.mark.parametrize("flag", [field.name for field in fields(Flags)])
def test_a_metaclass_that_fails(flag: str, error: BaseException):
    """D4, D7: connector classes are foreign code, and so are theirs."""
    meta = type("Meta", (type(Connector),), {flag: property(raising(error))})
    class_ = meta("Foreign", (Typed,), {})
    with pytest.raises(WorkflowDefinitionException, match=rf"^type 't' cannot be used: {type(error).__name__}: "):
        flags_of("t", class_)
    with pytest.raises(InvalidConfigError, match=r"^deployment 'a': type 't' cannot be used: "):
        Definitions({"t": class_}, Path()).resolve([DeploymentConfig("a", "t", {"port": 1})], present=())
    interrupted = type("Meta", (type(Connector),), {flag: property(raising(KeyboardInterrupt()))})("X", (Typed,), {})
    with pytest.raises(KeyboardInterrupt):
        flags_of("t", interrupted)


def test_flags_are_those_of_the_contract():
    hints = get_type_hints(Connector).items()
    variables = [name for name, hint in hints if get_origin(hint) is ClassVar]
    assert [field.name for field in fields(Flags)] == variables
    usual = Flags(interruptible=True, asyncio_only=False, stateful=False, keeps_place=True, finds_strays=False)
    assert flags_of("t", Typed) == usual
    assert flags_of("t", type("Stubborn", (Typed,), {"interruptible": False})) == evolve(usual, interruptible=False)


@pytest.mark.parametrize("flag", [field.name for field in fields(Flags)])
def test_a_flag_that_attrs_takes_for_a_setting(flag: str):
    """D4: it would be lost without a word, because attrs takes it from the class."""
    members = {flag: True, "__annotations__": {flag: bool}}
    class_ = define(kw_only=True, eq=False, slots=False)(type("Author", (Typed,), members))
    expected = f"type 't', class variable '{flag}' of Author: it is a setting; expected `{flag}: ClassVar[bool] = ...`"
    with pytest.raises(WorkflowDefinitionException) as caught:
        flags_of("t", class_)
    assert str(caught.value) == expected
    with pytest.raises(InvalidConfigError) as refused:
        Definitions({"t": class_}, Path()).resolve([DeploymentConfig("a", "t", {"port": 1})], present=())
    assert str(refused.value) == f"deployment 'a': {expected}"


@pytest.mark.parametrize("flag", [field.name for field in fields(Flags)])
@pytest.mark.parametrize("value", ["no", None, property(bool)])
def test_a_flag_that_is_neither_true_nor_false(flag: str, value: object):
    """D4"""
    class_ = type("Author", (Typed,), {flag: value})
    with pytest.raises(WorkflowDefinitionException, match=f"^type 't', class variable '{flag}' of Author: expected tr"):
        flags_of("t", class_)


# -- Parameters of a manager -------------------------------------------------------------------------------------------

DURATION = "expected a duration: seconds as a number, or a string with a unit such as 500ms, 2s, 2m or 1h"
NOTHING: dict[str, Any] = {
    "connector_types": None,
    "config_dir": None,
    "max_concurrent": None,
    "deploy_timeout": None,
    "undeploy_timeout": None,
    "shutdown_timeout": None,
    "on_event": None,
}


def test_right_parameters():
    """K2: durations are seconds or strings everywhere alike; None is no limit."""
    given = check_parameters((), **NOTHING)
    assert given.deployments == ()
    assert given.connector_types == {}
    assert given.config_dir == Path.cwd()
    limits = given.max_concurrent, given.deploy_timeout, given.undeploy_timeout, given.shutdown_timeout, given.on_event
    assert limits == (None,) * 5
    types = {"t": Typed}
    given = check_parameters(
        {"a": unit("a")},
        connector_types=types,
        config_dir="/x",
        max_concurrent=2,
        deploy_timeout="500ms",
        undeploy_timeout=5,
        shutdown_timeout="2m",
        on_event=print,
    )
    assert given.deployments == (unit("a"),)
    assert given.connector_types is types
    assert given.config_dir == Path("/x")
    limits = given.max_concurrent, given.deploy_timeout, given.undeploy_timeout, given.shutdown_timeout, given.on_event
    assert limits == (2, 0.5, 5, 120, print)
    assert check_parameters((), **NOTHING | {"max_concurrent": 1}).max_concurrent == 1
    assert check_parameters((unit(name) for name in "ab"), **NOTHING).deployments == (unit("a"), unit("b"))
    lazy_types = Types(dict)
    assert check_parameters((), **NOTHING | {"connector_types": lazy_types}).connector_types is lazy_types


async def listen(event: object) -> None: ...


async def listen_often(event: object) -> AsyncIterator[None]:
    yield


class Listener:
    async def __call__(self, event: object) -> None: ...


WRONG_PARAMETERS = [
    ("deployments", 5, "expected definitions, or a mapping of names to them, found the number 5"),
    ("deployments", None, "expected definitions, or a mapping of names to them, found nothing (null)"),
    ("deployments", "a", "expected definitions, or a mapping of names to them, found the string 'a'"),
    ("deployments", unit("a"), "expected definitions, or a mapping of names to them, found a value of type Deployme"),
    ("deployments[1]", [unit("a"), "b"], "expected a definition (DeploymentConfig), found the string 'b'"),
    ("deployments.a", {"a": {"type": "local"}}, "expected a definition (DeploymentConfig), found a mapping"),
    ("connector_types", [Typed], "expected a mapping of types to connector classes, found a list"),
    ("connector_types", {5: Typed}, "the number 5 is no type; expected a string"),
    ("connector_types.t", {"t": dict}, "expected a subclass of anydeploy.Connector, found the class dict"),
    ("connector_types.t", {"t": None}, "expected a subclass of anydeploy.Connector, found nothing (null)"),
    ("config_dir", 5, "expected the path of a directory, found the number 5"),
    ("config_dir", b"/x", "expected the path of a directory, found a value of type bytes"),
    ("max_concurrent", 0, "expected a whole number, 1 or more, or None for no limit, found the number 0"),
    ("max_concurrent", True, "expected a whole number, 1 or more, or None for no limit, found true"),
    ("max_concurrent", 2.0, "expected a whole number, 1 or more, or None for no limit, found the number 2.0"),
    ("max_concurrent", "2", "expected a whole number, 1 or more, or None for no limit, found the string '2'"),
    ("deploy_timeout", 0, f"{DURATION}; it must be more than 0, found the number 0 (None is no limit)"),
    ("deploy_timeout", "5", f"{DURATION}, found the string '5' (None is no limit)"),
    ("undeploy_timeout", "5", f"{DURATION}, found the string '5' (None is no limit)"),
    ("undeploy_timeout", float("nan"), f"{DURATION}, found the number nan (None is no limit)"),
    ("undeploy_timeout", False, f"{DURATION}, found false (None is no limit)"),
    ("shutdown_timeout", -1, f"{DURATION}, found the number -1 (None is no limit)"),
    ("shutdown_timeout", float("inf"), f"{DURATION}, found the number inf (None is no limit)"),
    ("on_event", 5, "expected a function that is not async, or None, found the number 5"),
    ("on_event", listen, "expected a function that is not async, or None, found an async function"),
    ("on_event", listen_often, "expected a function that is not async, or None, found an async function"),
    ("on_event", Listener(), "expected a function that is not async, or None, found an async function"),
    ("on_event", partial(listen), "expected a function that is not async, or None, found an async function"),
    ("on_event", partial(Listener()), "expected a function that is not async, or None, found an async function"),
]


@pytest.mark.parametrize(("parameter", "value", "problem"), WRONG_PARAMETERS)
def test_wrong_parameters(parameter: str, value: Any, problem: str):
    """D4: a limit of "5" or NaN meant that undeploy was never called."""
    name = parameter.partition("[")[0].partition(".")[0]
    with pytest.raises(InvalidParameterError) as caught:
        DefaultDeploymentManager(**{name: value})
    assert caught.value.parameter == parameter
    assert str(caught.value).startswith(f"deployment manager, parameter '{parameter}': {problem}")
    assert isinstance(caught.value, WorkflowDefinitionException)


class Broken(Mapping[Any, Any]):
    """A mapping, an iterable and a path that cannot be read."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __getitem__(self, key: object) -> Any:
        raise self.error

    def __iter__(self) -> Iterator[Any]:
        raise self.error

    def __len__(self) -> int:
        return 1

    def __fspath__(self) -> str:
        raise self.error


@pytest.mark.parametrize("error", [*ERRORS, RuntimeError("no")], ids=repr)
@pytest.mark.parametrize("parameter", ["deployments", "config_dir"])
def test_a_parameter_that_cannot_be_read(parameter: str, error: BaseException):
    """D4, D7: told as a definition tells it."""
    with pytest.raises(InvalidParameterError) as caught:
        DefaultDeploymentManager(**{parameter: Broken(error)})
    assert caught.value.parameter == parameter
    assert f"'{parameter}': cannot be read: {type(error).__name__}" in str(caught.value)
    assert caught.value.__cause__ is error
    with pytest.raises(KeyboardInterrupt):
        DefaultDeploymentManager(**{parameter: Broken(KeyboardInterrupt())})


@pytest.mark.anyio
async def test_names_that_cannot_be_read():
    """D4, D7"""
    async with DefaultDeploymentManager() as manager:
        with pytest.raises(
            WorkflowDefinitionException, match=r"^the names of deployments: cannot be read: OSError: no$"
        ):
            await manager.deploy_all(Broken(OSError("no")))
        with pytest.raises(KeyboardInterrupt):
            await manager.deploy_all(Broken(KeyboardInterrupt()))


def test_read_only_mappings_will_do():
    types = MappingProxyType({"t": Typed})
    manager = DefaultDeploymentManager(MappingProxyType({"a": unit("a")}), connector_types=types)
    assert list(manager.status()) == ["a"]


@pytest.mark.anyio
async def test_no_limit_for_the_shutdown():
    """M1: None is no limit, as for the other two."""
    gone = anyio.Event()

    class Slow(Typed):
        async def undeploy(self, external: bool) -> None:
            await anyio.sleep(0.01)
            gone.set()

    config = DeploymentConfig("a", "slow", {"port": 1})
    async with DefaultDeploymentManager([config], connector_types={"slow": Slow}, shutdown_timeout=None) as manager:
        await manager.deploy("a")
    assert gone.is_set()


@pytest.mark.anyio
@pytest.mark.parametrize("wanted", [5, None, [unit("a")]])
async def test_what_is_no_definition_is_refused(wanted: Any):
    """D4"""
    async with DefaultDeploymentManager() as manager:
        with pytest.raises(WorkflowDefinitionException, match=r"^expected a definition"):
            await manager.deploy(wanted)
