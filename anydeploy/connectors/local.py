"""``local``: commands and files on this machine."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from shlex import join
from typing import Any

from anyio import CancelScope, connect_tcp, create_task_group, open_process
from anyio.abc import ByteStream, Process
from attrs import define, field

from ..command import Command
from ..connector import Connector
from ..exceptions import WorkflowExecutionException
from ..location import Port
from ..streams import discard
from ._group import GroupProcess
from .termination import Terminator, UnstoppableError


class StartError(WorkflowExecutionException, OSError):
    """A program could not be started.

    :ivar command: its argv
    """

    def __init__(self, command: tuple[str, ...], problem: str) -> None:
        self.command = command
        super().__init__(f"`{join(command)}` could not be started: {problem}")


@define(kw_only=True, eq=False, slots=False)
class LocalConnector(Connector):
    """The machine that anydeploy runs on. There is nothing to bring up or to take down.

    A command runs in a process group (and session) of its own, with the environment of this program and its own
    additions. A relative workdir is relative to ``config_dir``.
    """

    _terminator: Terminator = field(init=False, factory=Terminator, repr=False)

    @classmethod
    def services_of(cls, config: Mapping[str, Any]) -> Iterable[str]:  # noqa: ARG003
        """Return none: this machine has no services."""
        return ()

    async def deploy(self, external: bool) -> None:
        """Do nothing."""

    async def undeploy(self, external: bool) -> None:
        """Do nothing."""

    def hurry(self) -> None:
        self._terminator.hurry()

    @asynccontextmanager
    async def _start(self, command: Command) -> AsyncGenerator[Process, None]:
        """Start a program on this machine.

        When the block is left while it runs, or after its end was asked for in the block, its whole process group is
        ended: SIGTERM, and SIGKILL ``command.grace`` seconds after the first request. When it has ended by itself,
        what it left in the background is left alone: it may have been meant to start a daemon.

        :raises StartError: if there is no such program or workdir, or it cannot be executed
        :raises UnstoppableError: if it withstands even SIGKILL
        """
        process = await self._open(command)
        try:
            yield process
        finally:
            with CancelScope(shield=True):
                await self._end(process, command)

    @asynccontextmanager
    async def _forward(self, port: Port) -> AsyncGenerator[ByteStream, None]:
        async with await connect_tcp(port.host, port.port) as stream:
            yield stream

    async def _open(self, command: Command) -> GroupProcess:
        workdir = self._workdir(command)
        try:
            # Cancelled half-way, it would be killed without its children.
            with CancelScope(shield=True):
                process = await open_process(
                    command.argv,
                    stdin=command.stdin,
                    stdout=command.stdout,
                    stderr=command.stderr,
                    cwd=workdir,
                    env={**os.environ, **command.environment},
                    start_new_session=True,
                )
        except (OSError, ValueError) as exc:
            raise StartError(command.argv, _why_not(command.argv[0], exc)) from exc
        return GroupProcess(process)  # pyright: ignore[reportPossiblyUnboundVariable] - this scope is never cancelled

    def _workdir(self, command: Command) -> Path | None:
        if not (command.argv and command.argv[0]):
            raise StartError(command.argv, "no program is given")
        if any("\0" in argument for argument in command.argv):
            # uvloop would silently cut it there.
            raise StartError(command.argv, "an argument contains a null character")
        if command.workdir is None:
            return None
        workdir = self.config_dir / command.workdir
        if not workdir.is_dir():
            problem = "is not a directory" if workdir.exists() else "does not exist"
            raise StartError(command.argv, f"its workdir {workdir} {problem}")
        return workdir

    async def _end(self, process: GroupProcess, command: Command) -> None:
        gone = True
        try:
            if process.requests.made or not process.has_ended():
                async with create_task_group() as tasks:
                    # A program that says good-bye must not hang because its output is not read any more.
                    for stream in (process.stdout, process.stderr):
                        tasks.start_soon(discard, stream)
                    gone = await self._terminator.end(process, command.grace, command.least_grace)
                    tasks.cancel_scope.cancel()
        finally:
            await (process.aclose() if process.has_ended() else process.aclose_streams())
        if not gone:
            raise UnstoppableError(command.argv, process.pid)


def _why_not(program: str, error: OSError | ValueError) -> str:
    if isinstance(error, FileNotFoundError):
        # The kernel says the same of a script whose interpreter is missing.
        missing = "its interpreter does not exist" if Path(program).exists() else "there is no such program"
        return f"{program}: {missing}"
    if isinstance(error, OSError) and error.strerror:
        return f"{program}: {error.strerror}"
    return f"{program}: {error}"
