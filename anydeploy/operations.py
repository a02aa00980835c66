"""The operations on an environment: all of them are written once, over the one primitive of connectors."""

from __future__ import annotations

import subprocess
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from shlex import join

from anyio import move_on_after
from anyio.abc import Process

from . import copying
from .command import DEFAULT_GRACE, Command, Stdio
from .exceptions import CommandError
from .shells import Shell, new_mark, shell_argv
from .streams import communicate, last_lines


class Operations(ABC):
    """The calls of a user of an environment; :class:`Connector` says which environment that is."""

    @abstractmethod
    def _start(self, command: Command) -> AbstractAsyncContextManager[Process]:
        """Start a command in this environment: the primitive behind every operation."""

    @abstractmethod
    def _check_valid(self) -> None:
        """Raise an :class:`InvalidConnectorError` if the environment must not be used."""

    @property
    @abstractmethod
    def token(self) -> str:
        """Letters and digits that all names of what is made in this environment contain."""

    @asynccontextmanager
    async def start(
        self,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        workdir: str | None = None,
        stdin: Stdio = subprocess.PIPE,
        stdout: Stdio = subprocess.PIPE,
        stderr: Stdio = subprocess.PIPE,
        grace: float = DEFAULT_GRACE,
    ) -> AsyncGenerator[Process, None]:
        """Start a command in the environment: an async context manager that gives a process with byte streams.

        Leaving the block while the command runs stops it with everything that it has started, also if an exception or
        a cancellation is the reason: it is asked to end (SIGTERM), and killed after ``grace`` seconds::

            async with connector.start(["tail", "-f", "app.log"]) as process:
                async for chunk in process.stdout:
                    print(chunk.decode(), end="")

        The parameters are those of :class:`Command`.

        :raises InvalidConnectorError: if the environment is lost, being torn down, or gone
        :raises OSError: if the program cannot be started
        """
        command = Command(argv, environment or {}, workdir, stdin, stdout, stderr, grace)
        async with self.start_command(command) as process:
            yield process

    @asynccontextmanager
    async def start_command(self, command: Command) -> AsyncGenerator[Process, None]:
        """Start a command as :meth:`start` does, given as one object.

        :raises InvalidConnectorError: if the environment is lost, being torn down, or gone
        :raises OSError: if the program cannot be started

        Leaving the block stops the command, also if a cancellation is the reason, as for :meth:`start`.
        """
        self._check_valid()
        async with self._start(command) as process:
            yield process

    async def run(
        self,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        workdir: str | None = None,
        stdin: bytes | str | None = None,
        timeout: float | None = None,
        capture: bool = True,
        check: bool = True,
        grace: float = DEFAULT_GRACE,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command in the environment until it ends, and return its exit status and output.

            done = await connector.run(["uname", "-r"])
            print(done.stdout.decode())

        The other parameters are those of :class:`Command`.

        :param stdin: the input of the command; None: no input
        :param timeout: seconds after which the command is stopped, with everything that it has started; None: no limit
        :param capture: whether to keep stdout and stderr; otherwise they go where those of this program go
        :param check: whether to raise an error if the exit status is not 0
        :raises CommandError: with ``check``, naming the command, its status and the last lines of its output
        :raises TimeoutError: naming the command and the limit
        :raises InvalidConnectorError: if the environment is lost, being torn down, or gone
        :raises OSError: if the program cannot be started

        If cancelled, it stops the command as :meth:`start` does, and then lets the cancellation through.
        """
        output = subprocess.PIPE if capture else None
        source = subprocess.DEVNULL if stdin is None else subprocess.PIPE
        data = stdin.encode() if isinstance(stdin, str) else stdin
        completed = None
        with move_on_after(timeout):
            async with self.start(
                argv,
                environment=environment,
                workdir=workdir,
                stdin=source,
                stdout=output,
                stderr=output,
                grace=grace,
            ) as process:
                completed = await communicate(process, data)
        if completed is None:
            raise TimeoutError(f"`{join(argv)}` did not end within {timeout:g} s")
        if check and completed.returncode != 0:
            raise CommandError(argv, completed.returncode, last_lines(completed.stderr or completed.stdout))
        return subprocess.CompletedProcess(list(argv), completed.returncode, completed.stdout, completed.stderr)

    @asynccontextmanager
    async def get_shell(
        self, *, environment: Mapping[str, str] | None = None, workdir: str | None = None
    ) -> AsyncGenerator[Shell, None]:
        """Open a shell in the environment, for many short commands: an async context manager.

            async with connector.get_shell() as shell:
                for name in names:
                    await shell.run(["mkdir", "-p", name])

        Each costs a fraction of what :meth:`run` does. Leaving the block ends the shell with all that runs in it.

        :raises InvalidConnectorError: if the environment is lost, being torn down, or gone
        """
        mark = new_mark()
        async with self.start(shell_argv(mark), environment=environment, workdir=workdir) as process:
            yield Shell(process, mark)

    async def copy(self, source: str, target: str, *, origin: Operations | None = None, whole: bool = False) -> None:
        """Copy a file or a directory tree into this environment, with its permissions.

            await cluster.copy("data/in.csv", "/scratch/in.csv", origin=local)

        :param source: its path in the environment that it comes from
        :param target: the path of the copy; missing parents are made, an existing file is replaced
        :param origin: the connector of the environment that ``source`` is in; None: this one
        :param whole: keep owners and set-user-id bits as well, and copy devices, FIFOs and sockets, which are refused
            otherwise
        :raises ValueError: if a path is empty
        :raises CommandError: if either side fails, or if ``target`` is an existing directory
        :raises InvalidConnectorError: if either environment is lost, being torn down, or gone

        If it fails or is cancelled, ``target`` is as it was before.
        """
        await copying.copy(origin or self, source, self, target, whole=whole)
