"""The contract between the manager, an execution environment, and the code that uses it.

A connector knows how to create and destroy one environment, and how to start a command there; the manager decides
when. Authors subclass :class:`Connector`, or :class:`ConnectorWrapper` for what is reached through another environment.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import ContextVar
from pathlib import Path
from shlex import join
from typing import Any, ClassVar, cast

import attrs
from anyio.abc import ByteStream, Process
from attrs import define, field
from attrs.setters import NO_OP

from .command import Command
from .exceptions import InvalidConnectorError, WorkflowExecutionException, describe
from .location import Location, Port
from .recoverable import Recoverable

#: The connectors that the current task may use although they are invalid: those below a wrapper, for its teardown.
admitted: ContextVar[frozenset[Connector]] = ContextVar("anydeploy_admitted", default=frozenset())


def _to_path(path: str | Path) -> Path:
    return path if isinstance(path, Path) else Path(path)


@define(kw_only=True, eq=False, slots=False)
class Connector(Recoverable):
    """One execution environment.

    The settings of a connector are the attrs fields that a subclass adds, each with a type, and with a converter or a
    validator where the type does not say everything. The settings of a definition are checked against them before
    anything is deployed. The constructor only stores them: it has no effect outside, and does not block::

        @attrs.define(kw_only=True, eq=False, slots=False)
        class Tunnel(Connector):
            port: int = attrs.field(converter=int)

    The manager calls :meth:`deploy` at most once, and :meth:`undeploy` as described there, **both in the same task**,
    so that a connector may hold a task group, a cancel scope or a process open between the two. It calls neither
    while the other runs, and it calls ``undeploy`` only after everything that stands on this environment is down.

    A connector has to look after what it holds open. A task group whose task fails is cancelled, and with it everything
    that ``undeploy`` awaits inside. Therefore catch errors in such tasks and call :meth:`report_lost`; in ``undeploy``,
    leave the task group first and destroy the environment outside of it. Neither method, nor a task that it starts, may
    wait for the manager to bring deployments up or down, because these may be waiting for this one: the manager refuses
    such a call.

    :ivar deployment_name: the name of the deployment that it belongs to, for messages
    :ivar config_dir: the directory that relative paths in its settings are relative to
    :cvar interruptible: whether ``deploy`` may be cancelled when nothing demands the deployment any more. Set it to
        False if an interrupted deploy cannot be cleaned up: it is then allowed to finish, and undeployed. A
        ``deploy_timeout`` and the shutdown timeout are limits of the user's, and cancel it all the same.
    :cvar asyncio_only: whether it works on asyncio and on no other event loop, where its definition is refused
    :cvar stateful: whether it has to come back to the place in the wrapped environment where it was deployed
    :cvar keeps_place: whether two commands that name no location run in the same place
    :cvar finds_strays: whether a command that is ended takes with it even what has left its process group
    """

    deployment_name: str
    config_dir: Path = field(converter=_to_path)
    interruptible: ClassVar[bool] = True
    asyncio_only: ClassVar[bool] = False
    stateful: ClassVar[bool] = False
    keeps_place: ClassVar[bool] = True
    finds_strays: ClassVar[bool] = False
    #: The reason why all operations are refused; set once, and never taken back.
    _invalid: str | None = field(init=False, default=None, repr=False, on_setattr=NO_OP)
    #: The manager's listener for :meth:`report_lost`; None while no deployment stands for this connector.
    on_lost: Callable[[Exception], None] | None = field(init=False, default=None, repr=False, on_setattr=NO_OP)
    #: The first loss that was reported, for a manager that does not listen yet.
    reported_loss: Exception | None = field(init=False, default=None, repr=False, on_setattr=NO_OP)

    # -- The author's contract: called by the manager, unless said otherwise -------------------------------------------

    @classmethod
    def check_config(cls, config: Mapping[str, Any]) -> Iterable[tuple[Sequence[Any], str]] | None:  # noqa: ARG003
        """Return the problems of a definition's settings; None: check them against the attrs fields (rule D4).

        Override it for a class whose settings are described by something else than its fields. A problem is a pair:
        the keys that lead to the value, the name of the setting first, and a message that says what was expected::

            return [(("ports", 0), "expected a number, found 'http'")]
        """
        return None

    @classmethod
    def check_external(cls, config: Mapping[str, Any]) -> Iterable[tuple[Sequence[Any], str]]:  # noqa: ARG003
        """Return the problems of these settings in a definition that is ``external`` (rule D4); by default none.

        Override it where an environment that exists already is found by a setting that another one does not need.
        Problems are those of :meth:`check_config`::

            return () if "container" in config else [(("container",), "this setting is required")]

        :param config: the settings of a definition, which have been found to be right otherwise
        """
        return ()

    @classmethod
    def services_of(cls, config: Mapping[str, Any]) -> Iterable[str] | None:  # noqa: ARG003
        """Return the services that an environment with these settings has; None: only a deploy tells (rule D4).

        A definition that wraps another service than these is refused. The answer is empty for a class without
        services::

            return config.get("services", {})

        :param config: the settings of a definition, which have been found to be right
        """
        return None

    @classmethod
    def check_stateful(cls, config: Mapping[str, Any], *, directly: bool) -> str | None:  # noqa: ARG003
        """Return what to do, where a ``stateful`` wrapper cannot stand on this environment; None: it can (rule D4).

        By default it can if ``keeps_place`` is true. A class that gives such a wrapper a place of its own
        (:meth:`for_wrapper`) overrides it. The text ends the error for the wrapper's definition::

            return "set `pool: 1` there"

        :param config: the settings of a definition, which have been found to be right
        :param directly: whether the wrapper itself stands on this environment. Otherwise another one is in between that
            is not stateful, and whose commands run here
        """
        return None if cls.keeps_place else "expected a deployment that keeps its place"

    @abstractmethod
    async def deploy(self, external: bool) -> None:
        """Bring the environment up, and return when it can be used.

        With ``external`` true the environment exists already: connect to it, create nothing (rule E1).

        It may fail by raising any :class:`Exception`. It may be cancelled at any of its awaits: because nothing demands
        the deployment any more, because the ``deploy_timeout`` has passed, or because the manager shuts down. Either
        way it owes the manager a prompt return that lets the cancellation through, with every cancel scope and task
        group left that it has entered, as ``async with`` does by itself. It need not remove what it has made of the
        environment: :meth:`undeploy` is called next, once, to do that.

        A scope, task group or process that stays open until ``undeploy`` belongs on an
        :class:`contextlib.AsyncExitStack`, handed over with ``pop_all()`` as the last thing before returning::

            async with AsyncExitStack() as stack:
                self._process = await stack.enter_async_context(self.connector.start(self.command))
                self._stack = stack.pop_all()
        """

    @abstractmethod
    async def undeploy(self, external: bool) -> None:
        """Take the environment down, and return when it is gone. With ``external`` true: disconnect, destroy nothing.

        It is called after a ``deploy`` that returned, and once after one that raised or was cancelled. So it has to
        cope with an environment that is complete, half made, or missing: "it is not there" is success.

        It is cancelled only when the ``undeploy_timeout`` or the manager's shutdown timeout has passed, never because
        a caller has left (rule U5). A cancelled ``undeploy`` still owes everything that it can do without waiting: kill
        instead of asking to end, drop a connection instead of closing it politely, and in any case leave every scope
        and task group that ``deploy`` left open. Then it lets the cancellation through.

        Once it has returned, the environment is gone for good, and it is not called again. If it raises or is
        cancelled, the environment may still exist (rule U6). It is called again when the user asks for that, so it has
        to be safe to repeat; by then nothing is open any more, and only the environment remains.
        """

    def hurry(self) -> None:
        """Cut short every grace period that is running, and every later one. It may be called more than once."""
        return

    async def get_available_locations(self, service: str | None = None) -> Mapping[str, Location]:
        """Return the places in this environment, by name; the first one is the default. By default there is one.

            for name in await cluster.get_available_locations():
                await cluster.at(location=name).run(["hostname"])

        :param service: those of one service only
        :raises WorkflowExecutionException: if there is no such service, or they cannot be listed
        """
        return {self.deployment_name: Location(self.deployment_name, self.deployment_name, service)}

    def _forward(self, port: Port) -> AbstractAsyncContextManager[ByteStream]:
        """Connect to a port as seen from one place in this environment: the primitive behind :meth:`forward`."""
        raise NotImplementedError(f"{type(self).__name__} cannot connect to port {port.port} of {port.host}")

    @asynccontextmanager
    async def _start(self, command: Command) -> AsyncGenerator[Process, None]:
        """Start a command in this environment: the primitive behind every operation.

        Leaving the block ends the command with everything that it has started: it is asked to end, and killed after
        its grace period, which a cancellation does not shorten. Wrappers implement :meth:`ConnectorWrapper.transform`.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot start `{join(command.argv)}`")
        yield

    def report_lost(self, error: Exception) -> None:
        """Report that the environment has ended by itself. Called by the connector, not by the manager.

        From now on every operation raises :class:`InvalidConnectorError` with ``error`` as its reason, here and in all
        wrappers. The deployment is *lost* until it is deployed, restarted or undeployed, and ``undeploy`` is called in
        its turn. Before ``deploy`` has returned, the attempt fails (rule X1)::

            self.report_lost(RuntimeError(f"the server ended with status {await process.wait()}"))

        The loss begins with this call. A connector that finds out the reason first lets commands fail only afterwards.

        :param error: what happened; a :class:`ConnectionLostError` says that only the way in was lost, and that the
            environment may still exist
        """
        # An author's mistake in the argument does not make the environment less lost.
        loss = error if isinstance(cast("object", error), Exception) else WorkflowExecutionException(repr(error))
        self.reported_loss = self.reported_loss or loss
        try:
            self.invalidate(describe(loss))
        finally:
            if self.on_lost is not None:
                self.on_lost(loss)

    # -- The user's calls ----------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def forward(self, host: str, port: int) -> AsyncGenerator[ByteStream, None]:
        """Connect to a port as seen from this environment: an async context manager that gives a byte stream.

            async with cluster.forward("node7", 5432) as stream:
                await stream.send(b"...")

        Leaving the block closes the connection, also if a cancellation is the reason.

        :raises OSError: if the connection is refused or cannot be made; where that is not known before, the first read
            raises it
        :raises InvalidConnectorError: if the environment is lost, being torn down, or gone
        """
        async with self.forward_port(Port(host, port)) as stream:
            yield stream

    @asynccontextmanager
    async def forward_port(self, port: Port) -> AsyncGenerator[ByteStream, None]:
        """Connect to a port as :meth:`forward` does, given as one object."""
        self._check_valid()
        async with self._forward(port) as stream:
            yield stream

    def at(self, service: str | None = None, *, location: str | None = None) -> Connector:
        """Return a view of this environment: all that is done with it happens in one service, or at one location.

            await cluster.at(location="node7").run(["hostname"])

        The manager gives such a view to the wrappers of one service.
        """
        if service is None and location is None:
            return self
        view = PlacedConnector(
            deployment_name=self.deployment_name,
            config_dir=self.config_dir,
            connector=self,
            service=service,
            location=location,
        )
        # What is made through it is found by the same name.
        view.token = self.token
        return view

    # -- Between environments ------------------------------------------------------------------------------------------

    def for_wrapper(self, wrapper: type[Connector], service: str | None = None) -> Connector:  # noqa: ARG002
        """Return the connector that a wrapper stands on: by default this one, or a view of one of its services.

        An environment in which two commands may run in different places overrides it, for a wrapper that is
        ``stateful``, and :meth:`check_stateful` with it. It is called when the wrapper is constructed, and makes
        nothing.

        :param wrapper: the class of the wrapper
        :raises WorkflowExecutionException: if such a wrapper cannot stand on this environment
        """
        return self if service is None else self.at(service)

    async def release(self) -> None:
        """Take down what was made for one wrapper.

        It is called after the wrapper's teardown, on the connector that :meth:`for_wrapper` has returned.
        """

    # -- The manager's back channel ------------------------------------------------------------------------------------

    def invalidate(self, reason: str) -> None:
        """Make every further operation raise :class:`InvalidConnectorError` (rule R4). The first reason stays.

        It may be overridden, to end what serves operations for example: call ``super().invalidate(reason)`` first. It
        is called in the middle of a decision, so it must neither raise nor block; what it raises is logged (rule D7).
        """
        if self._invalid is None:
            self._invalid = reason

    def _check_valid(self) -> None:
        if self._invalid is not None and self not in admitted.get():
            raise InvalidConnectorError(self.deployment_name, self._invalid)


@define(kw_only=True, eq=False, slots=False)
class ConnectorWrapper(Connector):
    """An environment that is reached through another one.

    A subclass says in :meth:`transform` how a command gets there; ``start``, ``run`` and ``copy`` follow from that, in
    stacks of any practical depth (Python's recursion limit ends it at about 240)::

        @attrs.define(kw_only=True, eq=False, slots=False)
        class Nice(ConnectorWrapper):
            def transform(self, command: Command) -> Command:
                return attrs.evolve(command, argv=["nice", *command.argv])

    :ivar connector: the connector of the environment that it wraps, which is live while this one is
    :ivar service: the service of that environment, if the definition names one
    """

    connector: Connector
    service: str | None = None

    async def deploy(self, external: bool) -> None:
        """Do nothing, unless a subclass has something to bring up."""

    async def undeploy(self, external: bool) -> None:
        """Do nothing, unless a subclass has something to take down."""

    def transform(self, command: Command) -> Command:
        """Return the command for the wrapped environment that starts ``command`` in this one; by default itself."""
        return command

    @asynccontextmanager
    async def _start(self, command: Command) -> AsyncGenerator[Process, None]:
        inner = self.transform(command)
        if inner.service is not None:
            # That of this environment; `connector` stands for the service of the wrapped one.
            inner = attrs.evolve(inner, service=None)
        async with self.connector.start_command(inner) as process:
            yield process

    async def get_available_locations(self, service: str | None = None) -> Mapping[str, Location]:
        """Return a place for each of the wrapped environment, with the same names."""
        wrapped = await self.connector.get_available_locations(self.service)
        return {
            name: attrs.evolve(inner, deployment=self.deployment_name, service=service, wraps=inner)
            for name, inner in wrapped.items()
        }

    def _forward(self, port: Port) -> AbstractAsyncContextManager[ByteStream]:
        """Connect as the wrapped environment does; a subclass with a network of its own overrides it."""
        return self.connector.forward_port(attrs.evolve(port, service=None))


@define(kw_only=True, eq=False, slots=False)
class PlacedConnector(ConnectorWrapper):
    """A view of one service, or of one location, of an environment; see :meth:`Connector.at`.

    :ivar location: the place at which everything runs; None: the first one
    """

    location: str | None = None

    def at(self, service: str | None = None, *, location: str | None = None) -> Connector:
        return self.connector.at(service or self.service, location=location or self.location)

    def transform(self, command: Command) -> Command:
        return attrs.evolve(
            command, service=command.service or self.service, location=command.location or self.location
        )

    @asynccontextmanager
    async def _start(self, command: Command) -> AsyncGenerator[Process, None]:
        async with self.connector.start_command(self.transform(command)) as process:
            yield process

    def _forward(self, port: Port) -> AbstractAsyncContextManager[ByteStream]:
        return self.connector.forward_port(
            attrs.evolve(port, service=port.service or self.service, location=port.location or self.location)
        )

    async def get_available_locations(self, service: str | None = None) -> Mapping[str, Location]:
        """Return the place that this is a view of, or those of its service."""
        found = await self.connector.get_available_locations(service or self.service)
        return {name: each for name, each in found.items() if self.location in (None, name)}

    def invalidate(self, reason: str) -> None:
        self.connector.invalidate(reason)
