"""The meaning of the arguments, and the errors for wrong ones."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from inspect import signature
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from anydeploy import __version__
from anydeploy.cli.arguments import command

Write = Callable[[str], Path]

PLAN = """
  db: {type: process, config: {command: [sleep, '1']}}
  cache: {type: process, config: {command: [sleep, '1']}}
  end: {type: command, wraps: db, dependsOn: [cache], config: {}}
  grid: {type: slurm, config: {services: {main: {mem: 1G}}}}
  top: {type: command, wraps: {deployment: grid, service: main}, external: true, config: {}}
"""


# Before click 8.2 the two are one, unless told otherwise.
_APART = {"mix_stderr": False} if "mix_stderr" in signature(CliRunner).parameters else {}


def _invoke(*args: str | Path) -> Result:
    return CliRunner(**_APART).invoke(command, [str(arg) for arg in args], prog_name="anydeploy")


def test_validate_a_good_file(write: Write) -> None:
    result = _invoke("validate", write(PLAN))
    assert result.exit_code == 0
    assert result.stdout.endswith("streamflow.yml: ok, 5 deployments\n")


def test_validate_reports_everything_that_is_wrong(write: Write) -> None:
    path = write("  a: {type: proces, config: {}}\n  b: {type: command, wraps: nobody, config: {}}\n")
    result = _invoke("validate", path)
    assert result.exit_code == 2
    assert not result.stdout
    lines = result.stderr.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"error: {path}:3:")
    assert "proces" in lines[0]
    assert lines[1].startswith(f"error: {path}:4:")
    assert "nobody" in lines[1]


def test_warnings_are_lines_on_stderr(write: Write) -> None:
    result = _invoke("validate", write("  a: {type: command, config: {}, typo: 1}\n"))
    assert result.exit_code == 0
    assert result.stderr.startswith("warning: ")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("name", ["validate", "plan", "up"])
def test_a_file_that_is_not_there(name: str, tmp_path: Path) -> None:
    result = _invoke(name, tmp_path / "none.yml")
    assert result.exit_code == 2
    assert "none.yml: cannot be read: No such file or directory" in result.stderr


@pytest.mark.parametrize("args", [["validate"], ["plan"], ["plan", "--json"], ["up"], ["run"]])
@pytest.mark.parametrize("text", ["version: v1.0\n", "version: v1.0\ndeployments: {}\n"])
def test_a_file_without_deployments(tmp_path: Path, args: list[str], text: str) -> None:
    """`up` would stay until Ctrl-C, with nothing to take down."""
    path = tmp_path / "streamflow.yml"
    path.write_text(text)
    tail = ["--", "true"] if args[0] == "run" else []
    result = _invoke(*args, path, *tail)
    assert result.exit_code == 2
    expected = "it defines no deployments; expected at least one in the section 'deployments'"
    assert result.stderr == f"error: {path}: {expected}\n"
    assert not result.stdout


@pytest.mark.parametrize("args", [["plan"], ["up"], ["run", "--on"]])
def test_an_unknown_name(write: Write, args: list[str]) -> None:
    tail = ["--", "true"] if args[0] == "run" else []
    result = _invoke(args[0], write(PLAN), *args[1:], "cachee", *tail)
    assert result.exit_code == 2
    assert result.stderr == "error: there is no deployment 'cachee' in the file; did you mean 'cache'?\n"


def test_the_plan_as_a_table(write: Write) -> None:
    result = _invoke("plan", write(PLAN))
    assert result.exit_code == 0
    rows = [line.split() for line in result.stdout.splitlines()]
    assert ["1", "db", "process"] in rows
    assert ["2", "end", "command", "db", "cache"] in rows
    assert ["top", "command", "grid", "(main)", "external"] in rows
    assert "__LOCAL__" not in result.stdout


def test_the_plan_as_json(write: Write) -> None:
    plan = json.loads(_invoke("plan", write(PLAN), "end", "--json").stdout)
    assert plan["waves"] == [["db", "cache"], ["end"]]
    assert plan["teardown"] == [["end"], ["db", "cache"]]
    assert plan["deployments"]["end"]["dependsOn"] == ["cache"]
    assert plan["deployments"]["end"]["wraps"] == {"deployment": "db", "service": None}


def test_the_plan_as_graphs(write: Write) -> None:
    mermaid = _invoke("plan", write(PLAN), "--mermaid").stdout
    assert mermaid.startswith("flowchart BT\n")
    assert '  n2["end (command)"]\n' in mermaid
    assert "  n2 -->|wraps| n0\n  n2 --> n1\n" in mermaid
    dot = _invoke("plan", write(PLAN), "--dot").stdout
    assert dot.startswith("digraph plan {\n")
    assert '"end" -> "db" [label=wraps];' in dot


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["run", "FILE"], "COMMAND is missing"),
        (["run", "FILE", "--"], "COMMAND is missing"),
        (["run", "FILE", "--on", "grid/man", "--", "true"], "has no service 'man'; did you mean 'main'?"),
        (["run", "FILE", "--on", "db/main", "--", "true"], "deployment 'db' (type 'process') has no services"),
        (
            ["run", "FILE", "--on", "dd/main", "--", "true"],
            "there is no deployment 'dd' in the file",
        ),
        (["run", "FILE", "--on", "grid/", "--", "true"], "'grid/': the service is missing; expected NAME or NAME/SERV"),
        (["up", "FILE", "--timeout", "soon"], "expected a duration"),
        (["up", "FILE", "--timeout", "0"], "more than 0, found the number 0.0"),
        (["up", "FILE", "--max-concurrent", "0"], "0 is not in the range x>=1"),
        (["up", "FILE", "--backend", "curio"], "'curio' is not one of"),
        (["nothing"], "No such command 'nothing'"),
    ],
)
def test_misuse(write: Write, args: list[str], said: str) -> None:
    path = write(PLAN)
    result = _invoke(*(path if arg == "FILE" else arg for arg in args))
    assert result.exit_code == 2
    assert said in result.stderr


def test_version() -> None:
    assert _invoke("--version").stdout == f"anydeploy, version {__version__}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str) -> None:
    result = _invoke("completion", shell)
    assert result.exit_code == 0
    assert f"_ANYDEPLOY_COMPLETE={shell}_complete" in result.stdout


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("up FILE c", ["cache"]),
        ("run FILE --on ", ["db", "cache", "end", "grid", "grid/main", "top"]),
        ("run FILE db --on g", ["grid", "grid/main"]),
        ("run FILE --on grid/", ["grid/main"]),
        ("run FILE --on=grid/m", ["grid/main"]),
        ("run FILE --on top/", []),
        ("run nowhere --on g", []),
        ("run --on g", []),
    ],
)
def test_places_are_completed(write: Write, words: str, completed: list[str]) -> None:
    line = f"anydeploy {words.replace('FILE', str(write(PLAN)))}"
    env = {
        "_ANYDEPLOY_COMPLETE": "bash_complete",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words.split(" "))),
    }
    result = CliRunner(env=env).invoke(command, [], prog_name="anydeploy")
    assert result.stdout.split() == [f"plain,{word}" for word in completed]


def _python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_imports_nothing_slow(option: str) -> None:
    code = f"""
import sys
from anydeploy.cli import main
try:
    main(["{option}"])
except SystemExit as exc:
    sys.exit(exc.code or any(name.split(".")[0] in ("rich", "ruamel", "trio") for name in sys.modules))
"""
    result = _python(code)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("module", ["click", "rich", "ruamel.yaml"])
def test_a_dependency_that_is_missing(module: str, write: Write) -> None:
    code = f"""
import sys
sys.modules["{module}"] = None
from anydeploy.cli import main
sys.exit(main(["plan", {str(write(PLAN))!r}]))
"""
    result = _python(code)
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert "pip install 'anydeploy[cli]'" in result.stderr
    assert module in result.stderr


def test_a_pipe_that_is_closed(write: Write) -> None:
    many = "".join(f"  a{number}: {{type: command, config: {{}}}}\n" for number in range(2000))
    line = f"set -o pipefail; {sys.executable} -m anydeploy plan {write(many)} | head -1"
    result = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert result.stdout.startswith("wave")
    assert result.stderr == ""


@pytest.mark.parametrize("module", ["anydeploy.cli.arguments", "anydeploy.file", "trio"])
def test_ctrl_c_before_anything_is_started(module: str, write: Write) -> None:
    code = f"""
import os, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "{module}":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
from anydeploy.cli import main
sys.exit(main(["up", "--backend", "trio", {str(write(PLAN))!r}]))
"""
    result = _python(code)
    assert (result.returncode, result.stdout, result.stderr) == (130, "", "")
