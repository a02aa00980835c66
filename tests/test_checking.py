from __future__ import annotations

from typing import Any

import pytest
from attrs import Converter, define, field
from attrs.validators import gt

from anydeploy.checking import can_wrap, check_settings, settings_of, show_keys
from anydeploy.connector import Connector, ConnectorWrapper
from anydeploy.connectors.command import CommandConnector
from anydeploy.connectors.local import LocalConnector
from anydeploy.connectors.process import ProcessConnector


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
        ("command", "foo bar", "expected a list of strings, the program and its arguments, got 'foo bar'; as a list"),
        ("command", [], "the program is missing"),
        ("command", ["sleep", 5], 'item 2 is 5; write it in quotes: "5"'),
        ("command", None, "expected a list of strings"),
        ("environment", {"A": 1}, 'A is 1; write it in quotes: "1"'),
        ("environment", {"A=B": "1"}, "'A=B' is no name"),
        ("environment", ["A"], "expected a mapping"),
        ("workdir", 3, "expected a path, got 3"),
        ("log", "", "expected a path"),
        ("grace", "soon", "expected a duration"),
        ("ready", "tcp", "expected a mapping with exactly one of tcp, http, log, command"),
        ("ready", {}, "got none of them"),
        ("ready", {"tcp": "a:1", "log": "x"}, "got tcp and log"),
        ("ready", {"tpc": "a:1"}, "did you mean 'tcp'"),
        ("ready", {"tcp": "8080"}, "expected host:port"),
        ("ready", {"tcp": "::1:80"}, "expected host:port"),
        ("ready", {"tcp": "a:70000"}, "expected host:port"),
        ("ready", {"tcp": 80}, "expected host:port"),
        ("ready", {"http": "localhost:80"}, "expected an address"),
        ("ready", {"http": "http://a:bad/"}, "expected an address"),
        ("ready", {"http": "http://a/\r\nX: y"}, "expected an address"),
        ("ready", {"log": "("}, "no regular expression"),
        ("ready", {"log": 1}, "expected a regular expression"),
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


def test_a_class_without_attrs_fields_is_checked_by_its_signature():
    class Plain(ConnectorWrapper):
        def __init__(self, deployment_name, config_dir, connector, port, host="x"):
            """Nothing."""

    assert set(problems(Plain, prt=1)) == {"prt", "port"}
    assert not problems(Plain, port=1)
    assert can_wrap(Plain)
    assert not can_wrap(LocalConnector)
