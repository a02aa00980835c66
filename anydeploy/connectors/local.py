"""``local``: commands and files on this machine."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from shlex import join

from anyio import (
    BrokenResourceError,
    BusyResourceError,
    CancelScope,
    ClosedResourceError,
    create_task_group,
    current_time,
    move_on_after,
    open_process,
)
from anyio.abc import ByteReceiveStream, Process
from attrs import define, field

from ..connector import Command, Connector
from ..exceptions import WorkflowExecutionException
from ._group import GroupProcess

#: Seconds that a process which has been sent SIGKILL may take to vanish, before it counts as one that does not.
_VANISHING = 5.0


class StartError(WorkflowExecutionException, OSError):
    """A program could not be started.

    :ivar command: its argv
    """

    def __init__(self, command: tuple[str, ...], problem: str) -> None:
        self.command = command
        super().__init__(f"`{join(command)}` could not be started: {problem}")


class UnstoppableError(WorkflowExecutionException):
    """A process is still there although it was killed: it belongs to another user, or hangs in the kernel.

    :ivar command: its argv
    :ivar pid: its number, and that of its process group
    """

    def __init__(self, command: tuple[str, ...], pid: int) -> None:
        self.command = command
        self.pid = pid
        super().__init__(f"`{join(command)}` could not be stopped and still runs as process {pid}")


@define(kw_only=True, eq=False, slots=False)
class LocalConnector(Connector):
    """The machine that anydeploy runs on. There is nothing to bring up or to take down.

    A command runs in a process group (and session) of its own, with the environment of this program and its own
    additions. A relative workdir is relative to ``config_dir``.
    """

    _hurried: bool = field(init=False, default=False, repr=False)
    #: The grace periods that are running now.
    _graces: set[CancelScope] = field(init=False, factory=set[CancelScope], repr=False)

    async def deploy(self, external: bool) -> None:
        """Nothing."""

    async def undeploy(self, external: bool) -> None:
        """Nothing."""

    def hurry(self) -> None:
        self._hurried = True
        for scope in self._graces:
            scope.cancel()

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
        if process.asked_at is not None or not process.has_ended():
            async with create_task_group() as tasks:
                # A program that says good-bye must not hang because nobody reads it any more.
                for stream in (process.stdout, process.stderr):
                    tasks.start_soon(_discard, stream)
                await self._stop(process, command.grace)
                tasks.cancel_scope.cancel()
        if process.has_ended():
            await process.aclose()
        else:
            await process.aclose_streams()
            raise UnstoppableError(command.argv, process.pid)

    async def _stop(self, process: GroupProcess, grace: float) -> None:
        if not process.terminated:
            process.terminate()
        asked_at = process.asked_at if process.asked_at is not None else current_time()
        with self._grace(asked_at + grace):
            await process.wait_for_all()
            return
        process.kill()
        with move_on_after(_VANISHING):
            await process.wait_for_all()

    @contextmanager
    def _grace(self, deadline: float) -> Generator[None, None, None]:
        with CancelScope(deadline=deadline) as scope:
            if self._hurried:
                scope.cancel()
            self._graces.add(scope)
            try:
                yield
            finally:
                self._graces.discard(scope)


def _why_not(program: str, error: OSError | ValueError) -> str:
    if isinstance(error, FileNotFoundError):
        # The kernel says the same of a script whose interpreter is missing.
        missing = "its interpreter does not exist" if Path(program).exists() else "there is no such program"
        return f"{program}: {missing}"
    if isinstance(error, OSError) and error.strerror:
        return f"{program}: {error.strerror}"
    return f"{program}: {error}"


async def _discard(stream: ByteReceiveStream | None) -> None:
    if stream is not None:
        # RuntimeError is what asyncio raises when somebody else still reads it.
        with suppress(BrokenResourceError, ClosedResourceError, BusyResourceError, RuntimeError):
            async for _ in stream:
                pass
