"""A connector of anydeploy as one of StreamFlow: it is wrapped by StreamFlow's wrappers, in a stack of both kinds.

Every command, shell and stream of StreamFlow becomes a process of the wrapped connector. Each is started in a task of
its own, because StreamFlow opens in one task and closes in another.
"""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping, MutableSequence
from contextlib import AbstractAsyncContextManager
from subprocess import DEVNULL, PIPE
from types import TracebackType
from typing import Any, Final

from anyio import BrokenResourceError, ClosedResourceError, EndOfStream, Event, move_on_after
from anyio.abc import Process
from attrs import define, field
from streamflow.core import utils
from streamflow.core.data import StreamWrapper
from streamflow.core.deployment import ExecutionLocation, Shell
from streamflow.core.exception import WorkflowExecutionException
from streamflow.core.scheduling import AvailableLocation
from streamflow.deployment.connector.base import BaseConnector
from streamflow.deployment.shell import BaseShell

from ...command import Command
from ...connector import Connector
from ...connectors.local import LocalConnector
from .clients import CHUNK
from .tasks import BackgroundTasks

#: Seconds in which a shell may end by itself.
_GRACE: Final = 5.0


@define(eq=False)
class _ProcessTask:
    """A process in a task of its own: it stays until :meth:`close`, whatever becomes of the tasks that use it.

    :ivar process: once it has been started
    """

    connector: Connector
    command: Command
    tasks: BackgroundTasks
    process: Process | None = field(init=False, default=None)
    #: Set when the process has been started, or could not be.
    _started: Event = field(init=False, factory=Event)
    _closing: Event = field(init=False, factory=Event)
    _task: asyncio.Task[None] | None = field(init=False, default=None)

    async def start(self) -> Process:
        """Start the process. It raises what starting a command does; if cancelled, the process is ended."""
        self._task = self.tasks.start(self._run())
        try:
            await self._started.wait()
            if self.process is None:
                await self._task
        except BaseException:
            self._closing.set()
            raise
        assert self.process is not None  # noqa: S101 - otherwise the task has raised
        return self.process

    async def _run(self) -> None:
        try:
            async with self.connector.start_command(self.command) as self.process:
                self._started.set()
                await self._closing.wait()
        finally:
            self._started.set()

    async def close(self) -> None:
        """End the process, if it has not ended by itself. If cancelled it returns at once; the process is ended."""
        self._closing.set()
        if self._task is not None:
            await asyncio.wait([self._task])


class _Stream(StreamWrapper):
    """A stream of a process, for StreamFlow to read or write."""

    def __init__(self, process: Process) -> None:
        super().__init__(process)

    async def read(self, size: int | None = None) -> Any:
        try:
            return await self.stream.stdout.receive(size or CHUNK)
        except (EndOfStream, BrokenResourceError, ClosedResourceError):
            return b""

    async def write(self, data: Any) -> None:
        try:
            await self.stream.stdin.send(bytes(data))
        except (BrokenResourceError, ClosedResourceError) as exc:
            raise BrokenPipeError(str(exc)) from exc

    async def close(self) -> None:
        if self.stream.stdin is not None:
            await self.stream.stdin.aclose()


class _StreamContext(AbstractAsyncContextManager[StreamWrapper]):
    """The block in which StreamFlow uses the input or the output of a command. Leaving it waits for its end."""

    def __init__(self, task: _ProcessTask) -> None:
        self._task = task

    async def __aenter__(self) -> StreamWrapper:
        return _Stream(await self._task.start())

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        process = self._task.process
        try:
            if exc is None and process is not None:
                await _Stream(process).close()
                await process.wait()
        finally:
            await self._task.close()


class _Shell(BaseShell):
    """A shell that StreamFlow keeps for its short commands."""

    __slots__ = ("_task",)

    def __init__(self, command: MutableSequence[str], buffer_size: int, task: _ProcessTask, process: Process) -> None:
        super().__init__(command, buffer_size)
        self._task = task
        self._reader = self._writer = _Stream(process)

    async def _close(self) -> None:
        process = self._task.process
        try:
            if process is not None and process.returncode is None:
                await _Stream(process).close()
                with move_on_after(_GRACE):
                    await process.wait()
        finally:
            await self._task.close()


class InnerConnector(BaseConnector):
    """Stands for a connector of anydeploy. It has one location."""

    def __init__(self, connector: Connector) -> None:
        super().__init__(connector.deployment_name, str(connector.config_dir), 2**16)
        self._connector = connector
        self._tasks = BackgroundTasks()

    @classmethod
    def get_schema(cls) -> str:
        """Return no schema: there are no settings."""
        return ""

    async def deploy(self, external: bool) -> None:
        """Do nothing: it is live while the wrapper is."""

    async def undeploy(self, external: bool) -> None:
        """Close the shells, and wait for the end of all that was started."""
        await super().undeploy(external)
        await self._tasks.ended()

    async def get_available_locations(self, service: str | None = None) -> MutableMapping[str, AvailableLocation]:
        local = isinstance(self._connector, LocalConnector)
        name = "__LOCAL__" if local else self.deployment_name
        location = AvailableLocation(
            name=name,
            deployment=self.deployment_name,
            hostname="localhost",
            local=local,
            service=service,
            slots=1,
        )
        return {name: location}

    async def run(  # noqa: PLR0917 - StreamFlow's signature
        self,
        location: ExecutionLocation,
        command: MutableSequence[str],
        environment: MutableMapping[str, str] | None = None,
        workdir: str | None = None,
        stdin: int | str | None = None,
        stdout: int | str = asyncio.subprocess.STDOUT,
        stderr: int | str = asyncio.subprocess.STDOUT,
        capture_output: bool = False,
        timeout: int | None = None,
        job_name: str | None = None,  # noqa: ARG002 - this is no queue
    ) -> tuple[str, int] | None:
        line = utils.create_command(type(self).__name__, command, environment, workdir, stdin, stdout, stderr)
        try:
            done = await self._connector.run(
                ["sh", "-c", line], environment=location.environment, timeout=timeout, check=False
            )
        except OSError as exc:
            raise WorkflowExecutionException(str(exc)) from exc
        output = (done.stdout or (done.stderr if done.returncode else b"")).decode(errors="replace").strip()
        return (output, done.returncode) if capture_output else None

    async def get_stream_reader(
        self, command: MutableSequence[str], location: ExecutionLocation
    ) -> AbstractAsyncContextManager[StreamWrapper]:
        return _StreamContext(self._process(["sh", "-c", " ".join(command)], location, stdin=DEVNULL, stdout=PIPE))

    async def get_stream_writer(
        self, command: MutableSequence[str], location: ExecutionLocation
    ) -> AbstractAsyncContextManager[StreamWrapper]:
        return _StreamContext(self._process(["sh", "-c", " ".join(command)], location, stdin=PIPE, stdout=DEVNULL))

    async def _create_shell(self, command: MutableSequence[str], location: ExecutionLocation) -> Shell:
        task = self._process(command, location, stdin=PIPE, stdout=PIPE)
        return _Shell(command, self.transferBufferSize, task, await task.start())

    def _process(
        self, argv: MutableSequence[str], location: ExecutionLocation, *, stdin: int, stdout: int
    ) -> _ProcessTask:
        command = Command(argv, location.environment, stdin=stdin, stdout=stdout, stderr=DEVNULL)
        return _ProcessTask(self._connector, command, self._tasks)
