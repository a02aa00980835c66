"""A StreamFlow connector as one of anydeploy's: built, deployed and undeployed by anydeploy's manager. On asyncio.

StreamFlow's connectors were not written to be cancelled: of a deploy that is cut off half-way nobody knows what it has
made, and ``undeploy`` finds nothing. So it runs in a task of its own. Whoever cancels the deployment goes at once, the
deploy is let finish behind its back, and then undeployed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from functools import cache
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Any, ClassVar, Final, cast

from anyio import current_effective_deadline, current_time, move_on_after
from streamflow.core.deployment import Connector as StreamFlowConnector
from streamflow.deployment.wrapper import ConnectorWrapper as StreamFlowWrapper

from ..connector import Connector, ConnectorWrapper
from ..typecheck import is_list, is_mapping

#: What StreamFlow gives a lazy connector.
DEFAULTS: Final[Mapping[str, Any]] = {"transferBufferSize": 2**16}

#: Attributes of StreamFlow's containers, which cannot be stopped before they have a place and a name.
_NAMES = ("_inner_location", "containerId", "instanceName")


class Hosted(Connector):
    """The life of one StreamFlow connector. Subclasses are made by :func:`host`.

    :cvar real_type: its class
    :cvar defaults: settings for which StreamFlow has a default, but the class has none
    :ivar real: the connector itself
    """

    real_type: ClassVar[type[StreamFlowConnector]]
    defaults: ClassVar[Mapping[str, Any]]
    real: StreamFlowConnector
    _deploying: asyncio.Task[BaseException | None] | None = None

    def __init__(self, *, deployment_name: str, config_dir: Path, **settings: Any) -> None:
        Connector.__init__(self, deployment_name=deployment_name, config_dir=config_dir)
        self.real = self._construct(settings)

    def _construct(self, settings: Mapping[str, Any], **given: Any) -> StreamFlowConnector:
        arguments = {**self.defaults, **given, **cast("dict[str, Any]", plain(settings))}
        return self.real_type(deployment_name=self.deployment_name, config_dir=str(self.config_dir), **arguments)

    async def deploy(self, external: bool) -> None:
        """Deploy the connector. If cancelled it returns at once, and the deploy goes on until :meth:`undeploy`."""
        self._deploying = asyncio.create_task(self._deploy(external), name=f"deploy of {self.deployment_name}")
        error = await asyncio.shield(self._deploying)
        if error is not None:
            raise error

    async def _deploy(self, external: bool) -> BaseException | None:
        try:
            await self.real.deploy(external)
        except BaseException as exc:  # noqa: BLE001 - an outcome: asyncio would stop the loop for a KeyboardInterrupt
            return exc
        return None

    async def undeploy(self, external: bool) -> None:
        """Let an interrupted deploy finish, then undeploy the connector.

        The deploy has half of the time that there is for the teardown, and is cancelled then.
        """
        if self._deploying is None:
            return
        if not self._deploying.done():
            await self._settle(self._deploying)
        failed = self._deploying.cancelled() or self._deploying.result() is not None
        if not (failed and any(getattr(self.real, name, "") is None for name in _NAMES)):
            await self.real.undeploy(external)

    async def _settle(self, deploying: asyncio.Task[Any]) -> None:
        try:
            with move_on_after(max(0.0, current_effective_deadline() - current_time()) / 2):
                await asyncio.wait([deploying])
        finally:
            if not deploying.done():
                deploying.cancel()
        await asyncio.wait([deploying])

    def valid(self) -> StreamFlowConnector:
        """The connector, to be used.

        :raises InvalidConnectorError: if its environment is being undeployed, or gone (rule R4)
        """
        self._check_valid()
        return self.real


class HostedWrapper(Hosted, ConnectorWrapper):
    """The life of one that wraps another."""

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
        self.real = self._construct(settings, connector=self.inner(), service=service)

    def inner(self) -> StreamFlowConnector:
        """What the connector is given as the one that it wraps."""
        return cast("Hosted", self.connector).real


@cache
def host(
    real_type: type[StreamFlowConnector], base: type[Hosted] = Hosted, wrapper: type[HostedWrapper] = HostedWrapper
) -> type[Hosted]:
    """The class of anydeploy's connectors that host those of a StreamFlow class.

    The settings of a definition are checked against the signature of that.

    :param base: what it is a subclass of
    :param wrapper: what it is a subclass of if StreamFlow's class is a wrapper
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
    return cast("type[Hosted]", type(f"Hosted{real_type.__name__}", (chosen,), members))


def _given_by_name(parameters: Iterable[Parameter], defaults: Mapping[str, Any]) -> Signature:
    given = [
        parameter.replace(
            kind=Parameter.KEYWORD_ONLY if parameter.kind is Parameter.POSITIONAL_OR_KEYWORD else parameter.kind,
            default=defaults.get(parameter.name, parameter.default),
        )
        for parameter in parameters
    ]
    return Signature(sorted(given, key=lambda parameter: parameter.kind))


def plain(value: object) -> object:
    """A copy of settings, in which nothing that a connector does changes the definition that they come from."""
    if is_mapping(value):
        return {key: plain(item) for key, item in value.items()}
    if is_list(value):
        return [plain(item) for item in value]
    return value
