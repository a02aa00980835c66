"""The file loader: DESIGN section 6, and rule D4 for everything that can be seen in a file."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import warnings
from collections.abc import Mapping
from io import StringIO
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import attrs
import pytest
from attrs import define, field
from attrs.validators import gt
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from anydeploy import Connector, ConnectorWrapper, DeploymentConfig, WorkflowDefinitionException, WrapsConfig
from anydeploy.file import MAX_BYTES, FileError, FileWarning, load_file

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


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "streamflow.yml"


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


# What a good file gives


def test_a_streamflow_file_gives_its_deployments_and_nothing_else() -> None:
    """DESIGN 6: other sections are ignored; 5: the names of the keys, the default of ``lazy`` in a file."""
    access = {"hostname": "login.example.org", "port": 22}
    assert load_file(DATA / "streamflow.yml", connector_types=TYPES) == {
        "login": DeploymentConfig("login", "host", access, external=True, lazy=False, workdir="/scratch/work"),
        "queue": DeploymentConfig(
            "queue",
            "layer",
            lazy=True,
            scheduling_policy="fair",
            workdir="/scratch/work",
            wraps=WrapsConfig("login"),
            deploy_timeout=120.0,
            undeploy_timeout=1.5,
            retries=3,
        ),
        "container": DeploymentConfig(
            "container",
            "layer",
            lazy=True,
            workdir="/scratch/work",
            wraps=WrapsConfig("queue", "builder"),
            depends_on=("data",),
        ),
        "data": DeploymentConfig(
            "data", "host", access | {"hostname": "data.example.org"}, lazy=True, depends_on=("login",)
        ),
    }


def test_the_order_is_that_of_the_file(file: Path) -> None:
    """DESIGN 6."""
    found = load_deployments(file, *(f"{name}: {{type: host, config: {{}}}}" for name in "zmaq"))
    assert list(found) == ["z", "m", "a", "q"]


def test_workdir_is_inherited_along_a_long_stack_but_not_along_depends_on(file: Path) -> None:
    """DESIGN 6: inherited along ``wraps``; 4: no recursion."""
    chain = [f"w{i}: {{type: layer, config: {{}}, wraps: w{i - 1}}}" for i in range(1, 1200)]
    ends = ["w0: {type: host, config: {}, workdir: /deep}", "x: {type: host, config: {}, dependsOn: w0}"]
    found = load_deployments(file, *reversed(chain), *ends)
    assert found["w1199"].workdir == "/deep"
    assert found["x"].workdir is None


@pytest.mark.parametrize("text", ["version: v1.0", "version: v1.0\ndeployments: {}", "{version: v1.0, workflows: {}}"])
def test_a_file_may_have_no_deployments(file: Path, text: str) -> None:
    """DESIGN 6: StreamFlow requires nothing but the version."""
    assert load(file, text) == {}


@pytest.mark.parametrize("deployments", ["", "deployments: {}\n"])
def test_models_is_the_deprecated_name(file: Path, deployments: str) -> None:
    """DESIGN 6: used, with a warning that has a position."""
    line = 3 if deployments else 2
    with pytest.warns(FileWarning, match=rf"streamflow.yml:{line}:1: 'models' is deprecated; expected 'deployments'"):
        found = load(file, f"version: v1.0\n{deployments}models:\n  a: {{type: host, config: {{}}}}\n")
    assert list(found) == ["a"]


def test_models_beside_deployments_are_ignored(file: Path) -> None:
    """DESIGN 6."""
    text = "version: v1.0\ndeployments: {a: {type: host, config: {}}}\nmodels: {b: 1}\n"
    with pytest.warns(FileWarning, match=":3:1: 'models' is ignored"):
        assert list(load(file, text)) == ["a"]


def test_unknown_keys_are_warned_of_with_the_nearest_known_one(file: Path) -> None:
    """DESIGN 6, at all three levels."""
    lines = [
        "a: {type: layer, config: {}, workdirr: x, wraps: {deployment: b, servise: c}}",
        "b: {type: host, config: {}}",
    ]
    with pytest.warns(FileWarning) as caught:
        load(file, "version: v1.0\nworkflow: {}\ndeployments:\n  " + "\n  ".join(lines))
    shown = [str(warning.message).removeprefix(str(file)) for warning in caught]
    assert [w.partition(" (expected")[0] for w in shown] == [
        ":2:1: unknown section 'workflow' is ignored; did you mean 'workflows'?",
        ":4:32: deployment 'a': unknown key 'workdirr' is ignored; did you mean 'workdir'?",
        ":4:68: deployment 'a': unknown key of 'wraps' 'servise' is ignored; did you mean 'service'?",
    ]
    assert {warning.filename for warning in caught} == {__file__}


def test_values_are_those_of_yaml_1_2(file: Path) -> None:
    """DESIGN 6: as StreamFlow's safe loader reads them."""
    text = (
        "{a: yes, b: on, c: 010, d: 0o10, e: 1_000, f: 1e3, g: ~, h: 2020-01-01, i: '1', j: TRUE, k: !!str 5, 8: 1.5}"
    )
    (found,) = load_deployments(file, f"x: {{type: host, config: {{anything: {text}}}}}").values()
    expected = YAML(typ="safe", pure=True).load(text)
    assert found.config["anything"] == expected
    assert list(map(type, found.config["anything"].values())) == list(map(type, expected.values()))
    assert (expected["a"], expected["c"], expected["d"]) == ("yes", 10, 8)


@pytest.mark.parametrize(
    "text",
    [
        "{<<: {a: 1, b: 2}, b: 3}",
        "{<<: [{a: 1, b: 1}, {b: 2, c: 2}], d: 4}",
        "{b: 3, <<: {<<: {a: 1, b: 0}, c: 5}}",
        "{'<<': 1}",
        "[&x {a: 1}, {<<: *x, b: 2}, *x]",
        "{=: 1, b: =}",
    ],
)
def test_merge_keys_do_what_ruamel_yaml_does(file: Path, text: str) -> None:
    """DESIGN 6."""
    (found,) = load_deployments(file, f"x: {{type: host, config: {{anything: {text}}}}}").values()
    plain = text.replace("b: =", "b: '='")
    assert found.config["anything"] == YAML(typ="safe", pure=True).load(plain)


# What is wrong, and where


def test_all_problems_come_at_once_each_with_its_place() -> None:
    """DESIGN 6: file, line, column, deployment, what was expected; all errors at once."""
    with pytest.warns(FileWarning), pytest.raises(FileError) as caught:
        load_file(DATA / "broken.yml", connector_types=TYPES)
    expected = [
        (1, 10, None, "unsupported version: expected v1.0, found the string 'v2.0'"),
        (5, 11, "first", "unknown type 'hosst'"),
        (8, 3, None, "the name 'Second' is not allowed; expected a lower-case letter"),
        (8, 3, "Second", "the key 'config' is missing; expected a mapping"),
        (9, 38, "third", "setting 'port': expected a whole number, found the string '22'"),
        (9, 52, "third", "setting 'colour': "),
        (9, 65, "third", "type 'host' cannot wrap another deployment; expected"),
        (9, 81, "third", "'retries': expected a whole number, 0 or more, found the string 'yes'"),
        (9, 92, "third", "'lazy': expected true or false, found the number 1"),
        (10, 46, "fourth", "deployments depend on each other in a cycle: fourth -> fifth -> fourth"),
        (10, 53, "fourth", "depends on 'forth', which is not defined; did you mean 'fourth'?; expected"),
        (10, 60, "fourth", "'dependsOn': expected a string, found the number 5"),
        (10, 79, "fourth", "'deployTimeout': expected a duration"),
        (11, 64, "fifth", "'external': expected true or false, found the string 'no'"),
        (11, 79, "fifth", "'workdir': expected a string, found the date 2020-01-01 (put it in quotes"),
        (12, 46, "sixth", "depends on itself; expected"),
        (12, 62, "sixth", "the tag !!python/object:os.system is not supported here; expected"),
        (13, 3, None, "duplicate key 'fifth', which stands on line 11 already; expected"),
        (14, 3, None, "the key is the number 1; expected a string"),
        (15, 12, "seventh", "this value contains itself, through an alias"),
    ]
    found = caught.value.problems
    assert [(p.position and (p.position.line, p.position.column), p.deployment) for p in found] == [
        ((line, column), name) for line, column, name, _ in expected
    ]
    for problem, (*_, start) in zip(found, expected, strict=True):
        assert problem.message.startswith(start)


def test_an_unknown_type_shows_the_known_ones(file: Path) -> None:
    """Rule D4."""
    (only,) = problems_in(file, "a: {type: sshh, config: {}}")
    assert only.startswith("3:13: deployment 'a': unknown type 'sshh'")
    assert "known types: " in only
    assert "local" in only
    assert "host, layer, needy" in only


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("port", '"5"', "expected a whole number, found the string '5'"),
        ("port", "true", "expected a whole number, found true"),
        ("port", "1.0", "expected a whole number, found the number 1.0"),
        ("factor", "true", "expected a number, found true"),
        ("verbose", "1", "expected true or false, found the number 1"),
        ("verbose", "yes", "expected true or false, found the string 'yes'"),
        ("hostname", "5", "expected a string, found the number 5"),
        ("hostname", "", "expected a string, found nothing (null)"),
        ("proxy", "5", "expected a string or null, found the number 5"),
        ("key", "1.5", "expected a string or a whole number, found the number 1.5"),
        ("mode", "slow", "expected one of 'fast', 'safe', found the string 'slow'"),
        ("labels", "[a]", "expected a mapping, found a list"),
        ("argv", "abc", "expected a list, found the string 'abc'"),
        ("argv", "{a: 1}", "expected a list, found a mapping"),
        ("pair", "[a]", "expected a list of 2, found one of 1"),
        ("size", "0", "'size' must be > 0"),
    ],
)
def test_settings_are_not_coerced(file: Path, name: str, value: str, expected: str) -> None:
    """DESIGN 4: the settings are the typed fields of the class; rule D4."""
    (only,) = setting(file, name, value)
    column = 28 + (len(f"{name}: ") if value else 0)
    assert only.startswith(f"3:{column}: deployment 'a': setting '{name}': ")
    assert expected in only


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("factor", "2"),
        ("proxy", "null"),
        ("key", "5"),
        ("mode", "safe"),
        ("labels", "{a: b}"),
        ("ports", "{8080: 80}"),
        ("argv", "[a, b]"),
        ("pair", "[a, 1]"),
        ("anything", "[1, {a: b}]"),
        ("home", "/root"),
    ],
)
def test_settings_of_the_right_type_are_taken_as_they_are(file: Path, name: str, value: str) -> None:
    """DESIGN 4."""
    (found,) = load_deployments(file, f"a: {{type: host, config: {{{name}: {value}}}}}").values()
    assert found.config == {name: YAML(typ="safe", pure=True).load(value)}


def test_a_problem_inside_a_setting_has_its_own_place(file: Path) -> None:
    """DESIGN 6."""
    found = problems_in(
        file, "a:", "  type: host", "  config:", "    argv:", "      - x", "      - 5", "    labels:", "      b: [1]"
    )
    assert found == [
        "8:11: deployment 'a': setting 'argv': expected a string, found the number 5",
        "10:12: deployment 'a': setting 'labels': expected a string, found a list",
    ]


def test_a_missing_setting_is_reported_where_the_settings_are(file: Path) -> None:
    """Rule D4."""
    assert problems_in(file, "a:", "  type: needy", "  config: {}") == [
        "5:13: deployment 'a': setting 'token': this setting is required"
    ]


def test_the_connectors_of_anydeploy_are_checked(file: Path) -> None:
    """Rule D4, with the real ones."""
    (only,) = problems_in(file, "a: {type: command, config: {deploy: 5}}")
    assert only.startswith("3:39: deployment 'a': setting 'deploy': ")


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (
            ["a: {}"],
            ["3:3: deployment 'a': the key 'type' is missing", "3:3: deployment 'a': the key 'config' is missing"],
        ),
        (["a:"], ["3:3: deployment 'a': expected a mapping with 'type' and 'config', found nothing (null)"]),
        (["a: [1]"], ["3:6: deployment 'a': expected a mapping"]),
        (["a: {type: 5, config: {}}"], ["3:13: deployment 'a': 'type': expected a string, found the number 5"]),
        (
            ["a: {type: host, config: []}"],
            ["3:27: deployment 'a': 'config': expected a mapping of settings, found a list"],
        ),
        (["a: {type: host, config: {1: 2}}"], ["3:31: deployment 'a': the key is the number 1; expected a string"]),
        (
            ["a: {type: layer, config: {}, wraps: {service: x}}"],
            ["3:39: deployment 'a': 'wraps': the key 'deployment' is"],
        ),
        (
            ["a: {type: layer, config: {}, wraps: {deployment: 5}}"],
            ["3:52: deployment 'a': 'wraps': expected a string"],
        ),
        (
            ["a: {type: layer, config: {}, wraps: }"],
            ["3:32: deployment 'a': 'wraps': expected the name of a deployment"],
        ),
        (["a: {type: layer, config: {}, wraps: b}"], ["3:39: deployment 'a': depends on 'b', which is not defined"]),
        (["a: {type: host, config: {}, dependsOn: {}}"], ["3:42: deployment 'a': 'dependsOn': expected the name of"]),
        (
            ["a: {type: host, config: {}, workdir: }"],
            ["3:31: deployment 'a': 'workdir': expected a string, found nothing"],
        ),
        (
            ["a: {type: host, config: {}, deployTimeout: 5x}"],
            ["3:46: deployment 'a': 'deployTimeout': expected a duration"],
        ),
        (["a: {type: host, config: {}, undeployTimeout: .nan}"], ["3:48: deployment 'a': 'undeployTimeout': expected"]),
        (
            ["a: {type: host, config: {}, retries: -1}"],
            ["3:40: deployment 'a': 'retries': expected a whole number, 0 or"],
        ),
        (["a: {type: host, config: {}, retries: true}"], ["3:40: deployment 'a': 'retries': expected a whole number"]),
        (["a: {type: host, config: {}, [1]: 2}"], ["3:31: deployment 'a': a list or mapping is used as a key"]),
        (["a: {type: host, config: {}, workdir: x, workdir: y}"], ["3:43: deployment 'a': duplicate key 'workdir'"]),
        (["a: {type: host, config: {}, <<: 5}"], ["3:35: deployment 'a': expected a mapping, or a list of mappings"]),
        (["a: {type: host, config: {port: !!int x}}"], ["3:34: deployment 'a': this cannot be read as a YAML int"]),
        (
            ["a: {type: host, config: {anything: 2020-13-45}}"],
            ["3:38: deployment 'a': this cannot be read as a YAML time"],
        ),
        (["a: {type: host, config: {anything: !local x}}"], ["3:38: deployment 'a': the tag !local is not supported"]),
        (["a: &a {type: host, config: {}, <<: *a}"], ["3:6: deployment 'a': this value contains itself"]),
        (['"a\\n": {type: host, config: {}}'], ["3:3: the name 'a ' is not allowed"]),
        (['"a\\e[1m\\ud800": {type: host, config: {}}'], ["3:3: the name 'a\\x1b[1m\\ud800' is not allowed"]),
    ],
)
def test_what_is_wrong_with_a_deployment_is_said_in_one_line(file: Path, lines: list[str], expected: list[str]) -> None:
    """DESIGN 6."""
    found = problems_in(file, *lines)
    assert len(found) == len(expected)
    for line, start in zip(found, expected, strict=True):
        assert line.startswith(start)


def test_every_separate_cycle_is_shown(file: Path) -> None:
    """Rule D4: the path, with the position of one of its edges."""
    pairs = [(0, 1), (1, 0), (2, 3), (3, 4), (4, 2)]
    lines = [f"d{a}: {{type: host, config: {{}}, dependsOn: d{b}}}" for a, b in pairs]
    assert [p.partition("; expected")[0] for p in problems_in(file, *lines)] == [
        "3:43: deployment 'd0': deployments depend on each other in a cycle: d0 -> d1 -> d0",
        "5:43: deployment 'd2': deployments depend on each other in a cycle: d2 -> d3 -> d4 -> d2",
    ]


# Input that is no such file at all


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", " is empty; expected a mapping with 'version' and 'deployments'"),
        ("# nothing\n", " is empty; expected"),
        ("null", "1:1: expected a mapping with 'version' and 'deployments', found nothing (null)"),
        ("- 1", "1:1: expected a mapping with 'version' and 'deployments', found a list"),
        ("text", "1:1: expected a mapping with 'version' and 'deployments', found the string 'text'"),
        ("{}", "1:1: the key 'version' is missing; expected 'version: v1.0'"),
        ("version: 1.0", "1:10: unsupported version: expected v1.0, found the number 1.0"),
        (
            "version: v1.0\ndeployments:\n",
            "2:1: 'deployments': expected a mapping of names to deployments, found nothing",
        ),
        (
            "version: v1.0\ndeployments: [a]",
            "2:14: 'deployments': expected a mapping of names to deployments, found a list",
        ),
        ("version: v1.0\n---\nversion: v1.0\n", "2:1: not valid YAML: expected a single document in the stream"),
        ("version: v1.0\n1: 2", "2:1: the key is the number 1; expected a string"),
        ("version: v1.0\nversion: v1.0", "2:1: duplicate key 'version', which stands on line 1 already"),
        ("version: v1.0\ndeployments: {a: [}", "2:"),
        ("version: v1.0\n\tx: 1", "2:"),
        ("a: *b", "1:4: not valid YAML: found undefined alias 'b'"),
        ("%YAML 1.7\n---\na: 1", ""),
        ('a: "\\UFFFFFFFF"', "1:"),
        (b"version: v1.0\n# caf\xe9\n", "2:6: the byte 0xe9 is not UTF-8; expected UTF-8 text"),
        ("version: v1.0".encode("utf-16"), "1:1: the byte 0xff is not UTF-8"),
        (b"version: v1.0\n\x00", "2:1: the character U+0000 is not allowed in YAML"),
        ("[" * 100_000, "1:"),
        ("- " * 5_000, "1:"),
        ("a: " + "{a: " * 100 + "}" * 100, "1:253: nested too deeply; expected at most 64 levels"),
        ("&r {<<: *r, version: v1.0}", "1:1: this value contains itself"),
    ],
)
def test_broken_input_gives_one_problem(file: Path, text: str | bytes, expected: str) -> None:
    """DESIGN 6: no input, however broken, shows a traceback."""
    found = problems(file, text)
    assert found[0].startswith(expected)
    assert len(found) == 1


@pytest.mark.parametrize(
    "name", ["directory", "fifo", "/dev/zero", "/dev/null", "missing", "file/x", "nul\0", "loop", "x" * 5000]
)
def test_what_is_no_regular_file_is_not_read(tmp_path: Path, name: str) -> None:
    """DESIGN 6: it neither blocks nor shows a traceback."""
    (tmp_path / "directory").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(FileError, match="cannot be read: ") as caught:
        load_file(str(tmp_path / name))
    assert len(caught.value.problems) == 1


def test_the_size_is_bounded(file: Path) -> None:
    """DESIGN 6."""
    assert problem(file, b"#" * (MAX_BYTES + 1)) == " is larger than the limit; expected at most 10 MiB"
    assert load(file, b"version: v1.0\n" + b"#" * (MAX_BYTES - 14)) == {}


def test_a_file_that_becomes_a_fifo_after_the_first_look_does_not_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DESIGN 6."""
    os.mkfifo(tmp_path / "fifo")
    regular = Path(__file__).stat()
    monkeypatch.setattr("anydeploy._document.os.stat", lambda path: regular)
    with pytest.raises(FileError, match="it is not a regular file"):
        load_file(tmp_path / "fifo")


def test_a_device_is_not_even_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """DESIGN 6: opening some has effects."""
    opened: list[object] = []
    monkeypatch.setattr("anydeploy._document.os.open", lambda path, flags: opened.append(path))
    with pytest.raises(FileError, match="it is not a regular file"):
        load_file("/dev/null")
    assert not opened


def test_an_anchor_may_be_used_again(file: Path) -> None:
    """DESIGN 6: as YAML has it; there is no warning of the library's own."""
    (found,) = load_deployments(file, "a: {type: host, config: {anything: [&x 1, *x, &x 2, *x]}}").values()
    assert found.config["anything"] == [1, 1, 2, 2]


def test_merging_the_same_mapping_again_and_again_is_bounded(file: Path) -> None:
    """DESIGN 6: linear time."""
    big = "{" + ", ".join(f"k{i}: 0" for i in range(2000)) + "}"
    lines = [f"x: &x {big}", f"y: {{<<: [{', '.join(['*x'] * 2000)}]}}"]
    (only,) = problems_in(
        file, "a:", "  type: host", "  config:", "    anything:", *(f"      {line}" for line in lines)
    )
    assert "too many values" in only


def _laughs(levels: int) -> list[str]:
    return ["x0: &x0 [1, 1]", *(f"x{i}: &x{i} [{', '.join([f'*x{i - 1}'] * 9)}]" for i in range(1, levels))]


def _merges(levels: int) -> list[str]:
    return ["x0: &x0 {k0: 0}", *(f"x{i}: &x{i} {{<<: *x{i - 1}, k{i}: 0}}" for i in range(1, levels))]


def _deep(levels: int) -> list[str]:
    return ["x0: &x0 [1]", *(f"x{i}: &x{i} [*x{i - 1}]" for i in range(1, levels))]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [(_laughs(40), "too many values"), (_merges(3000), "too many values"), (_deep(3000), "nested too deeply, through")],
    ids=["laughs", "merges", "deep"],
)
def test_aliases_cannot_blow_up(file: Path, lines: list[str], expected: str) -> None:
    """DESIGN 6: linear time and memory, and no recursion."""
    begin = time.process_time()
    (only,) = problems_in(
        file, "a:", "  type: host", "  config:", "    anything:", *(f"      {line}" for line in lines)
    )
    assert expected in only
    assert "deployment 'a'" in only
    assert time.process_time() - begin < 20


def test_a_chain_of_merges_outside_of_the_deployments_is_followed_without_recursion(file: Path) -> None:
    """DESIGN 4: no recursion."""
    chain = "\n".join(f"  x{i}: &x{i} {{<<: *x{i - 1}}}" for i in range(1, 1500))
    tail = "deployments: {<<: *x1499, b: {type: host, config: {}}}"
    text = f"version: v1.0\nworkflows:\n  x0: &x0 {{a: {{type: host, config: {{}}}}}}\n{chain}\n{tail}\n"
    assert sorted(load(file, text)) == ["a", "b"]


def test_the_same_alias_in_many_deployments_is_counted_every_time(file: Path) -> None:
    """DESIGN 6: what is done with the definitions is linear, too; the limit is reported once."""
    lines = [f"a: {{type: host, config: &c {{anything: [{', '.join('1' * 9_000)}]}}}}"]
    lines += [f"a{i}: {{type: host, config: *c}}" for i in range(200)]
    found = problems_in(file, *lines)
    assert len(found) == 1
    assert "too many values" in found[0]


# Fuzzing

FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates() | st.binary(max_size=5)
VALUES = st.recursive(
    SCALARS, lambda v: st.lists(v, max_size=4) | st.dictionaries(st.text() | st.integers(), v, max_size=4)
)
NAMES = st.sampled_from(["a", "b", "c", "A"])
DEPLOYMENTS = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["host", "layer", "needy", "local", "nothing"]) | VALUES,
        "config": st.dictionaries(st.sampled_from(sorted(attrs.fields_dict(Host))), VALUES, max_size=3) | VALUES,
        "wraps": NAMES | st.fixed_dictionaries({"deployment": NAMES}) | VALUES,
        "dependsOn": st.lists(NAMES) | VALUES,
        "deployTimeout": st.sampled_from(["5s", 1]) | VALUES,
        "retries": st.integers(0, 3) | VALUES,
        "lazy": VALUES,
        "workdir": st.text() | VALUES,
    },
)


def check_outcome(file: Path, data: bytes) -> None:
    file.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FileWarning)
        try:
            found = load_file(file, connector_types=TYPES)
        except FileError as exc:
            error = exc
        else:
            error = None
    if error is not None:
        assert error.problems
        assert len(str(error).split("\n")) == len(error.problems)
        str(error).encode()
    else:
        assert all(re.fullmatch("[a-z][a-zA-Z0-9._-]*", name) and d.name == name for name, d in found.items())


@FUZZ
@given(st.binary())
def test_fuzz_bytes(file: Path, data: bytes) -> None:
    """DESIGN 6: the outcome is a mapping or a FileError."""
    check_outcome(file, data)
    check_outcome(file, b"version: v1.0\ndeployments:\n  a: " + data)


@FUZZ
@given(st.text(st.sampled_from("ab: {}[]-\n\"'!&*<|>?#%@`,.0=~\t_") | st.characters(codec="utf-8")))
@example("0b_")
@example("{a: !!bool x}")
@example("!!binary é")
@example("0x" + "f" * 6000)
@example("9" * 6000)
@example("{retries: 0x" + "f" * 6000 + "}")
@example("{type: host, config: {port: -0x" + "f" * 6000 + "}, deployTimeout: 0x" + "f" * 6000 + "}")
@example("? {a: b}\n: c")
@example("!!set {a}")
@example("!!omap [a: 1]")
@example("!<tag:yaml.org,2002:map> x")
@example("! x")
def test_fuzz_text(file: Path, text: str) -> None:
    """DESIGN 6: likewise."""
    check_outcome(file, text.encode())
    check_outcome(file, b"version: v1.0\ndeployments:\n  a: " + text.encode())


@FUZZ
@given(VALUES | st.fixed_dictionaries({"version": st.just("v1.0"), "deployments": st.dictionaries(NAMES, DEPLOYMENTS)}))
def test_fuzz_values(file: Path, value: object) -> None:
    """DESIGN 6: likewise, for files that nearly are what they should be."""
    stream = StringIO()
    YAML(typ="safe", pure=True).dump(value, stream)
    check_outcome(file, stream.getvalue().encode("utf-8", "surrogatepass"))


# The package


def test_loading_takes_at_most_twice_what_the_yaml_takes(file: Path) -> None:
    """The price of positions and checks; three tries, because other programs run here too."""
    line = "{type: layer, config: {}, workdir: /x, deployTimeout: 2m, retries: 1, wraps: d%d}"
    lines = ["d0: {type: host, config: {}}", *(f"d{i}: {line % (i - 1)}" for i in range(1, 1000))]
    load_deployments(file, *lines)
    assert any(_ratio(file) <= 2 for _ in range(3))


def _ratio(file: Path) -> float:
    begin = time.process_time()
    YAML(typ="safe", pure=True).load(file.read_text())
    middle = time.process_time()
    load_file(file, connector_types=TYPES)
    return (time.process_time() - middle) / (middle - begin)


def test_the_loader_is_imported_only_where_it_is_used() -> None:
    """DESIGN 4: ``import anydeploy`` needs anyio and attrs only."""
    code = "import sys, anydeploy; assert not {'ruamel.yaml', 'cattrs'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("module", ["ruamel.yaml", "cattrs"])
def test_a_missing_library_is_explained(module: str) -> None:
    """DESIGN 4: the file loader is an extra."""
    code = f"import sys; sys.modules[{module!r}] = None; import anydeploy.file"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.stderr.splitlines()[-1].endswith("pip install 'anydeploy[file]'")
