"""The base of connectors that hold a session open inside their environment."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import ClassVar

import attrs
from anyio import create_task_group
from anyio.abc import Process, TaskGroup
from attrs import define, field

from ..command import DEFAULT_GRACE, Command
from ..connector import ConnectorWrapper
from ..exceptions import ConnectionLostError, InvalidConnectorError, WorkflowExecutionException
from ..location import Location
from ..operations import Operations
from ._remnants import remove_remnants
from .session import Session
from .termination import Terminator


@define(kw_only=True, eq=False, slots=False)
class RemoteConnector(ConnectorWrapper):
    """An environment that commands get into by a client program, with a session inside that watches over them.

    A subclass says in :meth:`transform` how a command gets there; a command that it transforms has neither environment
    nor workdir. It connects when the environment is there, and disconnects before it destroys it::

        @attrs.define(kw_only=True, eq=False, slots=False)
        class Container(RemoteConnector):
            container: str

            async def deploy(self, external: bool) -> None:
                await self.connect()

            async def undeploy(self, external: bool) -> None:
                await self.disconnect()

            def transform(self, command: Command) -> Command:
                return attrs.evolve(command, argv=["docker", "exec", "-i", self.container, *command.argv])

    """

    #: The commands of a session have to come to where it is.
    stateful: ClassVar[bool] = True
    finds_strays: ClassVar[bool] = True
    _terminator: Terminator = field(init=False, factory=Terminator, repr=False)
    #: The task group of the sessions; open from the first connection until :meth:`disconnect`.
    _tasks: TaskGroup | None = field(init=False, default=None, repr=False)
    _stack: AsyncExitStack | None = field(init=False, default=None, repr=False)
    _session: Session | None = field(init=False, default=None, repr=False)
    #: The names of all sessions that this object has made.
    _names: list[str] = field(init=False, factory=list[str], repr=False)

    async def connect(self) -> None:
        """Open the way into the environment. It is the last thing in ``deploy``, and ``undeploy`` calls `disconnect`.

        :raises SessionError: with the reason why it cannot be opened; nothing is left of it then, or if it is cancelled
        """
        if self._tasks is not None:
            await self.open_way(self._tasks)
            return
        problem: WorkflowExecutionException | None = None
        async with AsyncExitStack() as stack:
            tasks = await stack.enter_async_context(create_task_group())
            try:
                await self.open_way(tasks)
            except WorkflowExecutionException as exc:
                # Raised in here, it would come out of the task group as a group.
                problem = exc
            else:
                self._tasks = tasks
                self._stack = stack.pop_all()
        if problem is not None:
            raise problem

    async def disconnect(self) -> None:
        """Close the session, and end all that still runs in it. It may be called when none is open.

        If cancelled, it drops the connection at once, and the session cleans up by itself.
        """
        stack = self._stack
        self._stack = self._tasks = None
        if stack is not None:
            async with stack:
                await self.close_way()

    async def reattach(self, facts: Mapping[str, str] | None = None) -> None:  # noqa: ARG002
        """Open a new session. After a crash this is called in place of ``deploy``."""
        await self.connect()

    def hurry(self) -> None:
        self._terminator.hurry()

    def traces(self) -> Mapping[str, str]:
        """Return the beginning of the names of the directories that sessions have in the environment."""
        return {"session": self.session_prefix}

    async def remove_left(self, traces: Mapping[str, str], facts: Mapping[str, str]) -> None:  # noqa: ARG002
        """End what a session of an earlier process has left in the environment, and remove its directory."""
        await self.remove_sessions(self, traces)

    async def remove_sessions(self, environment: Operations, traces: Mapping[str, str]) -> None:
        """End and remove what carries the name of a session in an environment."""
        if "session" in traces:
            await remove_remnants(environment, traces["session"], keep=self._names, grace=int(DEFAULT_GRACE))

    async def get_available_locations(self, service: str | None = None) -> Mapping[str, Location]:
        """Return the one place that it is, named as the deployment."""
        wrapped = await self.connector.get_available_locations(self.service)
        inner = next(iter(wrapped.values()), None)
        hostname = inner.hostname if inner is not None else None
        name = self.deployment_name
        return {name: Location(name, name, service, hostname, wraps=inner)}

    # -- For subclasses ----------------------------------------------------------------------------------------------

    @property
    def session_prefix(self) -> str:
        return f".anydeploy-{self.token}"

    async def open_way(self, tasks: TaskGroup) -> None:
        """Open what is not open (any more) of the way into the environment.

        :param tasks: the group for the tasks of sessions
        :raises SessionError: with the reason why that is not possible; nothing that it has opened is left then
        """
        if self._session is None or not self._session.is_open:
            session = self.new_session()
            await session.open(tasks)
            self._session = session

    async def close_way(self) -> None:
        """Close all that is open. If cancelled, drop it."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def new_session(self) -> Session:
        """Return a session that is not open yet."""
        return Session(
            name=self.new_name(),
            opener=self.start_client,
            beside=self.start_client,
            terminator=self._terminator,
            on_lost=self._session_lost,
        )

    def new_name(self) -> str:
        """Return a name for a session that no other one has, nor one of an earlier process with the same token."""
        self._names.append(f"{self.session_prefix}-{secrets.token_hex(4)}")
        return self._names[-1]

    def start_client(self, command: Command) -> AbstractAsyncContextManager[Process]:
        """Start the client that brings a command into the environment.

        Service and location are those of this environment. All its clients go the same way through the wrapped one.
        """
        return super()._start(attrs.evolve(command, service=None, location=None))

    @asynccontextmanager
    async def _start(self, command: Command) -> AsyncGenerator[Process, None]:
        session = self._session
        if session is None:
            raise InvalidConnectorError(self.deployment_name, "it is not connected")
        if command.location not in {None, self.deployment_name}:
            problem = f"deployment '{self.deployment_name}' has no location '{command.location}'"
            raise WorkflowExecutionException(problem)
        async with session.start(command) as process:
            yield process

    def _session_lost(self, error: ConnectionLostError) -> None:
        self.report_lost(error)
