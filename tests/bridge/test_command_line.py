"""``anydeploy`` on files with connector types of StreamFlow's, one of them out of a plugin, as a user has it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML

HERE = Path(__file__).parent
DEADLINE = 30.0

FILE = """\
version: v1.0
workflows: {}
deployments:
  host:
    type: streamflow:local
    config: {}
  site:
    type: room
    wraps: host
    workdir: /
    config: {log: log}
  db:
    type: process
    wraps: site
    config:
      command: [sh, -c, "trap 'echo bye; exit' TERM; echo up; while :; do sleep 0.05 & wait; done"]
      log: db.log
      ready: {log: up}
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """The directory of the file, with what pip would leave of an installed plugin beside it."""
    info = tmp_path / "site" / "rooms-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: rooms\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[unito.streamflow.plugin]\nrooms = plugin:RoomsPlugin\n")
    shutil.copy(HERE / "rooms.py", tmp_path / "site" / "rooms.py")
    (tmp_path / "site" / "plugin.py").write_text(
        "from streamflow.ext.plugin import StreamFlowPlugin\n"
        "from rooms import Room\n"
        "class RoomsPlugin(StreamFlowPlugin):\n"
        "    def register(self):\n"
        "        self.register_connector('room', Room)\n"
    )
    (tmp_path / "streamflow.yml").write_text(FILE)
    return tmp_path


@pytest.fixture
def start(site: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts ``anydeploy`` in the foreground of a session of its own; nothing that it has started may be left."""
    mark = f"MARK={site}"
    path = os.pathsep.join(filter(None, [str(site / "site"), os.environ.get("PYTHONPATH")]))

    def start(*args: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "anydeploy", *args],
            cwd=site,
            env={**os.environ, "PYTHONPATH": path, "MARK": str(site)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    yield start
    left = [pid for pid, environment in environments() if mark.encode() in environment]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left, "processes were left behind"


def environments() -> Iterator[tuple[int, list[bytes]]]:
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            if b"State:\tZ" not in (directory / "status").read_bytes():
                yield int(directory.name), (directory / "environ").read_bytes().split(b"\0")
        except OSError:
            pass


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def ended_well(site: Path) -> bool:
    log, db = (site / "log").read_text(), (site / "db.log").read_text()
    return log == "site deploy\nsite deployed\nsite undeploy\n" and db == "up\nbye\n"


def test_validate_and_plan(start, site: Path):
    done = start("validate", "streamflow.yml")
    assert done.communicate() == ("streamflow.yml: ok, 3 deployments\n", "")
    done = start("plan", "streamflow.yml", "--mermaid")
    assert "flowchart BT" in done.communicate()[0]


def test_run(start, site: Path):
    """Its streams, its status and its workdir are those of the command, on a stack of both kinds."""
    command = ["sh", "-c", "cat; pwd; echo $ROOMS; echo problem >&2; exit 7"]
    process = start("run", "-q", "streamflow.yml", "--on", "db", "--", *command)
    out, err = process.communicate("fed\n", timeout=DEADLINE)
    assert (process.returncode, out, err) == (7, "fed\n/\n/site\n", "problem\n")
    assert ended_well(site)


def test_a_program_that_is_not_there(start):
    process = start("run", "-q", "streamflow.yml", "--on", "site", "--", "no-such-program")
    _, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 127
    assert err == "error: `no-such-program` could not be started: no-such-program: there is no such program\n"


def test_output_that_is_longer_than_what_waits_on_the_way(start):
    process = start("run", "-q", "streamflow.yml", "--on", "site", "--", "head", "-c", "1000000", "/dev/zero")
    out, _ = process.communicate(timeout=DEADLINE)
    assert (process.returncode, len(out)) == (0, 1_000_000)


def test_output_that_nobody_reads_any_more(start):
    """As in a pipeline with `head`: the command is ended by SIGPIPE where it runs."""
    process = start("run", "-q", "streamflow.yml", "--on", "site", "--", "yes")
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "y\n"
        process.stdout.close()
        assert process.wait(DEADLINE) == 128 + signal.SIGPIPE


def test_no_location_to_run_at(start, site: Path):
    content = (site / "streamflow.yml").read_text()
    (site / "streamflow.yml").write_text(content.replace("log: log", "log: log, rooms: []"))
    process = start("run", "-q", "streamflow.yml", "--on", "site", "--", "true")
    _, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 1
    assert err == "error: deployment 'site': no location without the name of a service: it has none\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("to", ["the program", "its group, as a terminal does"])
def test_up_until_a_signal(start, site: Path, number: signal.Signals, to: str):
    process = start("up", "streamflow.yml")
    wait_for(lambda: (site / "db.log").exists() and "up" in (site / "db.log").read_text())
    assert process.stderr is not None
    while "ready: 3" not in process.stderr.readline():
        pass
    (os.kill if to == "the program" else os.killpg)(process.pid, number)
    process.communicate(timeout=DEADLINE)
    assert process.returncode == 128 + number
    assert ended_well(site)


@pytest.mark.parametrize("to", ["the program", "its group, as a terminal does"])
def test_a_command_gets_a_signal_and_may_end_by_itself(start, to: str):
    script = "trap 'echo int; exit 5' INT; echo here; while :; do sleep 0.05 & wait; done"
    process = start("run", "-q", "streamflow.yml", "--on", "site", "--", "sh", "-c", script)
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    (os.kill if to == "the program" else os.killpg)(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=DEADLINE)
    assert (out, process.returncode) == ("int\n", 5)


def test_a_second_signal_kills_it(start):
    script = "trap 'echo int' INT; echo here; while :; do sleep 0.05; done"
    process = start("run", "-q", "streamflow.yml", "--on", "site", "--", "sh", "-c", script)
    assert process.stdout is not None
    for line in ("here\n", "int\n"):
        assert process.stdout.readline() == line
        process.send_signal(signal.SIGINT)
    process.communicate(timeout=DEADLINE)
    assert process.returncode == 128 + signal.SIGINT


def test_when_it_has_been_killed_nothing_runs_any_more(start, site: Path):
    """The session sees the end of its input, and ends what it has started."""
    process = start("run", "-q", "streamflow.yml", "--on", "site", "--", "sh", "-c", "echo here; sleep 300")
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    process.kill()
    process.communicate(timeout=DEADLINE)
    mark = f"MARK={site}".encode()
    wait_for(lambda: not any(mark in environment for _, environment in environments()))


def test_a_signal_while_a_connector_is_deployed(start, site: Path):
    """Rule D6: StreamFlow's deploy is finished, and undone."""
    content = YAML(typ="safe").load(FILE)
    content["deployments"]["site"]["config"]["delay"] = 0.5
    with (site / "streamflow.yml").open("w") as file:
        YAML(typ="safe").dump(content, file)
    process = start("up", "streamflow.yml")
    wait_for((site / "log").exists)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=DEADLINE)
    assert process.returncode == 130
    assert (site / "log").read_text() == "site deploy\nsite deployed\nsite undeploy\n"


def test_trio_is_refused(start, site: Path):
    """Rule D4, with the remedy."""
    process = start("up", "--backend", "trio", "streamflow.yml")
    _, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 2
    assert "deployment 'host': type 'streamflow:local' works on asyncio only" in err
    assert "`--backend asyncio`" in err
    assert not (site / "log").exists()


def test_what_a_schema_refuses(start, site: Path):
    (site / "streamflow.yml").write_text(FILE.replace("log: log", "logs: log"))
    process = start("up", "streamflow.yml")
    _, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 2
    assert err.startswith("error: streamflow.yml:11:20: deployment 'site': setting 'logs': unknown setting; did you")
