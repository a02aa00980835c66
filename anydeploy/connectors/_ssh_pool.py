"""The connections to one host: each is shared by as many commands as its server lets."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from anyio import Event, Lock, create_task_group
from anyio.abc import Process, TaskGroup
from attrs import define, field

from ..command import Command
from ..exceptions import ConnectionLostError
from ._remote_process import NotBegunError
from .session import Session, SessionError


@define(eq=False)
class SharedConnection:
    """A connection that is the session of a host, and that commands share.

    :ivar capacity: the number of commands that it takes at a time
    :ivar used: the number of those that have it now
    """

    session: Session
    capacity: int
    used: int = 0

    @property
    def has_room(self) -> bool:
        return self.session.is_open and self.used < self.capacity


@define(eq=False)
class ConnectionPool:
    """The connections to one host. The first is opened with the deployment, further ones as they are needed.

    :ivar host: its name
    :ivar connect: opens a further one, and takes care of delays
    :ivar is_refused: whether the errors of a client mean that its connection takes no more commands
    :ivar capacity: the number of commands that a connection takes, as long as its server does not refuse one earlier
    :ivar limit: the number of connections; None: no limit
    """

    host: str
    connect: Callable[[TaskGroup], Awaitable[Session]]
    is_refused: Callable[[str], bool]
    capacity: int
    limit: int | None
    _connections: list[SharedConnection] = field(init=False, factory=list[SharedConnection])
    #: One of them has taken a command beside its session.
    _has_taken: bool = field(init=False, default=False)
    #: Held while one is opened: a server drops connections that come at the same time.
    _opening: Lock = field(init=False, factory=Lock)
    #: Set when a command has ended; made by the first that waits for that.
    _room: Event | None = field(init=False, default=None)

    @property
    def first(self) -> Session | None:
        return self._connections[0].session if self._connections else None

    async def open(self, tasks: TaskGroup) -> None:
        """Open the first connection, or a new one in place of it.

        :raises SessionError: with the reason why it cannot be opened
        """
        session = await self.connect(tasks)
        others = [each for each in self._connections[1:] if each.session.is_open]
        self._connections = [SharedConnection(session, self.capacity), *others]

    async def close(self) -> None:
        """Close all connections, the first one last."""
        connections, self._connections = self._connections, []
        async with create_task_group() as closing:
            for connection in connections[1:]:
                closing.start_soon(connection.session.close)
        for connection in connections[:1]:
            await connection.session.close()

    @asynccontextmanager
    async def start(self, command: Command, tasks: TaskGroup) -> AsyncGenerator[Process, None]:
        """Start a command over a connection that has room.

        :raises SessionError: if none has, and another one cannot be opened, or if the server lets none have room
        """
        while True:
            connection = await self._acquire(tasks)
            try:
                async with AsyncExitStack() as stack:
                    try:
                        process = await stack.enter_async_context(connection.session.start(command))
                    except NotBegunError as exc:
                        if not self.is_refused(exc.output) or not self._connections:
                            raise
                        # The server takes fewer than was thought; the first command of all has to be taken.
                        if connection.used == 1 and self._has_taken:
                            raise
                        if connection.used == 1:
                            problem = f"host '{self.host}' takes one session for each connection (`MaxSessions 1`)"
                            raise SessionError(f"{problem}, and commands need a second one", exc.output) from exc
                        connection.capacity = connection.used - 1
                        continue
                    self._has_taken = True
                    yield process
                    return
            finally:
                self._release(connection)

    async def _acquire(self, tasks: TaskGroup) -> SharedConnection:
        while True:
            connection = self._find() or await self._open_another(tasks)
            if connection is not None:
                connection.used += 1
                return connection
            self._room = self._room or Event()
            await self._room.wait()

    def _find(self) -> SharedConnection | None:
        if not self._connections or not self._connections[0].session.is_open:
            problem = self._connections[0].session.problem if self._connections else None
            raise ConnectionLostError(problem or "there is no connection")
        self._connections[1:] = [each for each in self._connections[1:] if each.session.is_open]
        return next((each for each in self._connections if each.has_room), None)

    async def _open_another(self, tasks: TaskGroup) -> SharedConnection | None:
        """Open a further connection, unless the limit is reached."""
        async with self._opening:
            found = self._find()
            if found is not None:
                return found
            if self.limit is not None and len(self._connections) >= self.limit:
                return None
            connection = SharedConnection(await self.connect(tasks), self._connections[0].capacity)
            self._connections.append(connection)
            return connection

    def _release(self, connection: SharedConnection) -> None:
        connection.used -= 1
        if self._room is not None:
            self._room.set()
            self._room = None
