"""From a document to definitions: rule D4 for everything that can be seen in a file, with its place."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import warnings
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from anydeploy import DeploymentConfig, InvalidConfigError, WrapsConfig
from anydeploy.definitions import Definitions
from anydeploy.file import FileError, FileWarning, load_file

from .files import DATA, TYPES, Host, load, load_deployments, problems, problems_in, setting


def test_a_streamflow_file_gives_its_deployments_and_nothing_else() -> None:
    """DESIGN 6: other sections are ignored; 5: the names of the keys, nothing is lazy that does not say so."""
    access = {"hostname": "login.example.org", "port": 22}
    assert load_file(DATA / "streamflow.yml", connector_types=TYPES) == {
        "login": DeploymentConfig("login", "host", access, external=True, lazy=True, workdir="/scratch/work"),
        "queue": DeploymentConfig(
            "queue",
            "layer",
            scheduling_policy="fair",
            workdir="/scratch/work",
            wraps=WrapsConfig("login"),
            deploy_timeout=120.0,
            undeploy_timeout=1.5,
            retries=3,
            restarts=2,
        ),
        "container": DeploymentConfig(
            "container",
            "layer",
            workdir="/scratch/work",
            wraps=WrapsConfig("queue", "builder"),
            depends_on=("data",),
        ),
        "data": DeploymentConfig("data", "host", access | {"hostname": "data.example.org"}, depends_on=("login",)),
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
    file.write_text("version: v1.0\nworkflow: {}\ndeployments:\n  " + "\n  ".join(lines))
    with pytest.warns(FileWarning) as caught:
        load_file(file, connector_types=TYPES)
    shown = [str(warning.message).removeprefix(str(file)) for warning in caught]
    assert [w.partition(" (expected")[0] for w in shown] == [
        ":2:1: unknown section 'workflow' is ignored; did you mean 'workflows'?",
        ":4:32: deployment 'a': unknown key 'workdirr' is ignored; did you mean 'workdir'?",
        ":4:68: deployment 'a': unknown key of 'wraps' 'servise' is ignored; did you mean 'service'?",
    ]
    assert {warning.filename for warning in caught} == {__file__}


def test_what_begins_with_x_is_the_users(file: Path) -> None:
    """DESIGN 6: no warning, which would be an error here."""
    lines = ["a: {<<: *base, x-note: 1, wraps: {deployment: b, x-why: y}}", "b: {type: host, config: {}}"]
    file.write_text("version: v1.0\nx-base: &base {type: layer, config: {}}\ndeployments:\n  " + "\n  ".join(lines))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(load_file(file, connector_types=TYPES)) == ["a", "b"]


def manager_problems(file: Path, text: str) -> list[str]:
    deployments = "deployments: {a: {type: host, config: {}}}"
    return problems(file, f"version: v1.0\n{deployments}\ndeploymentManager: {text}\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "{type: anydeploy, config: {max_concurrent: 1, retries: -1}}",
            [
                "3:63: 'deploymentManager': setting 'max_concurrent': unknown setting; did you mean 'maxConcurrent'?",
                "3:75: 'deploymentManager': setting 'retries': expected a whole number, 0 or more, found the number -1",
            ],
        ),
        (
            "{type: anydeploy, config: {maxConcurrent: nope}}",
            ["3:62: 'deploymentManager': setting 'maxConcurrent': expected a whole number, 1 or more, found the stri"],
        ),
        (
            "{type: anydeploy, config: {deployTimeout: 0, 1: 2}}",
            [
                "3:62: 'deploymentManager': setting 'deployTimeout': expected a duration",
                "3:68: 'deploymentManager': setting '1': unknown setting",
            ],
        ),
        ("{type: anydeploy, config: }", ["3:38: 'deploymentManager': expected a mapping of settings, found nothing"]),
        ("{type: anydeploy}", ["3:20: 'deploymentManager': the key 'config' is missing; expected a mapping"]),
    ],
)
def test_the_settings_of_our_deployment_manager(file: Path, text: str, expected: list[str]) -> None:
    """DESIGN 6: and of no other."""
    found = manager_problems(file, text)
    assert len(found) == len(expected)
    for line, start in zip(found, expected, strict=True):
        assert line.startswith(start)


@pytest.mark.parametrize(
    "text",
    [
        "{type: anydeploy, config: {}}",
        "{type: anydeploy, config: {maxConcurrent: 4, deployTimeout: 5m, undeployTimeout: 1.5, retries: 0}}",
        "{type: other, config: {max_concurrent: nope, x: !y z}}",
        "{config: {max_concurrent: nope}}",
        "5",
    ],
)
def test_right_settings_of_a_deployment_manager_and_those_of_others(file: Path, text: str) -> None:
    """DESIGN 6"""
    assert list(load(file, f"version: v1.0\ndeployments: {{}}\ndeploymentManager: {text}\n")) == []


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
        (10, 60, "fourth", "'dependsOn[2]': expected a name, a string that is not empty, found the number 5"),
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


def test_a_class_that_cannot_be_used(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule D4: what the manager refuses, the file does, too."""
    monkeypatch.setattr(Host, "asyncio_only", "no")
    (only,) = problems_in(file, "a: {type: host, config: {}}")
    assert only.startswith("3:13: deployment 'a': type 'host', class variable 'asyncio_only' of Host: expected true")


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
        "8:11: deployment 'a': setting 'argv[1]': expected a string, found the number 5",
        "10:12: deployment 'a': setting 'labels.b': expected a string, found a list",
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
        (["a: {type: 5, config: {}}"], ["3:13: deployment 'a': 'type': expected the type of a connector"]),
        (["a: {type: '', config: {}}"], ["3:13: deployment 'a': 'type': expected the type of a connector"]),
        (["a: {type: layer, config: {}, wraps: ''}"], ["3:39: deployment 'a': 'wraps': expected the name of a"]),
        (["a: {type: host, config: {}, dependsOn: ''}"], ["3:42: deployment 'a': 'dependsOn': expected the name of"]),
        (["a: {type: host, config: {}, dependsOn: ['']}"], ["3:43: deployment 'a': 'dependsOn[0]': expected a name"]),
        (
            ["a: {type: host, config: []}"],
            ["3:27: deployment 'a': 'config': expected a mapping of settings, found a list"],
        ),
        (
            ["a: {type: host, config: {1: 2}}"],
            ["3:31: deployment 'a': 'config[1]': the key is the number 1; expected a string"],
        ),
        (
            ["a: {type: layer, config: {}, wraps: {service: x}}"],
            ["3:39: deployment 'a': 'wraps': the key 'deployment' is"],
        ),
        (
            ["a: {type: layer, config: {}, wraps: {deployment: 5}}"],
            ["3:52: deployment 'a': 'wraps.deployment': expected a name"],
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
        (
            ["a: {type: host, config: {port: !!int x}}"],
            ["3:34: deployment 'a': this cannot be read as a YAML int: 'x'"],
        ),
        (
            ["a: {type: host, config: {anything: 2020-13-45}}"],
            ["3:38: deployment 'a': this cannot be read as a YAML timestamp: '2020-13-45'"],
        ),
        (["a: {type: host, config: {anything: !local x}}"], ["3:38: deployment 'a': the tag !local is not supported"]),
        (["a: &a {type: host, config: {}, <<: *a}"], ["3:6: deployment 'a': this value contains itself"]),
        (['"a\\n": {type: host, config: {}}'], ["3:3: the name 'a ' is not allowed"]),
        (['"": {type: host, config: {}}'], ["3:3: the name '' is not allowed"]),
        (['"a\\e[1m\\ud800": {type: host, config: {}}'], ["3:3: the name 'a\\x1b[1m\\ud800' is not allowed"]),
    ],
)
def test_what_is_wrong_with_a_deployment_is_said_in_one_line(file: Path, lines: list[str], expected: list[str]) -> None:
    """DESIGN 6."""
    found = problems_in(file, *lines)
    assert len(found) == len(expected)
    for line, start in zip(found, expected, strict=True):
        assert line.startswith(start)


@pytest.mark.parametrize(
    ("key", "field", "value"),
    [
        ("type", "type", 5),
        ("config", "config", [1]),
        ("config", "config", {1: 2}),
        ("external", "external", "no"),
        ("lazy", "lazy", 1),
        ("workdir", "workdir", 5),
        ("wraps", "wraps", 5),
        ("wraps", "wraps", {"service": "x"}),
        ("wraps", "wraps", {"deployment": 5}),
        ("dependsOn", "depends_on", 5),
        ("dependsOn", "depends_on", ["b", 5]),
        ("deployTimeout", "deploy_timeout", "5"),
        ("deployTimeout", "deploy_timeout", 0),
        ("undeployTimeout", "undeploy_timeout", -1),
        ("retries", "retries", True),
        ("restarts", "restarts", 1.5),
    ],
)
def test_a_file_is_told_what_python_is(file: Path, key: str, field: str, value: object) -> None:
    """Rule D4: the same checks, the same texts; the keys are those of the file."""
    with pytest.raises(InvalidConfigError) as refused:
        DeploymentConfig(**({"name": "a", "type": "layer"} | {field: value}))  # type: ignore[arg-type]
    given = {"type": "layer", "config": {}} | {key: value}
    text = StringIO()
    YAML(typ="safe", pure=True).dump({"version": "v1.0", "deployments": {"a": given}}, text)
    file.write_text(text.getvalue())
    with pytest.raises(FileError) as caught:
        load_file(file, connector_types=TYPES)
    told = str(refused.value).removeprefix("deployment 'a', field ").replace(field, key)
    assert told in [problem.message for problem in caught.value.problems]


@pytest.mark.parametrize("settings", [{"port": "22"}, {"labels": {"a": 5}}, {"sise": 5}, {"size": 0}, {"argv": "x"}])
def test_settings_of_a_file_are_checked_as_those_of_python(file: Path, settings: dict[str, Any]) -> None:
    """Rule D4"""
    with pytest.raises(InvalidConfigError) as refused:
        Definitions(TYPES, Path()).resolve([DeploymentConfig("a", "host", settings)], present=())
    (only,) = problems_in(file, f"a: {{type: host, config: {json.dumps(settings)}}}")
    assert only.endswith(str(refused.value).replace(", setting", ": setting"))


@pytest.mark.parametrize(
    ("type_", "settings", "setting"),
    [
        ("docker", {"image": "x"}, "containerId"),
        ("podman", {"image": "x"}, "containerId"),
        ("slurm", {"mode": "allocation"}, "services"),
        ("slurm", {"mode": "allocation", "services": {"s": {"jobName": "x"}, "t": {}}}, "services.t"),
    ],
)
def test_what_is_external_is_found_by_its_settings(
    file: Path, type_: str, settings: dict[str, Any], setting: str
) -> None:
    """Rules D4 and E1: the same definition is right where the environment is made."""
    definitions = Definitions({}, Path())
    with pytest.raises(InvalidConfigError) as refused:
        definitions.resolve([DeploymentConfig("a", type_, settings, external=True)], present=())
    assert refused.value.setting == setting
    given = f"type: {type_}, config: {json.dumps(settings)}"
    (only,) = problems_in(file, f"a: {{external: true, {given}}}")
    assert only.endswith(str(refused.value).replace(", setting", ": setting"))
    definitions.resolve([DeploymentConfig("a", type_, settings)], present=())
    load_deployments(file, f"a: {{external: false, {given}}}")


def test_every_separate_cycle_is_shown(file: Path) -> None:
    """Rule D4: the path, with the position of one of its edges."""
    pairs = [(0, 1), (1, 0), (2, 3), (3, 4), (4, 2)]
    lines = [f"d{a}: {{type: host, config: {{}}, dependsOn: d{b}}}" for a, b in pairs]
    assert [p.partition("; expected")[0] for p in problems_in(file, *lines)] == [
        "3:43: deployment 'd0': deployments depend on each other in a cycle: d0 -> d1 -> d0",
        "5:43: deployment 'd2': deployments depend on each other in a cycle: d2 -> d3 -> d4 -> d2",
    ]


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
    code = "import sys, anydeploy; assert 'ruamel.yaml' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
