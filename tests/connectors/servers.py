"""Real servers for the tests: each on a free port of the loopback interface, in a directory of its own."""

from __future__ import annotations

import io
import os
import shutil
import signal
import socket
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
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
{further}
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
def running_sshd(directory: Path, max_sessions: int = 10, environment: str = "", further: str = "") -> Iterator[Sshd]:
    """Start an sshd, and end it with all connections when the block is left.

    :param environment: a variable of the sessions
    :param further: a line of its configuration
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
        _SSHD.format(
            directory=directory, port=port, max_sessions=max_sessions, environment=environment, further=further
        )
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


# -- Containers --------------------------------------------------------------------------------------------------------

#: Where docker's client looks for its plugins.
_PLUGINS = tuple(
    Path(directory)
    for directory in (
        f"{os.environ.get('DOCKER_CONFIG', '~/.docker')}/cli-plugins",
        "/usr/local/lib/docker/cli-plugins",
        "/usr/local/libexec/docker/cli-plugins",
        "/usr/lib/docker/cli-plugins",
        "/usr/libexec/docker/cli-plugins",
    )
)

_CONTAINERS = """\
[containers]
netns = "host"
init_path = "{tini}"
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
tmp_dir = "{directory}/run/libpod"
"""

_STORAGE = """\
[storage]
driver = "vfs"
graphroot = "{directory}/storage"
runroot = "{directory}/run/storage"
"""


@define(eq=False)
class Engine:
    """A dockerd that runs, or a store of podman, with an image whose command is a shell.

    :ivar program: its client; ``variables``: those by which it finds the engine
    """

    directory: Path
    program: str
    image: str
    variables: Mapping[str, str]
    process: subprocess.Popen[bytes] | None = None

    def settings(self, **others: Any) -> dict[str, Any]:
        """The settings of a connector that makes a container here."""
        return {"image": self.image, "environment": dict(self.variables), "network": ["host"], **others}

    def __call__(self, *arguments: str | Path, stdin: bytes | None = None, check: bool = True) -> str:
        """Call the client."""
        command = [self.program, *arguments]
        environment = {**os.environ, **self.variables}
        done = subprocess.run(command, input=stdin, capture_output=True, env=environment, check=False)
        assert not check or done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().strip()

    def containers(self, *filters: str) -> list[str]:
        """The names of the containers that meet filters."""
        words = [word for each in filters for word in ("--filter", each)]
        return self("ps", "--all", "--format", "{{.Names}}", *words).split()

    def add_image(self, name: str, *changes: str, programs: Sequence[str] | None = None) -> str:
        """Make an image with busybox as the given programs; None: as all that it has."""
        arguments = [word for change in changes for word in ("--change", change)]
        self("import", *arguments, "-", name, stdin=_image(programs))
        return name


def lacks_docker() -> str | None:
    """The reason why no dockerd can be started here, if there is one."""
    missing = [name for name in ("dockerd", "docker", "runc", "busybox") if shutil.which(name, path=_PATH) is None]
    return f"not installed: {', '.join(missing)}" if missing else _lacks_root()


def lacks_podman() -> str | None:
    """The reason why podman cannot be tried here, if there is one."""
    names = ("podman", "runc", "tini-static", "busybox")
    missing = [name for name in names if shutil.which(name, path=_PATH) is None]
    return f"not installed: {', '.join(missing)}" if missing else _lacks_root()


def compose_plugin() -> Path | None:
    """The plugin of docker's client that is Compose v2."""
    found = (directory.expanduser() / "docker-compose" for directory in _PLUGINS)
    return next((path for path in found if path.exists()), None)


def lacks_compose() -> str | None:
    """The reason why Compose cannot be tried here, if there is one."""
    return lacks_docker() or (None if compose_plugin() is not None else "not installed: docker-compose, version 2")


def _lacks_root() -> str | None:
    return "only root can start it" if os.getuid() != 0 else None


@contextmanager
def running_dockerd(directory: Path) -> Iterator[Engine]:
    """Start a dockerd, and end it with all containers when the block is left."""
    path = {"PATH": _PATH}
    variables = {"DOCKER_HOST": f"unix://{directory}/docker.sock", "DOCKER_CONFIG": f"{directory}/client"}
    assert len(str(directory)) < 60, "the paths of its sockets have to be short"
    (directory / "client" / "cli-plugins").mkdir(parents=True)
    plugin = compose_plugin()
    if plugin is not None:
        (directory / "client" / "cli-plugins" / "docker-compose").symlink_to(plugin)
    program = shutil.which("dockerd", path=_PATH)
    assert program is not None
    paths = {"--data-root": "data", "--exec-root": "exec", "--pidfile": "pid"}
    options = [f"{name}={directory / path}" for name, path in paths.items()]
    options += ["--iptables=false", "--ip6tables=false", "--bridge=none", "--default-ulimit=nofile=1024:1024"]
    with (directory / "log").open("w") as log:
        command = dying_with_us([program, "--host", variables["DOCKER_HOST"], *options])
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **path}, start_new_session=True)
    engine = Engine(directory, "docker", "local/busybox:1", variables, process)
    try:
        _wait_until(
            lambda: engine("version", "--format", "{{.Server.Version}}", check=False), process, directory / "log"
        )
        engine.add_image(engine.image, 'CMD ["sh"]')
        yield engine
    finally:
        left = engine("ps", "--all", "--quiet", check=False).split()
        if left:
            engine("rm", "--force", "--volumes", *left, check=False)
        process.terminate()
        process.wait()
        _unmount_below(directory)


@contextmanager
def podman_store(directory: Path) -> Iterator[Engine]:
    """Make a store of podman, and remove all containers of it when the block is left."""
    tini = shutil.which("tini-static", path=_PATH)
    (directory / "containers.conf").write_text(_CONTAINERS.format(directory=directory, tini=tini))
    (directory / "storage.conf").write_text(_STORAGE.format(directory=directory))
    variables = {
        "CONTAINERS_CONF": str(directory / "containers.conf"),
        "CONTAINERS_STORAGE_CONF": str(directory / "storage.conf"),
    }
    engine = Engine(directory, "podman", "localhost/busybox:1", variables)
    engine.add_image(engine.image, 'CMD ["sh"]')
    try:
        yield engine
    finally:
        engine("rm", "--force", "--all", "--volumes", "--time", "0", check=False)
        _unmount_below(directory)


def _image(programs: Sequence[str] | None) -> bytes:
    """The archive of a root file system that is busybox."""
    busybox = shutil.which("busybox", path=_PATH)
    assert busybox is not None
    if programs is None:
        programs = subprocess.run([busybox, "--list"], capture_output=True, check=True).stdout.decode().split()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in ("bin", "dev", "etc", "proc", "root", "run", "sys", "tmp", "usr", "var", "var/tmp"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if name.endswith("tmp") else 0o755
            archive.addfile(entry)
        archive.add(busybox, "bin/.busybox")
        for name in programs:
            entry = tarfile.TarInfo(f"bin/{name}")
            entry.type, entry.linkname = tarfile.SYMTYPE, ".busybox"
            archive.addfile(entry)
        for name, text in (("passwd", b"root:x:0:0:root:/root:/bin/sh\n"), ("group", b"root:x:0:\n")):
            entry = tarfile.TarInfo(f"etc/{name}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text))
    return buffer.getvalue()


def _wait_until(answers: Callable[[], object], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not answers():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


def _unmount_below(directory: Path) -> None:
    points = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for point in sorted((each for each in points if each.startswith(f"{directory}/")), reverse=True):
        subprocess.run(["umount", "-l", point], capture_output=True, check=False)
