"""StreamFlow's connectors in anydeploy's manager: stacks of both kinds, services, failures and cancellations."""

from __future__ import annotations

import logging
import os
import signal
from pathlib import Path
from subprocess import DEVNULL
from typing import Any

import anyio
import pytest
from streamflow.deployment.connector.base import BatchConnector
from streamflow.deployment.connector.local import LocalConnector
from streamflow.deployment.wrapper import ConnectorWrapper

from anydeploy import (
    ConnectionLostError,
    DefaultDeploymentManager,
    DeployError,
    DeploymentConfig,
    InvalidConfigError,
    InvalidConnectorError,
    WorkflowExecutionException,
    WrapsConfig,
)
from anydeploy.connectors.session import Session
from anydeploy.connectors.termination import UnstoppableError
from anydeploy.streamflow.bridge import clients
from anydeploy.streamflow.bridge.connector import BridgedConnector, bridged_type

from .rooms import Room
from .test_commands import is_running, pids_of

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("rooms", "directories")]

SHOW = ["sh", "-c", "echo $ROOMS $TOP; cat; echo err >&2; exit 4"]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


def room(name: str, wraps: str | WrapsConfig | None = None, **settings: Any) -> DeploymentConfig:
    return DeploymentConfig(name, "room", {"log": "log", **settings}, wraps=wraps)


def manage(configs: list[DeploymentConfig], log: Path) -> DefaultDeploymentManager:
    return DefaultDeploymentManager(configs, config_dir=log.parent)


def lines(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


async def show(manager: DefaultDeploymentManager, name: str) -> str:
    await manager.deploy(name)
    connector = manager.get_connector(name)
    assert connector is not None
    done = await connector.run(SHOW, stdin="in", check=False)
    assert (done.returncode, done.stderr) == (4, b"err\n")
    return done.stdout.decode().replace("\n", " ")


async def test_a_stack_of_both_kinds(log: Path):
    """Rules D1, U1 and R3: up in order, down in reverse, and a command passes through all of it."""
    configs = [
        DeploymentConfig("bottom", "command", {"environment": {"ROOMS": "bottom"}}),
        room("one", "bottom"),
        room("two", "one"),
        DeploymentConfig("middle", "command", {"run": ["env", "TOP=middle"]}, wraps="two"),
        room("three", "middle"),
        DeploymentConfig("top", "command", {"environment": {"TOP": "top"}}, wraps="three"),
    ]
    async with manage(configs, log) as manager:
        assert await show(manager, "two") == "bottom/one/two in"
        assert await show(manager, "middle") == "bottom/one/two middle in"
        assert await show(manager, "three") == "bottom/one/two/three middle in"
        assert await show(manager, "top") == "bottom/one/two/three top in"
    assert lines(log) == [
        *("one deploy", "one deployed", "two deploy", "two deployed", "three deploy", "three deployed"),
        *("three undeploy", "two undeploy", "one undeploy"),
    ]


async def test_on_streamflows_own_and_on_none(log: Path):
    async with manage([DeploymentConfig("own", "streamflow:local"), room("on", "own"), room("alone")], log) as manager:
        assert await show(manager, "on") == "/on in"
        assert await show(manager, "alone") == "/alone in"


async def test_what_a_program_of_anydeploys_does_on_one_of_streamflows(log: Path, tmp_path: Path):
    """A process has streams, is seen to be ready, and ends with its deployment."""
    script = "trap 'echo bye; exit' TERM; echo $ROOMS; while :; do sleep 0.05 & wait; done"
    settings = {"command": ["sh", "-c", script], "log": "program.log", "ready": {"log": "/on"}}
    program = DeploymentConfig("program", "process", settings, wraps="on")
    async with manage([room("on"), program], log) as manager:
        await manager.deploy("program")
    assert (tmp_path / "program.log").read_text() == "/on\nbye\n"


async def test_services(log: Path):
    """The first location of the service that is named, or the first of all."""
    configs = [
        room("hotel", rooms=["suite", "attic"]),
        DeploymentConfig("first", "command", wraps="hotel"),
        DeploymentConfig("named", "command", wraps=WrapsConfig("hotel", "attic")),
        room("inside", WrapsConfig("hotel", "attic")),
        DeploymentConfig("unknown", "command", wraps=WrapsConfig("hotel", "cellar")),
    ]
    async with manage(configs, log) as manager:
        assert await show(manager, "hotel") == "/suite in"
        assert await show(manager, "first") == "/suite in"
        assert await show(manager, "named") == "/attic in"
        assert await show(manager, "inside") == "/attic/inside in"
        with pytest.raises(WorkflowExecutionException, match="'hotel': no location of its service 'cellar': it has"):
            await show(manager, "unknown")
        hotel = manager.get_connector("hotel")
        assert hotel is not None
        attic = hotel.at("attic")
        assert (await attic.run(SHOW, check=False)).stdout == b"/attic\n"
    with pytest.raises(InvalidConnectorError, match="the connector of deployment 'hotel'"):
        await attic.run(SHOW)


async def test_a_deploy_that_fails(log: Path):
    """Rule D5."""
    async with manage([room("on"), room("bad", "on", fail=True)], log) as manager:
        with pytest.raises(DeployError, match=r"deployment 'bad' failed to deploy: .*no room"):
            await manager.deploy("bad")
        assert manager.get_connector("bad") is None
    assert lines(log)[-3:] == ["bad deploy", "bad undeploy", "on undeploy"]


async def test_a_deploy_that_nobody_waits_for_any_more_is_finished_and_undone(
    log: Path, monkeypatch: pytest.MonkeyPatch
):
    """Rule D6, for connectors that were not written to be cancelled."""
    begun, gate = anyio.Event(), anyio.Event()
    deploy = Room.deploy

    async def held(self: Room, external: bool) -> None:
        begun.set()
        await gate.wait()
        await deploy(self, external)

    monkeypatch.setattr(Room, "deploy", held)
    async with manage([room("slow")], log) as manager, anyio.create_task_group() as tasks:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as callers:
                callers.start_soon(manager.deploy, "slow")
                await begun.wait()
                scope.cancel()
        tasks.start_soon(manager.undeploy, "slow")
        await anyio.wait_all_tasks_blocked()
        assert lines(log) == []
        gate.set()
    assert lines(log) == ["slow deploy", "slow deployed", "slow undeploy"]


async def test_a_wrapper_that_commands_would_pass_by(log: Path, monkeypatch: pytest.MonkeyPatch):
    """One that has only `run` of its own: its streams lead to what it wraps, and so would whatever is run."""
    monkeypatch.setattr(Room, "get_stream_reader", ConnectorWrapper.get_stream_reader)
    async with manage([room("on")], log) as manager:
        await manager.deploy("on")
        connector = manager.get_connector("on")
        assert connector is not None
        with pytest.raises(WorkflowExecutionException, match=r"'on': commands cannot be run on a Room: .* go past it"):
            await connector.run(["true"])


class Queue(LocalConnector, BatchConnector):
    """A queue that wraps nothing."""


async def test_a_queue_that_wraps_nothing(tmp_path: Path):
    """Its jobs have no place where their input and output could be brought."""
    connector = bridged_type(Queue)(deployment_name="queue", config_dir=tmp_path)
    with pytest.raises(WorkflowExecutionException, match="run on a Queue: it is a queue that wraps no connector"):
        await connector.run(["true"])


async def test_lazy(log: Path):
    """Rule L1: brought up by the first use, once."""
    lazy = DeploymentConfig("lazy", "room", {"log": "log"}, lazy=True)
    async with manage([lazy], log) as manager:
        await manager.deploy("lazy")
        connector = manager.get_connector("lazy")
        assert connector is not None
        assert lines(log) == []
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(connector.run, ["true"])
        assert lines(log) == ["lazy deploy", "lazy deployed"]


async def test_the_teardown_waits_for_the_commands(log: Path, monkeypatch: pytest.MonkeyPatch):
    """A caller who went away without waiting leaves a command behind that is being killed: its environment stays."""
    import asyncio

    pids: list[int] = []
    undeploy = Room.undeploy

    async def looking(self: Room, external: bool) -> None:
        assert [pid for pid in pids if is_running(pid)] == []
        await undeploy(self, external)

    monkeypatch.setattr(Room, "undeploy", looking)
    began = anyio.Event()
    async with manage([room("on")], log) as manager:
        await manager.deploy("on")
        connector = manager.get_connector("on")
        assert connector is not None

        async def caller() -> None:
            async with connector.start(["sh", "-c", "trap '' TERM; echo $$; while :; do sleep 0.02; done"]) as process:
                pids.extend(await pids_of(process))
                began.set()
                await anyio.sleep_forever()

        task = asyncio.get_running_loop().create_task(caller())
        await began.wait()
        task.cancel()
        await anyio.wait_all_tasks_blocked()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert pids
    assert lines(log) == ["on deploy", "on deployed", "on undeploy"]


async def test_a_command_that_is_left_before_it_has_begun_never_runs(log: Path, monkeypatch: pytest.MonkeyPatch):
    """Here because a connector never opens one of its streams."""
    get_stream_reader = Room.get_stream_reader
    reached = anyio.Event()

    async def stuck(self: Room, command: list[str], location: object) -> object:
        if "t1" in command:
            reached.set()
            await anyio.sleep_forever()
        return await get_stream_reader(self, command, location)

    monkeypatch.setattr(Room, "get_stream_reader", stuck)
    monkeypatch.setattr(clients, "_CLOSING", 2.0)
    async with manage([room("on")], log) as manager:
        await manager.deploy("on")
        connector = manager.get_connector("on")
        assert connector is not None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(connector.run, ["sh", "-c", f"echo it ran >>{log}"])
            await reached.wait()
            tasks.cancel_scope.cancel()
    assert lines(log) == ["on deploy", "on deployed", "on undeploy"]


@pytest.mark.parametrize("cancelled", [True, False])
async def test_what_cannot_be_killed_is_told(log: Path, monkeypatch: pytest.MonkeyPatch, cancelled: bool):
    """In place of a cancellation, too: it must not be forgotten."""
    order = Session.order

    def unheard(self: Session, *words: str | bytes) -> None:
        if words[0] != "end":
            order(self, *words)

    monkeypatch.setattr(Session, "order", unheard)
    async with manage([room("on")], log) as manager:
        await manager.deploy("on")
        connector = manager.get_connector("on")
        assert isinstance(connector, BridgedConnector)
        connector._terminator.vanishing = 0.1
        with (
            pytest.raises(UnstoppableError, match="`sleep 300` could not be stopped"),
            anyio.CancelScope() as scope,
        ):
            async with connector.start(["sleep", "300"], stdin=DEVNULL, stderr=DEVNULL, grace=0.1):
                if cancelled:
                    scope.cancel()
                    await anyio.sleep_forever()


async def test_after_a_loss_the_next_command_opens_another_session(log: Path, directories: list[Path]):
    """A command that ran is reported as lost, with no status of a client."""
    async with manage([room("on")], log) as manager:
        await manager.deploy("on")
        connector = manager.get_connector("on")
        assert connector is not None
        async with connector.start(["sleep", "300"], stdin=DEVNULL) as process:
            os.kill(reporter(directories), signal.SIGKILL)
            with pytest.raises(ConnectionLostError, match="the status of `sleep` is not known"):
                await process.wait()
        assert (await connector.run(SHOW, check=False)).stdout == b"/on\n"


def reporter(directories: list[Path]) -> int:
    """The process that brings the reports of a session."""
    words = {path.parent.name: path.read_bytes().split(b"\0") for path in Path("/proc").glob("[0-9]*/cmdline")}
    fifos = {bytes(path / "fifo") for path in directories}
    (pid,) = (pid for pid, argv in words.items() if argv[0] == b"cat" and argv[1] in fifos)
    return int(pid)


async def test_a_location_where_nothing_can_be_run(log: Path, monkeypatch: pytest.MonkeyPatch):
    """The answer of the connector is in the error."""

    async def no_shell(self: Room, *args: object, **kwargs: object) -> tuple[str, int]:
        return "exec: sh: not found", 127

    monkeypatch.setattr(Room, "run", no_shell)
    async with manage([room("on")], log) as manager:
        await manager.deploy("on")
        connector = manager.get_connector("on")
        assert connector is not None
        problem = r"deployment 'on': no commands can be run at .*: exec: sh: not found"
        with pytest.raises(WorkflowExecutionException, match=problem):
            await connector.run(["true"])


@pytest.mark.parametrize("stuck", ["get_stream_reader", "get_stream_writer"])
async def test_a_session_that_is_never_open(log: Path, monkeypatch: pytest.MonkeyPatch, stuck: str):
    """Leaves nothing when the caller is cancelled, and no other caller hangs."""
    reached = anyio.Event()
    get_stream = getattr(Room, stuck)

    async def held(self: Room, command: list[str], location: object) -> object:
        if not reached.is_set():
            reached.set()
            await anyio.sleep_forever()
        return await get_stream(self, command, location)

    monkeypatch.setattr(Room, stuck, held)
    monkeypatch.setattr(clients, "_CLOSING", 0.5)
    async with manage([room("on")], log) as manager:
        await manager.deploy("on")
        connector = manager.get_connector("on")
        assert connector is not None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(connector.run, ["true"])
            await reached.wait()
            tasks.cancel_scope.cancel()
        assert (await connector.run(SHOW, check=False)).stdout == b"/on\n"


async def test_streamflow_is_quiet():
    """The output of a command line is not interspersed with the log of StreamFlow."""
    from streamflow.log_handler import logger

    assert logger.level >= logging.WARNING


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_on_trio_it_is_refused_before_anything_is_deployed(log: Path):
    """Rule D4."""
    configs = [room("on"), DeploymentConfig("top", "command", {"deploy": ["touch", str(log)]}, depends_on="on")]
    async with manage(configs, log) as manager:
        for _ in range(2):
            with pytest.raises(
                InvalidConfigError, match=r"deployment 'on': type 'room' works on asyncio only.*`--back"
            ):
                await manager.deploy("top")
        assert lines(log) == []
