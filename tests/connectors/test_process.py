from __future__ import annotations

import os
import re
import socket
import sys
from pathlib import Path

import anyio
import pytest
from anyio.lowlevel import checkpoint
from test_local import OBEDIENT, STUBBORN, assert_gone

from anydeploy.connectors._ready import NotReadyError
from anydeploy.connectors.local import LocalConnector, StartError
from anydeploy.connectors.process import PortInUseError, ProcessConnector, ProgramEndedError
from anydeploy.connectors.termination import UnstoppableError
from anydeploy.exceptions import InvalidConnectorError

pytestmark = pytest.mark.anyio

SERVER = """
import os, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(int(self.path[1:] or 200))
        self.end_headers()
open("pids", "w").write(f"{os.getpid()}\\n")
HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.fixture
def build(tmp_path: Path):
    def build(command, **settings) -> ProcessConnector:
        local = LocalConnector(deployment_name="l", config_dir=tmp_path)
        settings.setdefault("workdir", str(tmp_path))
        return ProcessConnector(deployment_name="p", config_dir=tmp_path, connector=local, command=command, **settings)

    return build


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def shell(script: str) -> list[str]:
    return ["sh", "-c", script]


def recorded(tmp_path: Path) -> list[int]:
    """Return the text that the program has written; nothing until it has."""
    pids = tmp_path / "pids"
    return [int(pid) for pid in pids.read_text().split()] if pids.exists() else []


def assert_port_is_free(port: int) -> None:
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


async def until(condition) -> None:
    with anyio.fail_after(20):
        while not condition():  # noqa: ASYNC110 - other processes set no events
            await anyio.sleep(0.005)


@pytest.mark.parametrize("kind", ["tcp", "http", "command"])
async def test_a_server_comes_and_goes(build, port, tmp_path, kind):
    ready = {
        "tcp": {"tcp": f"127.0.0.1:{port}"},
        "http": {"http": f"http://127.0.0.1:{port}/302"},
        "command": {"command": shell("test -s pids")},
    }[kind]
    process = build([sys.executable, "-c", SERVER, str(port)], ready={**ready, "interval": "10ms"})
    await process.deploy(False)
    pids = recorded(tmp_path)
    await process.undeploy(False)
    assert_gone(pids)
    assert_port_is_free(port)
    await process.undeploy(False)


async def test_the_log_makes_it_ready_and_is_kept(build, tmp_path):
    script = f"echo starting >&2; echo 'listening on 80'; {{ {OBEDIENT}; }} > pids"
    process = build(shell(script), ready={"log": r"listening on \d+$"}, log="logs/p.log", grace=60)
    for _ in range(2):
        await process.deploy(False)
        await until(lambda: len(recorded(tmp_path)) == 2)
        await process.undeploy(False)
        assert_gone(recorded(tmp_path))
    assert (tmp_path / "logs" / "p.log").read_text() == "starting\nlistening on 80\n" * 2


async def test_without_ready_it_is_ready_when_started(build):
    process = build(["sleep", "300"])
    await process.deploy(False)
    await process.undeploy(False)


async def test_last_words_are_in_the_log(build, tmp_path):
    script = "trap 'echo bye; exit' TERM; echo $$ > pids; echo go; while :; do sleep 0.01; done"
    process = build(shell(script), ready={"log": "go"}, log="log")
    await process.deploy(False)
    await process.undeploy(False)
    assert (tmp_path / "log").read_text().endswith("bye\n")  # the shell tells of its children, too


@pytest.mark.parametrize("ready", [{"tcp": "127.0.0.1:{}"}, {"http": "http://127.0.0.1:{}/"}])
async def test_a_port_already_in_use(build, tmp_path, ready):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = build(shell("echo > pids"), ready={k: v.format(port) for k, v in ready.items()})
        with pytest.raises(PortInUseError, match=f"port {port} .* already in use before"):
            await process.deploy(False)
    assert not (tmp_path / "pids").exists()
    await process.undeploy(False)


async def test_early_exit_is_noticed_at_once(build, port):
    script = "for i in $(seq 30); do echo line $i; done; exit 4"
    process = build(shell(script), ready={"tcp": f"127.0.0.1:{port}", "interval": "1h", "timeout": "1h"})
    with anyio.fail_after(20), pytest.raises(ProgramEndedError, match="ended with status 4 before it was") as caught:
        await process.deploy(False)
    assert caught.value.output.splitlines() == [f"line {i}" for i in range(11, 31)]
    assert caught.value.returncode == 4
    await process.undeploy(False)


async def test_death_wins_over_a_successful_probe(build):
    process = build(shell("kill -9 $$"), ready={"command": shell("sleep 0.3")})
    with pytest.raises(ProgramEndedError, match="signal 9"):
        await process.deploy(False)


@pytest.mark.parametrize(
    ("ready", "why"),
    [
        ({"tcp": "127.0.0.1:{}"}, r"tcp 127.0.0.1:\d+: .*[Cc]onnect"),
        ({"tcp": "[::1]:{}"}, r"tcp \[::1\]:\d+: "),
        ({"http": "http://127.0.0.1:{}/"}, r"http http://127.0.0.1:\d+/: .*[Cc]onnect"),
        ({"log": "never"}, "log /never/: no line"),
        ({"command": ["sh", "-c", "echo because; exit 3"]}, "it ended with status 3: because"),
    ],
)
async def test_never_ready(build, port, tmp_path, ready, why):
    ready = {k: v.format(port) if isinstance(v, str) else v for k, v in ready.items()}
    error = await not_ready(build, shell(f"echo words; {{ {OBEDIENT}; }} > pids"), {**ready, "interval": "10ms"}, why)
    assert error.output == "words"
    assert_gone(recorded(tmp_path))


async def test_http_status_decides(build, port, tmp_path):
    ready = {"http": f"http://127.0.0.1:{port}/503", "interval": "10ms"}
    await not_ready(build, [sys.executable, "-c", SERVER, str(port)], ready, "it answered 503 Service Unavailable")
    assert_gone(recorded(tmp_path))
    assert_port_is_free(port)


async def not_ready(build, command, ready, why):
    """Deploy with a timeout in which the probe can come to its verdict, however busy the machine is."""
    for seconds in (0.4, 2, 10, 30):
        process = build(command, ready={**ready, "timeout": seconds})
        with pytest.raises(NotReadyError, match=f"not ready within {seconds:g} s: ") as caught:
            await process.deploy(False)
        await process.undeploy(False)
        if re.search(why, str(caught.value)) and (caught.value.output or "words" not in str(command)):
            return caught.value
    raise AssertionError(f"{caught.value} does not say {why}")


async def test_cancelled_while_not_ready(build, tmp_path):
    process = build(shell(f"{{ {OBEDIENT}; }} > pids"), ready={"log": "never"}, grace=60)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(process.deploy, False)
        await until(lambda: len(recorded(tmp_path)) == 2)
        tasks.cancel_scope.cancel()
    assert_gone(recorded(tmp_path))
    await process.undeploy(False)


async def test_dying_while_live_is_a_loss(build, tmp_path):
    """Its children do not hold its port any longer either."""
    process = build(shell(f"echo last; {{ {STUBBORN}; }} > pids"), ready={"log": "last"})
    lost = []
    process.on_lost = lost.append
    await process.deploy(False)
    await until(lambda: len(recorded(tmp_path)) == 2)
    assert (await process.run(["true"])).returncode == 0
    await process.connector.run(["kill", "-9", str(recorded(tmp_path)[0])])
    await until(lambda: lost)
    assert isinstance(lost[0], ProgramEndedError)
    assert (lost[0].returncode, lost[0].output) == (-9, "last")
    with pytest.raises(InvalidConnectorError, match="signal 9 while it was deployed"):
        await process.run(["true"])
    await process.undeploy(False)
    assert_gone(recorded(tmp_path))


async def test_an_undeploy_is_no_loss(build):
    process = build(["sleep", "300"])
    lost = []
    process.on_lost = lost.append
    await process.deploy(False)
    await process.undeploy(False)
    assert lost == []


async def test_what_ignores_sigterm_is_killed(build, tmp_path):
    process = build(shell(f"echo up; {{ {STUBBORN}; }} > pids"), ready={"log": "up"}, grace="100ms")
    await process.deploy(False)
    await until(lambda: len(recorded(tmp_path)) == 2)
    await process.undeploy(False)
    assert_gone(recorded(tmp_path))


@pytest.mark.parametrize("how", ["hurried before", "hurried", "cancelled"])
async def test_grace_is_cut_short(build, tmp_path, how):
    process = build(shell(f"echo up; {{ {STUBBORN}; }} > pids"), ready={"log": "up"}, grace="1h")

    async def live() -> None:
        await process.deploy(False)
        await until(lambda: len(recorded(tmp_path)) == 2)
        if how == "hurried before":
            process.hurry()
        await process.undeploy(False)

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(live)
            if how != "hurried before":
                while not process._terminator._graces:
                    await checkpoint()
                process.hurry() if how == "hurried" else tasks.cancel_scope.cancel()
    assert_gone(recorded(tmp_path))
    await process.undeploy(False)


async def test_external_only_waits(build, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        process = build(shell("echo > pids"), ready={"tcp": f"127.0.0.1:{server.getsockname()[1]}"})
        await process.deploy(True)
        await process.undeploy(True)
    process = build(shell("echo > pids"), ready={"command": ["false"], "timeout": "50ms"})
    with pytest.raises(NotReadyError, match=r"not ready within 0.05 s: command `false`"):
        await process.deploy(True)
    await build(shell("echo > pids"), ready={"log": "x"}).deploy(True)
    assert not (tmp_path / "pids").exists()


async def test_errors_come_out_as_themselves(build, tmp_path):
    with pytest.raises(StartError, match="no such program"):
        await build(["no-such"]).deploy(False)
    with pytest.raises(StartError, match="no such program"):
        await build(["sleep", "300"], ready={"command": ["no-such"]}).deploy(False)
    with pytest.raises(IsADirectoryError):
        await build(["sleep", "300"], log=".").deploy(False)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
async def test_a_full_log_does_not_stop_the_program(build, caplog):
    process = build(shell("echo 1; echo up; exec sleep 300"), log="/dev/full", ready={"log": "up"})
    await process.deploy(False)
    await process.undeploy(False)
    assert "is given up: [Errno 28]" in caplog.text


async def test_much_output_and_lines_without_end(build, tmp_path):
    script = "head -c 1000000 /dev/zero; echo; printf '\\377 up'; echo; exec sleep 300"
    process = build(shell(script), ready={"log": "up"}, log="log")
    await process.deploy(False)
    await process.undeploy(False)
    assert (tmp_path / "log").stat().st_size == 1_000_006


async def test_commands_have_its_settings_as_defaults(build, tmp_path):
    (tmp_path / "other").mkdir()
    process = build(["x"], environment={"A": "1", "B": "1"})
    completed = await process.run(shell("echo $A $B; pwd"), environment={"B": "2"}, workdir="other")
    assert completed.stdout.decode() == f"1 2\n{tmp_path.resolve()}/other\n"
    assert (await process.run(["pwd"])).stdout.decode() == f"{tmp_path.resolve()}\n"


async def test_what_could_not_be_killed_is_not_forgotten(tmp_path, monkeypatch):
    """U6: a process that survives its undeploy is killed again by the next, which fails while it is still there."""
    local = LocalConnector(deployment_name="l", config_dir=tmp_path)
    connector = ProcessConnector(
        deployment_name="p", config_dir=tmp_path, connector=local, command=["sleep", "300"], grace=0.1
    )
    local._terminator.vanishing = connector._terminator.vanishing = 0.1
    await connector.deploy(external=False)
    assert connector._program is not None

    def refuse(pgid: int, signum: int) -> None:
        raise PermissionError(pgid, signum)

    with monkeypatch.context() as patch:
        patch.setattr(os, "killpg", refuse)
        for _ in range(2):
            with pytest.raises(UnstoppableError):
                await connector.undeploy(external=False)
    await connector.undeploy(external=False)
    assert connector._program.process.returncode is not None


async def test_the_group_has_its_grace_when_the_leader_is_gone(tmp_path):
    server = """
import pathlib, signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
print("up", flush=True)
signal.sigwait([signal.SIGTERM])
pathlib.Path("saved").write_text("all")
"""
    script = "trap 'exit 0' TERM; \"$@\" & wait"
    local = LocalConnector(deployment_name="l", config_dir=tmp_path)
    connector = ProcessConnector(
        deployment_name="p",
        config_dir=tmp_path,
        connector=local,
        command=["sh", "-c", script, "sh", sys.executable, "-c", server],
        workdir=".",
        ready={"log": "up"},
        grace=20,
    )
    await connector.deploy(external=False)
    await connector.undeploy(external=False)
    assert (tmp_path / "saved").read_text() == "all"


async def test_a_log_that_is_a_fifo_is_refused(tmp_path):
    os.mkfifo(tmp_path / "log")
    local = LocalConnector(deployment_name="l", config_dir=tmp_path)
    connector = ProcessConnector(
        deployment_name="p", config_dir=tmp_path, connector=local, command=["sleep", "300"], log="log"
    )
    with pytest.raises(OSError, match="is a FIFO"):
        await connector.deploy(external=False)
