"""Commands as jobs of a queue. The programs of the queue are small ones that stand in for Slurm's."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import DEVNULL

import anyio
import pytest

from anydeploy import Connector, DefaultDeploymentManager, DeploymentConfig, WorkflowExecutionException

from .test_commands import is_running

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("directories")]

QUEUE = DeploymentConfig("queue", "streamflow:slurm", {"pollingInterval": 1, "maxConcurrentJobs": 10})
PROGRAMS = Path(__file__).parent / "queue"


@pytest.fixture(autouse=True)
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the queue keeps its jobs."""
    path = tmp_path / "jobs"
    path.mkdir()
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("PATH", os.pathsep.join([str(PROGRAMS), os.environ["PATH"]]))
    monkeypatch.setenv("QUEUE", str(path))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return path


@asynccontextmanager
async def deployed(*above: DeploymentConfig) -> AsyncIterator[Connector]:
    with anyio.fail_after(60):
        async with DefaultDeploymentManager([QUEUE, *above]) as manager:
            await manager.deploy_all()
            connector = manager.get_connector(above[-1].name if above else "queue")
            assert connector is not None
            yield connector


async def test_run(tmp_path: Path):
    script = 'printf "%s|" "$@"; pwd; echo "$OWN"; cat; echo err >&2; exit 3'
    async with deployed() as connector:
        done = await connector.run(
            ["sh", "-c", script, "sh", "a b", "*", "q'\""],
            environment={"OWN": "$(id) '"},
            workdir=str(tmp_path),
            stdin=b"in\0put",
            check=False,
        )
    assert done.stdout.decode() == f"a b|*|q'\"|{tmp_path}\n$(id) '\nin\0put"
    assert (done.stderr, done.returncode) == (b"err\n", 3)


async def test_a_program_that_is_not_there():
    """That is seen by the job only."""
    async with deployed() as connector:
        done = await connector.run(["no-such-program"], check=False)
        assert (done.stderr, done.returncode) == (b"no-such-program: there is no such program\n", 127)
        done = await connector.run(["true"], workdir="/no/where", check=False)
        assert (done.stderr, done.returncode) == (b"the workdir /no/where does not exist, or cannot be used\n", 126)


async def test_a_job_that_cannot_be_submitted(monkeypatch: pytest.MonkeyPatch):
    """Says why, in place of an end that nobody has seen."""
    monkeypatch.setenv("PATH", os.environ["PATH"].removeprefix(f"{PROGRAMS}{os.pathsep}"))
    async with deployed() as connector:
        with pytest.raises(WorkflowExecutionException, match=r"`true` could not be run: .*sbatch"):
            await connector.run(["true"])


async def test_through_a_connector_of_anydeploys():
    above = DeploymentConfig("above", "command", {"environment": {"ABOVE": "yes"}}, wraps="queue")
    async with deployed(above) as connector, anyio.create_task_group() as tasks:

        async def run(number: int) -> None:
            done = await connector.run(["sh", "-c", "echo $ABOVE; cat"], stdin=str(number))
            assert done.stdout.decode() == f"yes\n{number}"

        for number in range(3):
            tasks.start_soon(run, number)


@pytest.mark.parametrize("trap", ["exit 5", ""])
async def test_leaving_ends_it(tmp_path: Path, trap: str):
    """Asked first and killed after the grace period, by the job itself."""
    script = f"trap '{trap}' TERM; sleep 300 & echo $$ $! >{tmp_path}/pids; while :; do sleep 0.05; done"
    async with deployed() as connector:
        async with connector.start(["sh", "-c", script], stdin=DEVNULL, grace=4) as process:
            while not (pids := read(tmp_path / "pids")):  # noqa: ASYNC110 - written by the job
                await anyio.sleep(0.02)
        assert process.returncode == (5 if trap else 128 + signal.SIGKILL)
        assert [pid for pid in pids if is_running(pid)] == []


def read(path: Path) -> list[int]:
    return [int(word) for word in path.read_text().split()] if path.exists() else []


async def test_a_signal(tmp_path: Path):
    script = f"trap 'exit 6' USR1; echo $$ >{tmp_path}/pids; while :; do sleep 0.05; done"
    async with deployed() as connector, connector.start(["sh", "-c", script], stdin=DEVNULL) as process:
        while not read(tmp_path / "pids"):  # noqa: ASYNC110 - written by the job
            await anyio.sleep(0.02)
        process.send_signal(signal.SIGUSR1)
        assert await process.wait() == 6


async def test_what_waits_in_the_queue_is_removed(jobs: Path):
    (jobs / "held").touch()
    async with deployed() as connector:
        with anyio.CancelScope() as scope:
            async with connector.start(["true"], stdin=DEVNULL, grace=0) as process:
                while not (jobs / "1.job" / "script").exists():  # noqa: ASYNC110 - made by the queue
                    await anyio.sleep(0.02)
                scope.cancel()
                await anyio.sleep_forever()
        assert (jobs / "cancelled").read_text() == "1\n"
        assert process.returncode == 128 + signal.SIGKILL


async def test_input_that_is_never_complete_is_never_submitted(jobs: Path):
    async with deployed() as connector:
        async with connector.start(["cat"], grace=1000) as process:
            assert process.stdin is not None
            await process.stdin.send(b"half")
        assert not (jobs / "1.job").exists()
