"""The Slurm connector, with a real Slurm."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import attrs
import pytest
from processes import alive, until
from rooms import Room
from test_session import names_in

from anydeploy import (
    Command,
    DefaultDeploymentManager,
    DeploymentConfig,
    DeploymentState,
    InvalidConfigError,
    WorkflowExecutionException,
)
from anydeploy.connectors._slurm_job import JobError
from anydeploy.connectors.local import LocalConnector
from anydeploy.connectors.session import SessionError
from anydeploy.connectors.slurm import SlurmConnector
from anydeploy.file import load_file

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]


@pytest.fixture
def settings(slurm, tmp_path):
    return {"directory": str(tmp_path / "jobs"), "pollingInterval": "200ms"}


@pytest.fixture
def cluster(settings, tmp_path):
    def build(**others):
        local = LocalConnector(deployment_name="l", config_dir=tmp_path)
        everything = {**settings, **others}
        return SlurmConnector(deployment_name="s", config_dir=tmp_path, connector=local, **everything)

    return build


@pytest.fixture(autouse=True)
def nothing_is_left(slurm, tmp_path):
    yield
    slurm.until(lambda: not slurm.jobs(""), "slurmctld")
    assert list(tmp_path.glob("jobs/*")) == []


@asynccontextmanager
async def deployed(connector):
    with anyio.CancelScope() as scope:
        await connector.deploy(False)
        try:
            yield connector
        finally:
            scope.shield = True
            await connector.undeploy(False)


async def appears(condition):
    with anyio.fail_after(60):
        while not await anyio.to_thread.run_sync(condition):  # noqa: ASYNC110 - nothing tells of it
            await anyio.sleep(0.05)


async def error_of(connector, act, argv=("sleep", "1000")):
    """The error of a command to whose job something is done once it runs."""
    async with connector.start(argv) as process:
        await anyio.to_thread.run_sync(act, process)
        with anyio.fail_after(60), pytest.raises(JobError) as error:
            await process.wait()
    return error.value


# -- Ends --------------------------------------------------------------------------------------------------------------


async def test_a_job_that_was_cancelled_says_so(cluster, slurm):
    async with deployed(cluster()) as connector:
        error = await error_of(connector, lambda process: slurm.ask("scancel", process.job))
    assert "was cancelled" in str(error)
    assert error.state == "CANCELLED"


async def test_a_job_that_was_cancelled_says_so_whatever_its_command_makes_of_it(cluster, slurm):
    argv = ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.05; done"]
    async with deployed(cluster()) as connector:
        error = await error_of(connector, lambda process: slurm.ask("scancel", process.job), argv)
    assert "was cancelled" in str(error)


async def test_a_job_that_has_reached_its_time_limit_says_so(cluster, slurm):
    def shorten(process):
        slurm.ask("scontrol", "update", f"JobId={process.job}", "EndTime=now+1")

    async with deployed(cluster()) as connector:
        error = await error_of(connector, shorten)
    assert "has reached its time limit" in str(error)


async def test_a_job_whose_script_was_killed_says_so(cluster):
    argv = ["sh", "-c", "sleep 0.2; kill -s KILL $PPID; sleep 1000"]
    async with deployed(cluster()) as connector:
        error = await error_of(connector, lambda process: None, argv)
    assert "was killed" in str(error)


async def test_run_raises_the_same_error(cluster, slurm):
    async with deployed(cluster()) as connector, anyio.create_task_group() as tasks:

        async def cancel():
            await appears(lambda: slurm.ask("squeue", "-h", "-t", "R", "-o", "%k").count(connector.token))
            for job in slurm.jobs(connector.token):
                slurm.ask("scancel", job)

        tasks.start_soon(cancel)
        with pytest.raises(JobError, match="was cancelled"):
            await connector.run(["sleep", "1000"], check=False)


async def test_words_of_the_shell_are_no_programs(cluster, tmp_path):
    """As in sessions."""
    async with deployed(cluster()) as connector:
        for word in ("export", "say"):
            with pytest.raises(OSError, match=f"{word}: there is no such program"):
                await connector.run([word])
        (tmp_path / "say").write_text("#!/bin/sh\necho it is")
        (tmp_path / "say").chmod(0o755)
        done = await connector.run(["say"], environment={"PATH": f"{tmp_path}:{os.environ['PATH']}"})
        assert done.stdout == b"it is\n"


async def test_a_status_like_that_of_a_signal_is_told_from_an_end_by_slurm(cluster):
    async with deployed(cluster()) as connector:
        done = await connector.run(["sh", "-c", "kill -s KILL $$"], check=False)
    assert done.returncode == 137


@pytest.mark.parametrize("mode", ["batch", "allocation"])
@pytest.mark.parametrize(("stream", "script"), [("stdout", "exec yes"), ("stderr", "exec yes >&2")])
async def test_a_command_whose_output_nothing_reads_any_more_has_a_broken_pipe(cluster, mode, stream, script):
    async with deployed(cluster(mode=mode)) as connector:
        reader, writer = os.pipe()
        command = Command(["sh", "-c", script], stdin=subprocess.DEVNULL, **{stream: writer})
        async with connector.start_command(command) as process:
            os.close(writer)
            assert await anyio.to_thread.run_sync(os.read, reader, 2) == b"y\n"
            os.close(reader)
            with anyio.fail_after(60):
                assert await process.wait() == -signal.SIGPIPE


async def test_a_broken_pipe_ends_even_what_has_dropped_its_variables(cluster):
    async with deployed(cluster()) as connector:
        async with connector.start(["env", "-i", "PATH=/usr/bin:/bin", "sh", "-c", "echo up; sleep 1000"]) as process:
            await process.stdout.receive()
            process.send_signal(signal.SIGPIPE)
            with anyio.fail_after(60):
                assert await process.wait() == 128 + signal.SIGTERM


@pytest.mark.parametrize("name", ["ALRM", "PIPE", "USR1", "WINCH"])
async def test_every_signal_reaches_the_command_and_no_shell_around_it(cluster, name):
    script = f"trap 'echo got; exit 3' {name}; echo up; while :; do sleep 0.05; done"
    async with deployed(cluster()) as connector:
        async with connector.start(["sh", "-c", script]) as process:
            await process.stdout.receive()
            process.send_signal(signal.Signals[f"SIG{name}"])
            with anyio.fail_after(60):
                assert await process.stdout.receive() == b"got\n"
                assert await process.wait() == 3


async def test_the_background_of_a_command_ends_with_its_job(cluster):
    script = "trap '' TERM; setsid sleep 1000 </dev/null >/dev/null 2>&1 & echo $!; exit 3"
    async with deployed(cluster()) as connector:
        done = await connector.run(["sh", "-c", script], check=False)
        assert done.returncode == 3
        assert not alive(int(done.stdout))


# -- The submission ----------------------------------------------------------------------------------------------------


async def test_a_job_that_is_refused_says_why(cluster):
    async with deployed(cluster(services={"wrong": {"partition": "nowhere"}})) as connector:
        with pytest.raises(JobError, match=r"(?i)invalid partition"):
            await connector.at("wrong").run(["true"])


async def test_a_lost_answer_is_looked_up_and_nothing_is_submitted_twice(cluster, program_before, tmp_path):
    log = tmp_path / "submitted"
    timed_out = 'echo "sbatch: error: Batch job submission failed: Socket timed out" >&2\nexit 1\n'
    program_before("sbatch", f'"$REAL" "$@" >>{log}\n{timed_out}')
    async with deployed(cluster()) as connector:
        done = await connector.run(["cat"], stdin="once")
    assert done.stdout == b"once"
    assert len(log.read_text().split()) == 1


async def test_a_request_that_was_lost_is_an_error(cluster, program_before):
    program_before("sbatch", 'echo "sbatch: error: Batch job submission failed: Socket timed out" >&2\nexit 1\n')
    async with deployed(cluster()) as connector:
        with pytest.raises(JobError, match="Socket timed out"):
            await connector.run(["true"])


async def test_a_pending_job_shows_its_state_and_a_cancelled_run_leaves_none(cluster, slurm, caplog):
    caplog.set_level(logging.INFO, "anydeploy")
    async with deployed(cluster(services={"late": {"begin": "now+1hour"}})) as connector:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(connector.at("late").run, ["true"])
                await appears(lambda: "is pending (BeginTime)" in caplog.text)
                scope.cancel()
        assert slurm.jobs(connector.token) == []


async def test_a_service_has_its_options_and_its_template(cluster, tmp_path):
    (tmp_path / "job.sh").write_text("#!/bin/bash\nexport FROM_TEMPLATE=yes\n{{ streamflow_command }}\n")
    services = {"big": {"cpusPerTask": 3, "jobName": "mine", "file": "job.sh"}}
    async with deployed(cluster(services=services)) as connector:
        script = "echo $SLURM_CPUS_PER_TASK $SLURM_JOB_NAME $FROM_TEMPLATE"
        done = await connector.at("big").run(["sh", "-c", script])
        assert done.stdout == b"3 mine yes\n"
        with pytest.raises(Exception, match="no service 'bgi'; did you mean 'big'"):
            await connector.at("bgi").run(["true"])


async def test_no_more_jobs_are_in_the_queue_than_allowed(cluster, slurm):
    async with deployed(cluster(maxConcurrentJobs=1)) as connector:
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(connector.run, ["sleep", "0.3"])
            await appears(lambda: slurm.jobs(connector.token))
            assert len(slurm.jobs(connector.token)) == 1


@pytest.mark.parametrize("locale", ["C.UTF-8", "", None])
async def test_a_job_has_the_umask_and_the_locale_of_its_host(cluster, monkeypatch, locale):
    monkeypatch.delenv("LC_ALL", raising=False)
    if locale is not None:
        monkeypatch.setenv("LC_ALL", locale)
    before = os.umask(0o027)
    try:
        async with deployed(cluster()) as connector:
            done = await connector.run(["sh", "-c", 'umask; echo "${LC_ALL-none}"'])
    finally:
        os.umask(before)
    assert done.stdout.decode().splitlines() == ["0027", "none" if locale is None else locale]


async def test_variables_with_the_names_of_our_own_arrive_as_they_are(cluster, monkeypatch):
    """Those of the host, which a job inherits."""
    theirs = {name: f"'{name}' of theirs" for name in (*names_in("slurm_queue.sh"), "script")}
    assert {"d", "t", "base", "ticks", "mask", "feeder", "status"} <= set(theirs)
    for name, value in theirs.items():
        monkeypatch.setenv(name, value)
    async with deployed(cluster()) as connector:
        done = await connector.run(["env"])
    found = dict(line.split("=", 1) for line in done.stdout.decode().splitlines() if "=" in line)
    assert {name: found.get(name) for name in theirs} == theirs


# -- Slurm does not answer ---------------------------------------------------------------------------------------------


async def test_a_job_outlives_a_controller_that_is_down(cluster, slurm, tmp_path, caplog):
    async with deployed(cluster()) as connector:
        async with connector.start(["sh", "-c", "echo up; cat"]) as process:
            await process.stdout.receive()
            slurm.stop("slurmctld")
            try:
                await appears(lambda: "Slurm does not answer" in caplog.text)
                await process.stdin.send(b"hello")
                await process.stdin.aclose()
                assert await process.stdout.receive() == b"hello"
                with anyio.fail_after(60):
                    assert await process.wait() == 0
            finally:
                # Not from a thread, with whose end it would be told to end.
                slurm.start_controller()


async def test_deploy_tells_that_slurm_does_not_answer(cluster, tmp_path, monkeypatch):
    (tmp_path / "none.conf").write_text(
        "ClusterName=none\nSlurmctldHost=localhost\nSlurmctldPort=1\nMessageTimeout=2\n"
    )
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "none.conf"))
    connector = cluster()
    with anyio.fail_after(120), pytest.raises(SessionError) as error:
        await connector.deploy(False)
    await connector.undeploy(False)
    assert "\n" not in str(error.value)


# -- Allocations -------------------------------------------------------------------------------------------------------


def stack(settings, room=True, **others):
    slurm = DeploymentConfig("cluster", "slurm", {**settings, **others})
    return [slurm, DeploymentConfig("room", "room", {}, wraps="cluster")] if room else [slurm]


async def test_a_wrapper_that_has_to_come_back_gets_an_allocation_of_its_own(settings, slurm, tmp_path):
    types = {"room": Room}
    async with DefaultDeploymentManager(stack(settings), connector_types=types, config_dir=tmp_path) as manager:
        await manager.deploy("cluster", "room")
        room, cluster = manager.get_connector("room"), manager.get_connector("cluster")
        jobs = [(await room.run(["sh", "-c", "echo $SLURM_JOB_ID"])).stdout for _ in range(2)]
        assert jobs[0] == jobs[1]
        own = [(await cluster.run(["sh", "-c", "echo $SLURM_JOB_ID"])).stdout for _ in range(2)]
        assert len({*jobs, *own}) == 3
        await manager.undeploy("room")
        slurm.until(lambda: not slurm.jobs(""), "slurmctld")
        assert manager.status()["cluster"].state is DeploymentState.LIVE


async def test_batch_refuses_such_a_wrapper(settings, tmp_path):
    types = {"room": Room}
    definitions = stack(settings, mode="batch")
    async with DefaultDeploymentManager(definitions, connector_types=types, config_dir=tmp_path) as manager:
        with pytest.raises(InvalidConfigError, match="mode: allocation"):
            await manager.deploy("room")
        assert manager.status()["cluster"].state is DeploymentState.ABSENT


async def test_an_allocation_that_has_ended_is_lost(settings, slurm, tmp_path):
    definitions = stack(settings, room=False, mode="allocation")
    async with DefaultDeploymentManager(definitions, config_dir=tmp_path) as manager:
        await manager.deploy("cluster")
        slurm.ask("scancel", *slurm.jobs(""))
        await appears(lambda: manager.status()["cluster"].state is DeploymentState.LOST)
        assert "was cancelled" in str(manager.status()["cluster"].error)


async def test_a_lost_allocation_is_not_reported_live_to_those_who_have_met_the_loss(settings, slurm, tmp_path):
    definitions = stack(settings, room=False, mode="allocation")
    # Its status would arrive before the loss otherwise.
    argv = ["sh", "-c", "trap 'sleep 2; exit' TERM; echo up; while :; do sleep 0.05; done"]
    async with DefaultDeploymentManager(definitions, config_dir=tmp_path) as manager:
        await manager.deploy("cluster")
        async with anyio.create_task_group() as tasks:
            begun = anyio.Event()

            async def fail():
                with pytest.raises(WorkflowExecutionException):
                    async with manager.get_connector("cluster").start(argv) as process:
                        await process.stdout.receive()
                        begun.set()
                        await process.wait()
                assert manager.status()["cluster"].state is DeploymentState.LOST

            tasks.start_soon(fail)
            await begun.wait()
            await anyio.to_thread.run_sync(slurm.ask, "scancel", *slurm.jobs(""))
        await manager.deploy("cluster")
        await manager.get_connector("cluster").run(["true"])


async def test_job_and_node_are_recorded_and_the_node_is_the_location(cluster):
    async with deployed(cluster(mode="allocation")) as connector:
        assert connector.facts["job"].isdigit()
        (location,) = (await connector.get_available_locations()).values()
        assert location.hostname == connector.facts["node"]


async def test_an_external_allocation_is_found_by_its_name_and_left_alone(cluster, slurm):
    job = slurm.ask("sbatch", "--parsable", "-J", "others", "-o", "/dev/null", "--wrap", "sleep 1000").strip()
    slurm.until(lambda: slurm.ask("squeue", "-h", "-j", job, "-o", "%T").strip() == "RUNNING", "slurmctld")
    connector = cluster(mode="allocation", services={"theirs": {"jobName": "others"}})
    await connector.deploy(True)
    assert (await connector.run(["sh", "-c", "echo $SLURM_JOB_ID"])).stdout.decode().strip() == job
    await connector.undeploy(True)
    assert slurm.ask("squeue", "-h", "-j", job, "-o", "%T").strip() == "RUNNING"
    slurm.ask("scancel", job)


# -- Over ssh ----------------------------------------------------------------------------------------------------------


async def test_jobs_and_allocations_are_reached_over_ssh(settings, login, slurm, tmp_path):
    login_host = DeploymentConfig("login", "ssh", login.settings())
    cluster = DeploymentConfig("cluster", "slurm", settings, wraps="login")
    room = DeploymentConfig("room", "room", {}, wraps="cluster")
    definitions = [login_host, cluster, room]
    async with DefaultDeploymentManager(definitions, connector_types={"room": Room}, config_dir=tmp_path) as manager:
        await manager.deploy("room")
        cluster, room = manager.get_connector("cluster"), manager.get_connector("room")
        for connector in (cluster, room):
            done = await connector.run(["sh", "-c", "cat; echo err >&2; exit 7"], stdin="in", check=False)
            assert (done.returncode, done.stdout, done.stderr) == (7, b"in", b"err\n")
            with anyio.move_on_after(0.5):
                await connector.run(["sleep", "1000"])
        assert len(slurm.jobs("")) == 1


async def test_the_example_comes_up(slurm, tmp_path):
    path = Path(__file__).parents[2] / "examples" / "slurm.yml"
    (tmp_path / "jobs").mkdir()
    definitions = load_file(path).values()
    changed = [attrs.evolve(each, config={**each.config, "directory": str(tmp_path / "jobs")}) for each in definitions]
    async with DefaultDeploymentManager(changed, config_dir=path.parent) as manager:
        await manager.deploy("cluster")
        done = await manager.get_connector("cluster").at("small").run(["sh", "-c", "echo $SLURM_JOB_CPUS_PER_NODE"])
        assert done.stdout == b"2\n"


# -- Killed ------------------------------------------------------------------------------------------------------------

_OWNER = """
import sys
from pathlib import Path
import anyio
from anydeploy.connectors.local import LocalConnector
from anydeploy.connectors.slurm import SlurmConnector

async def main():
    directory = Path(sys.argv[1])
    local = LocalConnector(deployment_name="l", config_dir=directory)
    cluster = SlurmConnector(
        deployment_name="s", config_dir=directory, connector=local, directory="jobs", mode=sys.argv[2]
    )
    cluster.token = "0123456789abcdef"
    await cluster.deploy(False)
    async with cluster.start(["sh", "-c", "echo up; sleep 1000"]) as process:
        await process.stdout.receive()
        print("up", flush=True)
        await anyio.sleep_forever()

anyio.run(main)
"""


@pytest.fixture
def owner(slurm, tmp_path):
    """Starts a program with a command in a cluster."""
    started = []

    def start(mode):
        argv = [sys.executable, "-c", _OWNER, str(tmp_path), mode]
        started.append(subprocess.Popen(argv, stdout=subprocess.PIPE))
        assert started[-1].stdout.readline() == b"up\n"
        return started[-1]

    yield start
    for each in started:
        each.kill()
        each.wait()
        each.stdout.close()


@pytest.mark.parametrize("mode", ["batch", "allocation"])
def test_nothing_is_left_by_one_that_was_killed(owner, slurm, tmp_path, mode):
    process = owner(mode)
    assert slurm.jobs("0123456789abcdef")
    process.kill()
    slurm.until(lambda: not slurm.jobs(""), "slurmctld")
    until(lambda: not list(tmp_path.glob("jobs/*")))


def kill_scripts(name):
    """Kill what watches over jobs, and nothing inside of them."""
    found = subprocess.run(["pgrep", "-f", name], capture_output=True, text=True, check=True).stdout
    for pid in found.split():
        if b"SLURM_JOB_ID=" not in Path(f"/proc/{pid}/environ").read_bytes():
            os.kill(int(pid), signal.SIGKILL)


async def test_the_directory_goes_although_a_file_is_made_meanwhile(cluster, rm_with_company):
    async with deployed(cluster()):
        pass
    assert rm_with_company.exists()


@pytest.mark.usefixtures("rm_with_company")
async def test_remains_are_found_by_their_traces(owner, slurm, cluster, tmp_path):
    process = await anyio.to_thread.run_sync(owner, "batch")
    kill_scripts("anydeploy-s-0123456789abcdef")
    process.kill()
    assert slurm.jobs("0123456789abcdef")
    connector = cluster()
    connector.token = "0123456789abcdef"
    for _ in range(2):
        await connector.remove_left(connector.traces(), {})
        assert slurm.jobs("") == []
        assert list(tmp_path.glob("jobs/*")) == []
