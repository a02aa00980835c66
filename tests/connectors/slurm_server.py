"""A real Slurm for the tests, with accounts, on free ports of the loopback interface, in a directory of its own."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from attrs import define, field
from servers import dying_with_us

#: Debian has daemons where not everybody's path leads.
_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
_PATIENCE = 60.0
_PROGRAMS = (
    *("munged", "munge", "mariadbd", "mariadb-install-db", "mariadb", "slurmdbd", "sacctmgr"),
    *("slurmctld", "slurmd", "sbatch", "srun"),
)

_SLURM = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={directory}/munge/socket
CryptoType=crypto/munge
StateSaveLocation={directory}/state
SlurmdSpoolDir={directory}/spool/%n
SlurmctldPidFile={directory}/slurmctld.pid
SlurmdPidFile={directory}/slurmd.%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={accounts}
AccountingStoragePass={directory}/munge/socket
AccountingStoreFlags=job_comment
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/builtin
SchedulerParameters=sched_min_interval=0,batch_sched_delay=0,sched_interval=1
ReturnToService=2
KillWait=5
MinJobAge=30
InactiveLimit=0
OverTimeLimit=0
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmdParameters=config_overrides
{nodes}
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP OverSubscribe=YES
"""
_NODE = (
    "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=64 Boards=1 SocketsPerBoard=1 "
    "CoresPerSocket=64 ThreadsPerCore=1 RealMemory=4000 State=UNKNOWN"
)
_ACCOUNTS = """\
AuthType=auth/munge
AuthInfo=socket={directory}/munge/socket
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={accounts}
SlurmUser=root
PidFile={directory}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={database}
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct_db
"""
_DATABASE = """\
CREATE USER IF NOT EXISTS slurm@'127.0.0.1' IDENTIFIED BY 'slurm';
GRANT ALL ON slurm_acct_db.* TO slurm@'127.0.0.1';
"""


@define(eq=False)
class Slurm:
    """A Slurm that runs.

    :ivar directory: its configuration, logs and state
    """

    directory: Path
    _daemons: dict[str, subprocess.Popen[bytes]] = field(factory=dict)

    @property
    def configuration(self) -> Path:
        return self.directory / "slurm.conf"

    def ask(self, *command: str, check: bool = True) -> str:
        """What a program of Slurm prints."""
        environment = {**os.environ, "PATH": _PATH, "SLURM_CONF": str(self.configuration)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=check)
        return done.stdout

    def jobs(self, comment: str) -> list[str]:
        """The jobs that are not over and whose comments contain a text."""
        lines = self.ask("squeue", "-h", "-t", "PD,R,CG,S,CF", "-o", "%i|%k").splitlines()
        return [line.partition("|")[0] for line in lines if comment in line.partition("|")[2]]

    def stop(self, name: str) -> None:
        """End one daemon."""
        daemon = self._daemons.pop(name)
        daemon.terminate()
        try:
            daemon.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()

    def start(self, name: str, *command: str | Path) -> None:
        """Start a daemon."""
        program = shutil.which(str(command[0]), path=_PATH)
        assert program is not None
        environment = {**os.environ, "PATH": _PATH, "SLURM_CONF": str(self.configuration)}
        with (self.directory / f"{name}.log").open("ab") as log:
            self._daemons[name] = subprocess.Popen(
                dying_with_us([program, *command[1:]]),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )

    def start_controller(self) -> None:
        self.start("slurmctld", "slurmctld", "-D")
        self.until(lambda: self.ask("sinfo", "-ho", "%D %T", check=False).strip() == "2 idle", "slurmctld")

    def until(self, condition: Callable[[], object], name: str) -> None:
        deadline = time.monotonic() + _PATIENCE
        while not condition():
            log = self.directory / f"{name}.log"
            lives = self._daemons[name].poll() is None
            assert lives and time.monotonic() < deadline, (
                f"{name} is not ready: {log.read_text(errors='replace')[-2000:]}"
            )
            time.sleep(0.05)

    def stop_all(self) -> None:
        if "slurmctld" in self._daemons:
            jobs = self.ask("squeue", "-ho", "%A", check=False).split()
            if jobs:
                self.ask("scancel", "--signal=KILL", "--full", *jobs, check=False)
                self.ask("scancel", *jobs, check=False)
                with suppress(AssertionError):
                    self.until(lambda: not self.ask("squeue", "-ho", "%A", check=False).split(), "slurmctld")
        for name in reversed(list(self._daemons)):
            self.stop(name)
        for pid in self._left():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _left(self) -> Iterator[int]:
        """What jobs have left; it carries the path of the configuration, and nothing else does that now."""
        for path in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError):
                variables = path.read_bytes().split(b"\0")
                is_of_job = any(each.startswith(b"SLURM_JOB_ID=") for each in variables)
                if is_of_job and f"SLURM_CONF={self.configuration}".encode() in variables:
                    yield int(path.parent.name)


def lacks_slurm() -> str | None:
    """The reason why no Slurm can be started here, if there is one."""
    missing = [name for name in _PROGRAMS if shutil.which(name, path=_PATH) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    return None if os.getuid() == 0 else "slurmd runs jobs as root only"


@contextmanager
def running_slurm(directory: Path) -> Iterator[Slurm]:
    """Start a Slurm of two nodes, and end it with all jobs when the block is left."""
    slurm = Slurm(directory)
    with ExitStack() as stack:
        ports = _free_ports(5)
        stack.callback(slurm.stop_all)
        _configure(slurm, *ports)
        munge = directory / "munge"
        slurm.start(
            # Forced, for it wants directories that all can enter, and those of tests are their owner's.
            *("munged", "munged", "--foreground", "--force", "--key-file", munge / "key", "--socket", munge / "socket"),
            *("--pid-file", munge / "pid", "--log-file", munge / "log", "--seed-file", munge / "seed"),
        )
        slurm.until(lambda: _works(["munge", "-n", "-S", str(munge / "socket")]), "munged")
        slurm.start(
            *("mariadbd", "mariadbd", "--no-defaults", "--user=root", f"--datadir={directory}/data"),
            *(f"--init-file={directory}/accounts.sql", f"--socket={directory}/data.socket"),
            *(f"--pid-file={directory}/data.pid", "--bind-address=127.0.0.1", f"--port={ports[1]}"),
            *("--skip-name-resolve", "--innodb-buffer-pool-size=64M", "--innodb-lock-wait-timeout=900"),
            "--innodb-flush-log-at-trx-commit=0",
        )
        client = ["mariadb", "--no-defaults", "-h", "127.0.0.1", "-P", str(ports[1]), "-u", "slurm", "-pslurm"]
        slurm.until(lambda: _works([*client, "-e", "SELECT 1"]), "mariadbd")
        slurm.start("slurmdbd", "slurmdbd", "-D")
        slurm.until(lambda: "Cluster" in slurm.ask("sacctmgr", "show", "cluster", check=False), "slurmdbd")
        slurm.ask("sacctmgr", "-i", "add", "cluster", "test")
        slurm.start("n1", "slurmd", "-D", "-N", "n1")
        slurm.start("n2", "slurmd", "-D", "-N", "n2")
        slurm.start_controller()
        yield slurm


def _configure(slurm: Slurm, controller: int, database: int, accounts: int, *nodes: int) -> None:
    directory = slurm.directory
    host = socket.gethostname().partition(".")[0]
    lines = [_NODE.format(name=f"n{number}", host=host, port=port) for number, port in enumerate(nodes, start=1)]
    names = {"directory": directory, "host": host, "controller": controller, "database": database, "accounts": accounts}
    slurm.configuration.write_text(_SLURM.format(nodes="\n".join(lines), **names))
    secret = directory / "slurmdbd.conf"
    secret.touch(mode=0o600)
    secret.write_text(_ACCOUNTS.format(**names))
    (directory / "accounts.sql").write_text(_DATABASE)
    for name in ("state", "spool"):
        (directory / name).mkdir()
    (directory / "munge").mkdir(mode=0o755)
    key = directory / "munge" / "key"
    key.touch(mode=0o600)
    key.write_bytes(secrets.token_bytes(128))
    install = ["mariadb-install-db", "--no-defaults", "--user=root", f"--datadir={directory}/data", "--skip-test-db"]
    subprocess.run([*install, "--auth-root-authentication-method=normal"], check=True, capture_output=True)


def _works(command: Sequence[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        held = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in held]
