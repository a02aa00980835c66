"""Sessions, in shells of this machine: what is particular about them, and every trap that was met."""

from __future__ import annotations

import asyncio
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import tracemalloc
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from subprocess import DEVNULL, PIPE
from types import SimpleNamespace

import anyio
import attrs
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream
from processes import alive, processes_of, signal_all, until
from rooms import Room

from anydeploy import (
    ConnectionLostError,
    DefaultDeploymentManager,
    DeploymentConfig,
    InvalidConnectorError,
    WorkflowExecutionException,
)
from anydeploy.command import Command
from anydeploy.connectors._remote_process import NotBegunError, RemoteProcess
from anydeploy.connectors.local import LocalConnector
from anydeploy.connectors.process import ProcessConnector
from anydeploy.connectors.session import SessionError, read_script
from anydeploy.quoting import quote

pytestmark = pytest.mark.anyio

SHELLS = {"sh": ["sh"], "bash": ["bash", "--posix"], "busybox": ["busybox", "sh"]}
STUBBORN = "trap '' TERM; (trap '' TERM; while :; do sleep 0.1; done) & echo $$ $! >pids; while :; do sleep 0.1; done"
#: Brings up a session over another one, and starts a stubborn command and one that has left its group in it.
CRASHING = """
import sys, anyio
sys.path.insert(0, sys.argv[1])
from rooms import Room
from anydeploy.connectors.local import LocalConnector
from anydeploy.connectors.process import ProcessConnector

async def main():
    shell = sys.argv[2].split()
    local = LocalConnector(deployment_name="l", config_dir=".")
    outer = Room(deployment_name="outer", config_dir=".", connector=local, shell=shell, grace=1)
    inner = Room(deployment_name="inner", config_dir=".", connector=outer, shell=shell, grace=1)
    await outer.deploy(False)
    await inner.deploy(False)
    async with inner.start(["sh", "-c", sys.argv[3]], workdir=sys.argv[4]) as process:
        print("up", flush=True)
        await process.wait()

anyio.run(main)
"""


@pytest.fixture(params=["sh", *(pytest.param(name, marks=pytest.mark.thorough) for name in ("bash", "busybox"))])
def shell(request):
    if shutil.which(SHELLS[request.param][0]) is None:
        pytest.skip(f"{request.param} is not installed")
    return SHELLS[request.param]


@pytest.fixture
def directories(tmp_path, monkeypatch):
    """The directory in which sessions have theirs; nothing may be left in it."""
    path = tmp_path / "tmp"
    path.mkdir()
    monkeypatch.setenv("TMPDIR", str(path))
    yield path
    assert list(path.iterdir()) == []


@pytest.fixture
def local(tmp_path):
    return LocalConnector(deployment_name="l", config_dir=tmp_path)


@pytest.fixture
def room(shell, tmp_path, directories, local):
    @asynccontextmanager
    async def deployed(of=Room, **settings):
        room = of(deployment_name="room", config_dir=tmp_path, connector=local, shell=shell, **settings)
        room.losses = []
        room.on_lost = room.losses.append
        with anyio.CancelScope() as scope:
            await room.deploy(False)
            try:
                yield room
            finally:
                scope.shield = True
                await room.undeploy(False)

    return deployed


def is_written(path: Path) -> bool:
    return path.exists() and path.read_text().endswith("\n")


async def pids_in(path: Path) -> list[int]:
    while not is_written(path):  # noqa: ASYNC110
        await anyio.sleep(0.01)
    return [int(pid) for pid in (await anyio.Path(path).read_text()).split()]


async def test_what_login_files_print_is_dropped(room):
    """It may have no line end, and go to both streams; also where the output is a mark of another command."""
    prelude = "printf 'Welcome, \\0friend'; printf 'You have mail' >&2"
    async with room(prelude=prelude) as connector:
        done = await connector.run(["sh", "-c", "printf '\\377\\0'; printf e >&2"])
        assert (done.stdout, done.stderr) == (b"\xff\0", b"e")
        assert (await connector.run(["cat"], stdin=b"\0" * 200_000)).stdout == b"\0" * 200_000


async def test_what_login_files_print_is_not_kept(room):
    """However much it is, and however long its lines are; and no command waits for somebody to read it."""
    tracemalloc.start()
    try:
        async with room(prelude="head -c 60000000 /dev/zero") as connector:
            for stdout in (PIPE, DEVNULL):
                async with connector.start(["true"], stdout=stdout) as process:
                    assert await process.wait() == 0
        async with room(prelude="head -c 60000000 /dev/zero >&2") as connector:
            await connector.run(["true"])
        assert tracemalloc.get_traced_memory()[1] < 30_000_000
    finally:
        tracemalloc.stop()


async def test_what_login_files_print_gets_into_no_file(room, tmp_path, local):
    """Nor into a copy."""
    (tmp_path / "source").write_bytes(b"\0\xff" * 100_000)
    async with room(prelude="echo Welcome") as connector:
        with (tmp_path / "output").open("wb") as output:
            async with connector.start(["cat", str(tmp_path / "source")], stdout=output) as process:
                assert process.stdout is None
                assert await process.wait() == 0
        assert (tmp_path / "output").read_bytes() == b"\0\xff" * 100_000
        await local.copy(str(tmp_path / "source"), str(tmp_path / "copied"), origin=connector)
        assert (tmp_path / "copied").read_bytes() == b"\0\xff" * 100_000
        with anyio.fail_after(60):
            reader, writer = os.pipe()
            os.close(reader)
            async with connector.start(["cat", "/dev/zero"], stdout=writer) as process:
                os.close(writer)
                await process.wait()


async def test_holes_are_filled_where_tar_cannot_read_them(room, tmp_path, local):
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("busybox is not installed")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "tar").symlink_to(busybox)
    with (tmp_path / "source").open("wb") as file:
        file.truncate(1_000_000)
        file.write(b"x")
    async with room(prelude=f"export PATH={tmp_path}/bin:$PATH;") as connector:
        with anyio.fail_after(60):
            await connector.copy(str(tmp_path / "source"), str(tmp_path / "there"), origin=local)
            await local.copy(str(tmp_path / "there"), str(tmp_path / "back"), origin=connector)
    assert (tmp_path / "back").read_bytes() == (tmp_path / "source").read_bytes()


async def test_words_of_the_shell_are_no_programs(room, tmp_path):
    (tmp_path / "report").mkdir()
    async with room() as connector:
        for word in ("export", "if", "report", "begun"):
            with pytest.raises(OSError, match=f"{word}: there is no such program"):
                await connector.run([word], environment={"PATH": f"{tmp_path}:{os.environ['PATH']}"})
        for word in ("true", "echo", "test"):
            await connector.run([word, "x"])
        (tmp_path / "begun").write_text("#!/bin/sh\necho it is")
        (tmp_path / "begun").chmod(0o755)
        for path, workdir in ((f"/no::{tmp_path}", None), (":/bin", str(tmp_path))):
            done = await connector.run(["begun"], environment={"PATH": path}, workdir=workdir)
            assert done.stdout == b"it is\n"


def names_in(script: str) -> set[str]:
    """The names of the variables of a script of the package."""
    text = read_script(script)
    words = [word for words in re.findall(r"\b(?:for|read -r) ([a-z_ ]+)", text) for word in words.split()]
    return {*re.findall(r"\b([a-z]+)=", text), *(word for word in words if word.isalpha())} - {"in"}


def without_setsid(directory: Path) -> str:
    """The words that leave a shell the programs which a session needs."""
    programs = directory / "bin"
    programs.mkdir()
    names = "sh dash bash busybox cat env mkdir mkfifo rm rmdir sleep grep uname head tar"
    for name in names.split():
        if (found := shutil.which(name)) is not None:
            (programs / name).symlink_to(found)
    return f"PATH={programs}"


@pytest.mark.parametrize("has_setsid", [True, False])
async def test_variables_with_the_names_of_our_own_arrive_as_they_are(room, tmp_path, has_setsid):
    """Those of the environment, which are exported there, and those of a command."""
    names = names_in("session.sh")
    assert {"d", "t", "name", "setsid", "proc", "pid", "group", "status"} <= names
    theirs = {name: f"'{name}' of theirs $1" for name in (*names, "program", "text", "script")}
    words = [f"export {name}={quote(value)}" for name, value in theirs.items()]
    words += [] if has_setsid else [without_setsid(tmp_path)]
    async with room(prelude="\n".join(words)) as connector:
        done = await connector.run(["env"], environment={"t": "of mine"})
        async with connector.get_shell() as shell:
            in_shell = await shell.run(["env"])
    for expected, output in (({**theirs, "t": "of mine"}, done.stdout), (theirs, in_shell.stdout)):
        found = dict(line.split("=", 1) for line in output.decode().splitlines() if "=" in line)
        assert {name: found.get(name) for name in theirs} == expected


async def test_a_status_above_128_is_no_signal_that_was_not_sent(room):
    async with room() as connector:
        assert (await connector.run(["sh", "-c", "exit 143"], check=False)).returncode == 143
        assert (await connector.run(["sh", "-c", "kill -9 $$"], check=False)).returncode == 137


async def test_streams_that_come_by_fifos(room):
    """A client that carries one stream only leaves the others to commands beside it, as those of StreamFlow do."""
    async with room() as connector:
        session = connector._session
        beside = session.beside

        @asynccontextmanager
        async def apart(command):
            token = command.argv[2]
            if token != "t1":
                async with beside(command) as client:
                    yield client
                return
            async with AsyncExitStack() as stack:
                relays = []
                for stream, argv in (("in", ["sh", "-c", 'exec cat >"$1"', "sh"]), ("err", ["cat"])):
                    session.order("fifo", token, stream)
                    relay = Command([*argv, f"{session.facts['dir']}/{token}.{stream}"], stderr=DEVNULL)
                    relays.append(await stack.enter_async_context(session.start(relay)))
                client = await stack.enter_async_context(beside(attrs.evolve(command, stdin=DEVNULL, stderr=DEVNULL)))
                stdin, stderr = relays[0].stdin, relays[1].stdout
                yield SimpleNamespace(stdin=stdin, stdout=client.stdout, stderr=stderr, wait=client.wait)

        session.beside = apart
        script = "sleep 1000 & cat; head -c 100000 /dev/zero >&2; exit 3"
        done = await connector.run(["sh", "-c", script], stdin=b"\0\xff" * 50_000, check=False)
        assert (done.stdout, done.stderr) == (b"\0\xff" * 50_000, b"\0" * 100_000)
        assert done.returncode == 3


@contextmanager
def pumped(path):
    """A command whose output goes to a file, and the way by which that comes."""
    arriving, received = anyio.create_memory_object_stream[bytes](math.inf)
    with path.open("wb") as output:
        process = RemoteProcess(Command(["cat"], stdout=output, stderr=DEVNULL), "t1", "session", lambda *words: None)
        process.pump_files()
    process.attach(SimpleNamespace(stdin=None, stdout=BufferedByteReceiveStream(received), stderr=None))
    with arriving, received:
        yield process, arriving


async def test_output_reaches_a_file_when_its_caller_has_the_process(tmp_path):
    """A reader of the file may send a signal at once, which is lost where there is no process yet."""
    with pumped(tmp_path / "output") as (process, arriving):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(process.deliver)
            for data in (b"noise", b"\033\001session-t1\002\n", b"here", b"\033\001session-t1\002\n"):
                arriving.send_nowait(data)
            await anyio.wait_all_tasks_blocked()
            assert (tmp_path / "output").read_bytes() == b""
            process.told("begun", "7")
            await process.delivered()
    assert (tmp_path / "output").read_bytes() == b"here"


async def test_the_delivery_of_a_command_that_never_begins_ends(tmp_path):
    with pumped(tmp_path / "output") as (process, arriving), anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(process.deliver)
            arriving.close()
            await anyio.wait_all_tasks_blocked()
            process.give_up()


async def test_a_request_to_end_arrives_once(room):
    """A second SIGINT means something else to many programs."""
    script = "trap 'echo int' INT; trap 'exit 5' USR1; echo up; while :; do sleep 0.01; done"
    async with room() as connector, connector.start(["sh", "-c", script], stdin=DEVNULL) as process:
        output = await process.stdout.receive()
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGUSR1)
        assert await process.wait() == 5
        assert output + b"".join([chunk async for chunk in process.stdout]) == b"up\nint\n"


async def test_what_a_command_leaves_in_its_group_is_noticed(room):
    async with room() as connector:
        for script, left in (("echo; exit 3", False), ("sleep 300 & echo $!; exit 3", True)):
            async with connector.start(["sh", "-c", script]) as process:
                pid = await process.stdout.receive()
                assert (await process.wait(), process.left) == (3, left)
        os.kill(int(pid), signal.SIGKILL)


@pytest.mark.parametrize("in_group", [True, False])
async def test_without_setsid_commands_are_ended_all_the_same(room, tmp_path, in_group, shell):
    if shell[0] == "busybox":
        pytest.skip("it has a setsid of its own")
    own = "" if in_group else f"setsid={shutil.which('setsid')}; "
    async with room(prelude=f"{without_setsid(tmp_path)}; {own}") as connector:
        assert connector._session.facts["setsid"] == ""
        for number in (signal.SIGTERM, signal.SIGKILL):
            async with connector.start(["sh", "-c", "sleep 300 & echo $$ $!; wait"]) as process:
                pids = [int(pid) for pid in (await process.stdout.receive()).split()]
                process.send_signal(number)
            assert process.returncode == -number
            assert not any(map(alive, pids))


async def test_a_session_whose_script_is_killed_is_lost(room, tmp_path, directories):
    async with room() as connector:
        async with connector.start(["sh", "-c", "echo $$ >pids; exec sleep 300"], workdir=str(tmp_path)) as process:
            (pid,) = await pids_in(tmp_path / "pids")
            with anyio.fail_after(60):
                name = connector._session.name
                loops = [each for each in processes_of(name) if each not in processes_of("reports")]
                signal_all(loops, signal.SIGKILL)
                with pytest.raises(ConnectionLostError, match="status of `sh` is not known"):
                    await process.wait()
        assert isinstance(connector.losses[0], ConnectionLostError)
        with pytest.raises(InvalidConnectorError, match="session"):
            await connector.run(["true"])
    os.kill(pid, signal.SIGKILL)
    for left in directories.iterdir():
        shutil.rmtree(left)


async def test_a_program_is_lost_with_its_connection(tmp_path, directories):
    """X1, X2, U6: it comes up again when it is asked for, and goes down like others, however often that happens."""
    lost = anyio.Event()

    def notice(event):
        if event.name == "server" and event.state == "lost":
            lost.set()

    server = {"command": ["sleep", "1000"], "ready": {"command": ["true"]}}
    definitions = [DeploymentConfig("room", "room"), DeploymentConfig("server", "process", server, wraps="room")]
    types = {"room": Room}
    async with DefaultDeploymentManager(definitions, connector_types=types, on_event=notice) as manager:
        for _ in range(2):
            await manager.deploy("server")
            end_script(manager.get_connector("room"))
            with anyio.fail_after(60):
                await lost.wait()
            lost = anyio.Event()
        await manager.undeploy("server")


async def test_a_program_that_is_lost_does_not_become_ready(room, tmp_path):
    """Its deploy fails at once with the reason, and does not wait until its time is over."""
    command = ["sh", "-c", "echo up; exec sleep 1000"]
    async with room() as connector:

        class Watched(ProcessConnector):
            async def _probe(self, ready, program, wait):
                # Before, a signal for what carries the name of the session may meet the program itself.
                while "up" not in program.output.last_lines():  # noqa: ASYNC110
                    await anyio.sleep(0.01)
                end_script(connector)
                await anyio.sleep_forever()

        server = Watched(
            deployment_name="server",
            config_dir=tmp_path,
            connector=connector,
            service=None,
            command=command,
            ready={"log": "never", "timeout": 1000},
        )
        with anyio.fail_after(60), pytest.raises(ConnectionLostError):
            await server.deploy(False)
        await server.undeploy(False)


def end_script(connector):
    """End the session of a room from outside."""
    name = connector._session.name
    signal_all([each for each in processes_of(name) if each not in processes_of("reports")], signal.SIGTERM)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_to_the_script_is_the_end_of_its_orders(room, tmp_path, directories, number):
    async with room() as connector:
        async with connector.start(["sh", "-c", "echo $$ >pids; exec sleep 300"], workdir=str(tmp_path)) as process:
            (pid,) = await pids_in(tmp_path / "pids")
            signal_all(processes_of(connector._session.name), number)
            with anyio.fail_after(60), pytest.raises(ConnectionLostError):
                await process.wait()
        await anyio.to_thread.run_sync(until, lambda: not alive(pid) and not list(directories.iterdir()))


@pytest.mark.parametrize("program", ["mkdir", "mkfifo", "tar", "uname", "cat"])
async def test_a_signal_to_a_script_that_begins_leaves_nothing(local, tmp_path, directories, shell, program):
    """Whatever it is about; a client that is ended while the session is opened may be the script itself."""
    if shell[0] == "busybox":
        pytest.skip("it has these programs itself")
    programs = tmp_path / "bin"
    programs.mkdir()
    path = programs / program
    signalled = f"trap '' TERM; : >{tmp_path}/signalled; kill -s TERM 0"
    path.write_text(f"""#!/bin/sh\n{signalled}\nexec {shutil.which(program)} "$@"\n""")
    path.chmod(0o755)
    prelude = f"export PATH={programs}:$PATH"
    room = Room(deployment_name="room", config_dir=tmp_path, connector=local, shell=shell, prelude=prelude)
    with anyio.fail_after(60), suppress(SessionError):
        await room.deploy(False)
    await room.undeploy(False)
    assert (tmp_path / "signalled").exists()


async def test_a_command_whose_client_is_killed_is_ended_and_its_status_unknown(room, tmp_path):
    async with room() as connector:
        async with connector.start(["sh", "-c", "echo $$ >pids; exec sleep 300"], workdir=str(tmp_path)) as process:
            (pid,) = await pids_in(tmp_path / "pids")
            signal_all(processes_of(f"{connector._session.name}/run"), signal.SIGKILL)
            with anyio.fail_after(60), pytest.raises(ConnectionLostError, match="its connection ended before it did"):
                await process.wait()
        assert not alive(pid)
        assert connector.losses == []
        assert (await connector.run(["echo", "on"])).stdout == b"on\n"


async def test_a_command_that_comes_after_it_was_given_up_does_not_begin(room, tmp_path):
    """Its client is gone, but has started it there: it finds the mark that was left for it."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    late = f'(read -r _ <{gate}; exec "$@") </dev/null >/dev/null 2>&1 & echo late >&2; exit 1'
    async with room(prelude=f'case "$*" in */run*) {late} ;; esac') as connector:
        with anyio.fail_after(60), pytest.raises(NotBegunError, match="`touch` did not begin: late"):
            await connector.run(["touch", str(tmp_path / "ran")])
        await anyio.to_thread.run_sync(gate.write_text, "go\n")
        await anyio.to_thread.run_sync(until, lambda: not processes_of(f"{connector._session.name}/run"))
        assert not (tmp_path / "ran").exists()


async def test_a_command_waits_for_its_order(room, tmp_path):
    """Its client may be there before what it is to run."""
    async with room() as connector:
        session, held = connector._session, []
        send = session._orders.send_nowait
        session._orders.send_nowait = held.append
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(connector.run, ["touch", str(tmp_path / "ran")])
            directory = Path(session.facts["dir"])
            with anyio.fail_after(60):
                await anyio.to_thread.run_sync(until, (directory / "t1.wait").exists)
            assert not (tmp_path / "ran").exists()
            session._orders.send_nowait = send
            for each in held:
                send(each)
        assert (tmp_path / "ran").exists()


async def test_an_undeploy_ends_what_still_runs(room, tmp_path):
    async with anyio.create_task_group() as tasks:
        async with room(grace=0) as connector:

            async def stay() -> None:
                with suppress(ConnectionLostError):
                    await connector.run(["sh", "-c", STUBBORN], workdir=str(tmp_path), check=False)

            tasks.start_soon(stay)
            pids = await pids_in(tmp_path / "pids")
    assert not any(map(alive, pids))


async def test_it_is_one_place_in_what_it_wraps(room, local, tmp_path):
    async with room() as outer:
        inner = Room(deployment_name="inner", config_dir=tmp_path, connector=outer, shell=outer.shell)
        (place,) = (await inner.get_available_locations()).values()
        assert (place.name, place.wraps.name, place.wraps.wraps.name) == ("inner", "room", "l")
        assert (await outer.at(location="room").run(["echo", "x"])).stdout == b"x\n"
        with pytest.raises(WorkflowExecutionException, match="deployment 'room' has no location 'elsewhere'"):
            await outer.at(location="elsewhere").run(["true"])


async def test_hurry_cuts_the_grace(room, tmp_path):
    async with room() as connector:
        with anyio.fail_after(60):
            async with connector.start(["sh", "-c", STUBBORN], workdir=str(tmp_path), grace=3600):
                pids = await pids_in(tmp_path / "pids")
                connector.hurry()
        assert not any(map(alive, pids))


async def test_a_script_cleans_up_in_any_hurry(room, tmp_path, directories):
    """The outer one does not kill it, with what it watches over, before it has done that."""
    async with room() as outer:
        inner = Room(deployment_name="inner", config_dir=tmp_path, connector=outer, shell=outer.shell)
        await inner.deploy(False)
        name = inner._session.name
        done = await inner.run(["sh", "-c", "sleep 1000 & echo $!"])
        inner.hurry()
        outer.hurry()
        await inner.undeploy(False)
        assert [path.name for path in directories.iterdir() if path.name == name] == []
        assert not alive(int(done.stdout))


@pytest.mark.thorough
async def test_a_command_may_begin_before_its_client_is_known_to_have_started(room, tmp_path):
    """A caller that is cancelled in between leaves nothing, and returns when nothing is left."""

    class Slow(Room):
        @asynccontextmanager
        async def start_client(self, command):
            async with super().start_client(command) as client:
                if self._session is not None:
                    await anyio.sleep_forever()
                yield client

    async with room(of=Slow) as connector:
        async with anyio.create_task_group() as tasks:
            argv = ["sh", "-c", "echo $$ >pids; exec sleep 1000"]
            tasks.start_soon(partial(connector.run, argv, workdir=str(tmp_path)))
            (pid,) = await pids_in(tmp_path / "pids")
            tasks.cancel_scope.cancel()
        assert not alive(pid)


@pytest.mark.parametrize("anyio_backend", [("asyncio", {"use_uvloop": False}), ("asyncio", {"use_uvloop": True})])
@pytest.mark.parametrize("times", [1, 2])
async def test_a_native_cancellation_ends_the_command(room, tmp_path, times):
    """It pierces shields (rule M3); the orders that end the command are given all the same."""
    async with room() as connector:

        async def caller():
            async with connector.start(["sh", "-c", STUBBORN], workdir=str(tmp_path), grace=3600) as process:
                await process.wait()

        task = asyncio.get_running_loop().create_task(caller())
        pids = await pids_in(tmp_path / "pids")
        for _ in range(times):
            task.cancel()
            await anyio.wait_all_tasks_blocked()
        if times == 1:
            while not connector._terminator._graces:
                await anyio.lowlevel.checkpoint()
            connector.hurry()
        with anyio.fail_after(60), pytest.raises(asyncio.CancelledError):
            await task
        await anyio.to_thread.run_sync(until, lambda: not any(map(alive, pids)))
        assert (await connector.run(["echo", "on"])).stdout == b"on\n"


async def test_an_environment_without_a_shell_is_told(local, tmp_path):
    room = Room(deployment_name="room", config_dir=tmp_path, connector=local, prelude="echo 'no sh' >&2; exit 127;")
    with pytest.raises(SessionError, match=r"the session in the environment has ended with status 127: no sh"):
        await room.deploy(False)
    await room.undeploy(False)


@pytest.mark.parametrize(
    ("prelude", "reason"),
    [
        ("echo Welcome; printf 'This account is closed.'; exit 1;", "with status 1: This account is closed"),
        ("echo 'Use another host.'; exit 0;", "with status 0: Use another host"),
        ("echo Welcome; echo 'no sh' >&2; exit 127;", "with status 127: no sh"),
    ],
)
async def test_a_reason_that_is_printed_as_output_is_told(local, tmp_path, prelude, reason):
    """Unless something is printed as an error."""
    room = Room(deployment_name="room", config_dir=tmp_path, connector=local, prelude=prelude)
    with pytest.raises(SessionError, match=reason):
        await room.deploy(False)
    await room.undeploy(False)


async def test_an_environment_without_a_place_for_a_directory_is_told(local, tmp_path):
    prelude = "mkdir() { return 1; }; TMPDIR=/no HOME=/no; PATH=/no;"
    room = Room(deployment_name="room", config_dir=tmp_path, connector=local, shell=["/bin/sh"], prelude=prelude)
    with pytest.raises(SessionError, match="no directory takes a FIFO"):
        await room.deploy(False)
    await room.undeploy(False)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
def test_after_a_kill_nothing_is_left_at_any_depth(shell, tmp_path, directories, anyio_backend):
    script = f"setsid sh -c 'echo $$ >stray; exec sleep 300' & {STUBBORN}"
    here = str(Path(__file__).parent)
    command = [sys.executable, "-c", CRASHING, here, " ".join(shell), script, str(tmp_path)]
    program = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert program.stdout is not None
        assert program.stdout.readline() == b"up\n"
        for name in ("pids", "stray"):
            until(partial(is_written, tmp_path / name))
        pids = [int(pid) for name in ("pids", "stray") for pid in (tmp_path / name).read_text().split()]
        assert len(pids) == 3
    finally:
        program.kill()
        program.wait()
        program.stdout.close()
    until(lambda: not any(map(alive, pids)))
    until(lambda: not list(directories.iterdir()))


async def test_a_directory_goes_although_a_file_is_made_meanwhile(room, rm_with_company, shell):
    if shell[0] == "busybox":
        pytest.skip("it has rm itself")
    async with room() as connector:
        await connector.run(["true"])
    assert rm_with_company.exists()


@pytest.mark.thorough
@pytest.mark.usefixtures("rm_with_company")
async def test_what_not_even_the_script_could_clean_up_is_removed_later(room, tmp_path, directories):
    """After `kill -9` of both ends: `remove_left` finds it by its traces, and may be repeated."""
    async with room() as dead:
        traces, token = dead.traces(), dead.token
        async with dead.start(["sh", "-c", "echo $$ >pids; exec sleep 300"], workdir=str(tmp_path)):
            (pid,) = await pids_in(tmp_path / "pids")
            signal_all(processes_of(dead._session.name), signal.SIGKILL)
            async with room() as other:
                other.token = token
                await other.remove_left(traces, {})
                assert not alive(pid)
                await other.remove_left(traces, {})
                assert [path.name for path in directories.iterdir()] == [other._session.name]
