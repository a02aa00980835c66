"""The docker and podman connectors, with real programs."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import DEVNULL

import anyio
import attrs
import pytest
from attrs import define, field
from processes import alive, processes_of, signal_all, until
from servers import Engine, running_sshd

from anydeploy import (
    Command,
    ConnectionLostError,
    DefaultDeploymentManager,
    DeployError,
    DeploymentConfig,
    DeploymentState,
    WorkflowDefinitionException,
)
from anydeploy.checking import check_settings
from anydeploy.connectors._containers import ContainerError, ContainerProgram, ContainerState, reason
from anydeploy.connectors._docker_settings import divide_variables, options_of
from anydeploy.connectors.docker import DockerConnector, PodmanConnector
from anydeploy.connectors.local import LocalConnector

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]

TYPES = {"docker": DockerConnector, "podman": PodmanConnector}


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param


@pytest.fixture(params=["docker", "podman"])
def engine(request) -> Engine:
    return request.getfixturevalue({"docker": "dockerd", "podman": "podman"}[request.param])


@define(kw_only=True, eq=False, slots=False)
class Recorder(LocalConnector):
    """This machine, with all commands that were started here."""

    commands: list[Command] = field(init=False, factory=list)

    @asynccontextmanager
    async def _start(self, command):
        self.commands.append(command)
        async with super()._start(command) as process:
            yield process


@pytest.fixture
def local(tmp_path):
    return Recorder(deployment_name="l", config_dir=tmp_path)


@pytest.fixture
def make(tmp_path, local):
    def build(engine, name="c", **settings):
        settings = engine.settings(**settings)
        return TYPES[engine.program](deployment_name=name, config_dir=tmp_path, connector=local, **settings)

    return build


@asynccontextmanager
async def deployed(connector, external=False):
    with anyio.CancelScope() as scope:
        await connector.deploy(external)
        try:
            yield connector
        finally:
            scope.shield = True
            await connector.undeploy(external)


def containers_of(engine, connector):
    return engine.containers(f"label=anydeploy.run={connector.token}")


async def fails(engine, connector, error=ContainerError):
    """The error of a deploy that has to fail, which leaves nothing."""
    with anyio.fail_after(120), pytest.raises(error) as caught:
        await connector.deploy(False)
    await connector.undeploy(False)
    assert containers_of(engine, connector) == []
    return str(caught.value)


# -- Settings ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, "required"),
        ({"image": "--privileged"}, "a name"),
        ({"image": "x", "capAdd": "ALL"}, "a list of strings"),
        ({"image": "x", "dns": ["1.1.1.1", "1.1.1.1"]}, "listed twice"),
        ({"image": "x", "init": "yes"}, "true or false"),
        ({"image": "x", "cpus": "2"}, "a number"),
        ({"image": "x", "cpuShares": 1.5}, "a whole number"),
        ({"image": "x", "memory": []}, "a whole number"),
        ({"image": "x", "cidfile": "x"}, "not supported"),
        ({"image": "x", "transferBufferSize": 1}, "not supported"),
        ({"image": "x", "command": "sleep 1"}, "as a list it is"),
        ({"image": "x", "volumes": []}, "did you mean 'volume'"),
    ],
)
def test_wrong_settings_are_told(settings, expected):
    (problem,) = [text for _, text in check_settings(DockerConnector, settings)]
    assert expected in problem


@pytest.mark.parametrize(
    "settings",
    [
        {"env": ["A B=hidden"]},
        {"env": ["A=hidden", "A=hidden"]},
        {"env": ["A=hidden", "A=other"]},
        {"env": "A=hidden"},
        {"env": ["=hidden"]},
        {"env": ["A=hidden\udcff"]},
        {"env": ["A=hidden\0"]},
        {"environment": "A=hidden"},
        {"environment": {"A=hidden": "b"}},
        {"env": [4711]},
        {"environment": {"A": 4711}},
        {"environment": 4711},
        {"environment": {"A": ["hidden"]}},
        {"environment": {"A": {"b": "hidden"}}},
    ],
)
def test_the_value_of_a_variable_is_in_no_error(settings):
    (problem,) = [text for _, text in check_settings(DockerConnector, {"image": "x", **settings})]
    assert "hidden" not in problem
    assert "4711" not in problem


def test_every_setting_is_spelled_as_its_option(tmp_path):
    local = LocalConnector(deployment_name="l", config_dir=tmp_path)
    settings = {"cpuRTPeriod": 1, "ip6": "::1", "linkLocalIP": ["a"], "readOnly": True, "dnsOption": ["b"]}
    connector = DockerConnector(
        deployment_name="c", config_dir=tmp_path, connector=local, image="x", init=False, **settings
    )
    expected = {"--cpu-rt-period=1", "--ip6=::1", "--link-local-ip=a", "--read-only", "--init=false", "--dns-option=b"}
    assert set(options_of(connector)) == expected


def test_all_options_are_those_of_the_program(dockerd):
    known = dockerd("create", "--help")
    for attribute in attrs.fields(DockerConnector):
        option = attribute.metadata.get("option")
        # Those of other systems are left out there.
        assert option is None or f"{option} " in known or option in {"--isolation", "--kernel-memory"}, option


def test_variables_that_no_line_holds_are_passed_otherwise():
    long = f"L={'x' * 70000}"
    assert divide_variables(["A=b c", "D", "E=1\n2", "F=", long, "G=\r"]) == (
        "A=b c\nD\nF=\n",
        {"E": "1\n2", "L": long[2:], "G": "\r"},
    )


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        ("docker: Error response from daemon: no such image: x.\nSee 'docker run --help'.\n", "no such image: x."),
        ("Trying to pull x\nError: initializing source x: refused", "initializing source x: refused"),
        (
            'invalid argument "lots" for "-m"\n\nUsage:  docker create\n\nRun \'docker\'\n',
            'invalid argument "lots" for "-m"',
        ),
        ("something", "something"),
        ("", "it printed nothing"),
    ],
)
def test_the_reason_is_one_line(printed, expected):
    assert reason(printed) == expected


def test_states_of_both_programs_are_read():
    docker = {"Status": "exited", "ExitCode": 137, "OOMKilled": True, "Error": ""}
    assert ContainerState.parse(json.dumps(docker)) == ContainerState("exited", 137, "", "it ran out of memory")
    checks = [{"ExitCode": 1, "Output": "no\n"}]
    podman = {"Status": "running", "ExitCode": 0, "Health": {"Status": "unhealthy", "Log": checks}}
    assert ContainerState.parse(json.dumps(podman)) == ContainerState("running", 0, "unhealthy", "no")
    assert ContainerState.parse(json.dumps({"Status": "running", "Health": {"Status": "", "Log": None}})).health == ""


# -- Coming up and going down ------------------------------------------------------------------------------------------


async def test_settings_arrive(engine, make, local, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "variables").write_text("FROM_FILE=x\nEMPTY=not\nEND=not\n")
    hidden = ["SECRET=a-value 'that' # is $hidden", "LINES=the-first\nthe-second", "EMPTY=", "END=of a line\r"]
    connector = make(
        engine,
        env=hidden,
        envFile=["variables"],
        volume=["./data:/data"],
        mount=["type=bind,source=./data,target=/also"],
        workdir="/tmp",
        label=["mine=yes"],
        hostname="somewhere",
        uts="private" if engine.program == "podman" else None,
    )
    async with deployed(connector):
        script = 'pwd; touch /data/seen; ls /also; printf "%s|" "$SECRET" "$LINES" "${EMPTY-unset}" "$END" "$FROM_FILE"'
        done = await connector.run(["sh", "-c", script])
        assert done.stdout.decode() == "/tmp\nseen\na-value 'that' # is $hidden|the-first\nthe-second||of a line\r|x|"
        (name,) = containers_of(engine, connector)
        project = re.sub("[^a-z0-9]+", "-", tmp_path.name).strip("-")
        assert name == f"anydeploy-{project}-c-{connector.token}"
        assert connector.traces()["container"] == name
        labels = json.loads(engine("inspect", "--format", "{{json .Config.Labels}}", name))
        assert (labels["anydeploy.deployment"], labels["mine"]) == ("c", "yes")
    words = [word for command in local.commands for word in command.argv]
    assert words
    assert not any(value in word for word in words for value in ("a-value", "the-first", "the-second"))


async def test_a_session_passes_by_a_directory_that_is_full(engine, make):
    async with deployed(make(engine, tmpfs=["/tmp:size=8k"])) as connector:
        assert connector._session.facts["dir"].startswith("/var/tmp/")
        assert (await connector.run(["ls", "-A", "/tmp"])).stdout == b""


async def test_a_directory_that_becomes_full_is_told(engine, make):
    """What of the text of a command was written would be another command."""
    async with deployed(make(engine, tmpfs=["/tmp:size=80k"])) as connector:
        await connector.run(["sh", "-c", "head -c 100000 /dev/zero >/tmp/large"], check=False)
        with pytest.raises(OSError, match="no space is left"):
            await connector.run(["echo", "x" * 100_000])
        engine("exec", connector.outside_name, "rm", "/tmp/large")
        assert (await connector.run(["echo", "x" * 10_000])).stdout == b"x" * 10_000 + b"\n"


async def test_a_shell_that_is_the_command_stays_up(engine, make):
    async with deployed(make(engine)) as connector:
        state = engine("inspect", "--format", "{{.State.Status}}", connector.outside_name)
        assert state == "running"


async def test_a_container_that_ends_at_once_is_told(engine, make):
    error = await fails(engine, make(engine, command=["sh", "-c", "echo so it is; echo why >&2; exit 3"]))
    assert "ended with status 3" in error
    assert "so it is" in error
    assert "why" in error


async def test_last_words_without_an_end_of_line_are_told(engine, make):
    error = await fails(engine, make(engine, command=["sh", "-c", "printf omega >&2; exit 3"]))
    assert error.endswith("its last output:\nomega")


async def test_an_image_without_a_shell_is_told(engine, make):
    image = engine.add_image("local/no-shell:1", 'CMD ["sleep", "1000"]', programs=["sleep"])
    assert "its image has no `sh`" in await fails(engine, make(engine, image=image))


async def test_a_command_that_is_missing_is_told(engine, make):
    assert "no-such-program" in await fails(engine, make(engine, command=["no-such-program"]))


async def test_an_option_that_is_wrong_is_told_in_one_line(engine, make):
    error = await fails(engine, make(engine, network=["no-such-network"]))
    assert "no-such-network" in error
    assert "\n" not in error


async def test_a_value_that_is_wrong_is_told(engine, make):
    assert "'lots'" in await fails(engine, make(engine, memory="lots"))


async def test_a_missing_init_is_told_with_what_to_do(podman, make, tmp_path):
    """Plain Debian has podman without one."""
    settings = (podman.directory / "containers.conf").read_text()
    (tmp_path / "containers.conf").write_text(re.sub("init_path = .*", 'init_path = "/no/init"', settings))
    variables = {**podman.variables, "CONTAINERS_CONF": str(tmp_path / "containers.conf")}
    assert "init: false" in await fails(podman, make(podman, environment=variables))


async def test_a_daemon_that_is_not_there_is_told(dockerd, make, tmp_path):
    variables = {"DOCKER_HOST": f"unix://{tmp_path}/none.sock"}
    connector = make(dockerd, environment=variables)
    with pytest.raises(ContainerError, match="Docker daemon"):
        await connector.deploy(False)
    # Nothing was asked for that it could have made.
    await connector.undeploy(False)
    with pytest.raises(ContainerError, match=r"could not be removed.*Docker daemon"):
        await connector.remove_left(connector.traces(), {})


async def test_it_is_ready_when_its_health_check_says_so(engine, make):
    command = ["sh", "-c", "sleep 2; touch /tmp/healthy; exec sleep 1000"]
    health = {"healthCmd": "test -e /tmp/healthy", "healthInterval": "1s", "healthRetries": 100}
    async with deployed(make(engine, command=command, **health)) as connector:
        await connector.run(["test", "-e", "/tmp/healthy"])


async def test_an_unhealthy_container_is_told(engine, make):
    health = {"healthCmd": "echo it is broken; false", "healthInterval": "1s", "healthRetries": 1}
    error = await fails(engine, make(engine, **health))
    assert "is unhealthy" in error
    assert "it is broken" in error or engine.program == "podman"


async def test_a_pull_that_hangs_is_given_up_at_once(engine, make):
    """The registry accepts connections, and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as registry:
        registry.settimeout(60)
        connector = make(engine, image=f"127.0.0.1:{registry.getsockname()[1]}/x:1")
        with anyio.fail_after(60), anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:

                async def cancel():
                    accepted, _ = await anyio.to_thread.run_sync(registry.accept)
                    connector.hurry()
                    scope.cancel()
                    kept.append(accepted)

                kept = []
                tasks.start_soon(cancel)
                await connector.deploy(False)
        assert scope.cancelled_caught
        with anyio.fail_after(60):
            await connector.undeploy(False)
        kept[0].close()


async def test_an_image_that_is_nowhere_is_told(engine, make, caplog):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    error = await fails(engine, make(engine, image=f"127.0.0.1:{port}/x:1"))
    assert error.startswith(f"image '127.0.0.1:{port}/x:1' could not be pulled: ")
    assert "refused" in error


async def test_what_is_gone_already_is_no_error(engine, make):
    connector = make(engine)
    with anyio.CancelScope():
        await connector.deploy(False)
        engine("rm", "--force", connector.outside_name)
        await connector.undeploy(False)
    await connector.undeploy(False)


async def test_its_process_is_let_end(engine, make, tmp_path):
    script = "trap 'echo bye >/data/bye; exit' TERM; while :; do sleep 0.1; done"
    async with deployed(make(engine, command=["sh", "-c", script], volume=[f"{tmp_path}:/data"])):
        pass
    assert (tmp_path / "bye").read_text() == "bye\n"


async def test_hurry_cuts_the_end_short(engine, make, tmp_path):
    """So it does for a container that has been asked to end, whose processes go with it."""
    script = "trap 'echo >/data/asked' TERM; while :; do sleep 0.1; done"
    connector = make(engine, command=["sh", "-c", script], stopTimeout=1000, volume=[f"{tmp_path}:/data"])
    with anyio.fail_after(100):
        async with anyio.create_task_group() as tasks:

            async def hurry():
                await anyio.to_thread.run_sync(until, (tmp_path / "asked").exists)
                connector.hurry()

            await connector.deploy(False)
            pid = int(engine("inspect", "--format", "{{.State.Pid}}", connector.outside_name))
            tasks.start_soon(hurry)
            await connector.undeploy(False)
    assert containers_of(engine, connector) == []
    await anyio.to_thread.run_sync(until, lambda: not alive(pid))


async def test_it_may_stay_when_it_has_ended(engine, make):
    connector = make(engine, rm=False)
    async with deployed(connector):
        pass
    assert containers_of(engine, connector) == [connector.outside_name]
    assert engine("inspect", "--format", "{{.State.Running}}", connector.outside_name) == "false"
    engine("rm", connector.outside_name)


async def test_an_external_container_has_to_be_named_and_to_run(engine, make):
    with pytest.raises(WorkflowDefinitionException, match="containerId"):
        await make(engine).deploy(True)
    with pytest.raises(ContainerError, match="no container 'nowhere-at-all'"):
        await make(engine, containerId="nowhere-at-all").deploy(True)
    name = engine("create", "--name", "never-started", "--network=host", engine.image)
    try:
        with pytest.raises(ContainerError, match="does not run: it is created"):
            await make(engine, containerId="never-started").deploy(True)
    finally:
        engine("rm", name)


async def test_a_port_is_seen_from_the_container(engine, make):
    """It has a network of its own, so that nothing on this machine could answer."""
    server = 'echo up; while read -r line; do echo "got $line"; done'
    async with deployed(make(engine, network=["none"])) as connector:
        script = f"mkfifo /tmp/f; nc -l -p 7000 </tmp/f | sh -c '{server}' >/tmp/f"
        async with connector.start(["sh", "-c", script]):
            with anyio.fail_after(60):
                while (await connector.run(["sh", "-c", "netstat -tln | grep :7000"], check=False)).returncode != 0:  # noqa: ASYNC110
                    await anyio.sleep(0.05)
                async with connector.forward("127.0.0.1", 7000) as stream:
                    assert await stream.receive() == b"up\n"
                    await stream.send(b"this\n")
                    assert await stream.receive() == b"got this\n"
        with pytest.raises(OSError, match="refused"):
            async with connector.forward("127.0.0.1", 7001) as stream:
                await stream.receive()


async def test_a_reader_that_goes_away_ends_the_command(engine, make):
    """As it does here. The client ends of that by itself, and the engine would drop the output for ever."""
    async with deployed(make(engine)) as connector:
        reader, writer = os.pipe()
        async with connector.start(["sh", "-c", "yes"], stdin=DEVNULL, stdout=writer) as process:
            os.close(writer)
            await anyio.to_thread.run_sync(os.read, reader, 1)
            os.close(reader)
            with anyio.fail_after(60):
                assert await process.wait() in {-signal.SIGPIPE, 128 + signal.SIGPIPE}
        assert "yes" not in (await connector.run(["ps", "-o", "args"])).stdout.decode()


# -- Loss and crashes --------------------------------------------------------------------------------------------------


async def lost(connector, act):
    """What a connector reports when something is done to it."""
    losses = []
    told = anyio.Event()

    def listen(error):
        losses.append(error)
        told.set()

    connector.on_lost = listen
    act()
    with anyio.fail_after(60):
        await told.wait()
    return losses[0]


async def test_a_container_that_ends_is_a_loss_of_the_environment(engine, make):
    async with deployed(make(engine, command=["sh", "-c", "echo last words; exec sleep 1000"])) as connector:
        error = await lost(connector, lambda: engine("kill", connector.outside_name))
        assert not isinstance(error, ConnectionLostError)
        assert "ended with status 137" in str(error)
        assert "last words" in str(error)


async def test_a_command_that_fails_by_a_loss_does_so_when_it_has_been_reported(engine, make):
    """Otherwise `deploy` would take what is lost for live meanwhile."""
    async with deployed(make(engine)) as connector:
        with anyio.fail_after(60):
            async with connector.start_command(Command(["sh", "-c", "echo; sleep 1000"])) as process:
                await process.stdout.receive()
                await anyio.to_thread.run_sync(engine, "kill", connector.outside_name)
                with pytest.raises(ConnectionLostError):
                    await process.wait()
            if connector.reported_loss is None:
                with pytest.raises(ConnectionLostError):
                    await connector.run(["true"])
            assert isinstance(connector.reported_loss, ContainerError)


async def test_an_end_that_is_noticed_late_is_no_loss_of_the_connection(local, tmp_path):
    """The client of a command may know before the engine does."""
    script = """#!/bin/sh
cd "${0%/*}"
case $1 in
container) cat state ;;
exec) echo '{"Status": "exited", "ExitCode": 137}' >state; exit 1 ;;
logs) echo last words ;;
esac
"""
    (tmp_path / "engine").write_text(script)
    (tmp_path / "engine").chmod(0o755)
    (tmp_path / "state").write_text('{"Status": "running"}')
    program = ContainerProgram(local, (str(tmp_path / "engine"),), {})
    error = await program.explain("box", ConnectionLostError("it has ended"))
    assert "ended with status 137; its last output:\nlast words" in str(error)


async def test_a_container_that_is_removed_is_a_loss_of_the_environment(engine, make):
    async with deployed(make(engine)) as connector:
        error = await lost(connector, lambda: engine("rm", "--force", connector.outside_name))
        assert isinstance(error, ContainerError)


async def test_a_client_that_dies_is_a_loss_of_the_connection(engine, make):
    """The container is there, and can be entered again."""
    async with deployed(make(engine)) as connector:
        clients = [pid for pid in processes_of(connector._names[0]) if is_client(pid, engine)]
        error = await lost(connector, lambda: signal_all(clients, signal.SIGKILL))
        assert isinstance(error, ConnectionLostError)
        await connector.reattach()
        async with connector._start(Command(["echo", "again"], stdin=DEVNULL)) as process:
            assert await process.stdout.receive() == b"again\n"


def is_client(pid, engine):
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:2] == [engine.program, "exec"]


CRASHING = """
import sys, anyio
from anydeploy.connectors import connector_type
from anydeploy.connectors.local import LocalConnector
import json

async def main():
    type_, token, external, settings = sys.argv[1], sys.argv[2], sys.argv[3] == "True", json.loads(sys.argv[4])
    local = LocalConnector(deployment_name="l", config_dir=".")
    connector = connector_type(type_)(deployment_name="c", config_dir=".", connector=local, **settings)
    connector.token = token
    await connector.deploy(external)
    async with connector.start(["sh", "-c", "echo $$; trap '' TERM; sleep 1000"]) as process:
        await process.stdout.receive()
        print(json.dumps([dict(connector.traces()), dict(connector.facts)]), flush=True)
        await anyio.sleep_forever()

anyio.run(main)
"""


def crash(type_, token, external, settings, directory):
    """Kill a process in the middle of a command in a container, and return what it has noted down."""
    argv = [sys.executable, "-c", CRASHING, type_, token, str(external), json.dumps(settings)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=directory) as process:
        line = process.stdout.readline()
        process.kill()
    return json.loads(line)


async def test_after_a_crash_nothing_is_left(engine, make, tmp_path):
    """Commands end by themselves; the container is found by its traces."""
    settings = engine.settings()
    traces, facts = crash(engine.program, "feed1234", False, settings, tmp_path)
    assert engine.containers(f"name={traces['container']}") == [traces["container"]]
    until(lambda: "sleep 1000" not in engine("exec", traces["container"], "ps", "-o", "args"))
    connector = make(engine)
    connector.token = "feed1234"
    with anyio.CancelScope():
        await connector.reattach(facts)
        await connector.remove_left(traces, facts)
        await connector.undeploy(True)
    assert engine.containers(f"name={traces['container']}") == []
    await make(engine).remove_left(traces, facts)


async def test_after_a_crash_an_external_container_is_left_as_it_was(engine, make, tmp_path):
    engine("run", "--detach", "--interactive", "--init", "--network=host", "--name", "not-ours", engine.image)
    try:
        settings = engine.settings(containerId="not-ours")
        traces, facts = crash(engine.program, "feed5678", True, settings, tmp_path)
        connector = make(engine, containerId="not-ours")
        connector.token = "feed5678"
        with anyio.CancelScope():
            await connector.reattach(facts)
            await connector.remove_left(traces, facts)
            await connector.undeploy(True)
        until(lambda: engine("exec", "not-ours", "ls", "-A", "/tmp") == "")
        assert "sleep 1000" not in engine("exec", "not-ours", "ps", "-o", "args")
    finally:
        engine("rm", "--force", "not-ours")


# -- Stacks ------------------------------------------------------------------------------------------------------------


async def test_a_container_on_a_host_is_removed_through_a_new_connection(dockerd, sshd, tmp_path):
    """Docker over ssh, and X3."""
    (tmp_path / "server").mkdir()
    with running_sshd(tmp_path / "server") as server:
        stack = [
            DeploymentConfig("host", "ssh", server.settings()),
            DeploymentConfig("box", "docker", dockerd.settings(), wraps="host"),
        ]
        down = anyio.Event()

        def listen(event):
            if event.name == "box" and event.state is DeploymentState.LOST:
                down.set()

        async with DefaultDeploymentManager(stack, on_event=listen) as manager:
            await manager.deploy("box")
            box = manager.get_connector("box")
            done = await box.run(["sh", "-c", "cat; hostname; exit 3"], stdin="in ", check=False)
            assert (done.returncode, done.stdout.decode()) == (3, f"in {socket.gethostname()}\n")
            assert dockerd.containers("label=anydeploy.deployment=box")
            server.drop()
            with anyio.fail_after(60):
                await down.wait()
                await manager.undeploy("box")
            assert dockerd.containers("label=anydeploy.deployment=box") == []


async def test_a_manager_shows_the_reason(engine, tmp_path):
    box = DeploymentConfig("box", engine.program, engine.settings(command=["sh", "-c", "exit 3"]))
    async with DefaultDeploymentManager([box], config_dir=tmp_path) as manager:
        with pytest.raises(DeployError, match="ended with status 3"):
            await manager.deploy("box")
