"""StreamFlow's docker, on anydeploy's local connector, with an image of a static busybox and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import DEVNULL

import anyio
import pytest

from anydeploy import Connector, DefaultDeploymentManager, DeployError, DeploymentConfig

from .conftest import dying_with_us

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("directories")]

_PATH = os.pathsep.join([os.environ["PATH"], "/usr/sbin"])
_PATIENCE = 30.0


def docker(*words: str, **options: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["docker", *words], capture_output=True, check=False, **options)  # type: ignore[call-overload]


@pytest.fixture(scope="session")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the daemon that runs, or else of one that lives as long as the tests."""
    if shutil.which("docker") is None:
        pytest.skip("docker is not installed")
    if docker("version").returncode == 0:
        yield os.environ.get("DOCKER_HOST", "")
        return
    program = shutil.which("dockerd", path=_PATH)
    if program is None or os.getuid() != 0:
        pytest.skip("no docker daemon runs, and none can be started")
    directory = Path(tempfile.mkdtemp(prefix="d", dir="/tmp"))
    address = f"unix://{directory}/socket"
    options = [f"--{name}-root={directory}/{name}" for name in ("data", "exec")]
    options += [f"--pidfile={directory}/pid", "--iptables=false", "--bridge=none", "--storage-driver=vfs"]
    with (directory / "log").open("w") as log:
        command = dying_with_us([program, "-H", address, *options])
        server = subprocess.Popen(command, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + _PATIENCE
        while docker("-H", address, "version").returncode != 0:
            if server.poll() is not None or time.monotonic() > deadline:
                pytest.skip(f"dockerd does not work here: {(directory / 'log').read_text()[-200:]}")
            time.sleep(0.1)
        yield address
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def image(daemon: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    busybox = shutil.which("busybox")
    if busybox is None or b"/ld-linux" in Path(busybox).read_bytes()[:4096]:
        pytest.skip("busybox-static is not installed")
    root = tmp_path_factory.mktemp("root")
    for name in ("bin", "tmp", "etc"):
        (root / name).mkdir()
    for applet in subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split():
        (root / "bin" / applet).symlink_to("busybox")
    (root / "bin" / "busybox").unlink(missing_ok=True)
    shutil.copy(busybox, root / "bin" / "busybox")
    environment = {**os.environ, **({"DOCKER_HOST": daemon} if daemon else {})}
    archive = subprocess.run(["tar", "-C", root, "-cf", "-", "."], capture_output=True, check=True).stdout
    done = docker("import", "-", "anydeploy-tests", input=archive, env=environment)
    assert done.returncode == 0, done.stderr
    yield "anydeploy-tests"
    docker("rmi", "anydeploy-tests", env=environment)


@pytest.fixture(autouse=True)
def clean(daemon: str, image: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No container may be left. The daemon removes them after they have been stopped, when it comes to it."""
    if daemon:
        monkeypatch.setenv("DOCKER_HOST", daemon)
    yield
    deadline = time.monotonic() + _PATIENCE
    while docker("ps", "-aq", "--filter", f"ancestor={image}").stdout:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@asynccontextmanager
async def deployed(image: str, *above: DeploymentConfig, **settings: object) -> AsyncIterator[Connector]:
    config = {"image": image, "network": ["none"], "command": ["sleep", "1000"], **settings}
    with anyio.fail_after(60):
        async with DefaultDeploymentManager([DeploymentConfig("box", "streamflow:docker", config), *above]) as manager:
            await manager.deploy_all()
            connector = manager.get_connector(above[-1].name if above else "box")
            assert connector is not None
            yield connector


async def test_run(image: str):
    above = DeploymentConfig("above", "command", {"environment": {"ABOVE": "yes"}}, wraps="box")
    script = 'printf "%s|" "$@"; pwd; echo "$OWN $ABOVE"; cat; echo err >&2; ls /; exit 3'
    async with deployed(image, above) as connector:
        done = await connector.run(
            ["sh", "-c", script, "sh", "a b", "*", "q'\"\\n\n$HOME"],
            environment={"OWN": "$(id) `x` 'y\""},
            workdir="/etc",
            stdin=b"in\0put\n",
            check=False,
        )
    (*lines,) = done.stdout.decode().splitlines()
    assert lines[:4] == ["a b|*|q'\"\\n", "$HOME|/etc", "$(id) `x` 'y\" yes", "in\0put"]
    assert set(lines[4:]) >= {"bin", "dev", "etc", "proc", "tmp"}
    assert (done.stderr, done.returncode) == (b"err\n", 3)


async def test_leaving_ends_what_runs_in_the_container(image: str):
    """Of that, ending the docker command here would end nothing."""
    stubborn = """sh -c 'trap "" TERM; echo $$; while :; do sleep 0.05; done' &"""
    script = f"sleep 300 & echo $$ $!; {stubborn} wait"
    async with deployed(image) as connector:
        async with connector.start(["sh", "-c", script], stdin=DEVNULL, grace=0.1) as process:
            assert process.stdout is not None
            pids: list[bytes] = []
            while len(pids) < 3:
                pids += (await process.stdout.receive()).split()
        for pid in pids:
            state = await connector.run(["sed", "-n", "s/^State:.//p", f"/proc/{pid.decode()}/status"], check=False)
            assert state.stdout[:1] in {b"", b"Z"}


async def test_copies(image: str, tmp_path: Path):
    (tmp_path / "file").write_bytes(os.urandom(200_000))
    here = DeploymentConfig("here", "local")
    async with deployed(image) as connector, DefaultDeploymentManager([here]) as manager:
        await manager.deploy("here")
        local = manager.get_connector("here")
        assert local is not None
        await connector.copy(str(tmp_path / "file"), "/tmp/sub/copy", origin=local)
        await local.copy("/tmp/sub/copy", str(tmp_path / "back"), origin=connector)
    assert (tmp_path / "back").read_bytes() == (tmp_path / "file").read_bytes()


async def test_an_image_that_is_not_there(daemon: str):
    """Rule D5: what docker says of it is the reason."""
    with pytest.raises(DeployError, match="deployment 'box' failed to deploy"):
        async with deployed("anydeploy-no-such-image"):
            pass
