"""A container on a node of a cluster behind a login host: all of it from one file, and nothing of it is left."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from pathlib import Path

import anyio
import pytest
from attrs import define, field
from processes import signal_all, until
from ruamel.yaml import YAML
from servers import Engine, Sshd
from slurm_server import Slurm

from anydeploy import DefaultDeploymentManager, DeploymentState, WorkflowExecutionException
from anydeploy.connectors import connector_type
from anydeploy.connectors.local import LocalConnector
from anydeploy.file import load_file
from anydeploy.frozen import thaw

EXAMPLE = Path(__file__).parents[2] / "examples" / "layers.yml"
BACKENDS = ["asyncio", "trio"]
TOKEN = re.compile(rb"\.anydeploy-([0-9a-f]{16})")

pytestmark = pytest.mark.timeout(180)


@define(eq=False)
class Layers:
    """The example, with servers of the tests as its hosts.

    :ivar directory: that of the file, which is empty otherwise
    :ivar tokens: those of the sessions that were seen
    """

    directory: Path
    login: Sshd
    slurm: Slurm
    dockerd: Engine
    tokens: set[str] = field(factory=set)

    def write(self, login=(), cluster=(), tools=()) -> Path:
        """Write the file, with further settings."""
        file = YAML(typ="safe").load(EXAMPLE.read_text())
        file["deployments"]["login"]["config"] = self.login.settings() | dict(login)
        jobs = {"directory": str(self.directory / "jobs"), "pollingInterval": "200ms"}
        file["deployments"]["cluster"]["config"] |= jobs | dict(cluster)
        file["deployments"]["tools"]["config"] |= self.dockerd.settings() | dict(tools)
        path = self.directory / "layers.yml"
        path.write_text(json.dumps(file))
        return path

    @contextmanager
    def start(self, *arguments: str | Path, **streams: int) -> Iterator[subprocess.Popen[bytes]]:
        """Start Python, with a mark on it and on what it starts here. It has ended when the block is left."""
        environment = {**os.environ, "ANYDEPLOY_TEST": str(self.directory)}
        with subprocess.Popen([sys.executable, *arguments], env=environment, **streams) as process:
            try:
                yield process
            finally:
                process.kill()

    def up(self, path: Path, backend: str, stderr: int = subprocess.PIPE):
        return self.start("-m", "anydeploy", "up", "--backend", backend, path, stderr=stderr)

    def run(self, path: Path, backend: str, *command: str, **streams: int):
        """Start a command in the container."""
        arguments = ["-m", "anydeploy", "run", "--backend", backend, "--on", "tools", path, "--", *command]
        return self.start(*arguments, **streams)

    def containers(self) -> list[str]:
        return self.dockerd.containers("name=anydeploy-")

    def look(self) -> None:
        """Take note of the sessions that there are."""
        self.processes()

    def processes(self) -> dict[int, bytes]:
        """Those of anydeploy on this machine, on the login host and in jobs, with their arguments."""
        marks = {
            f"ANYDEPLOY_TEST={self.directory}".encode(),
            f"HOME={self.login.directory}/home".encode(),
        }
        found = {}
        for path in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if marks & set((path / "environ").read_bytes().split(b"\0")):
                    found[int(path.name)] = (path / "cmdline").read_bytes()
        for arguments in found.values():
            self.tokens |= {each.decode() for each in TOKEN.findall(arguments)}
        return found

    def left(self) -> list[str]:
        """All that there is outside of this program."""
        return [
            *(f"container {name}" for name in self.containers()),
            *(f"job {job}" for job in self.slurm.jobs("")),
            *(f"process {pid} {arguments!r}" for pid, arguments in self.processes().items()),
            *(f"connection {pid}" for pid in self.login.sessions()),
            *(str(path) for path in self.directory.glob("jobs/*")),
            *(str(path) for token in self.tokens for path in Path("/tmp").glob(f".anydeploy-{token}*")),
        ]

    def until_nothing_is_left(self, *, but: str = "nothing") -> None:
        """Wait until all is gone by itself, containers excepted with ``but="container"``."""
        left: list[str] = []

        def nothing() -> bool:
            left[:] = [each for each in self.left() if not each.startswith(but)]
            return not left

        try:
            until(nothing)
        except AssertionError:
            raise AssertionError("; ".join(left)) from None


@pytest.fixture
def layers(login, slurm, dockerd, tmp_path):
    layers = Layers(tmp_path, login, slurm, dockerd)
    yield layers
    assert layers.left() == []


# -- The good path -----------------------------------------------------------------------------------------------------


def wait_for(words, stream):
    printed = b""
    for line in stream:
        printed += line
        if words in line:
            return
    raise AssertionError(printed.decode())


@pytest.mark.parametrize("backend", BACKENDS)
def test_it_is_up_until_it_is_interrupted(layers, backend):
    with layers.up(layers.write(), backend) as up:
        wait_for(b"Ctrl-C", up.stderr)
        (container,) = layers.containers()
        assert len(layers.slurm.jobs("")) == 1
        assert "echo serving" in layers.dockerd("top", container, "-o", "pid,args")
        layers.look()
        assert len(layers.tokens) == 3
        up.send_signal(signal.SIGINT)
        _, printed = up.communicate()
    assert (up.returncode, b"Traceback" in printed) == (130, False), printed.decode()
    assert layers.left() == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_command_has_its_input_output_and_status(layers, backend):
    script = "cat; echo $GREETING >&2; exit 77"
    data = bytes(range(256)) * 1000
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with layers.run(layers.write(), backend, "sh", "-c", script, **streams) as run:
        out, err = run.communicate(data)
    assert (run.returncode, out) == (77, data), err.decode()
    assert b"hello\n" in err
    assert layers.left() == []


# -- Ctrl-C ------------------------------------------------------------------------------------------------------------


class Silence:
    """A server that accepts connections, and never says a word."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.socket.settimeout(60)
        self.address = f"127.0.0.1:{self.socket.getsockname()[1]}"

    def wait(self):
        self.accepted, _ = self.socket.accept()

    def close(self):
        self.socket.close()
        self.accepted.close()


@pytest.fixture
def silence():
    server = Silence()
    yield server
    server.close()


def while_ssh_connects(layers, silence):
    # One that is killed leaves an ssh that goes on trying for so long.
    return layers.write(login={"nodes": [silence.address], "connectTimeout": 3}), silence.wait


def while_the_job_is_pending(layers, _):
    def waits():
        return layers.slurm.ask("squeue", "-h", "-o", "%T %r").split() == ["PENDING", "BeginTime"]

    return layers.write(cluster={"services": {"small": {"begin": "now+1hour"}}}), lambda: until(waits)


def while_the_image_is_pulled(layers, silence):
    return layers.write(tools={"image": f"{silence.address}/x:1"}), silence.wait


def while_the_container_starts(layers, _):
    health = {"healthCmd": "false", "healthInterval": "1s", "healthRetries": 1000}
    return layers.write(tools=health), lambda: until(lambda: layers.dockerd.containers("health=starting"))


DEPLOYING = [while_ssh_connects, while_the_job_is_pending, while_the_image_is_pulled, while_the_container_starts]
#: Each on one of them, in turn; those that are killed on the other one.
TURNS = [(when, BACKENDS[number % 2], BACKENDS[number % 2 - 1]) for number, when in enumerate(DEPLOYING)]


@pytest.mark.parametrize(("when", "backend"), [(when, first) for when, first, _ in TURNS])
def test_ctrl_c_in_the_middle_of_a_deploy(layers, request, when, backend):
    silent = when in (while_ssh_connects, while_the_image_is_pulled)
    path, wait = when(layers, request.getfixturevalue("silence") if silent else None)
    with layers.up(path, backend) as up:
        wait()
        layers.look()
        up.send_signal(signal.SIGINT)
        _, printed = up.communicate()
    assert (up.returncode, b"Traceback" in printed) == (130, False), printed.decode()
    assert layers.left() == []


STUBBORN = "trap '' INT TERM; echo up; while :; do sleep 0.05; done"
POLITE = "trap 'echo bye; exit 9' INT; echo up; while :; do sleep 0.05; done"


@pytest.mark.parametrize(
    ("script", "last", "status", "backend"), [(POLITE, b"bye\n", 9, "trio"), (STUBBORN, b"", 130, "asyncio")]
)
def test_ctrl_c_in_the_middle_of_a_run(layers, script, last, status, backend):
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with layers.run(layers.write(), backend, "sh", "-c", script, **streams) as run:
        assert run.stdout.readline() == b"up\n"
        layers.look()
        run.send_signal(signal.SIGINT)
        wait_for(b"passed on", run.stderr)
        if script is STUBBORN:
            run.send_signal(signal.SIGINT)
        out, err = run.communicate()
    assert (run.returncode, out) == (status, last), err.decode()
    # A second one hurries, and lets the scripts clean up behind it.
    layers.until_nothing_is_left()


# -- Killed ------------------------------------------------------------------------------------------------------------


async def recover(path, noted):
    """Remove what a process that was killed has left, from the inside out.

    :param noted: by deployment, its token and the facts that it had recorded
    """
    definitions = load_file(path)
    connector, stack = LocalConnector(deployment_name="__LOCAL__", config_dir=path.parent), []
    for name, (token, facts) in noted.items():
        definition = definitions[name]
        type_, service = connector_type(definition.type), definition.wraps and definition.wraps.service
        connector = type_(
            deployment_name=name,
            config_dir=path.parent,
            connector=connector.for_wrapper(type_, service),
            service=service,
            **thaw(definition.config),
        )
        connector.token = token
        stack.append((connector, facts))
    async with AsyncExitStack() as exits:
        for connector, facts in stack:
            exits.push_async_callback(connector.connector.release)
            exits.push_async_callback(connector.undeploy, True)
            with suppress(WorkflowExecutionException):
                await connector.reattach(facts)
        for connector, facts in reversed(stack):
            for _ in range(2):
                await connector.remove_left(connector.traces(), facts)
    return stack


def recover_by_label(layers, backend, path):
    """Recover what is known of a container only; all else has gone by itself."""
    layers.until_nothing_is_left(but="container")
    for container in layers.containers():
        token = layers.dockerd("inspect", "--format", '{{index .Config.Labels "anydeploy.run"}}', container)
        noted = {"login": ("f" * 16, {}), "cluster": ("e" * 16, {}), "tools": (token, {})}
        anyio.run(recover, path, noted, backend=backend)


@pytest.mark.parametrize(("when", "backend"), [(when, second) for when, _, second in TURNS])
def test_kill_in_the_middle_of_a_deploy(layers, request, when, backend):
    silent = when in (while_ssh_connects, while_the_image_is_pulled)
    path, wait = when(layers, request.getfixturevalue("silence") if silent else None)
    with layers.up(path, backend, subprocess.DEVNULL) as up:
        wait()
        layers.look()
        up.kill()
    recover_by_label(layers, backend, path)
    assert layers.left() == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_kill_while_it_is_up(layers, backend):
    path = layers.write()
    with layers.up(path, backend) as up:
        wait_for(b"Ctrl-C", up.stderr)
        layers.look()
        up.kill()
    recover_by_label(layers, backend, path)
    assert layers.left() == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_kill_while_a_command_runs(layers, backend):
    path = layers.write()
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with layers.run(path, backend, "sh", "-c", STUBBORN, **streams) as run:
        assert run.stdout.readline() == b"up\n"
        layers.look()
        run.kill()
    (container,) = layers.containers()
    until(lambda: "trap" not in layers.dockerd("top", container, "-o", "pid,args"))
    recover_by_label(layers, backend, path)
    assert layers.left() == []


OWNER = """
import json, sys
from pathlib import Path
import anyio
from anydeploy import DefaultDeploymentManager
from anydeploy.file import load_file

async def main():
    path = Path(sys.argv[1])
    async with DefaultDeploymentManager(load_file(path).values(), config_dir=path.parent) as manager:
        await manager.deploy("tools")
        connectors = {name: manager.get_connector(name) for name in ("login", "cluster", "tools")}
        async with connectors["tools"].start(["sh", "-c", "trap '' TERM; echo up; sleep 1000"]) as process:
            await process.stdout.receive()
            print(json.dumps({name: [each.token, each.facts] for name, each in connectors.items()}), flush=True)
            await anyio.sleep_forever()

anyio.run(main, backend=sys.argv[2])
"""


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_no_script_could_remove_is_found_by_its_traces(layers, first_node_taken, backend):
    """Everything that watches over the stack is killed at the same moment: on this machine and on the login host."""
    path = layers.write()
    with layers.start("-c", OWNER, path, backend, stdout=subprocess.PIPE) as owner:
        noted = json.loads(owner.stdout.readline())
        watching = [pid for pid in layers.processes() if not is_in_a_job(pid)]
        for number in (signal.SIGSTOP, signal.SIGKILL):
            signal_all(watching, number)
    first_node_taken()
    left = layers.left()
    assert {each.partition(" ")[0] for each in left} >= {"container", "job"}
    assert [each for each in left if each.endswith(".ssh")]
    assert [each for each in left if "/jobs/" in each]
    assert noted["tools"][1]["place"] == "n2"
    _, (cluster, _), _ = anyio.run(recover, path, noted, backend=backend)
    assert cluster.facts["node:small"] == "n2"
    layers.until_nothing_is_left()


def is_in_a_job(pid):
    with suppress(OSError):
        return b"SLURM_JOB_ID=" in Path(f"/proc/{pid}/environ").read_bytes()
    return False


@pytest.fixture
def first_node_taken(slurm):
    """The first node is full until this is called."""
    argv = ["sbatch", "--parsable", "-w", "n1", "-n", "64", "-J", "others", "-o", "/dev/null", "--wrap", "sleep 1000"]
    job = slurm.ask(*argv).strip()
    slurm.until(lambda: slurm.ask("squeue", "-h", "-j", job, "-o", "%T").strip() == "RUNNING", "slurmctld")

    def end():
        slurm.ask("scancel", job)
        slurm.until(lambda: job not in slurm.jobs(""), "slurmctld")

    yield end
    end()


# -- Lost --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_all_is_removed_through_a_new_connection(layers, backend):
    with layers.up(layers.write(), backend) as up:
        wait_for(b"Ctrl-C", up.stderr)
        layers.look()
        layers.login.drop()
        _, printed = up.communicate()
    assert up.returncode == 1, printed.decode()
    assert b"lost" in printed
    layers.until_nothing_is_left()


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", BACKENDS)
async def test_a_container_is_removed_although_its_job_has_ended(layers, first_node_taken):
    """It is removed on the node where it is, which another job has to reach."""
    lost = anyio.Event()

    def listen(event):
        if event.name == "tools" and event.state is DeploymentState.LOST:
            lost.set()

    path = layers.write()
    definitions = load_file(path).values()
    async with DefaultDeploymentManager(definitions, config_dir=path.parent, on_event=listen) as manager:
        await manager.deploy("tools", "cluster")
        cluster = manager.get_connector("cluster")
        await anyio.to_thread.run_sync(first_node_taken)
        (job,) = layers.slurm.jobs(cluster.token)
        layers.slurm.ask("scancel", job)
        with anyio.fail_after(60):
            await lost.wait()
        await manager.undeploy("tools")
        assert layers.containers() == []
        assert cluster.facts["job:small"] != job
        assert cluster.facts["node:small"] == "n2"
        assert manager.status()["cluster"].state is DeploymentState.LIVE
