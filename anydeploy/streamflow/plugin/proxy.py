"""The connector that StreamFlow is given for a deployment."""

from __future__ import annotations

from collections.abc import Mapping, MutableSequence
from inspect import signature
from typing import Any, cast

from streamflow.core.deployment import Connector as StreamFlowConnector
from streamflow.core.deployment import ExecutionLocation
from streamflow.core.exception import WorkflowExecutionException as StreamFlowExecutionException
from streamflow.deployment.future import FutureConnector as StreamFlowFuture

from ...connector import Connector
from ...exceptions import WorkflowException
from ...lazy import FutureConnector
from ..hosting import DEFAULTS, HostedConnector
from .errors import as_streamflow


class ConnectorProxy(StreamFlowFuture):
    """Stands for a StreamFlow connector that may not have been deployed yet, or may be gone (rules L1, L2, R4).

    It is a ``FutureConnector`` because StreamFlow asks those, and no others, what they stand for; it uses nothing of
    that class. Attributes that it does not have are those of the connector, once that has been deployed.

    :param source: the connector that anydeploy's manager has given out: it hosts the StreamFlow connector, or is lazy
    :param settings: those of the definition
    """

    def __init__(self, source: Connector, settings: Mapping[str, Any]) -> None:
        self._source = source
        self._host_type = cast(
            "type[HostedConnector]", source.real_type if isinstance(source, FutureConnector) else type(source)
        )
        self._settings = settings
        self.type = self._host_type.real_type
        self.deployment_name = source.deployment_name
        self.config_dir = str(source.config_dir)

    @property  # type: ignore[misc]
    def __class__(self) -> type[StreamFlowConnector]:  # type: ignore[override]
        return self.type

    @property
    def transferBufferSize(self) -> int:  # type: ignore[override]  # noqa: N802
        if self._connector is not None:
            return self._connector.transferBufferSize
        parameter = signature(self._host_type).parameters.get("transferBufferSize")
        default = parameter.default if parameter is not None else DEFAULTS["transferBufferSize"]
        return cast("int", self._settings.get("transferBufferSize", default))

    @property
    def _connector(self) -> StreamFlowConnector | None:  # type: ignore[override]
        """The StreamFlow connector; None before it is deployed. A lazy source has the attributes of the real one."""
        return getattr(self._source, "hosted", None)

    @property
    def connector(self) -> StreamFlowConnector:
        """Return the connector that is wrapped.

        :raises WorkflowExecutionException: before it is deployed
        """
        if self._connector is None:
            raise StreamFlowExecutionException(
                f"what deployment '{self.deployment_name}' wraps is not known before it is deployed"
            )
        return cast("StreamFlowConnector", getattr(self._connector, "connector"))  # noqa: B009 - not of every class

    async def deploy(self, external: bool) -> None:  # noqa: ARG002
        """Bring the environment up, as a first use does; the definition decides about ``external``."""
        await self.resolve()

    async def undeploy(self, external: bool) -> None:  # noqa: ARG002
        """Refuse: the manager decides when an environment goes."""
        raise StreamFlowExecutionException(
            f"deployment '{self.deployment_name}' is undeployed with the manager's undeploy(), not by its connector"
        )

    async def copy_local_to_remote(self, *args: Any, **kwargs: Any) -> None:
        await (await self.resolve()).copy_local_to_remote(*args, **kwargs)

    async def copy_remote_to_local(self, *args: Any, **kwargs: Any) -> None:
        await (await self.resolve()).copy_remote_to_local(*args, **kwargs)

    async def copy_remote_to_remote(  # noqa: PLR0917 - StreamFlow's
        self,
        src: str,
        dst: str,
        locations: MutableSequence[ExecutionLocation],
        source_location: ExecutionLocation,
        source_connector: StreamFlowConnector | None = None,
        read_only: bool = False,
    ) -> None:
        # The connector asks by identity whether the source is itself.
        source = await source_connector.resolve() if isinstance(source_connector, ConnectorProxy) else source_connector
        real = await self.resolve()
        await real.copy_remote_to_remote(
            src=src,
            dst=dst,
            locations=locations,
            source_location=source_location,
            source_connector=source,
            read_only=read_only,
        )

    async def get_available_locations(self, *args: Any, **kwargs: Any) -> Any:
        return await (await self.resolve()).get_available_locations(*args, **kwargs)

    async def get_shell(self, *args: Any, **kwargs: Any) -> Any:
        return await (await self.resolve()).get_shell(*args, **kwargs)

    async def get_stream_reader(self, *args: Any, **kwargs: Any) -> Any:
        return await (await self.resolve()).get_stream_reader(*args, **kwargs)

    async def get_stream_writer(self, *args: Any, **kwargs: Any) -> Any:
        return await (await self.resolve()).get_stream_writer(*args, **kwargs)

    async def run(self, *args: Any, **kwargs: Any) -> Any:
        return await (await self.resolve()).run(*args, **kwargs)

    async def resolve(self) -> StreamFlowConnector:
        """Return the connector to be used, deployed now if it has to be.

        :raises WorkflowExecutionException: if it does not come up, or is gone

        If cancelled it returns at once; the environment still comes up if other callers wait for it.
        """
        source = self._source
        try:
            hosting = await source.resolve() if isinstance(source, FutureConnector) else source
            return cast("HostedConnector", hosting).valid()
        except WorkflowException as exc:
            raise as_streamflow(exc) from exc.__cause__

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in ("_source", "_host_type", "_settings") or self._connector is None:
            raise AttributeError(f"'{name}' of a connector is not known before it is deployed")
        return getattr(self._connector, name)
