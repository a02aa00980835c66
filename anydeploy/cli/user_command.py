"""The command of ``run``: its process, the signals that it is passed, and its exit status."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from shlex import join
from signal import Signals

from anyio.abc import Process
from attrs import define, field

from ..connector import Connector
from ..connectors.local import LocalConnector
from .places import Place

#: Seconds that the command is given to end by itself after a signal was passed on to it.
COMMAND_GRACE = 10.0

#: The exit statuses with which a shell says that a program was not found, or that it cannot be started.
NOT_FOUND = 127
NOT_EXECUTABLE = 126


@define(eq=False)
class UserCommand:
    """A program that uses the terminal of this one.

    :ivar on: the deployment, or the service, that it runs on; None: this machine, in the current directory
    :ivar status: its exit status as a shell has it, once it has ended or could not be started; 1 before that, and if
        the connector fails
    """

    argv: Sequence[str]
    on: Place | None = None
    status: int = field(init=False, default=1)
    #: It has ended by itself: from then on its exit status is that of ``run``.
    done: bool = field(init=False, default=False)
    _process: Process | None = field(init=False, default=None)
    _killed: bool = field(init=False, default=False)
    _local: LocalConnector | None = field(init=False, default=None)

    @property
    def running(self) -> bool:
        return self._process is not None

    def local(self) -> Connector:
        """Return a connector for this machine, whose grace periods :meth:`kill` cuts short."""
        self._local = LocalConnector(deployment_name="the command", config_dir=Path.cwd())
        return self._local

    async def run(self, connector: Connector, workdir: str | None) -> None:
        """Start the command and wait until it ends.

        :raises OSError: if it cannot be started
        :raises WorkflowExecutionException: if the connector fails, or becomes invalid

        If cancelled, the command is asked to end, and killed after its grace period.
        """
        try:
            async with connector.start(
                self.argv, stdin=None, stdout=None, stderr=None, workdir=workdir, grace=COMMAND_GRACE
            ) as process:
                self._process = process
                try:
                    returncode = await process.wait()
                    if not self._killed:
                        self.done = True
                        self.status = returncode if returncode >= 0 else 128 - returncode
                finally:
                    self._process = None
        except OSError as exc:
            self.status = NOT_FOUND if isinstance(exc.__cause__, FileNotFoundError) else NOT_EXECUTABLE
            raise

    def send_signal(self, number: Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """Kill the command, and cut short the grace periods of what it has left running on this machine."""
        if self._process is not None:
            self._killed = True
            self._process.kill()
        if self._local is not None:
            self._local.hurry()

    def describe(self) -> str | None:
        """Return a line on the process that is running; None if there is none."""
        return None if self._process is None else f"process {self._process.pid}: {join(self.argv)}"
