"""A connector of StreamFlow's as one of anydeploy's: what it hosts, and how commands get there."""

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

from ...connector import Command, Connector, ConnectorWrapper
from ...exceptions import WorkflowExecutionException, describe
from ..hosting import Hosted, HostedWrapper, host
from .command import Keeper
from .inner import Underlying
from .job import JobKeeper
from .settings import check
from .tasks import Tasks


class Bridged(Hosted):
    """One that runs commands as well. On asyncio only."""

    asyncio_only: ClassVar[bool] = True

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._tasks = Tasks()
        self._beginning = Lock()
        self._keepers: set[Keeper] = set()
        self._hurried = False

    @classmethod
    def check_config(cls, config: Mapping[str, Any]) -> Iterable[tuple[tuple[Any, ...], str]]:
        """What the JSON schema of StreamFlow's class says."""
        return cast("Iterable[tuple[tuple[Any, ...], str]]", check(cls.real_type, config))

    async def undeploy(self, external: bool) -> None:
        """Wait for the end of what was started here, and undeploy StreamFlow's connector."""
        await self._tasks.ended()
        await super().undeploy(external)

    def hurry(self) -> None:
        self._hurried = True
        for keeper in self._keepers:
            keeper.hurry()

    def at(self, service: str) -> Connector:
        return _AtService(
            deployment_name=self.deployment_name,
            config_dir=self.config_dir,
            connector=self,
            service=service,
            bridged=self,
        )

    @asynccontextmanager
    async def _start(self, command: Command) -> AsyncGenerator[Process, None]:
        """Start a command at the first location of StreamFlow's connector: see :mod:`._remote`.

        :raises StartError: if there is no such program or workdir
        :raises WorkflowExecutionException: if the connector has no location, or cannot start commands there
        :raises UnstoppableError: if it withstands even SIGKILL
        """
        async with self.start_at(None, command) as process:
            yield process

    @asynccontextmanager
    async def start_at(self, service: str | None, command: Command) -> AsyncGenerator[Process, None]:
        """Start a command at the first location of a service."""
        real = self.valid()
        if _passes_by(type(real)):
            raise WorkflowExecutionException(
                f"deployment '{self.deployment_name}': commands cannot be run on a {type(real).__name__}: it has `run` "
                f"of its own, but the streams that StreamFlow gives all wrappers, which go past it to what it wraps"
            )
        location = await self._tasks.finish(self._location(service))
        kind = JobKeeper if isinstance(real, BatchConnector) else Keeper
        keeper = kind(real, location, command, self._tasks, self._beginning)
        self._keepers.add(keeper)
        if self._hurried:
            keeper.hurry()
        try:
            async with keeper.process() as process:
                yield process
        finally:
            self._keepers.discard(keeper)

    async def _location(self, service: str | None) -> ExecutionLocation:
        where = f"of its service '{service}'" if service is not None else "without the name of a service"
        problem = f"deployment '{self.deployment_name}': no location {where}"
        try:
            for location in (await self.real.get_available_locations(service)).values():
                return location.location
        except Exception as exc:
            # Whatever a connector makes of a service that it has not, or of none.
            raise WorkflowExecutionException(f"{problem}: {describe(exc)}") from exc
        raise WorkflowExecutionException(f"{problem}: it has none")


@define(kw_only=True, eq=False, slots=False)
class _AtService(ConnectorWrapper):
    """One of the services of a bridged connector."""

    bridged: Bridged

    @asynccontextmanager
    async def _start(self, command: Command) -> AsyncGenerator[Process, None]:
        async with self.bridged.start_at(self.service, command) as process:
            yield process


class BridgedWrapper(Bridged, HostedWrapper):
    """One of those that wrap another."""

    def inner(self) -> StreamFlowConnector:
        """StreamFlow's own connector, if that is what is wrapped, or else one that stands for the wrapped one."""
        below = self.connector.bridged if isinstance(self.connector, _AtService) else self.connector
        if isinstance(below, Hosted):
            return below.real
        self._underlying = Underlying(below)
        return self._underlying

    async def undeploy(self, external: bool) -> None:
        await super().undeploy(external)
        if (underlying := getattr(self, "_underlying", None)) is not None:
            await underlying.undeploy(external)


def _passes_by(real_type: type[StreamFlowConnector]) -> bool:
    """Whether what a command is started through would start it outside of the environment."""
    if not issubclass(real_type, StreamFlowWrapper) or issubclass(real_type, BatchConnector):
        return False
    inherited = StreamFlowWrapper.get_stream_reader, StreamFlowWrapper.get_stream_writer
    streams = real_type.get_stream_reader, real_type.get_stream_writer
    return real_type.run is not StreamFlowWrapper.run and any(map(operator.is_, streams, inherited))


def bridge(real_type: type[StreamFlowConnector]) -> type[Connector]:
    """The class of anydeploy's connectors that stand for those of a StreamFlow class."""
    return host(real_type, Bridged, BridgedWrapper)
