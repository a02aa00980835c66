"""``ssh``: hosts that OpenSSH's client reaches from the environment that is wrapped."""

from __future__ import annotations

import math
import posixpath
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from typing import Any, Final

import attrs
from anyio import CancelScope, create_task_group, move_on_after, sleep
from anyio.abc import ByteStream, Process, TaskGroup
from attrs import define, field
from attrs.converters import optional

from ..command import Command
from ..duration import to_positive_seconds, to_seconds
from ..exceptions import InvalidConnectorError, WorkflowExecutionException
from ..location import Location, Port
from ..typecheck import expected, is_list_or_tuple, to_count
from . import _ssh_askpass as askpass
from . import _ssh_command as openssh
from ._forwarded import ForwardedStream
from ._settings import refused, to_flag, to_positive, to_text
from ._ssh_command import Client, Connection
from ._ssh_pool import ConnectionPool
from .local import LocalConnector
from .remote import RemoteConnector
from .session import Session, SessionError

_FIRST_PAUSE: Final = 0.1
#: Seconds for the removal of one file.
_REMOVING: Final = 5.0


def _to_nodes(value: object) -> tuple[object, ...]:
    if not is_list_or_tuple(value) or not value:
        raise TypeError(expected("a list of hosts, or of mappings with a `hostname`", value))
    names = [openssh.to_connection(node).hostname for node in value]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"host '{twice}' is listed twice")
    return tuple(value)


def _to_tunnel(value: object) -> object | None:
    """A host. It is returned as it is written: what it does not say is that of the deployment."""
    openssh.to_tunnel(value)
    return value


def _to_sessions(value: object) -> int:
    """A count of sessions; one of them watches over the others."""
    return to_count(value, 2)


def _socket_path(session_name: str) -> str:
    return f"/tmp/{session_name}.ssh"  # noqa: S108 - its name cannot be guessed, and it is made for one user only


def _askpass_path(session_name: str) -> str:
    return f"/tmp/{session_name}.askpass"  # noqa: S108 - as above


def _has_secrets(connection: Connection) -> bool:
    return any(hop.files for hop in connection.hops)


@define(kw_only=True, eq=False, slots=False)
class SshConnector(RemoteConnector):
    """Hosts that are reached with OpenSSH's ``ssh``, which is run in the wrapped environment.

    The configuration of ssh, with its aliases and its agent, is honoured. Each host is a location. Commands that name
    none run on the first.

    :ivar nodes: the hosts: each a name, an alias or an address, with ``:port`` if need be; or a mapping with
        ``hostname`` and, where it differs, any of the next six settings
    :ivar username: the user there; by default, ssh decides
    :ivar ssh_key: setting ``sshKey``: the private key; by default, ssh decides
    :ivar passphrase_file: setting ``sshKeyPassphraseFile``: a file with the passphrase of the key
    :ivar password_file: setting ``passwordFile``: a file with the password
    :ivar check_host_key: setting ``checkHostKey``: refuse a host whose key is not known
    :ivar tunnel: the host through which it is reached, written as one of ``nodes`` is; with the settings above, but for
        ``checkHostKey``, where it does not say otherwise
    :ivar connect_timeout: setting ``connectTimeout``: the limit for one attempt to connect, up to the end of the login
    :ivar retries: attempts where a server drops connections because too many come at once
    :ivar retry_delay: setting ``retryDelay``: the longest pause between two of them
    :ivar max_sessions: setting ``maxConcurrentSessions``: ``MaxSessions`` of the server: what one connection carries
    :ivar max_connections: setting ``maxConnections``: connections to one host, beyond which commands wait; by default,
        as many as are needed
    :ivar config: setting ``sshConfig``: a configuration file of ssh in place of the user's
    """

    nodes: tuple[object, ...] = field(converter=_to_nodes)
    username: str | None = field(default=None, converter=optional(to_text))
    ssh_key: str | None = field(default=None, alias="sshKey", converter=optional(to_text))
    passphrase_file: str | None = field(default=None, alias="sshKeyPassphraseFile", converter=optional(to_text))
    password_file: str | None = field(default=None, alias="passwordFile", converter=optional(to_text))
    check_host_key: bool = field(default=True, alias="checkHostKey", converter=to_flag)
    tunnel: object | None = field(default=None, converter=_to_tunnel)
    connect_timeout: float = field(default=30.0, alias="connectTimeout", converter=to_positive_seconds)
    retries: int = field(default=3, converter=to_positive)
    retry_delay: float = field(default=5.0, alias="retryDelay", converter=to_seconds)
    max_sessions: int = field(default=10, alias="maxConcurrentSessions", converter=_to_sessions)
    max_connections: int | None = field(default=None, alias="maxConnections", converter=optional(to_positive))
    config: str | None = field(default=None, alias="sshConfig", converter=optional(to_text))
    _data_transfer_connection: None = refused("dataTransferConnection", "copies go the way of all commands")
    _file: None = refused("file", "scripts by template are for queues")
    _services: None = refused("services", "scripts by template are for queues")
    _shared_paths: None = refused("sharedPaths", "every copy goes to the host that it is asked for")
    _transfer_buffer_size: None = refused("transferBufferSize", "copies need no buffer")
    #: No sign that ssh is older than some of its settings.
    _is_new: bool = field(init=False, default=True, repr=False)
    #: By the names of the locations, in the order of the settings.
    _pools: dict[str, ConnectionPool] = field(init=False, factory=dict[str, ConnectionPool], repr=False)

    @classmethod
    def services_of(cls, config: Mapping[str, Any]) -> Iterable[str]:  # noqa: ARG003
        """Return none: each host is a location."""
        return ()

    async def deploy(self, external: bool) -> None:  # noqa: ARG002
        """Connect to every host. The hosts exist already, whether ``external`` or not.

        :raises SessionError: for the first host that cannot be reached, with the reason in one line
        """
        await self.connect()

    async def undeploy(self, external: bool) -> None:  # noqa: ARG002
        """Close all connections. Commands that still run there are ended."""
        await self.disconnect()

    async def get_available_locations(self, service: str | None = None) -> Mapping[str, Location]:
        """Return the hosts.

        :raises WorkflowExecutionException: if a service is asked for: hosts have none
        """
        if service is not None:
            raise WorkflowExecutionException(f"deployment '{self.deployment_name}' has no service '{service}'")
        return {
            name: Location(name, self.deployment_name, hostname=connection.host)
            for name, connection in self._connections().items()
        }

    async def remove_left(self, traces: Mapping[str, str], facts: Mapping[str, str]) -> None:  # noqa: ARG002
        """Remove the sessions on the hosts, and the sockets of connections where ssh ran."""
        for name in list(self._pools):
            await self.remove_sessions(self.at(location=name), traces)
        await self.remove_sessions(self.connector, traces)

    # -- The connections ---------------------------------------------------------------------------------------------

    def _connections(self) -> Mapping[str, Connection]:
        inherited = {
            "username": self.username,
            "sshKey": self.ssh_key,
            "sshKeyPassphraseFile": self.passphrase_file,
            "passwordFile": self.password_file,
            "checkHostKey": self.check_host_key,
            "tunnel": self.tunnel,
        }
        found = (openssh.to_connection(node, **inherited) for node in self.nodes)
        return {connection.hostname: self._placed(connection) for connection in found}

    def _placed(self, connection: Connection) -> Connection:
        """Return a connection whose files are found from where ssh is run."""
        return attrs.evolve(
            connection,
            sshKey=self._path(connection.ssh_key),
            sshKeyPassphraseFile=self._path(connection.passphrase_file),
            passwordFile=self._path(connection.password_file),
            tunnel=self._placed(connection.tunnel) if connection.tunnel is not None else None,
        )

    def _path(self, path: str | None) -> str | None:
        """Return a path on this machine as an absolute one; those in other environments are left alone."""
        if path is None or not isinstance(self.connector, LocalConnector):
            return path
        return posixpath.join(str(self.config_dir.absolute()), posixpath.expanduser(path))

    async def open_way(self, tasks: TaskGroup) -> None:
        for name, connection in self._connections().items():
            if name not in self._pools:
                self._pools[name] = ConnectionPool(
                    name,
                    partial(self._connect, name, connection),
                    openssh.is_refused,
                    self.max_sessions - 1,
                    self.max_connections,
                )
        problems: list[SessionError] = []

        async def reach(pool: ConnectionPool) -> None:
            try:
                if pool.first is None or not pool.first.is_open:
                    await pool.open(tasks)
            except SessionError as exc:
                problems.append(exc)

        try:
            async with create_task_group() as reaching:
                for pool in self._pools.values():
                    reaching.start_soon(reach, pool)
        except BaseException:
            await self.close_way()
            raise
        if problems:
            await self.close_way()
            raise problems[0]

    async def close_way(self) -> None:
        pools, self._pools = self._pools, {}
        async with create_task_group() as closing:
            for pool in pools.values():
                closing.start_soon(pool.close)

    async def _connect(self, name: str, connection: Connection, tasks: TaskGroup) -> Session:
        """Open one connection to a host, again and again while its server drops connections."""
        pause, attempt = _FIRST_PAUSE, 1
        while True:
            was_new = self._is_new
            session = self._new_connection(name, connection)
            try:
                await self._open(name, session, connection, tasks)
            except SessionError as exc:
                if was_new and openssh.is_unknown(exc.output):
                    self._is_new = False
                    continue
                if attempt >= self.retries or not openssh.is_dropped(exc.output):
                    raise
            else:
                return session
            await sleep(min(pause, self.retry_delay))
            pause, attempt = pause * 3, attempt + 1

    async def _open(self, name: str, session: Session, connection: Connection, tasks: TaskGroup) -> None:
        async with self._askpass(name, session.name, connection):
            # The session lives in a task of its own, which this limit does not touch.
            with move_on_after(self.connect_timeout) as limit:
                await session.open(tasks)
        if limit.cancelled_caught:
            problem = f"the connection was not open within {self.connect_timeout:g} s"
            raise SessionError(f"host '{name}': {problem} (`connectTimeout`)")

    def _new_connection(self, name: str, connection: Connection) -> Session:
        session_name = self.new_name()
        socket = _socket_path(session_name)
        client = self._client
        asking = askpass.variables(_askpass_path(session_name)) if _has_secrets(connection) else None

        def explain(output: str, status: int | None) -> str:  # noqa: ARG001
            return f"host '{name}': {openssh.reason(output)}"

        def lost(error: Exception) -> None:
            pool = self._pools.get(name)
            if pool is not None and pool.first is session:
                self.report_lost(error)

        def opener(command: Command) -> AbstractAsyncContextManager[Process]:
            argv = client.master(connection, socket, command.argv)
            return self._run_client(attrs.evolve(command, argv=argv, environment=asking or {}))

        def beside(command: Command) -> AbstractAsyncContextManager[Process]:
            return self._run_client(attrs.evolve(command, argv=client.beside(connection, socket, command.argv)))

        session = Session(
            name=session_name,
            opener=opener,
            beside=beside,
            terminator=self._terminator,
            explain=explain,
            on_lost=lost,
        )
        return session

    @asynccontextmanager
    async def _askpass(self, name: str, session_name: str, connection: Connection) -> AsyncGenerator[None, None]:
        """Open a block in which there is a program that tells ssh what it asks for."""
        path = _askpass_path(session_name)
        if not _has_secrets(connection):
            yield
            return
        try:
            destinations = [await self._destination(name, hop) for hop in connection.hops]
            script = askpass.askpass(connection, destinations)
            argv = ["sh", "-c", askpass.installer(connection), "anydeploy", path]
            done = await self.connector.run(argv, environment={"SCRIPT": script}, check=False)
            if done.returncode != 0:
                problem = openssh.reason(done.stderr.decode(errors="replace")).removeprefix("cat: ")
                raise SessionError(f"host '{name}': a password or passphrase cannot be read: {problem}")
            yield
        finally:
            # It contains no secret; a wrapped environment that is lost keeps it until it is removed with the rest.
            with CancelScope(shield=True), move_on_after(_REMOVING), suppress(WorkflowExecutionException, OSError):
                await self.connector.run(["rm", "-f", "--", path], check=False)

    async def _destination(self, name: str, connection: Connection) -> str:
        """Return the user and the host as ssh writes them when it asks for a password."""
        done = await self.connector.run(self._client.evaluation(connection), check=False)
        if done.returncode != 0:
            output = done.stderr.decode(errors="replace")
            raise SessionError(f"host '{name}': {openssh.reason(output)}", output)
        return askpass.destination(done.stdout.decode(errors="replace"))

    @property
    def _client(self) -> Client:
        # It has a little less to reach a host than there is for all, because it can say more of that.
        timeout = max(1, math.ceil(self.connect_timeout) - 1)
        return Client(self._path(self.config), timeout, self._is_new)

    def _run_client(self, command: Command) -> AbstractAsyncContextManager[Process]:
        # Service and location are those of this connector, and mean nothing below.
        return self.connector.start_command(attrs.evolve(command, service=None, location=None))

    @asynccontextmanager
    async def _start(self, command: Command) -> AsyncGenerator[Process, None]:
        tasks = self._tasks
        if tasks is None or not self._pools:
            raise InvalidConnectorError(self.deployment_name, "it is not connected")
        async with self._pool(command.service, command.location).start(command, tasks) as process:
            yield process

    @asynccontextmanager
    async def _forward(self, port: Port) -> AsyncGenerator[ByteStream, None]:
        session = self._pool(port.service, port.location).first
        if session is None:
            raise InvalidConnectorError(self.deployment_name, "it is not connected")
        connection = self._connections()[port.location or next(iter(self._pools))]
        argv = self._client.forward(connection, _socket_path(session.name), port.host, port.port)
        async with (
            self._run_client(Command(argv)) as process,
            ForwardedStream(f"{port.host}:{port.port}", process) as stream,
        ):
            yield stream

    def _pool(self, service: str | None, location: str | None) -> ConnectionPool:
        """Return the connections to a location, by default the first.

        :raises WorkflowExecutionException: if there is no such location, or a service is asked for
        """
        if service is not None:
            raise WorkflowExecutionException(f"deployment '{self.deployment_name}' has no service '{service}'")
        name = location if location is not None else next(iter(self._pools))
        if name not in self._pools:
            raise WorkflowExecutionException(f"deployment '{self.deployment_name}' has no location '{name}'")
        return self._pools[name]
