from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import anyio
import pytest

from anydeploy.connectors.local import LocalConnector, StartError
from anydeploy.connectors.termination import UnstoppableError
from anydeploy.exceptions import CommandError, InvalidConnectorError

pytestmark = pytest.mark.anyio

#: Prints its pid and those of its children, all of which ignore SIGTERM.
STUBBORN = "trap '' TERM; sleep 300 & echo $$ $!; wait; wait"
#: The same, all of which obey.
OBEDIENT = "sleep 300 & echo $$ $!; wait"


@pytest.fixture
def local(tmp_path: Path) -> LocalConnector:
    return LocalConnector(deployment_name="l", config_dir=tmp_path)


def is_running(pid: int) -> bool:
    """An orphan that init has not reaped yet does not run."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def pids_of(process) -> list[int]:
    line = b""
    while not line.endswith(b"\n"):
        line += await process.stdout.receive()
    return [int(pid) for pid in line.split()]


def assert_gone(pids: list[int]) -> None:
    assert pids
    assert [pid for pid in pids if is_running(pid)] == []
    with pytest.raises(ChildProcessError):
        os.waitpid(pids[0], os.WNOHANG)  # a zombie could be reaped


async def test_run(local, tmp_path, monkeypatch):
    monkeypatch.setenv("INHERITED", "a")
    (tmp_path / "sub").mkdir()
    script = "pwd; echo $INHERITED $OWN; cat; echo err >&2"
    completed = await local.run(["sh", "-c", script], environment={"OWN": "b"}, workdir="sub", stdin="in")
    assert completed.stdout.decode() == f"{tmp_path.resolve()}/sub\na b\nin"
    assert completed.stderr == b"err\n"


async def test_failing_command(local):
    with pytest.raises(CommandError, match=r"ended with status 3:\nwhy") as caught:
        await local.run(["sh", "-c", "echo why >&2; exit 3"])
    assert caught.value.returncode == 3
    completed = await local.run(["sh", "-c", "kill -9 $$"], check=False)
    assert completed.returncode == -9


async def test_what_cannot_be_started(local, tmp_path):
    with pytest.raises(StartError, match="no-such: there is no such program"):
        await local.run(["no-such"])
    with pytest.raises(OSError, match=r"its workdir .*nowhere does not exist"):
        await local.run(["true"], workdir="nowhere")
    (tmp_path / "file").write_text("#!/no/interpreter\n")
    with pytest.raises(StartError, match="Permission denied"):
        await local.run([str(tmp_path / "file")])
    (tmp_path / "file").chmod(0o700)
    with pytest.raises(StartError, match="interpreter does not exist"):
        await local.run([str(tmp_path / "file")])
    with pytest.raises(StartError, match="not a directory"):
        await local.run(["true"], workdir="file")
    with pytest.raises(StartError, match="no program"):
        await local.run([])
    with pytest.raises(StartError, match="null"):
        await local.run(["a\0b"])


@pytest.mark.parametrize("how", ["normally", "by an exception", "by a cancellation"])
async def test_leaving_the_block_ends_the_whole_group(local, how):
    pids = []
    with suppress(ZeroDivisionError), anyio.CancelScope() as scope:
        async with local.start(["sh", "-c", OBEDIENT], grace=60) as process:
            pids += await pids_of(process)
            assert os.getpgid(process.pid) == process.pid
            if how == "by an exception":
                raise ZeroDivisionError
            if how == "by a cancellation":
                scope.cancel()
                await anyio.sleep_forever()
    assert_gone(pids)
    assert process.returncode == -signal.SIGTERM


async def test_what_ignores_sigterm_is_killed(local):
    async with local.start(["sh", "-c", STUBBORN], grace=0.1) as process:
        pids = await pids_of(process)
    assert_gone(pids)
    assert process.returncode == -signal.SIGKILL


async def test_a_grandchild_that_outlives_its_parent_is_killed(local):
    script = "(trap '' TERM; exec sleep 300) & echo $$ $!; wait"
    async with local.start(["sh", "-c", script], grace=0.2) as process:
        pids = await pids_of(process)
    assert_gone(pids)


async def test_hurry_cuts_grace_periods(local):
    """It would take ten minutes otherwise."""
    pids = []

    async def stop_slowly() -> None:
        async with local.start(["sh", "-c", STUBBORN], grace=600) as process:
            pids.extend(await pids_of(process))
            started.set()

    started = anyio.Event()
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stop_slowly)
            await started.wait()
            while not local._terminator._graces:
                await anyio.lowlevel.checkpoint()
            local.hurry()
            local.hurry()
        assert_gone(pids)
        async with local.start(["sh", "-c", STUBBORN], grace=600) as process:
            pids = await pids_of(process)
    assert_gone(pids)


async def test_what_it_leaves_in_the_background_is_left_alone(local):
    """A command that starts a daemon ends at once, although the daemon holds its pipes."""
    with anyio.fail_after(20):
        completed = await local.run(["sh", "-c", "sleep 300 & echo $!"])
    pid = int(completed.stdout)
    try:
        assert is_running(pid)
    finally:
        os.kill(pid, signal.SIGKILL)


async def test_signals_go_to_the_group(local):
    async with local.start(["sh", "-c", STUBBORN]) as process:
        pids = await pids_of(process)
        process.kill()
        await process.wait()
        process.kill()
    assert_gone(pids)


async def test_timeout_ends_the_group(local, tmp_path):
    script = "sleep 300 & echo $$ $! > pids; wait"
    with pytest.raises(TimeoutError, match=r"did not end within 0.3 s"):
        await local.run(["sh", "-c", script], workdir=str(tmp_path), timeout=0.3)
    assert_gone([int(pid) for pid in (tmp_path / "pids").read_text().split()])


async def test_much_output_on_both_pipes(local):
    script = "import sys\nfor i in range(200):\n sys.stdout.write('o' * 9999); sys.stderr.write('e' * 9999)"
    completed = await local.run([sys.executable, "-c", script], stdin=b"x" * 1_000_000)
    assert (len(completed.stdout), len(completed.stderr)) == (1_999_800, 1_999_800)


async def test_much_output_while_ending_does_not_hang(local):
    script = "trap 'head -c 1000000 /dev/zero; exit 7' TERM; echo $$; while :; do sleep 0.01; done"
    with anyio.fail_after(20):
        async with local.start(["sh", "-c", script], grace=60) as process:
            await pids_of(process)
    assert process.returncode == 7


async def test_stdin_is_closed_early_and_output_is_any_bytes(local):
    completed = await local.run(["sh", "-c", r"exec <&-; printf '\377\n'"], stdin=b"x" * 1_000_000)
    assert completed.stdout == b"\xff\n"
    with pytest.raises(CommandError, match="\ufffd"):
        await local.run(["sh", "-c", r"printf '\377'; exit 1"])


async def test_an_invalid_connector_starts_nothing(local):
    local.invalidate("it is gone")
    with pytest.raises(InvalidConnectorError, match="it is gone"):
        await local.run(["true"])


@pytest.mark.parametrize("name", ["plain", "with space", "-dash", "--", "a'b", "$x"])
async def test_copy_a_file(local, tmp_path, name):
    source, target = tmp_path / name, tmp_path / "new" / "parents" / f"{name} 2"
    source.write_bytes(b"\x00\xff" * 100_000)
    source.chmod(0o750)
    await local.copy(str(source), str(target))
    assert target.read_bytes() == source.read_bytes()
    assert target.stat().st_mode == source.stat().st_mode
    source.write_text("new")
    await local.copy(str(source), str(target))
    assert target.read_text() == "new"
    assert [path.name for path in target.parent.iterdir()] == [target.name]


async def test_copy_a_directory(local, tmp_path):
    (tmp_path / "a" / "sub").mkdir(parents=True)
    (tmp_path / "a" / "sub" / "tool").write_text("x")
    (tmp_path / "a" / "sub" / "tool").chmod(0o755)
    await local.copy(str(tmp_path / "a"), str(tmp_path / "b"))
    assert os.access(tmp_path / "b" / "sub" / "tool", os.X_OK)
    with pytest.raises(CommandError, match="exists already"):
        await local.copy(str(tmp_path / "a"), str(tmp_path / "b"))


async def test_copy_of_nothing_leaves_nothing(local, tmp_path):
    with pytest.raises(CommandError, match="missing"):
        await local.copy(str(tmp_path / "missing"), str(tmp_path / "target"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("paths", [("", "target"), ("source", "")])
async def test_copy_refuses_an_empty_path(local, tmp_path, monkeypatch, paths):
    """It would be the directory that commands run in, with all that is in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "source").write_text("x")
    with pytest.raises(ValueError, match="empty path"):
        await local.copy(*paths)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


@pytest.fixture
def tar(tmp_path, monkeypatch):
    """Replaces tar by a script, in which `tar` is the real one."""

    def replace(script: str) -> None:
        path = tmp_path / "bin" / "tar"
        path.parent.mkdir()
        path.write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{path.parent}:/usr/bin:/bin")

    return replace


async def test_cancelled_copy_leaves_nothing(local, tmp_path, tar):
    tar('tar "$@"; case "$*" in *-cf*) exec sleep 300; esac')
    (tmp_path / "source").write_bytes(b"x" * 100_000)
    (tmp_path / "target").mkdir()
    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(local.copy, str(tmp_path / "source"), str(tmp_path / "target" / "x"))
            # What a kill would leave is found by the token of the connector.
            while not list((tmp_path / "target").glob(f".anydeploy-{local.token}-*/source")):  # noqa: ASYNC110
                await anyio.sleep(0.01)
            tasks.cancel_scope.cancel()
    assert list(tmp_path.glob("target/*")) == list(tmp_path.glob("target/.*")) == []


async def test_copy_of_what_cannot_be_read_whole_leaves_nothing(local, tmp_path, tar):
    tar('tar "$@"; case "$*" in *-cf*) echo changed >&2; exit 1;; esac')
    (tmp_path / "source").write_text("data")
    with pytest.raises(CommandError, match="changed"):
        await local.copy(str(tmp_path / "source"), str(tmp_path / "target" / "x"))
    assert list(tmp_path.glob("target/*")) == list(tmp_path.glob("target/.*")) == []


async def test_copy_drops_what_gives_power_and_refuses_devices_unless_whole(local, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_text("x")
    (source / "file").chmod(0o6755)
    await local.copy(str(source), str(tmp_path / "a"))
    assert (tmp_path / "a" / "file").stat().st_mode & 0o7777 == 0o755
    os.mkfifo(source / "fifo")
    with pytest.raises(CommandError, match=r"nor a link: \./source/fifo"):
        await local.copy(str(source), str(tmp_path / "b"))
    assert not (tmp_path / "b").exists()
    await local.copy(str(source), str(tmp_path / "c"), whole=True)
    assert (tmp_path / "c" / "file").stat().st_mode & 0o7777 == 0o6755
    assert (tmp_path / "c" / "fifo").is_fifo()


async def test_copy_keeps_holes(local, tmp_path):
    with (tmp_path / "source").open("wb") as file:
        file.truncate(100_000_000)
    await local.copy(str(tmp_path / "source"), str(tmp_path / "target"))
    found = (tmp_path / "target").stat()
    assert (found.st_size, found.st_blocks < 1000) == (100_000_000, True)


async def test_what_a_leader_that_was_interrupted_leaves_is_terminated(local, tmp_path):
    """A shell's background jobs ignore SIGINT; they are asked with SIGTERM, and have the rest of the grace period."""
    job = """
import pathlib, signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
print("up", flush=True)
signal.sigwait([signal.SIGTERM])
pathlib.Path("saved").write_text("all")
"""
    script = "trap 'exit 0' INT; \"$@\" & wait"
    with anyio.fail_after(15):
        async with local.start(["sh", "-c", script, "sh", sys.executable, "-c", job], workdir=".", grace=60) as process:
            assert process.stdout is not None
            await process.stdout.receive()
            process.send_signal(signal.SIGINT)
            assert await process.wait() == 0
    assert (tmp_path / "saved").read_text() == "all"


@pytest.mark.parametrize("anyio_backend", [("asyncio", {"use_uvloop": False}), ("asyncio", {"use_uvloop": True})])
async def test_a_native_cancellation_of_the_end_kills_the_group(local):
    """It pierces shields (rule M3): nothing is left behind, and its pipes are closed."""
    pids = []
    left = anyio.Event()

    async def caller() -> None:
        async with local.start(["sh", "-c", STUBBORN], grace=600) as process:
            pids.extend(await pids_of(process))
            left.set()

    task = asyncio.get_running_loop().create_task(caller())
    with anyio.fail_after(20):
        await left.wait()
        while not local._terminator._graces:
            await anyio.lowlevel.checkpoint()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert_gone(pids)


async def test_without_waitid_an_end_is_seen_by_the_event_loop(local, monkeypatch):
    """As on macOS before Python 3.13."""
    monkeypatch.delattr(os, "waitid")
    async with local.start(["sh", "-c", STUBBORN], grace=0.1) as process:
        pids = await pids_of(process)
        assert not process.has_ended()
    assert process.has_ended()
    assert_gone(pids)
    assert (await local.run(["true"])).returncode == 0


async def test_a_group_that_outlives_its_leader_and_cannot_be_killed_is_told(local, monkeypatch):
    monkeypatch.setattr("anydeploy.connectors._group._is_alive", lambda group: True)
    local._terminator.vanishing = 0.05
    with pytest.raises(UnstoppableError, match="`sleep 300` could not be stopped and still runs as process"):
        async with local.start(["sleep", "300"], grace=0.05) as process:
            pass
    assert process.returncode is not None
