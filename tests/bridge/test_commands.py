"""The duties of a command that runs through StreamFlow's connectors: the same everywhere."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from subprocess import DEVNULL, STDOUT

import anyio
import pytest
from anyio import BrokenResourceError, ClosedResourceError

from anydeploy import CommandError, Connector, DefaultDeploymentManager, DeploymentConfig, InvalidConnectorError
from anydeploy.connectors.local import StartError

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("directories")]

#: Two processes that end when they are asked to; and two that do not.
OBEDIENT = "sleep 300 & echo $$ $!; wait"
STUBBORN = "trap '' TERM; sleep 300 & echo $$ $!; while :; do sleep 0.05; done"

#: Many quotation marks, which every shell on the way quotes once more.
AWKWARD = "it's 100 % \\047 \\c \\\\ $HOME `x` \"" + "'" * 2_000

Place = Callable[[], AbstractAsyncContextManager[Connector]]


@pytest.fixture(
    params=["asyncio-local", "asyncio-wrapper", "asyncio-ssh", "asyncio+uvloop-local", "asyncio+uvloop-wrapper"]
)
def where(request: pytest.FixtureRequest) -> tuple[str, str]:
    """An event loop, and StreamFlow's local connector, one of its wrappers on anydeploy's local one, or its ssh."""
    return tuple(request.param.split("-"))


@pytest.fixture
def anyio_backend(where: tuple[str, str]) -> tuple[str, dict[str, object]]:
    return "asyncio", {"use_uvloop": where[0].endswith("uvloop")}


@pytest.fixture
def place(where: tuple[str, str], request: pytest.FixtureRequest, rooms: None, tmp_path: Path) -> Place:
    if where[1] == "local":
        config = DeploymentConfig("place", "streamflow:local")
    elif where[1] == "wrapper":
        config = DeploymentConfig("place", "room", wraps="below")
    else:
        config = DeploymentConfig("place", "streamflow:ssh", request.getfixturevalue("sshd"))
    below = DeploymentConfig("below", "local")

    @asynccontextmanager
    async def deployed() -> AsyncIterator[Connector]:
        with anyio.fail_after(60):
            async with DefaultDeploymentManager([config, below], config_dir=tmp_path) as manager:
                await manager.deploy("place")
                connector = manager.get_connector("place")
                assert connector is not None
                yield connector

    return deployed


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def pids_of(process: anyio.abc.Process) -> list[int]:
    assert process.stdout is not None
    data = b""
    while not data.endswith(b"\n"):
        data += await process.stdout.receive()
    pids = [int(word) for word in data.split()]
    assert pids
    assert all(map(is_running, pids))
    return pids


async def test_run(place: Place, tmp_path: Path):
    words = ["a b", "*", "q'\"\\n\n$HOME", "", AWKWARD]
    script = 'printf "%s|" "$@"; pwd; echo "$OWN"; cat; echo err >&2; exit 3'
    async with place() as connector:
        done = await connector.run(
            ["sh", "-c", script, "sh", *words],
            environment={"OWN": "$(id) `x` 'y\""},
            workdir=str(tmp_path),
            stdin=b"in\0put",
            check=False,
        )
    assert done.stdout.decode() == f"{'|'.join(words)}|{tmp_path}\n$(id) `x` 'y\"\nin\0put"
    assert done.stderr == b"err\n"
    assert done.returncode == 3


async def test_where_no_workdir_is_named_it_is_where_the_location_starts_commands(place: Place):
    async with place() as connector:
        done = await connector.run(["pwd"])
    assert done.stdout.decode().strip() in {str(Path.cwd()), str(Path.home())}


async def test_much_output_of_both_kinds(place: Place):
    async with place() as connector:
        done = await connector.run(["sh", "-c", "head -c 1000000 /dev/zero; head -c 2000000 /dev/zero >&2"])
    assert (len(done.stdout), len(done.stderr)) == (1_000_000, 2_000_000)


async def test_a_conversation(place: Place):
    async with place() as connector, connector.start(["cat"]) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for word in (b"one", b"two"):
            await process.stdin.send(word)
            assert await process.stdout.receive() == word
        assert process.returncode is None
        await process.stdin.aclose()
        assert await process.wait() == 0
        with pytest.raises(anyio.EndOfStream):
            await process.stdout.receive()


async def test_streams_that_nobody_wants(place: Place):
    async with place() as connector:
        async with connector.start(["sh", "-c", "echo out; echo err >&2"], stdin=DEVNULL, stderr=STDOUT) as process:
            assert process.stdin is None
            assert process.stderr is None
            assert process.stdout is not None
            assert await process.wait() == 0
            assert b"".join([chunk async for chunk in process.stdout]) == b"out\nerr\n"
        async with connector.start(["cat"], stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL) as process:
            assert await process.wait() == 0


async def test_files_of_this_program(place: Place, tmp_path: Path):
    (tmp_path / "in").write_text("from a file\n")
    with (tmp_path / "in").open() as source, (tmp_path / "out").open("w") as target:
        async with place() as connector, connector.start(["cat"], stdin=source, stdout=target) as process:
            assert await process.wait() == 0
    assert (tmp_path / "out").read_text() == "from a file\n"


async def test_input_that_is_not_read(place: Place):
    async with place() as connector, connector.start(["true"]) as process:
        assert process.stdin is not None
        assert await process.wait() == 0
        with pytest.raises((BrokenResourceError, ClosedResourceError)):
            while True:
                await process.stdin.send(b"x" * 65536)


@pytest.mark.parametrize("how", ["by an exception", "by a cancellation", "natively", "in peace"])
async def test_leaving_ends_everything(place: Place, how: str):
    """However the caller is cancelled (rule M3)."""
    pids: list[int] = []
    begun = anyio.Event()
    async with place() as connector:

        async def caller(scope: anyio.CancelScope) -> None:
            with scope:
                async with connector.start(["sh", "-c", OBEDIENT], stdin=DEVNULL, grace=60) as process:
                    pids.extend(await pids_of(process))
                    begun.set()
                    if how == "by an exception":
                        raise ZeroDivisionError
                    if how == "by a cancellation":
                        scope.cancel()
                    if how != "in peace":
                        await anyio.sleep_forever()

        if how == "natively":
            import asyncio

            task = asyncio.get_running_loop().create_task(caller(anyio.CancelScope()))
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        elif how == "by an exception":
            with pytest.raises(ZeroDivisionError):
                await caller(anyio.CancelScope())
        else:
            await caller(anyio.CancelScope())
        assert [pid for pid in pids if is_running(pid)] == []


async def test_a_second_cancellation_leaves_at_once_and_the_command_ends_all_the_same(place: Place):
    """Native cancellations pierce shields: the caller goes, and the command is killed (rule M3)."""
    import asyncio

    pids: list[int] = []
    begun = anyio.Event()
    async with place() as connector:

        async def caller() -> None:
            async with connector.start(["sh", "-c", STUBBORN], stdin=DEVNULL, grace=1000) as process:
                pids.extend(await pids_of(process))
                begun.set()
                await anyio.sleep_forever()

        task = asyncio.get_running_loop().create_task(caller())
        await begun.wait()
        task.cancel()
        await anyio.wait_all_tasks_blocked()
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert [pid for pid in pids if is_running(pid)] == []


async def test_what_ignores_sigterm_is_killed(place: Place):
    async with place() as connector:
        async with connector.start(["sh", "-c", STUBBORN], stdin=DEVNULL, grace=0.1) as process:
            pids = await pids_of(process)
        assert [pid for pid in pids if is_running(pid)] == []
        assert process.returncode == -signal.SIGKILL


async def test_what_outlives_its_leader_is_killed_too(place: Place):
    script = """sh -c 'trap "" TERM; echo $$; while :; do sleep 0.05; done' & wait"""
    async with place() as connector:
        async with connector.start(["sh", "-c", script], stdin=DEVNULL, grace=0.1) as process:
            pids = await pids_of(process)
            assert process.pid not in pids
        assert [pid for pid in pids if is_running(pid)] == []


async def test_what_a_leader_that_was_interrupted_leaves_is_terminated(place: Place, tmp_path: Path):
    """A shell's background jobs ignore SIGINT; they are asked with SIGTERM, and have the rest of the grace period."""
    job = f"trap 'echo all >{tmp_path}/saved; exit' TERM; echo up; while :; do sleep 0.05; done"
    script = "trap 'exit 0' INT; sh -c \"$1\" & wait"
    with anyio.fail_after(60):
        async with place() as connector:
            async with connector.start(["sh", "-c", script, "sh", job], stdin=DEVNULL, grace=1000) as process:
                assert process.stdout is not None
                await process.stdout.receive()
                process.send_signal(signal.SIGINT)
                assert await process.wait() == 0
    assert (tmp_path / "saved").read_text() == "all\n"


async def test_output_to_a_file_is_waited_for(place: Place):
    """However long nobody reads it."""
    reading, writing = os.pipe()
    async with place() as connector:
        async with anyio.create_task_group() as tasks:
            ended = anyio.Event()

            async def run() -> None:
                async with connector.start(["head", "-c", "150000", "/dev/zero"], stdout=writing) as process:
                    os.close(writing)
                    await process.wait()
                ended.set()

            tasks.start_soon(run)
            with anyio.move_on_after(3):
                await ended.wait()
            assert not ended.is_set()
            count = 0
            while chunk := await anyio.to_thread.run_sync(os.read, reading, 65536):
                count += len(chunk)
    os.close(reading)
    assert count == 150_000


async def test_hurry_cuts_the_grace_short(place: Place):
    async with place() as connector:
        async with anyio.create_task_group() as tasks:

            async def leave() -> None:
                async with connector.start(["sh", "-c", STUBBORN], stdin=DEVNULL, grace=1000) as process:
                    pids.extend(await pids_of(process))
                    begun.set()
                left.set()

            pids: list[int] = []
            begun, left = anyio.Event(), anyio.Event()
            tasks.start_soon(leave)
            await begun.wait()
            await anyio.wait_all_tasks_blocked()
            assert not left.is_set()
            connector.hurry()
        assert [pid for pid in pids if is_running(pid)] == []


async def test_signals_arrive_in_their_order(place: Place):
    script = "trap 'echo int' INT; trap 'echo usr; exit 5' USR1; echo here; while :; do sleep 0.05; done"
    async with place() as connector, connector.start(["sh", "-c", script], stdin=DEVNULL) as process:
        assert process.stdout is not None
        assert await process.stdout.receive() == b"here\n"
        process.send_signal(signal.SIGINT)
        assert await process.stdout.receive() == b"int\n"
        process.send_signal(signal.SIGUSR1)
        assert await process.stdout.receive() == b"usr\n"
        assert await process.wait() == 5
        process.terminate()


async def test_the_group_is_the_commands_own(place: Place):
    async with place() as connector:
        done = await connector.run(["sh", "-c", "cut -d ' ' -f 1,5,6 /proc/self/stat; echo $$"])
    (_, group, session), (pid,) = (map(int, line.split()) for line in done.stdout.splitlines())
    assert group == session == pid
    assert os.getsid(0) != session


async def test_a_daemon_is_left_alone(place: Place, tmp_path: Path):
    script = f"sleep 300 & echo $! >{tmp_path}/pid; echo done"
    async with place() as connector:
        done = await connector.run(["sh", "-c", script])
        assert done.stdout == b"done\n"
        assert is_running(int((tmp_path / "pid").read_text()))


async def test_what_cannot_be_started(place: Place, tmp_path: Path):
    async with place() as connector:
        with pytest.raises(StartError, match="`no-such x` could not be started: no-such: there is no such") as caught:
            await connector.run(["no-such", "x"])
        assert isinstance(caught.value.__cause__, FileNotFoundError)
        with pytest.raises(StartError, match="its workdir /no/where does not exist"):
            await connector.run(["true"], workdir="/no/where")
        with pytest.raises(StartError, match="null character"):
            await connector.run(["echo", "a\0b"])
        with pytest.raises(StartError, match="'a-b' cannot be set"):
            await connector.run(["true"], environment={"a-b": "c"})
        with pytest.raises(StartError, match="Permission denied"):
            await connector.run([str(tmp_path)])


async def test_many_at_once(place: Place):
    """More than the sessions that an ssh server allows in one connection."""
    async with place() as connector, anyio.create_task_group() as tasks:

        async def run(number: int) -> None:
            done = await connector.run(["cat"], stdin=str(number))
            assert int(done.stdout) == number

        for number in range(8):
            tasks.start_soon(run, number)


async def test_cancelled_while_others_begin(place: Place):
    """Rule D6 for commands: the others notice nothing."""
    async with place() as connector, anyio.create_task_group() as tasks:
        scopes: list[anyio.CancelScope] = []

        async def run(number: int) -> None:
            with anyio.CancelScope() as scope:
                scopes.append(scope)
                done = await connector.run(["echo", str(number)])
                assert int(done.stdout) == number
                return
            assert number % 2

        for number in range(4):
            tasks.start_soon(run, number)
        await anyio.wait_all_tasks_blocked()
        for scope in scopes[1::2]:
            scope.cancel()


async def test_a_list_of_processes_changes_nothing(place: Place):
    """All that a command prints, the names of the programs that run it included, is its output and nothing else."""
    script = "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '; cat /tmp/.anydeploy-*/run; echo; echo ended 9 >&2"
    async with place() as connector:
        done = await connector.run(["sh", "-c", script])
    assert done.returncode == 0
    assert b"/run t" in done.stdout
    assert done.stderr.endswith(b"ended 9\n")


async def test_copies_into_within_and_from(place: Place, tmp_path: Path):
    (tmp_path / "from" / "sub").mkdir(parents=True)
    (tmp_path / "from" / "sub" / "file").write_bytes(os.urandom(300_000))
    (tmp_path / "from" / "sub" / "file").chmod(0o741)
    here = DeploymentConfig("here", "local")
    async with place() as connector, DefaultDeploymentManager([here]) as manager:
        await manager.deploy("here")
        local = manager.get_connector("here")
        assert local is not None
        await connector.copy(str(tmp_path / "from"), str(tmp_path / "into"), origin=local)
        await connector.copy(str(tmp_path / "into"), str(tmp_path / "within"))
        await local.copy(str(tmp_path / "within"), str(tmp_path / "back"), origin=connector)
        with pytest.raises(CommandError, match="no such thing"):
            await connector.copy(str(tmp_path / "no such thing"), str(tmp_path / "back" / "sub" / "never"))
    original, copied = (tmp_path / name / "sub" / "file" for name in ("from", "back"))
    assert copied.read_bytes() == original.read_bytes()
    assert copied.stat().st_mode & 0o777 == 0o741
    assert not copied.with_name("never").exists()


async def test_after_the_teardown_it_is_invalid(place: Place):
    """Rule R4."""
    async with place() as connector:
        pass
    with pytest.raises(InvalidConnectorError, match="the connector of deployment 'place'"):
        await connector.run(["true"])
