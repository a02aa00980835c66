"""A connector of anydeploy's as one of StreamFlow's: what StreamFlow's wrappers wrap in a stack of both kinds.

Every command, shell and stream of StreamFlow's becomes a process of the connector below, started in a task of its own:
StreamFlow opens in one task what it closes in another.
"""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping, MutableSequence
from contextlib import AbstractAsyncContextManager
from subprocess import DEVNULL, PIPE
from types import TracebackType
from typing import Any

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

from ...connector import Command, Connector
from ...connectors.local import LocalConnector
from .pumps import CHUNK
from .tasks import Tasks

#: Seconds that a shell has to end by itself.
_GRACE = 5.0


@define(eq=False)
class _Held:
    """A process that stays until :meth:`close`, whichever tasks use it."""

    connector: Connector
    command: Command
    tasks: Tasks
    process: Process | None = field(init=False, default=None)
    _started: Event = field(init=False, factory=Event)
    _closing: Event = field(init=False, factory=Event)
    _task: asyncio.Task[None] | None = field(init=False, default=None)

    async def open(self) -> Process:
        self._task = self.tasks.start(self._hold())
        await self._started.wait()
        if self.process is None:
            await self._task
        assert self.process is not None  # noqa: S101 - otherwise the task has failed
        return self.process

    async def _hold(self) -> None:
        try:
            async with self.connector.start_command(self.command) as self.process:
                self._started.set()
                await self._closing.wait()
        finally:
            self._started.set()

    def close(self) -> asyncio.Task[None] | None:
        self._closing.set()
        return self._task


class _Stream(StreamWrapper):
    """A stream of a process, as StreamFlow reads or writes it."""

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


class _Opened(AbstractAsyncContextManager[StreamWrapper]):
    """A command whose input or output is a stream of StreamFlow's. It is waited for at the end."""

    def __init__(self, held: _Held) -> None:
        self._held = held

    async def __aenter__(self) -> StreamWrapper:
        return _Stream(await self._held.open())

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        process = self._held.process
        if exc is None and process is not None:
            await _Stream(process).close()
            await process.wait()
        task = self._held.close()
        if task is not None:
            await asyncio.wait([task])


class _Shell(BaseShell):
    """A shell that StreamFlow keeps for its short commands."""

    __slots__ = ("_held",)

    def __init__(self, command: MutableSequence[str], buffer_size: int, held: _Held, process: Process) -> None:
        super().__init__(command, buffer_size)
        self._held = held
        self._reader = self._writer = _Stream(process)

    async def _close(self) -> None:
        process = self._held.process
        if process is not None and process.returncode is None:
            await _Stream(process).close()
            with move_on_after(_GRACE):
                await process.wait()
        task = self._held.close()
        if task is not None:
            await asyncio.wait([task])


class Underlying(BaseConnector):
    """The one location that a connector of anydeploy's is."""

    def __init__(self, connector: Connector) -> None:
        super().__init__(connector.deployment_name, str(connector.config_dir), 2**16)
        self._connector = connector
        self._tasks = Tasks()

    @classmethod
    def get_schema(cls) -> str:
        """None: nobody writes its settings."""
        return ""

    async def deploy(self, external: bool) -> None:
        """Nothing: it is live for as long as what wraps it."""

    async def undeploy(self, external: bool) -> None:
        """Close the shells and wait for everything that was started."""
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
        return _Opened(self._hold(["sh", "-c", " ".join(command)], location, stdin=DEVNULL, stdout=PIPE))

    async def get_stream_writer(
        self, command: MutableSequence[str], location: ExecutionLocation
    ) -> AbstractAsyncContextManager[StreamWrapper]:
        return _Opened(self._hold(["sh", "-c", " ".join(command)], location, stdin=PIPE, stdout=DEVNULL))

    async def _create_shell(self, command: MutableSequence[str], location: ExecutionLocation) -> Shell:
        held = self._hold(command, location, stdin=PIPE, stdout=PIPE)
        return _Shell(command, self.transferBufferSize, held, await held.open())

    def _hold(self, argv: MutableSequence[str], location: ExecutionLocation, *, stdin: int, stdout: int) -> _Held:
        command = Command(argv, location.environment, stdin=stdin, stdout=stdout, stderr=DEVNULL)
        return _Held(self._connector, command, self._tasks)
