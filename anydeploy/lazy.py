"""The connector of a lazy deployment: it brings its environment up when it is used for the first time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from anyio.abc import Process
from attrs import define, field

from .connector import Command, Connector
from .exceptions import InvalidConnectorError, WorkflowExecutionException
from .lifecycle import DeploymentState

if TYPE_CHECKING:
    from .deployment import Deployment


@define(kw_only=True, eq=False, slots=False)
class FutureConnector(Connector):
    """Stands for a connector that may not have been deployed yet (rules L1, L2).

    The first operation deploys the environment and its closure, and waits for it; so does every other one meanwhile,
    and the first one after a failure. To ``isinstance`` it is the real connector, and once that is live its attributes
    can be read through this one.

    :ivar armed: a ``deploy`` stands for it that a use may invoke; otherwise it is good only for as long as the
        deployment lasts that it was given out for
    """

    real_type: type[Connector]
    bring_up: Callable[[], Awaitable[Connector]]
    armed: bool = False
    deployment: Deployment | None = field(default=None, repr=False)

    @property  # type: ignore[misc]
    def __class__(self) -> type[Connector]:  # type: ignore[override]
        return self.real_type

    @property
    def live(self) -> Deployment | None:
        """The deployment behind it, while that is live."""
        deployment = self.deployment
        return deployment if deployment is not None and deployment.state is DeploymentState.LIVE else None

    async def resolve(self) -> Connector:
        """The real connector, deployed now if it has to be.

        :raises DeployError: if it does not come up; the next use tries again
        :raises InvalidConnectorError: if the deployment was undeployed

        If cancelled it returns at once; the environment still comes up if somebody else waits for it.
        """
        if self.armed:
            return await self.bring_up()
        deployment = self.live
        if deployment is None or deployment.connector is None:
            raise InvalidConnectorError(self.deployment_name, "its environment is being undeployed, or gone")
        return deployment.connector

    async def deploy(self, external: bool) -> None:  # noqa: ARG002
        """The same as a first use; what ``external`` says is decided by the definition."""
        await self.resolve()

    async def undeploy(self, external: bool) -> None:  # noqa: ARG002
        """Refused: the manager decides when an environment goes."""
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

    async def copy(self, source: str, target: str, *, origin: Connector | None = None) -> None:
        await (await self.resolve()).copy(source, target, origin=origin)

    def __getattr__(self, name: str) -> Any:
        deployment = self.live if not name.startswith("_") else None
        if deployment is None:
            raise AttributeError(f"'{name}' of deployment '{self.deployment_name}' is not known before it is deployed")
        return getattr(deployment.connector, name)
