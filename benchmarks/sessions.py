"""Commands, copies and jobs in real environments, compared with the same by hand.

Most of the time is that of other programs, so these are times of the clock.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from shlex import join
from subprocess import DEVNULL
from time import sleep

from anyio import create_task_group, run_process
from attrs import frozen

from anydeploy import Connector, DeploymentConfig

from .contenders import BACKENDS
from .hosts import ByHand, Servers, Up, brought_up, lacks_docker, lacks_slurm, lacks_sshd, variable
from .measure import Aim, Effort, Row, Section, Spread, compare, in_turns

_OURS = "anydeploy"
_SSH = "multiplexed ssh"
#: The least that gives a command a process group of its own, and tells its status wherever it is told.
_GROUP = "the same with a process group"
_IN_GROUP = ("sh", "-c", "(exec setsid true); exit $?")
_ROUNDS = 15
_HOSTS = 10
#: Commands at a time on each of these hosts: as many as a server lets one connection carry by default.
_AT_A_TIME = 10
#: Seconds in which questions to the queue are counted.
_COUNTED = 15.0

_SQUEUE = """\
#!/bin/sh
date +%s.%N >>{log}
exec {program} "$@"
"""


def run(effort: Effort) -> list[Section]:
    with Servers.started() as servers:
        return [measure(servers, effort) for measure in (_commands, _copies, _many, _questions)]


# -- One command after the other ---------------------------------------------------------------------------------------


@frozen
class _Level:
    """An environment in which commands are run.

    :ivar deployments: those that lead there; the last one is the environment itself
    :ivar by_hand: tells how to get there otherwise, when they are up
    :ivar times: the commands of a round, one after the other
    """

    name: str
    deployments: Sequence[DeploymentConfig]
    by_hand: Callable[[], ByHand]
    against: str
    aim: Aim
    times: int


def _commands(servers: Servers, effort: Effort) -> Section:
    rows: list[Row] = []
    levels, skipped = _levels(servers)
    for level in levels:
        times = 1 if effort.quick else level.times
        for loop in ("asyncio",) if effort.quick else BACKENDS:
            with brought_up(*level.deployments, directory=servers.directory, loop=loop) as up:
                connector = up.connectors[level.deployments[-1].name]
                way = level.by_hand()
                contenders = {
                    _OURS: partial(up.clocked, _run_ours, connector, times),
                    level.against: partial(up.clocked, _run_by_hand, way, times),
                    _GROUP: partial(up.clocked, _run_by_hand, way, times, _IN_GROUP),
                }
                found = in_turns(contenders, effort.rounds(_ROUNDS))
            for against, aim in ((level.against, level.aim), (_GROUP, None)):
                case: dict[str, str | int] = {"where": level.name, "by hand": against, "loop": loop}
                label = f"`run true`, {level.name}" if loop == "asyncio" else None
                scale = 1e3 / times
                rows.append(compare(case, found, _OURS, against, unit="ms", scale=scale, aim=aim, label=label))
    return Section("`run true`, compared with the same by hand", rows, across="loop", skipped=skipped)


def _levels(servers: Servers) -> tuple[list[_Level], list[str]]:
    """Start the servers that are installed, and return the ways into them, and what is missing for others."""
    levels: list[_Level] = []
    lacks = [lacks_sshd(), lacks_docker(), lacks_slurm()]
    if lacks[0] is None:
        sshd = servers.sshd()
        way = servers.connection(sshd)
        host = DeploymentConfig("host", "ssh", dict(sshd.settings()))
        levels.append(_Level("over ssh", [host], lambda: way, _SSH, Aim(1.25), 20))
    if lacks[1] is None:
        tools = DeploymentConfig("tools", "docker", servers.dockerd.settings())
        levels.append(_Level("in a container", [tools], partial(_docker_exec, servers), "docker exec", Aim(1.2), 10))
    if not any(lacks):
        levels.append(_three_levels(servers))
    return levels, [reason for reason in lacks if reason is not None]


def _three_levels(servers: Servers) -> _Level:
    sshd = servers.sshd(f"SLURM_CONF={servers.slurm.configuration}")
    way = servers.connection(sshd)
    deployments = [
        DeploymentConfig("login", "ssh", dict(sshd.settings())),
        DeploymentConfig("cluster", "slurm", {"directory": str(servers.place())}, wraps="login"),
        DeploymentConfig("tools", "docker", servers.dockerd.settings(), wraps="cluster"),
    ]

    def by_hand() -> ByHand:
        (job,) = servers.slurm.ask("squeue", "-ho", "%A").split()
        step = (f"--jobid={job}", "--overlap", "--nodes=1", "--ntasks=1", "--mem=0", "--mpi=none", "--input=none")
        docker = ("docker", "--host", servers.dockerd.variables["DOCKER_HOST"])
        prefix = (*way.prefix, "srun", *step, *docker, "exec", *servers.dockerd.containers())
        return ByHand(prefix, is_shell=True)

    name = "in a container in an allocation over ssh"
    return _Level(name, deployments, by_hand, "ssh, srun, docker exec", Aim(1.2), 4)


def _docker_exec(servers: Servers) -> ByHand:
    return ByHand(("docker", "exec", *servers.dockerd.containers()), servers.dockerd.variables)


async def _run_ours(connector: Connector, times: int = 1) -> None:
    for _ in range(times):
        await connector.run(["true"])


async def _run_by_hand(way: ByHand, times: int = 1, argv: Sequence[str] = ("true",)) -> None:
    environment = {**os.environ, **way.environment}
    for _ in range(times):
        await run_process(way.command(*argv), stdin=DEVNULL, env=environment)


# -- Copies ------------------------------------------------------------------------------------------------------------


def _copies(servers: Servers, effort: Effort) -> Section:
    title = "Copies to a host, compared with `tar | ssh tar`"
    if (reason := lacks_sshd()) is not None:
        return Section(title, [], skipped=[reason])
    rows: list[Row] = []
    sshd = servers.sshd()
    way = servers.connection(sshd)
    host, here = DeploymentConfig("host", "ssh", dict(sshd.settings())), DeploymentConfig("here", "local")
    with brought_up(host, here, directory=servers.directory) as up:
        for source, what, rounds in _sources(servers.place(), effort):
            target = servers.place() / "copy"
            contenders = {
                _OURS: partial(_copy, up, _copy_ours, up.connectors, source, target),
                "tar and ssh": partial(_copy, up, _copy_by_hand, way, source, target),
            }
            found = in_turns(contenders, effort.rounds(rounds))
            rows.append(compare({"what": what}, found, *contenders, unit="s", aim=Aim(1.1), label=f"copy of {what}"))
    return Section(title, rows)


def _sources(directory: Path, effort: Effort) -> Iterator[tuple[Path, str, int]]:
    """Yield paths, each with what is there, and the number of rounds."""
    mebibytes, count = (1, 100) if effort.quick else (1_024, 10_000)
    with (directory / "file").open("wb") as file:
        for _ in range(mebibytes):
            file.write(os.urandom(2**20))
    yield directory / "file", f"a file of {mebibytes:,} MiB", 7
    (directory / "file").unlink()
    for number in range(count):
        path = directory / "tree" / str(number // 100) / str(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(1_000))
    yield directory / "tree", f"a tree of {count:,} files of 1 kB", 9


def _copy(up: Up, copy: Callable[..., Awaitable[object]], way: object, source: Path, target: Path) -> float:
    # Neither pays for the data that the other one has left to be written.
    os.sync()
    taken = up.clocked(copy, way, source, target)
    shutil.rmtree(target)
    return taken


async def _copy_ours(connectors: Mapping[str, Connector], source: Path, target: Path) -> None:
    await connectors["host"].copy(str(source), str(target / source.name), origin=connectors["here"])


async def _copy_by_hand(way: ByHand, source: Path, target: Path) -> None:
    unpack = f"mkdir -p {join([str(target)])} && tar -C {join([str(target)])} -xf -"
    pack = join(["tar", "-C", str(source.parent), "-cf", "-", source.name])
    await run_process(["sh", "-c", f"{pack} | {join([*way.prefix, unpack])}"], stdin=DEVNULL)


# -- Many at a time ----------------------------------------------------------------------------------------------------


def _many(servers: Servers, effort: Effort) -> Section:
    each = 1 if effort.quick else 10
    count = _HOSTS * _AT_A_TIME * each
    title = f"{count:,} times `run true` on {_HOSTS} hosts, {_AT_A_TIME} at a time on each"
    if (reason := lacks_sshd()) is not None:
        return Section(title, [], skipped=[reason])
    failed: Counter[str] = Counter()
    hosts = [servers.sshd() for _ in range(_HOSTS)]
    ways = [servers.connection(sshd) for sshd in hosts]
    configs = [DeploymentConfig(f"host-{i}", "ssh", dict(sshd.settings())) for i, sshd in enumerate(hosts)]
    with brought_up(*configs, directory=servers.directory) as up:
        runs = {
            _OURS: [partial(_run_ours, connector) for connector in up.connectors.values()],
            _SSH: [partial(_run_by_hand, way) for way in ways],
        }
        contenders = {
            name: partial(up.clocked, _at_a_time, attempts, each, partial(failed.update, [name]))
            for name, attempts in runs.items()
        }
        rounds = effort.rounds(5)
        found = in_turns(contenders, rounds, warm_up=False)
    rows = [compare({"what": "the time of a run"}, found, _OURS, _SSH, unit="ms", scale=1e3 / count)]
    for name in runs:
        all_ = count * rounds
        succeeded, ratio = Spread.of([all_ - failed[name]]), Spread.of([1 - failed[name] / all_])
        aim = Aim(1, at_most=False) if name == _OURS else None
        label = f"runs on {_HOSTS} hosts that succeed, of {all_:,}" if name == _OURS else None
        case = {"what": f"runs that succeed, {name}"}
        rows.append(Row(case, "all", "runs", succeeded, Spread.of([all_]), ratio, aim, label))
    return Section(title, rows)


async def _at_a_time(runs: Sequence[Callable[[], Awaitable[None]]], times: int, on_failure: Callable[[], None]) -> None:
    """Do each of these so many times one after the other, and that as often at a time as a host allows."""

    async def attempt(run: Callable[[], Awaitable[None]]) -> None:
        for _ in range(times):
            try:
                await run()
            except Exception:  # noqa: BLE001 - any of them counts
                on_failure()

    async with create_task_group() as tasks:
        for run in runs:
            for _ in range(_AT_A_TIME):
                tasks.start_soon(attempt, run)


# -- Questions to a queue ----------------------------------------------------------------------------------------------


def _questions(servers: Servers, effort: Effort) -> Section:
    title = "Calls of `squeue` while jobs are waiting, compared with one a second"
    if (reason := lacks_slurm()) is not None:
        return Section(title, [], skipped=[reason])
    rows: list[Row] = []
    programs, log = servers.place(), servers.place() / "calls"
    (programs / "squeue").write_text(_SQUEUE.format(log=log, program=shutil.which("squeue")))
    (programs / "squeue").chmod(0o755)
    config = {"directory": str(servers.place()), "services": {"later": {"begin": "now+1day"}}}
    for count in (1,) if effort.quick else (1, 10, 50):
        with (
            variable("SLURM_CONF", str(servers.slurm.configuration)),
            variable("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}"),
            brought_up(DeploymentConfig("cluster", "slurm", config), directory=servers.directory) as up,
            _waiting(up, servers, count),
        ):
            rates = [_rate(log, 3.0 if effort.quick else _COUNTED) for _ in range(effort.rounds(3))]
        what = f"{count} {'job' if count == 1 else 'jobs'}"
        one, spread = Spread.of([1]), Spread.of(rates)
        label = f"calls of `squeue`, {what} waiting"
        rows.append(Row({"waiting": what}, "one a second", "a second", spread, one, spread, Aim(1), label))
    return Section(title, rows)


@contextmanager
def _waiting(up: Up, servers: Servers, count: int) -> Iterator[None]:
    """Open a block in which so many commands wait for their jobs."""
    later = up.connectors["cluster"].at("later")
    runs = [up.portal.start_task_soon(later.run, ["true"]) for _ in range(count)]
    try:
        servers.slurm.until(lambda: len(servers.slurm.jobs("")) == count, "slurmctld")
        yield
    finally:
        for each in runs:
            each.cancel()


def _rate(log: Path, seconds: float) -> float:
    """Return the number of calls a second, from the first to the last of those that are made now."""
    log.write_text("")
    sleep(seconds)
    times = [float(line) for line in log.read_text().splitlines()]
    return (len(times) - 1) / (times[-1] - times[0])
