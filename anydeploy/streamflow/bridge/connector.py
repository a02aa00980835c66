"""A StreamFlow connector as a connector of anydeploy: commands are run in its environment as well."""

from __future__ import annotations

import operator
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, ClassVar, cast

from anyio import Lock
from anyio.abc import Process
from attrs import define
from streamflow.core.deployment import Connector as StreamFlowConnector
from streamflow.core.deployment import ExecutionLocation
from streamflow.deployment.connector.base import BatchConnector
from streamflow.deployment.wrapper import ConnectorWrapper as StreamFlowWrapper

from ...command import Command
from ...connector import Connector, ConnectorWrapper
from ...connectors.termination import Terminator
from ...exceptions import WorkflowExecutionException, describe
from ..hosting import HostedConnector, HostedWrapper, hosted_type
from .command import RemoteCommand
from .inner import InnerConnector
from .job import JobCommand
from .settings import check
from .tasks import BackgroundTasks


class BridgedConnector(HostedConnector):
    """A StreamFlow connector in whose environment commands are run. On asyncio only."""

    asyncio_only: ClassVar[bool] = True

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._tasks = BackgroundTasks()
        self._beginning = Lock()
        self._command_type = JobCommand if issubclass(self.real_type, BatchConnector) else RemoteCommand
        self._terminator = Terminator(self._command_type.vanishing)

    @classmethod
    def check_config(cls, config: Mapping[str, Any]) -> Iterable[tuple[tuple[Any, ...], str]]:
        """Check the settings with the JSON schema of StreamFlow's class."""
        return cast("Iterable[tuple[tuple[Any, ...], str]]", check(cls.real_type, config))

    async def undeploy(self, external: bool) -> None:
        """Wait for the end of all commands, and undeploy StreamFlow's connector."""
        await self._tasks.ended()
        await super().undeploy(external)

    def hurry(self) -> None:
        self._terminator.hurry()

    def at(self, service: str | None = None, *, location: str | None = None) -> Connector:  # noqa: ARG002
        if service is None:
            return self
        return _AtService(
            deployment_name=self.deployment_name,
            config_dir=self.config_dir,
            connector=self,
            service=service,
            bridged=self,
        )

    @asynccontextmanager
    async def _start(self, command: Command) -> AsyncGenerator[Process, None]:
        """Start a command at the first location of StreamFlow's connector.

        :raises StartError: if there is no such program or workdir
        :raises WorkflowExecutionException: if the connector has no location, or cannot start commands there
        :raises UnstoppableError: if it withstands even SIGKILL
        """
        async with self.start_at(None, command) as process:
            yield process

    @asynccontextmanager
    async def start_at(self, service: str | None, command: Command) -> AsyncGenerator[Process, None]:
        """Start a command at the first location of a service, or of all of them. It raises what :meth:`start` does."""
        real = self.valid()
        if _is_passed_by(type(real)):
            raise WorkflowExecutionException(
                f"deployment '{self.deployment_name}': commands cannot be run on a {type(real).__name__}: it has `run` "
                f"of its own, but the streams that StreamFlow gives all wrappers, which go past it to what it wraps"
            )
        location = await self._tasks.finish(self._location(service))
        remote = self._command_type(real, location, command, self._tasks, self._beginning, self._terminator)
        async with remote.run() as process:
            yield process

    async def _location(self, service: str | None) -> ExecutionLocation:
        where = f"of its service '{service}'" if service is not None else "without the name of a service"
        problem = f"deployment '{self.deployment_name}': no location {where}"
        try:
            for location in (await self.hosted.get_available_locations(service)).values():
                return location.location
        except Exception as exc:
            # Connectors differ in what they raise for a service that they do not have, or for none.
            raise WorkflowExecutionException(f"{problem}: {describe(exc)}") from exc
        raise WorkflowExecutionException(f"{problem}: it has none")


@define(kw_only=True, eq=False, slots=False)
class _AtService(ConnectorWrapper):
    """One of the services of a bridged connector."""

    bridged: BridgedConnector

    @asynccontextmanager
    async def _start(self, command: Command) -> AsyncGenerator[Process, None]:
        async with self.bridged.start_at(self.service, command) as process:
            yield process


class BridgedWrapper(BridgedConnector, HostedWrapper):
    """A bridged connector that wraps another one, of StreamFlow or of anydeploy."""

    #: Stands for a connector of anydeploy that is wrapped.
    _inner: InnerConnector | None = None

    def inner(self) -> StreamFlowConnector:
        """Return StreamFlow's own connector if that is wrapped, or else one that stands for the wrapped one."""
        if isinstance(self.connector, HostedConnector):
            return self.connector.hosted
        self._inner = InnerConnector(self.connector)
        return self._inner

    async def undeploy(self, external: bool) -> None:
        await super().undeploy(external)
        if self._inner is not None:
            await self._inner.undeploy(external)


def _is_passed_by(real_type: type[StreamFlowConnector]) -> bool:
    """Whether the streams of a class lead to what it wraps, so that a command would start outside the environment."""
    if not issubclass(real_type, StreamFlowWrapper) or issubclass(real_type, BatchConnector):
        return False
    inherited = StreamFlowWrapper.get_stream_reader, StreamFlowWrapper.get_stream_writer
    streams = real_type.get_stream_reader, real_type.get_stream_writer
    return real_type.run is not StreamFlowWrapper.run and any(map(operator.is_, streams, inherited))


def bridged_type(real_type: type[StreamFlowConnector]) -> type[Connector]:
    """Return the class of anydeploy's connectors that stand for those of a StreamFlow class."""
    return hosted_type(real_type, BridgedConnector, BridgedWrapper)
