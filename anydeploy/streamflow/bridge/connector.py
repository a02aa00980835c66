"""A StreamFlow connector as a connector of anydeploy: commands are run in its environment as well."""

from __future__ import annotations

import operator
import secrets
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, ClassVar, cast

from anyio import Lock, create_task_group
from anyio.abc import Process
from attrs import define
from streamflow.core.deployment import Connector as StreamFlowConnector
from streamflow.core.deployment import ExecutionLocation
from streamflow.deployment.connector.base import BatchConnector
from streamflow.deployment.wrapper import ConnectorWrapper as StreamFlowWrapper

from ...command import Command
from ...connector import Connector, ConnectorWrapper
from ...connectors.session import Session, SessionError
from ...connectors.termination import Terminator
from ...exceptions import WorkflowExecutionException, describe
from ..hosting import HostedConnector, HostedWrapper, hosted_type
from .clients import LocationClients
from .inner import InnerConnector
from .job import Job
from .settings import check
from .tasks import BackgroundTasks

#: Seconds in which a command has to be gone when it has been killed: StreamFlow asks every few seconds for its jobs.
_VANISHING = 20.0


class BridgedConnector(HostedConnector):
    """A StreamFlow connector in whose environment commands are run. On asyncio only."""

    asyncio_only: ClassVar[bool] = True
    finds_strays: ClassVar[bool] = True

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._tasks = BackgroundTasks()
        self._beginning = Lock()
        self._opening = Lock()
        self._terminator = Terminator(_VANISHING)
        #: By the names of their locations.
        self._sessions = dict[str, Session]()

    @classmethod
    def check_config(cls, config: Mapping[str, Any]) -> Iterable[tuple[tuple[Any, ...], str]]:
        """Check the settings with the JSON schema of StreamFlow's class."""
        return cast("Iterable[tuple[tuple[Any, ...], str]]", check(cls.real_type, config))

    async def undeploy(self, external: bool) -> None:
        """Close the sessions, which ends what still runs there, and undeploy StreamFlow's connector."""
        async with create_task_group() as closing:
            for session in self._sessions.values():
                closing.start_soon(session.close)
        await self._tasks.ended()
        await super().undeploy(external)

    def hurry(self) -> None:
        super().hurry()
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
        :raises ConnectionLostError: if the session at the location is lost; the next command opens another one
        :raises UnstoppableError: if it withstands even SIGKILL
        """
        async with self.start_at(None, command) as process:
            yield process

    @asynccontextmanager
    async def start_at(self, service: str | None, command: Command) -> AsyncGenerator[Process, None]:
        """Start a command at the first location of a service, or of all of them. It raises what :meth:`start` does."""
        real = self.valid()
        if (why := _why_not(type(real))) is not None:
            problem = f"deployment '{self.deployment_name}': commands cannot be run on a {type(real).__name__}: {why}"
            raise WorkflowExecutionException(problem)
        location = await self._tasks.finish(self._location(service))
        async with self.start_there(location, command) as process:
            yield process

    @asynccontextmanager
    async def start_there(self, location: ExecutionLocation, command: Command) -> AsyncGenerator[Process, None]:
        """Start a command at a location of StreamFlow's connector. It raises what :meth:`start` does."""
        session = await self._session_at(location)
        async with session.start(command) as process:
            yield process

    async def _session_at(self, location: ExecutionLocation) -> Session:
        """Return the session at a location. The first command there opens it, and the first after a loss another one.

        Locations come and go while the environment is up, as the pods of a deployment do.
        """
        async with self._opening:
            self.valid()
            session = self._sessions.get(location.name)
            if session is None or not session.is_open:
                clients = LocationClients(self.hosted, location, self._tasks, self._beginning)
                name = f".anydeploy-{self.token}-{secrets.token_hex(4)}"
                session = clients.session(name, self._terminator)
                try:
                    await session.open(self._tasks)
                except SessionError as exc:
                    problem = f"deployment '{self.deployment_name}': no commands can be run at {location}: {exc}"
                    raise WorkflowExecutionException(problem) from exc
                self._sessions[location.name] = session
            return session

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

    #: The commands of a session have to come to where it is.
    stateful: ClassVar[bool] = True
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


class BridgedQueue(BridgedWrapper):
    """A bridged connector whose commands are jobs."""

    stateful: ClassVar[bool] = False
    keeps_place: ClassVar[bool] = False
    finds_strays: ClassVar[bool] = False

    @asynccontextmanager
    async def start_there(self, location: ExecutionLocation, command: Command) -> AsyncGenerator[Process, None]:
        host = self.connector.at(self.service)
        async with Job(self.hosted, location, command, host, self._tasks, self._terminator).run() as process:
            yield process


def _why_not(real_type: type[StreamFlowConnector]) -> str | None:
    """Return why commands cannot be run by a class, if they cannot: they would start outside the environment."""
    if not issubclass(real_type, StreamFlowWrapper):
        return "it is a queue that wraps no connector" if issubclass(real_type, BatchConnector) else None
    if issubclass(real_type, BatchConnector) or real_type.run is StreamFlowWrapper.run:
        return None
    inherited = StreamFlowWrapper.get_stream_reader, StreamFlowWrapper.get_stream_writer
    streams = real_type.get_stream_reader, real_type.get_stream_writer
    if not any(map(operator.is_, streams, inherited)):
        return None
    return (
        "it has `run` of its own, but the streams that StreamFlow gives all wrappers, which go past it to what it wraps"
    )


def bridged_type(real_type: type[StreamFlowConnector]) -> type[Connector]:
    """Return the class of anydeploy's connectors that stand for those of a StreamFlow class."""
    wrapper = BridgedQueue if issubclass(real_type, BatchConnector) else BridgedWrapper
    return hosted_type(real_type, BridgedConnector, wrapper)
