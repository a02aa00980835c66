"""StreamFlow's connectors as connectors of anydeploy: constructed, deployed and undeployed by its manager, on asyncio.

A deploy of StreamFlow was not written to be cancelled. One that is cut short does not know what it has made, and
``undeploy`` finds nothing. So a deploy that is not wanted any more is allowed to finish, and is then undeployed (rule
D6). If it has a time limit, it runs in a task of its own, which goes on when its time is over. Only a user in a hurry
cuts it short.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Iterable, Mapping
from functools import cache
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Any, ClassVar, Final, cast

from anyio import CancelScope, current_effective_deadline, current_time, move_on_after
from streamflow.core.deployment import Connector as StreamFlowConnector
from streamflow.core.exception import WorkflowExecutionException as StreamFlowExecutionException
from streamflow.deployment.connector.queue_manager import QueueManagerConnector
from streamflow.deployment.wrapper import ConnectorWrapper as StreamFlowWrapper

from ..connector import Connector, ConnectorWrapper
from ..exceptions import WorkflowExecutionException

#: The settings that StreamFlow gives a lazy connector.
DEFAULTS: Final[Mapping[str, Any]] = {"transferBufferSize": 2**16}

#: Attributes of StreamFlow's containers, which cannot be stopped before they have a place and a name.
_NAMES = ("_inner_location", "containerId", "instanceName")

#: The answers of docker, singularity and helm when there is nothing to take down, which is no failure (rule U6).
_NOT_THERE: Final = re.compile(r"no such container: |no instance found with|release: not found", re.IGNORECASE)


_CUT_SHORT: Final = "its deploy was cut short"


class HostedConnector(Connector):
    """Hosts one StreamFlow connector. Subclasses are made by :func:`hosted_type`.

    :cvar real_type: the class of the StreamFlow connector
    :cvar defaults: settings for which StreamFlow has a default, but the class has none
    :ivar hosted: the StreamFlow connector
    """

    interruptible: ClassVar[bool] = False
    real_type: ClassVar[type[StreamFlowConnector]]
    defaults: ClassVar[Mapping[str, Any]]
    hosted: StreamFlowConnector
    #: A deploy was begun: there may be something to undeploy.
    _begun: bool = False
    #: It has ended well.
    _complete: bool = False
    #: Around a deploy that has no time limit.
    _scope: CancelScope | None = None
    #: The task of a deploy that has a time limit. It returns what the deploy raised.
    _deploying: asyncio.Task[BaseException | None] | None = None

    def __init__(self, *, deployment_name: str, config_dir: Path, **settings: Any) -> None:
        Connector.__init__(self, deployment_name=deployment_name, config_dir=config_dir)
        self.hosted = self._construct(settings)

    def _construct(self, settings: Mapping[str, Any], **given: Any) -> StreamFlowConnector:
        arguments = {**self.defaults, **given, **settings}
        return self.real_type(deployment_name=self.deployment_name, config_dir=str(self.config_dir), **arguments)

    async def deploy(self, external: bool) -> None:
        """Deploy the StreamFlow connector. It raises what that raises.

        When a time limit that was known from the beginning cuts it short, it returns at once, and the deploy goes on
        until :meth:`undeploy`. Any other cancellation reaches the deploy of StreamFlow.
        """
        self._begun = True
        if current_effective_deadline() == math.inf:
            with CancelScope() as self._scope:
                await self.hosted.deploy(external)
                self._complete = True
            if not self._complete:
                raise WorkflowExecutionException(_CUT_SHORT)
            return
        self._deploying = asyncio.create_task(self._deploy(external), name=f"deploy of {self.deployment_name}")
        try:
            error = await asyncio.shield(self._deploying)
        except asyncio.CancelledError:
            if self._deploying.cancelled():
                # Before its first step.
                raise WorkflowExecutionException(_CUT_SHORT) from None
            raise
        if isinstance(error, asyncio.CancelledError):
            raise WorkflowExecutionException(_CUT_SHORT)
        if error is not None:
            raise error

    async def _deploy(self, external: bool) -> BaseException | None:
        try:
            await self.hosted.deploy(external)
        except BaseException as exc:  # noqa: BLE001 - an outcome: asyncio would stop the loop for a KeyboardInterrupt
            return exc
        self._complete = True
        return None

    async def undeploy(self, external: bool) -> None:
        """Undeploy the StreamFlow connector.

        A deploy that goes on in its own task is allowed to finish before. It has half of the time that there is for
        the teardown, and is cancelled then; it is cancelled at once if this is.
        """
        if not self._begun:
            return
        if self._deploying is not None and not self._deploying.done():
            await self._settle(self._deploying)
        if self._complete or all(getattr(self.hosted, name, "") is not None for name in _NAMES):
            try:
                await self._remove_jobs()
                await self.hosted.undeploy(external)
            except StreamFlowExecutionException as exc:
                if _NOT_THERE.search(str(exc)) is None:
                    raise

    def hurry(self) -> None:
        """Cut a deploy short that is under way; what it is known to have made is undeployed."""
        if self._scope is not None:
            self._scope.cancel()
        if self._deploying is not None:
            self._deploying.cancel()

    async def _remove_jobs(self) -> None:
        """Remove the jobs of a queue that were not waited for.

        The ``undeploy`` of StreamFlow's queues looks for them below the place where they are.
        """
        if not isinstance(self.hosted, QueueManagerConnector):
            return
        queue: Any = self.hosted
        jobs: dict[str, Any] = queue._scheduled_jobs  # noqa: SLF001 - it tells of them in no other way

        async def remove(job: str, location: Any) -> None:
            await queue._remove_jobs(location, [job])  # noqa: SLF001 - as above
            jobs.pop(job, None)

        removed = [remove(job, location) for job, location in jobs.items()]
        for outcome in await asyncio.gather(*removed, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    async def _settle(self, deploying: asyncio.Task[Any]) -> None:
        try:
            with move_on_after(max(0.0, current_effective_deadline() - current_time()) / 2):
                await asyncio.wait([deploying])
        finally:
            if not deploying.done():
                deploying.cancel()
        await asyncio.wait([deploying])

    def for_wrapper(self, wrapper: type[Connector], service: str | None = None) -> Connector:
        # StreamFlow's wrappers choose among the locations of a service by themselves.
        return self if issubclass(wrapper, HostedConnector) else super().for_wrapper(wrapper, service)

    def valid(self) -> StreamFlowConnector:
        """Return the StreamFlow connector, to be used.

        :raises InvalidConnectorError: if its environment is being undeployed, or gone (rule R4)
        """
        self._check_valid()
        return self.hosted


class HostedWrapper(HostedConnector, ConnectorWrapper):
    """Hosts a StreamFlow connector that wraps another one."""

    def __init__(
        self,
        *,
        deployment_name: str,
        config_dir: Path,
        connector: Connector,
        service: str | None = None,
        **settings: Any,
    ) -> None:
        ConnectorWrapper.__init__(
            self, deployment_name=deployment_name, config_dir=config_dir, connector=connector, service=service
        )
        self.hosted = self._construct(settings, connector=self.inner(), service=service)

    def inner(self) -> StreamFlowConnector:
        """Return the StreamFlow connector that is wrapped."""
        return cast("HostedConnector", self.connector).hosted


@cache
def hosted_type(
    real_type: type[StreamFlowConnector],
    base: type[HostedConnector] = HostedConnector,
    wrapper: type[HostedWrapper] = HostedWrapper,
) -> type[HostedConnector]:
    """Return the class of anydeploy's connectors that host those of a StreamFlow class.

    Its settings are the parameters of that class.

    :param base: its base class
    :param wrapper: its base class if StreamFlow's class is a wrapper
    """
    parameters = signature(real_type).parameters
    defaults = {
        name: value
        for name, value in DEFAULTS.items()
        if name in parameters and parameters[name].default is Parameter.empty
    }
    members = {
        "__doc__": f"Hosts one {real_type.__name__}.",
        "__module__": __name__,
        "__signature__": _given_by_name(parameters.values(), defaults),
        "real_type": real_type,
        "defaults": defaults,
    }
    chosen = wrapper if issubclass(real_type, StreamFlowWrapper) else base
    return cast("type[HostedConnector]", type(f"Hosted{real_type.__name__}", (chosen,), members))


def _given_by_name(parameters: Iterable[Parameter], defaults: Mapping[str, Any]) -> Signature:
    given = [
        parameter.replace(
            kind=Parameter.KEYWORD_ONLY if parameter.kind is Parameter.POSITIONAL_OR_KEYWORD else parameter.kind,
            default=defaults.get(parameter.name, parameter.default),
        )
        for parameter in parameters
    ]
    return Signature(sorted(given, key=lambda parameter: parameter.kind))
