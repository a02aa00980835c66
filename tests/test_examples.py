"""Every example comes up and goes down for real, and leaves no process and no port behind."""

from __future__ import annotations

import os
import runpy
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import anyio
import attrs
import pytest

from anydeploy import DefaultDeploymentManager, DeploymentState
from anydeploy.file import load_file

EXAMPLES = Path(__file__).parents[1] / "examples"
#: Those need servers; `tests/connectors` has them.
WITH_SERVERS = {"docker.yml", "layers.yml", "podman.yml", "services.yml", "slurm.yml", "ssh.yml"}
FILES = sorted(path for path in EXAMPLES.glob("*.yml") if path.name not in WITH_SERVERS)
PROGRAMS = sorted(EXAMPLES.glob("*.py"))
PORT = 38471


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path: Path, alone: None, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The programs of an example, and theirs, carry a mark in their environment by which they can be found."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("ANYDEPLOY_TEST", str(tmp_path))
    # The examples say python3: let that be the Python that runs the tests.
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    assert not is_open(PORT), f"port {PORT} is taken: something else runs on this machine"
    yield
    assert processes_with(f"ANYDEPLOY_TEST={tmp_path}") == []
    assert not is_open(PORT)
    assert list(tmp_path.iterdir()) == []


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def processes_with(mark: str) -> list[int]:
    """All processes but this one that have inherited a mark; nothing where there is no /proc."""
    found: list[int] = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            variables = (directory / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if mark.encode() in variables and int(directory.name) != os.getpid():
            found.append(int(directory.name))
    return found


def fetch(path: str) -> bytes:
    with socket.create_connection(("127.0.0.1", PORT), timeout=5) as connection:
        connection.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        answer = bytearray()
        while chunk := connection.recv(4096):
            answer += chunk
    return bytes(answer)


@pytest.mark.anyio
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
async def test_file_up_and_down(path: Path):
    definitions = [attrs.evolve(definition, lazy=False) for definition in load_file(path).values()]
    async with DefaultDeploymentManager(definitions, config_dir=path.parent) as manager:
        await manager.deploy_all()
        assert {status.state for status in manager.status().values()} == {DeploymentState.LIVE}
        if path.name == "stack.yml":
            assert b"It works." in await anyio.to_thread.run_sync(fetch, "/")
            assert b" 200 " in await anyio.to_thread.run_sync(fetch, "/now.txt")
        await manager.undeploy_all()
        assert {status.state for status in manager.status().values()} == {DeploymentState.ABSENT}


@pytest.mark.parametrize("name", sorted(WITH_SERVERS))
@pytest.mark.parametrize("command", ["validate", "plan"])
def test_file_that_needs_servers(name: str, command: str):
    line = [sys.executable, "-m", "anydeploy", command, str(EXAMPLES / name)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert all(deployment in done.stdout for deployment in (load_file(EXAMPLES / name) if command == "plan" else ()))


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.name)
def test_program(path: Path, backend: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    run = anyio.run
    monkeypatch.setattr(anyio, "run", lambda main: run(main, backend=backend))
    runpy.run_path(str(path), run_name="__main__")
    assert capsys.readouterr().out.strip()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_up_until_interrupted(path: Path, backend: str):
    command = [sys.executable, "-m", "anydeploy", "up", str(path), "--backend", backend]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as up:
        wait_until_served(up)
        up.send_signal(signal.SIGINT)
        output, _ = up.communicate(timeout=60)
    assert up.returncode == 130, output.decode()
    assert b"Traceback" not in output


def wait_until_served(up: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while up.poll() is None and not is_open(PORT) and time.monotonic() < deadline:
        time.sleep(0.05)
