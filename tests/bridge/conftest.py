"""StreamFlow runs on asyncio only; without it only what has to be said about its absence is tested."""

from __future__ import annotations

import getpass
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest

from anydeploy.connectors.session import Session
from anydeploy.connectors.termination import Terminator

if find_spec("streamflow") is None:
    collect_ignore_glob = ["test_[!l]*.py", "test_life.py"]

#: Where Debian has sshd is not on everybody's path.
_PATH = os.pathsep.join([os.environ["PATH"], "/usr/sbin"])
_PATIENCE = 20.0

_SSHD = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {directory}/host
AuthorizedKeysFile {directory}/user.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
"""


@pytest.fixture(
    params=[
        pytest.param(("asyncio", {"use_uvloop": False}), id="asyncio"),
        pytest.param(("asyncio", {"use_uvloop": True}), id="asyncio+uvloop"),
    ]
)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, object]]:
    return request.param


@pytest.fixture
def rooms(monkeypatch: pytest.MonkeyPatch) -> None:
    """StreamFlow's type ``room``, as a plugin would register it."""
    from streamflow.deployment.connector import connector_classes

    from anydeploy.connectors import connector_type

    from .rooms import Room

    connector_type.cache_clear()
    monkeypatch.setitem(connector_classes, "room", Room)


@pytest.fixture
def directories(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """The directories that sessions and jobs may have made; none of them may be left."""
    from anydeploy.streamflow.bridge import clients, job

    made: list[Path] = []
    session = clients.LocationClients.session
    run = clients.LocationClients._run
    set_up = job.Job._call

    def opened(self: clients.LocationClients, name: str, terminator: Terminator) -> Session:
        made.extend(Path(base, name) for base in (tempfile.gettempdir(), "/tmp"))
        return session(self, name, terminator)

    async def ran(self: clients.LocationClients, script: str) -> tuple[str, int]:
        made.extend(map(Path, re.findall(r"/tmp/\.anydeploy-\w+", script)))
        return await run(self, script)

    async def called(self: job.Job, script: str, name: str, *words: str, stdin: str | None = None) -> object:
        made.append(Path.home() / name)
        return await set_up(self, script, name, *words, stdin=stdin)

    monkeypatch.setattr(clients.LocationClients, "session", opened)
    monkeypatch.setattr(clients.LocationClients, "_run", ran)
    monkeypatch.setattr(job.Job, "_call", called)
    yield made
    assert [path for path in made if path.exists()] == []


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, object]]:
    """The settings of StreamFlow's ssh for a server on the loopback interface that lives as long as the tests."""
    program, keygen = shutil.which("sshd", path=_PATH), shutil.which("ssh-keygen")
    if program is None or keygen is None:
        pytest.skip("openssh-server is not installed")
    directory = tmp_path_factory.mktemp("sshd")
    for name in ("host", "user"):
        subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", directory / name], check=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (directory / "config").write_text(_SSHD.format(port=port, directory=directory))
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    with (directory / "log").open("w") as log:
        server = subprocess.Popen(dying_with_us([program, "-D", "-e", "-f", directory / "config"]), stderr=log)
    try:
        _wait_for(port, server)
        yield {
            "nodes": [f"127.0.0.1:{port}"],
            "username": getpass.getuser(),
            "sshKey": str(directory / "user"),
            "checkHostKey": False,
            "retryDelay": 0,
        }
    finally:
        server.terminate()
        server.wait()


def dying_with_us(command: Sequence[str | Path]) -> list[str | Path]:
    """A command that is told to end when these tests do, even where nothing of them can run any more."""
    setpriv = shutil.which("setpriv")
    return [*([setpriv, "--pdeathsig", "TERM"] if setpriv else []), *command]


def _wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        assert server.poll() is None
        assert time.monotonic() < deadline
        try:
            with socket.create_connection(("127.0.0.1", port)):
                return
        except ConnectionRefusedError:
            time.sleep(0.02)
