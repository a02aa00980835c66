"""``run``: the command's input, output and exit status, and what signals do to it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from .terminal import COMMAND, DEADLINE, Terminal, wait_for_marked

Write = Callable[[str], Path]
Open = Callable[..., Terminal]
Anydeploy = Callable[..., subprocess.CompletedProcess[str]]

ONE = """
  db: {{type: process, workdir: {1}, config: {{command: [sleep, '{0}']}}}}
"""


@pytest.fixture
def path(write: Write, tmp_path: Path, marker: str) -> str:
    (tmp_path / "inside").mkdir()
    return str(write(ONE.format(marker, tmp_path / "inside")))


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_streams_and_status_are_those_of_the_command(anydeploy: Anydeploy, path: str, backend: str) -> None:
    command = ["sh", "-c", "cat; echo problem >&2; exit 7"]
    result = anydeploy("run", "--backend", backend, path, "--", *command, stdin="fed\n")
    assert result.returncode == 7
    assert result.stdout == "fed\n"
    assert "problem\n" in result.stderr
    assert "db (process): live" in result.stderr
    assert "db (process): absent" in result.stderr


def test_death_by_a_signal_is_128_and_its_number(anydeploy: Anydeploy, path: str) -> None:
    assert anydeploy("run", path, "--", "sh", "-c", "kill -USR1 $$").returncode == 128 + signal.SIGUSR1


def test_runs_here_or_on_a_deployment(anydeploy: Anydeploy, path: str, tmp_path: Path) -> None:
    assert anydeploy("run", "-q", path, "--", "pwd").stdout == f"{tmp_path}\n"
    result = anydeploy("run", "-q", path, "--on", "db", "--", "pwd")
    assert result.stdout == f"{tmp_path / 'inside'}\n"
    assert not result.stderr


HOTEL = """
import attrs
from anydeploy import ConnectorWrapper, WorkflowExecutionException

@attrs.define(kw_only=True, eq=False, slots=False)
class Hotel(ConnectorWrapper):
    rooms: list[str] | None = None

    @classmethod
    def services_of(cls, config):
        return config.get("rooms")

    def transform(self, command):
        if command.service not in (None, "attic", "suite"):
            raise WorkflowExecutionException(f"there is no room '{command.service}'")
        return attrs.evolve(command, environment={"ROOM": command.service or "suite"})
"""


@pytest.fixture
def hotel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The type ``hotel`` of an installed package, with services that are known before or not."""
    info = tmp_path / "site" / "hotel-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hotel\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[anydeploy.connectors]\nhotel = hotel:Hotel\n")
    (info.parent / "hotel.py").write_text(HOTEL)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(info.parent), os.environ.get("PYTHONPATH", "")]))


@pytest.mark.usefixtures("hotel")
@pytest.mark.parametrize("config", ["{rooms: [suite, attic]}", "{}"])
def test_runs_in_a_service(write: Write, anydeploy: Anydeploy, config: str, tmp_path: Path) -> None:
    path = str(write(f"  inn: {{type: hotel, workdir: {tmp_path}, config: {config}}}\n"))
    for on, room in (("inn", "suite"), ("inn/suite", "suite"), ("inn/attic", "attic")):
        result = anydeploy("run", "-q", path, "--on", on, "--", "sh", "-c", "echo $ROOM; pwd; exit 3")
        assert (result.returncode, result.stdout, result.stderr) == (3, f"{room}\n{tmp_path}\n", "")


@pytest.mark.usefixtures("hotel")
def test_a_service_that_is_not_there(write: Write, anydeploy: Anydeploy) -> None:
    """Nothing is deployed if that is known before; otherwise the command is not run, and everything goes down."""
    path = str(write("  inn: {type: hotel, config: {rooms: [suite, attic]}}\n"))
    result = anydeploy("run", path, "--on", "inn/atic", "--", "echo", "run")
    error = "error: deployment 'inn' has no service 'atic'; did you mean 'attic'? (expected one of suite, attic)\n"
    assert (result.returncode, result.stdout, result.stderr) == (2, "", error)
    path = str(write("  inn: {type: hotel, config: {}}\n"))
    result = anydeploy("run", path, "--on", "inn/atic", "--", "echo", "run")
    assert (result.returncode, result.stdout) == (1, "")
    assert "error: there is no room 'atic'\n" in result.stderr
    assert result.stderr.endswith("inn (hotel): absent\neverything is down\n")


def test_what_connectors_have_to_say_is_shown(write: Write, anydeploy: Anydeploy) -> None:
    """A log that cannot be written is no failure, but worth knowing."""
    config = '{command: [sh, -c, "echo up; exec sleep 1000"], log: /dev/full, ready: {log: up}}'
    path = str(write(f"  server: {{type: process, config: {config}}}\n"))
    said = "the log /dev/full is given up: "
    for option, is_said in (("-v", True), ("-q", False)):
        assert (said in anydeploy("run", option, path, "--on", "server", "--", "true").stderr) == is_said


def test_a_program_that_does_not_exist(anydeploy: Anydeploy, path: str) -> None:
    result = anydeploy("run", "-q", path, "--", "no-such-program")
    assert result.returncode == 127
    assert result.stderr == "error: `no-such-program` could not be started: no-such-program: there is no such program\n"


def test_the_command_gets_a_signal_and_may_end_by_itself(open_terminal: Open, path: str) -> None:
    script = "trap 'echo bye; exit 5' INT; echo here; while :; do sleep 0.05; done"
    terminal = open_terminal("run", path, "--", "sh", "-c", script)
    terminal.wait_for("here")
    terminal.press()
    assert terminal.end() == 5
    assert "bye" in terminal.text


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_command_that_dies_of_the_signal(open_terminal: Open, path: str, backend: str, marker: str) -> None:
    terminal = open_terminal("run", "--backend", backend, path, "--", "sh", "-c", f"echo here; exec sleep {marker}")
    terminal.wait_for("here")
    terminal.press()
    assert terminal.end() == 130


def test_a_second_ctrl_c_kills_the_command(open_terminal: Open, path: str, marker: str) -> None:
    script = f"trap '' INT TERM; echo here; sleep {marker}; sleep {marker}"
    terminal = open_terminal("run", path, "--", "sh", "-c", script)
    terminal.wait_for("here")
    terminal.press()
    terminal.wait_for("passed on to the command")
    terminal.press()
    assert terminal.end() == 130


def test_a_lost_deployment_does_not_stop_the_command(write: Write, open_terminal: Open, marker: str) -> None:
    path = write("  db: {type: process, config: {command: [cat, go], ready: {log: up}}}\n")
    os.mkfifo(path.with_name("go"))
    keeper = os.open(path.with_name("go"), os.O_RDWR)
    os.write(keeper, b"up\n")
    terminal = open_terminal("run", str(path), "--", "sh", "-c", "echo here; read line; exit 9")
    try:
        terminal.wait_for("here")
        os.close(keeper)
        terminal.wait_for("was lost")
    finally:
        os.write(terminal.master, b"go on\n")
    assert terminal.end() == 9


def test_a_failing_deployment_runs_no_command(write: Write, anydeploy: Anydeploy) -> None:
    path = write("  bad: {type: command, config: {deploy: ['false']}}\n")
    result = anydeploy("run", str(path), "--", "echo", "run")
    assert (result.returncode, result.stdout) == (1, "")
    assert "deployment 'bad' (command) failed to deploy" in result.stderr


def test_json_lines_of_up(path: str, marker: str) -> None:
    with subprocess.Popen([*COMMAND, "up", "--json", path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        records = []
        for line in process.stdout:
            records.append(json.loads(line))
            if records[-1]["event"] == "ready":
                wait_for_marked(marker)
                process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE) == 143
    events = [(record["name"], record["state"], record["step"]) for record in records if record["event"] == "state"]
    assert events == [
        ("db", "deploying", "demanded"),
        ("db", "deploying", "begun"),
        ("db", "live", "deployed"),
        ("db", "undeploying", "released"),
        ("db", "absent", "undeployed"),
    ]
    assert records[-1]["event"] == "end"
    assert records[-1]["status"] == 143


def test_a_reader_that_goes_away_ends_it(path: str) -> None:
    with subprocess.Popen(
        [*COMMAND, "up", "--json", path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(DEADLINE) == 128 + signal.SIGPIPE
