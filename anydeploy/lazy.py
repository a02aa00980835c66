"""The connectors of lazy deployments: they bring their environment up when they are used for the first time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final, NoReturn

from anyio.abc import ByteStream, Process
from attrs import define, field

from .command import Command
from .connector import Connector
from .exceptions import DeployError, InvalidConnectorError, WorkflowExecutionException
from .location import Location, Port
from .operations import Operations


@define(kw_only=True, eq=False, slots=False)
class FutureConnector(Connector):
    """Stands for a connector that may not have been deployed yet (rules L1, L2).

    The first operation deploys the environment and its closure, and waits for it; so does every other one meanwhile,
    and the first one after a failure. To ``isinstance`` it is the real connector, and once that is live its attributes
    can be read through this one. A copy of it is itself; it cannot be pickled.

        manager = DefaultDeploymentManager([DeploymentConfig("db", "process", {...}, lazy=True)])
        await manager.deploy("db")                # checked, nothing is started
        await manager.get_connector("db").run([...])  # started now

    :ivar real: the connector of the life that this one was given out for, if there was one
    :ivar armed: a ``deploy`` stands for it that a use may invoke; otherwise it is good only for that life
    """

    real_type: type[Connector]
    bring_up: Callable[[], Awaitable[Connector]]
    real: Connector | None = None
    armed: bool = False

    @property  # type: ignore[misc]
    def __class__(self) -> type[Connector]:  # type: ignore[override]
        return self.real_type

    async def resolve(self) -> Connector:
        """Return the real connector, deployed now if it has to be.

        :raises DeployError: if it does not come up; the next use tries again
        :raises InvalidConnectorError: if the deployment was undeployed

        If cancelled it returns at once; the environment still comes up if somebody else waits for it.
        """
        if self.armed:
            return await self.bring_up()
        if self.real is None:
            raise InvalidConnectorError(self.deployment_name, "its environment is being undeployed, or gone")
        return self.real

    async def deploy(self, external: bool) -> None:  # noqa: ARG002
        """Bring the environment up, as a first use does; the definition decides about ``external``."""
        await self.resolve()

    async def undeploy(self, external: bool) -> None:  # noqa: ARG002
        """Refuse: the manager decides when an environment goes."""
        raise WorkflowExecutionException(
            f"deployment '{self.deployment_name}' is undeployed with the manager's undeploy(), not by its connector"
        )

    @asynccontextmanager
    async def _start(self, command: Command) -> AsyncGenerator[Process, None]:
        connector = await self.resolve()
        async with connector.start_command(command) as process:
            yield process

    async def run(self, *args: Any, **kwargs: Any) -> Any:
        return await (await self.resolve()).run(*args, **kwargs)

    async def copy(self, source: str, target: str, *, origin: Operations | None = None, whole: bool = False) -> None:
        await (await self.resolve()).copy(source, target, origin=origin, whole=whole)

    async def get_available_locations(self, service: str | None = None) -> Mapping[str, Location]:
        return await (await self.resolve()).get_available_locations(service)

    @asynccontextmanager
    async def _forward(self, port: Port) -> AsyncGenerator[ByteStream, None]:
        connector = await self.resolve()
        async with connector.forward_port(port) as stream:
            yield stream

    def report_lost(self, error: Exception) -> None:
        """Report the loss of the environment that is up; without one there is nothing to lose."""
        if self.real is not None:
            self.real.report_lost(error)

    def __getattr__(self, name: str) -> Any:
        # Not through attributes of its own: one that was made without its constructor has none, and would end here.
        known = vars(self)
        real = known.get("real") if not name.startswith("_") else None
        if real is None:
            deployment = known.get("deployment_name")
            raise AttributeError(f"'{name}' of deployment '{deployment}' is not known before it is deployed")
        return getattr(real, name)

    def __copy__(self) -> FutureConnector:
        return self

    def __deepcopy__(self, memo: object) -> FutureConnector:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(f"the connector of deployment '{self.deployment_name}' cannot be pickled: it is lazy")


@define(eq=False)
class Arming:
    """A ``deploy`` of lazy deployments that has not returned yet.

    :ivar withdrawn: the first of them that was undeployed meanwhile
    """

    names: Sequence[str] = ()
    withdrawn: str | None = None

    def check(self) -> None:
        """Disappoint the caller if one of them was undeployed meanwhile (rule U4).

        :raises DeployError: naming it
        """
        if self.withdrawn is not None:
            raise DeployError(self.withdrawn, "was undeployed before it was up")


#: In place of one where nothing is lazy.
NOTHING_ARMED: Final = Arming()


@define(eq=False)
class LazyConnectors:
    """The lazy connectors of a manager, by name: one for each life of a deployment, or from its ``deploy`` on.

    :ivar is_current: whether a connector is the one that stands for the present life of a name
    """

    is_current: Callable[[str, FutureConnector], bool]
    bring_up: Callable[[str], Awaitable[Connector]]
    _futures: dict[str, FutureConnector] = field(factory=dict[str, FutureConnector])
    _arming: list[Arming] = field(factory=list[Arming])

    def __bool__(self) -> bool:
        return bool(self._futures)

    def __contains__(self, name: object) -> bool:
        """Whether a ``deploy`` stands for a name that a use of its connector may invoke."""
        future = self._futures.get(name) if isinstance(name, str) else None
        return future is not None and future.armed

    def armed(self, name: str) -> FutureConnector | None:
        """Return the connector of a name that was deployed lazily, and not undeployed since."""
        future = self._futures.get(name)
        return future if future is not None and future.armed else None

    @contextmanager
    def arming(self, names: Sequence[str]) -> Generator[Arming, None, None]:
        """Keep note of what is undeployed while a ``deploy`` of lazy names is under way."""
        arming = Arming(names)
        self._arming.append(arming)
        try:
            yield arming
        finally:
            self._arming.remove(arming)

    def arm(self, name: str, real_type: type[Connector], config_dir: Path) -> None:
        """Let the next use of the connector of a name bring it up."""
        self._get(name, real_type, config_dir).armed = True

    def bind(self, name: str, real: Connector, config_dir: Path) -> FutureConnector:
        """Return the connector that stands for one that has just been deployed."""
        future = self._futures.get(name)
        if future is None or not future.armed:
            future = self._futures[name] = self._make(name, type(real), config_dir)
        future.real = real
        return future

    def disarm(self, name: str) -> None:
        """Take back what :meth:`arm` has allowed, or is about to."""
        for arming in self._arming:
            if name in arming.names:
                arming.withdrawn = arming.withdrawn or name
        future = self._futures.get(name)
        if future is not None:
            future.armed = False
            if not self.is_current(name, future):
                del self._futures[name]

    def disarm_all(self) -> None:
        for name in {*self._futures, *(name for arming in self._arming for name in arming.names)}:
            self.disarm(name)

    def _get(self, name: str, real_type: type[Connector], config_dir: Path) -> FutureConnector:
        future = self._futures.get(name)
        if future is None or not (future.armed or self.is_current(name, future)):
            future = self._futures[name] = self._make(name, real_type, config_dir)
        return future

    def _make(self, name: str, real_type: type[Connector], config_dir: Path) -> FutureConnector:
        return FutureConnector(
            deployment_name=name,
            config_dir=config_dir,
            real_type=real_type,
            bring_up=lambda: self.bring_up(name),
        )
