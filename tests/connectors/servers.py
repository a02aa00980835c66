"""Real servers for the tests: each on a free port of the loopback interface, in a directory of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from attrs import define

#: Where Debian has sshd is not on everybody's path.
_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
_PATIENCE = 20.0

_SSHD = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {directory}/host
AuthorizedKeysFile {directory}/authorized
PidFile none
StrictModes no
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
MaxStartups 200
MaxSessions {max_sessions}
SetEnv HOME={directory}/home {environment}
"""

_CLIENT = """\
Host *
    IdentityFile {directory}/user
    IdentitiesOnly yes
    UserKnownHostsFile {directory}/known
    GlobalKnownHostsFile /dev/null
Host alias-of-the-server
    HostName 127.0.0.1
    Port {port}
"""


@define(eq=False)
class Sshd:
    """An sshd that runs.

    :ivar directory: its keys and logs
    """

    directory: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def node(self) -> str:
        return f"127.0.0.1:{self.port}"

    def settings(self, **others: Any) -> Mapping[str, Any]:
        """The settings of a connector that reaches it."""
        return {"nodes": [self.node], "sshConfig": str(self.directory / "client"), **others}

    def sessions(self) -> list[int]:
        """The processes of the server that serve one connection each."""
        done = subprocess.run(["ps", "-o", "pid=", "--ppid", str(self.process.pid)], capture_output=True, check=False)
        return [int(pid) for pid in done.stdout.split()]

    def drop(self, number: int = signal.SIGKILL) -> None:
        """Cut all connections, as a router that fails does; with SIGSTOP, freeze them."""
        for pid in self.sessions():
            with suppress(ProcessLookupError):
                os.kill(pid, number)


def lacks_sshd() -> str | None:
    """The reason why no sshd can be started here, if there is one."""
    missing = [name for name in ("sshd", "ssh", "ssh-keygen", "ps") if shutil.which(name, path=_PATH) is None]
    return f"not installed: {', '.join(missing)}" if missing else None


@contextmanager
def running_sshd(directory: Path, max_sessions: int = 10, environment: str = "") -> Iterator[Sshd]:
    """Start an sshd, and end it with all connections when the block is left.

    :param environment: a variable of the sessions
    """
    program = shutil.which("sshd", path=_PATH)
    assert program is not None
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / name], check=True)
    (directory / "home").mkdir()
    shutil.copy(directory / "user.pub", directory / "authorized")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    key = (directory / "host.pub").read_text().rsplit(" ", 1)[0]
    (directory / "known").write_text(f"[127.0.0.1]:{port} {key}\n")
    (directory / "client").write_text(_CLIENT.format(directory=directory, port=port))
    (directory / "config").write_text(
        _SSHD.format(directory=directory, port=port, max_sessions=max_sessions, environment=environment)
    )
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    with (directory / "log").open("w") as log:
        command = dying_with_us([program, "-D", "-e", "-f", directory / "config"])
        process = subprocess.Popen(command, stderr=log)
    server = Sshd(directory, port, process)
    try:
        _wait_for(server)
        yield server
    finally:
        sessions = server.sessions()
        process.terminate()
        process.wait()
        for pid in sessions:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def dying_with_us(command: Sequence[str | Path]) -> list[str | Path]:
    """A command that is told to end when these tests do, even where nothing of them can run any more."""
    setpriv = shutil.which("setpriv")
    return [*([setpriv, "--pdeathsig", "TERM"] if setpriv else []), *command]


def _wait_for(server: Sshd) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        assert server.process.poll() is None, (server.directory / "log").read_text()
        assert time.monotonic() < deadline
        try:
            with socket.create_connection(("127.0.0.1", server.port)):
                return
        except ConnectionRefusedError:
            time.sleep(0.02)
