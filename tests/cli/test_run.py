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
