"""The settings of StreamFlow's connectors: what their schemas refuse, and where it stands in a file."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from streamflow.deployment.connector import connector_classes

from anydeploy import DefaultDeploymentManager, DeploymentConfig, InvalidConfigError
from anydeploy.file import FileError, load_file
from anydeploy.streamflow.bridge.settings import check

FILE = """\
version: v1.0
deployments:
  box:
    type: streamflow:docker
    config:
      imag: debian
      env: HOME=/
  host:
    type: streamflow:ssh
    config:
      nodes:
        - hostname: one
        - username: two
      retries: lots
  queue:
    type: streamflow:slurm
    wraps: host
    config: {}
  here:
    type: streamflow:local
    wraps: host
    config: {transferBufferSize: 0}
"""


def test_every_problem_of_a_file_with_its_place(tmp_path: Path):
    path = tmp_path / "streamflow.yml"
    path.write_text(FILE)
    with pytest.raises(FileError) as caught:
        load_file(path)
    found = [str(problem).removeprefix(f"{path}:") for problem in caught.value.problems]
    box, host, here = "deployment 'box': setting ", "deployment 'host': setting ", "deployment 'here': "
    assert [re.sub(r" \(expected one of addHost.*| connector that wraps .*", "", line) for line in found] == [
        f"6:7: {box}'image': this setting is required",
        f"6:13: {box}'imag': unknown setting; did you mean 'image'?",
        f"7:12: {box}'env': expected a list, found 'HOME=/'",
        f"13:11: {host}'nodes[1].hostname': this setting is required",
        f"14:16: {host}'retries': expected an integer, found 'lots'",
        f"21:12: {here}type 'streamflow:local' cannot wrap another deployment; expected no 'wraps', or the type of a",
        f"22:34: {here}setting 'transferBufferSize': 0 is less than the minimum of 1",
    ]


@pytest.mark.parametrize(
    ("type_", "config"),
    [
        ("local", {}),
        ("docker", {"image": "debian", "env": ["A=b"], "transferBufferSize": 1024}),
        ("ssh", {"nodes": ["one", {"hostname": "two", "username": "me"}], "tunnel": {"hostname": "three"}}),
        ("slurm", {"services": {"gpu": {"partition": "gpu"}}, "maxConcurrentJobs": 3}),
        ("helm", {"chart": "stable/redis"}),
        ("kubernetes", {"files": ["a.yml"]}),
    ],
)
def test_what_is_right_is_accepted(type_: str, config: dict[str, Any]):
    assert list(check(connector_classes[type_], config)) == []


def test_the_file_in_the_documentation(tmp_path: Path):
    """The tests of the documentation run without streamflow, too."""
    page = Path(__file__).parents[2] / "docs" / "streamflow.md"
    ((text),) = re.findall(r"^```yml\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)
    path = tmp_path / "streamflow.yml"
    path.write_text(text)
    assert set(load_file(path)) == {"login", "box", "server"}


class Odd:
    """A class with a schema of its own."""

    schema: str = ""

    @classmethod
    def get_schema(cls) -> str:
        return cls.schema


@pytest.mark.parametrize("schema", ["", "{}"])
def test_without_a_schema_everything_is_accepted(monkeypatch: pytest.MonkeyPatch, schema: str):
    monkeypatch.setattr(Odd, "schema", schema)
    assert list(check(Odd, {"any": 1})) == []  # type: ignore[arg-type]


@pytest.mark.parametrize("schema", ["{", '{"$ref": "nowhere.json"}'])
def test_a_broken_schema_is_a_problem_and_no_crash(monkeypatch: pytest.MonkeyPatch, schema: str):
    monkeypatch.setattr(Odd, "schema", schema)
    ((keys, problem),) = check(Odd, {"any": 1})  # type: ignore[arg-type]
    assert keys == ()
    assert problem.startswith("the schema of StreamFlow's Odd cannot be used: ")


@pytest.mark.parametrize(
    ("part", "value", "keys", "problem"),
    [
        ({"enum": ["a", "b"]}, "c", ("x",), "expected one of ['a', 'b'], found 'c'"),
        ({"type": ["string", "null"]}, 5, ("x",), "expected a string or null, found 5"),
        ({"type": "string"}, {"a": "b" * 90}, ("x",), f"expected a string, found {{'a': '{'b' * 53}..."),
        (
            {"type": "object", "properties": {"known": {}}, "additionalProperties": False},
            {"knwon": 1},
            ("x", "knwon"),
            "unknown setting; did you mean 'known'?",
        ),
        ({"type": "object", "additionalProperties": False}, {"y": 1}, ("x", "y"), "unknown setting (there are none)"),
        ({"items": {"required": ["name"]}}, [{"name": 1}, {}], ("x", 1, "name"), "this setting is required"),
    ],
)
def test_problems(monkeypatch: pytest.MonkeyPatch, part: Any, value: Any, keys: tuple[Any, ...], problem: str):
    monkeypatch.setattr(Odd, "schema", json.dumps({"type": "object", "properties": {"x": part}}))
    assert list(check(Odd, {"x": value})) == [(keys, problem)]  # type: ignore[arg-type]


@pytest.mark.anyio
async def test_in_python_as_well():
    """Rule D4: before anything is deployed, and again."""
    configs = [
        DeploymentConfig("box", "streamflow:ssh", {"nodes": [{"username": "x"}]}, depends_on="other"),
        DeploymentConfig("other", "local"),
    ]
    async with DefaultDeploymentManager(configs) as manager:
        for _ in range(2):
            with pytest.raises(InvalidConfigError) as caught:
                await manager.deploy("box")
            assert str(caught.value) == "deployment 'box', setting 'nodes[0].hostname': this setting is required"
            assert caught.value.setting == "nodes[0].hostname"
            assert manager.get_connector("other") is None
