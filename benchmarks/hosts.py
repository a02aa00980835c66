"""Real servers for benchmarks, those of the tests, and the ways into them: anydeploy's, and those by hand."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from shlex import join
from subprocess import DEVNULL
from tempfile import TemporaryDirectory
from time import monotonic, perf_counter, sleep

from anyio.from_thread import BlockingPortal, start_blocking_portal
from attrs import define, field, frozen

from anydeploy import Connector, DefaultDeploymentManager, DeploymentConfig

from .contenders import BACKENDS

# The helpers of the tests are in no package, as tests are not.
sys.path.append(str(Path(__file__).parents[1] / "tests" / "connectors"))

from servers import Engine, Sshd, lacks_docker, lacks_sshd, running_dockerd, running_sshd
from slurm_server import Slurm, lacks_slurm, running_slurm

__all__ = ["ByHand", "Servers", "Up", "brought_up", "lacks_docker", "lacks_slurm", "lacks_sshd", "variable"]

#: Seconds for a connection to be open.
_PATIENCE = 20.0


@frozen
class ByHand:
    """A command line that brings a program into an environment.

    :ivar environment: variables of the program that does it, beside those of this one
    :ivar is_shell: a shell there reads what the program is given
    """

    prefix: Sequence[str]
    environment: Mapping[str, str] = field(factory=dict[str, str])
    is_shell: bool = False

    def command(self, *argv: str) -> list[str]:
        return [*self.prefix, join(argv)] if self.is_shell else [*self.prefix, *argv]


@define
class Servers:
    """Starts servers as they are needed, and ends them all when its block is left, by Ctrl-C too.

    ::

        with Servers.started() as servers:
            way = servers.connection(servers.sshd())

    :ivar directory: that of all their files
    """

    directory: Path
    _stack: ExitStack
    _dockerd: Engine | None = field(init=False, default=None)
    _slurm: Slurm | None = field(init=False, default=None)

    @classmethod
    @contextmanager
    def started(cls) -> Iterator[Servers]:
        with ExitStack() as stack:
            # Otherwise Ctrl-C ends the process of a benchmark immediately.
            stack.callback(signal.signal, signal.SIGINT, signal.signal(signal.SIGINT, signal.default_int_handler))
            # The paths of sockets have to be short.
            directory = stack.enter_context(TemporaryDirectory(prefix="ad-"))
            try:
                yield cls(Path(directory), stack)
            finally:
                # A second one would leave something behind.
                signal.signal(signal.SIGINT, signal.SIG_IGN)

    def sshd(self, environment: str = "") -> Sshd:
        """Start another one; ``environment`` is a variable of its sessions."""
        return self._stack.enter_context(running_sshd(self.place(), environment=environment))

    @property
    def dockerd(self) -> Engine:
        if self._dockerd is None:
            self._dockerd = self._stack.enter_context(running_dockerd(self.place()))
        return self._dockerd

    @property
    def slurm(self) -> Slurm:
        if self._slurm is None:
            self._slurm = self._stack.enter_context(running_slurm(self.place()))
        return self._slurm

    def place(self) -> Path:
        """Return a new directory."""
        path = self.directory / str(len(list(self.directory.iterdir())))
        path.mkdir()
        return path

    def connection(self, sshd: Sshd) -> ByHand:
        """Open a connection that others share."""
        socket = str(self.place() / "socket")
        base = ("ssh", "-F", str(sshd.directory / "client"), "-S", socket)
        host = "alias-of-the-server"
        master = subprocess.Popen([*base, "-M", "-N", host], stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL)
        self._stack.callback(_end, master)
        check = [*base, "-O", "check", host]
        _wait_until(lambda: subprocess.run(check, capture_output=True, check=False).returncode == 0)
        return ByHand((*base, host), is_shell=True)


@frozen
class Up:
    """Environments that are up, and the event loop that they belong to."""

    portal: BlockingPortal
    connectors: Mapping[str, Connector]

    def clocked(self, function: Callable[..., Awaitable[object]], *args: object) -> float:
        """Return the seconds that a function takes on that loop."""

        async def measure() -> float:
            began = perf_counter()
            await function(*args)
            return perf_counter() - began

        return self.portal.call(measure)


@contextmanager
def brought_up(*deployments: DeploymentConfig, directory: Path, loop: str = "asyncio") -> Iterator[Up]:
    """Bring deployments up on an event loop in a thread of its own, and down again when the block is left."""
    with (
        start_blocking_portal(**BACKENDS[loop]) as portal,
        portal.wrap_async_context_manager(_connectors(deployments, directory)) as connectors,
    ):
        yield Up(portal, connectors)


@asynccontextmanager
async def _connectors(
    deployments: Sequence[DeploymentConfig], directory: Path
) -> AsyncGenerator[Mapping[str, Connector], None]:
    async with DefaultDeploymentManager(deployments, config_dir=directory) as manager:
        await manager.deploy_all()
        found = {each.name: manager.get_connector(each.name) for each in deployments}
        yield {name: connector for name, connector in found.items() if connector is not None}


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait()


def _wait_until(condition: Callable[[], object]) -> None:
    deadline = monotonic() + _PATIENCE
    while not condition():
        if monotonic() > deadline:
            raise TimeoutError("a connection does not open")
        sleep(0.05)


@contextmanager
def variable(name: str, value: str) -> Iterator[None]:
    """Set a variable of this process and of those that it starts in the block."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
