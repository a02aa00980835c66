"""The deployment manager that StreamFlow uses when its file says ``type: anydeploy``."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from streamflow.core.deployment import Connector as StreamFlowConnector
from streamflow.core.deployment import DeploymentConfig as StreamFlowConfig
from streamflow.core.deployment import DeploymentManager
from streamflow.log_handler import logger

from ...connector import Connector
from ...duration import to_positive_seconds
from ...exceptions import DifferentDefinitionError, ManagerClosedError, WorkflowDefinitionException
from ...manager import DEFAULT_UNDEPLOY_TIMEOUT, DefaultDeploymentManager
from .background import Host
from .definitions import HostedTypes, Translator
from .errors import translated
from .progress import Progress
from .proxy import Handle

if TYPE_CHECKING:
    from streamflow.core.context import StreamFlowContext


class AnydeployDeploymentManager(DeploymentManager):
    """Brings StreamFlow's deployments up in dependency order, each exactly once, and leaves none behind.

    It has the interface of StreamFlow's managers, and the rules of :class:`DefaultDeploymentManager`. What it raises
    is of StreamFlow's classes as well as of anydeploy's. It belongs to the event loop of the first ``deploy``.

    :param context: StreamFlow's; what its file says of deployments is read at the first ``deploy``
    :param maxConcurrent: how many connectors may be brought up or torn down at once (rule K1)
    :param deployTimeout: seconds for one connector ``deploy``, or a string such as ``5m``; None: no limit (rule K2)
    :param undeployTimeout: the same for one ``undeploy``
    :param retries: how many times a failed deploy is tried again, where the deployment does not say (rule K3)
    :raises WorkflowDefinitionException: if one of these is wrong
    """

    def __init__(
        self,
        context: StreamFlowContext,
        maxConcurrent: int | None = None,  # noqa: N803 - the names that they have in the file
        deployTimeout: float | str | None = None,  # noqa: N803
        undeployTimeout: float | str = DEFAULT_UNDEPLOY_TIMEOUT,  # noqa: N803
        retries: int = 0,
    ) -> None:
        super().__init__(context)
        with translated():
            self._max_concurrent = None if maxConcurrent is None else _count("maxConcurrent", maxConcurrent, 1)
            self._deploy_timeout = None if deployTimeout is None else _seconds("deployTimeout", deployTimeout)
            self._undeploy_timeout = _seconds("undeployTimeout", undeployTimeout)
            self._translator = Translator(context.config, _count("retries", retries, 0))
        self._host: Host | None = None
        self._closed = False
        self._handles: dict[str, tuple[Connector, Handle]] = {}

    @classmethod
    def get_schema(cls) -> str:
        """The JSON schema of the settings."""
        return files("anydeploy.streamflow.plugin").joinpath("schema.json").read_text("utf-8")

    async def deploy(self, deployment_config: StreamFlowConfig) -> None:
        """Bring up a deployment and what it wraps or depends on; return when it is live (rules D1 to D6).

        A lazy one is only checked and registered. A name that is in use with another definition stays as it is, and
        a warning says so.

        :raises WorkflowDefinitionException: for a misspecification, before anything is deployed
        :raises WorkflowExecutionException: if it does not come up, or is undeployed meanwhile; or after :meth:`close`

        If cancelled it returns at once and its demand is withdrawn.
        """
        with translated():
            if self._closed:
                raise ManagerClosedError("the deployment manager is closed")
            if self._host is None:
                self._host = self._start()
            config = self._translator.translate(deployment_config)
            try:
                await self._host.deploy(config)
            except DifferentDefinitionError as exc:
                logger.warning(f"{exc}. It is kept as it is.")
                await self._host.deploy(config.name)

    def get_connector(self, deployment_name: str) -> StreamFlowConnector | None:
        """The connector of a deployment that is live, or lazy and deployed; None for any other name (rules R1, R2)."""
        if self._host is None or (source := self._host.manager.get_connector(deployment_name)) is None:
            return None
        # Kept while it is hidden: the same life may be shown again.
        known = self._handles.get(deployment_name)
        if known is None or known[0] is not source:
            handle = Handle(source, self._host.definitions[deployment_name].config)
            known = self._handles[deployment_name] = (source, handle)
        return known[1]

    async def undeploy(self, deployment_name: str) -> None:
        """Withdraw the demand for a deployment, and wait until it is gone, unless others need it (rules U1 to U6).

        :raises WorkflowExecutionException: if the teardown failed; calling again tries again

        If cancelled it returns at once; the teardown goes on.
        """
        if self._host is not None:
            with translated():
                await self._host.undeploy(deployment_name)

    async def undeploy_all(self) -> None:
        """Withdraw the demand for everything, and wait until it is gone, dependents first (rule U7).

        :raises ExceptionGroup: of a :class:`WorkflowExecutionException` for each that failed
        """
        if self._host is not None:
            with translated():
                await self._host.undeploy_all()

    async def close(self) -> None:
        """Give up what is coming up, and take everything down, for good (rule U8).

        :raises ExceptionGroup: of a :class:`WorkflowExecutionException` for everything that may be left

        If cancelled it returns at once; the teardown goes on.
        """
        self._closed = True
        if self._host is not None:
            with translated():
                await self._host.close()

    def _start(self) -> Host:
        definitions = {config.name: config for config in self._translator.known()}
        manager = DefaultDeploymentManager(
            definitions,
            connector_types=HostedTypes(),
            config_dir=_directory(self.context.config.get("path")),
            max_concurrent=self._max_concurrent,
            deploy_timeout=self._deploy_timeout,
            undeploy_timeout=self._undeploy_timeout,
            on_event=Progress(definitions).tell,
        )
        host = Host(manager, definitions)
        host.start()
        return host


def _directory(path: str | None) -> Path:
    """Where the file is. Without one, StreamFlow says in which directory it was started."""
    found = Path(path or ".").resolve()
    return found if found.is_dir() else found.parent


def _seconds(setting: str, value: float | str) -> float:
    try:
        return to_positive_seconds(value)
    except ValueError as exc:
        raise WorkflowDefinitionException(f"deployment manager, setting '{setting}': {exc}") from None


def _count(setting: str, value: int, least: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise WorkflowDefinitionException(
            f"deployment manager, setting '{setting}': expected a whole number, {least} or more; got {value!r}"
        )
    return value
