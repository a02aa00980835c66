"""The deployment manager that StreamFlow uses when its file says ``type: anydeploy``."""

from __future__ import annotations

import logging
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from streamflow.core.deployment import Connector as StreamFlowConnector
from streamflow.core.deployment import DeploymentConfig as StreamFlowConfig
from streamflow.core.deployment import DeploymentManager
from streamflow.log_handler import logger

from ... import __version__
from ...exceptions import (
    DifferentDefinitionError,
    ManagerClosedError,
    WorkflowDefinitionException,
    WorkflowException,
)
from ...file.manager import SETTINGS
from ...frozen import is_equal, thaw
from ...lifecycle import DeploymentEvent
from ...manager import DEFAULT_UNDEPLOY_TIMEOUT, DefaultDeploymentManager
from .background import BackgroundManager
from .definitions import HostedTypes, Translator
from .errors import as_streamflow
from .progress import log_progress
from .proxy import ConnectorProxy

if TYPE_CHECKING:
    from streamflow.core.context import StreamFlowContext

#: The attribute of a connector that holds its proxy.
_PROXY: Final = "_streamflow_proxy"


class AnydeployDeploymentManager(DeploymentManager):
    """Brings StreamFlow's deployments up in dependency order, each exactly once, and leaves none behind.

    It has the interface of StreamFlow's managers, and the rules of :class:`DefaultDeploymentManager`. Its exceptions
    are of StreamFlow's classes as well as of anydeploy's. It belongs to the event loop of the first ``deploy``.

    ::

        manager = AnydeployDeploymentManager(context, maxConcurrent=4, deployTimeout="5m")
        await manager.deploy(deployment_config)
        await manager.close()

    :param context: StreamFlow's; the definitions in its file are read at the first ``deploy``
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
        try:
            self._max_concurrent = None if maxConcurrent is None else _convert("maxConcurrent", maxConcurrent)
            self._deploy_timeout = None if deployTimeout is None else _convert("deployTimeout", deployTimeout)
            self._undeploy_timeout = _convert("undeployTimeout", undeployTimeout)
            self._translator = Translator(context.config, _convert("retries", retries))
        except WorkflowException as exc:
            raise as_streamflow(exc) from exc.__cause__
        self._background: BackgroundManager | None = None
        self._closed = False
        logger.info(f"Environments are brought up and taken down by anydeploy {__version__}")
        #: By name the fields of the definition that came up last; settings are a copy, for a caller may change its own.
        self._deployed: dict[str, tuple[Any, ...]] = {}

    @classmethod
    def get_schema(cls) -> str:
        """Return the JSON schema of the settings."""
        return files("anydeploy.streamflow.plugin").joinpath("schema.json").read_text("utf-8")

    async def deploy(self, deployment_config: StreamFlowConfig) -> None:
        """Bring up a deployment and what it wraps or depends on; return when it is live (rules D1 to D6).

        A lazy one is only checked and registered. A name that is in use with another definition stays as it is, and
        a warning says so.

        :raises WorkflowDefinitionException: for a misspecification, before anything is deployed
        :raises WorkflowExecutionException: if it does not come up, or is undeployed meanwhile; or after :meth:`close`

        If cancelled it returns at once and its demand is withdrawn. Of what is up it returns without giving way to
        other tasks, as StreamFlow's own manager does.
        """
        try:
            if self._closed:
                raise ManagerClosedError("the deployment manager is closed")
            background = self._background
            if background is None:
                background = self._background = self._start()
            elif self._is_up(background, deployment_config):
                return
            config = self._translator.translate(
                deployment_config, background.manager.definition(deployment_config.name)
            )
            try:
                await background.deploy(config)
            except DifferentDefinitionError as exc:
                logger.warning(f"{exc}. It is kept as it is.")
                await background.deploy(config.name)
            else:
                _, *others = _fields(deployment_config)
                self._deployed[config.name] = (thaw(config.config), *others)
        except WorkflowException as exc:
            raise as_streamflow(exc) from exc.__cause__

    def get_connector(self, deployment_name: str) -> StreamFlowConnector | None:
        """Return the connector of a deployment that is live, or lazy and deployed; else None (rules R1, R2)."""
        background = self._background
        source = background.manager.get_connector(deployment_name) if background is not None else None
        if background is None or source is None:
            return None
        # A proxy is kept with what it stands for, so that both have one life.
        kept = vars(source)
        proxy = kept.get(_PROXY)
        if proxy is None:
            definition = background.manager.definition(deployment_name)
            proxy = kept[_PROXY] = ConnectorProxy(source, definition.config if definition is not None else {})
        return cast("ConnectorProxy", proxy)

    async def undeploy(self, deployment_name: str) -> None:
        """Withdraw the demand for a deployment, and wait until it is gone, unless others need it (rules U1 to U6).

        :raises WorkflowExecutionException: if the teardown failed; calling again tries again

        If cancelled it returns at once; the teardown goes on.
        """
        if self._background is not None:
            try:
                await self._background.undeploy(deployment_name)
            except WorkflowException as exc:
                raise as_streamflow(exc) from exc.__cause__

    async def undeploy_all(self) -> None:
        """Withdraw the demand for everything, and wait until it is gone, dependents first (rule U7).

        :raises ExceptionGroup: of a :class:`WorkflowExecutionException` for each that failed

        If cancelled it returns at once; the teardown goes on.
        """
        if self._background is not None:
            try:
                await self._background.undeploy_all()
            except (WorkflowException, ExceptionGroup) as exc:
                raise as_streamflow(exc) from exc.__cause__

    async def close(self) -> None:
        """Give up what is coming up, and take everything down, for good (rule U8).

        A deploy that is under way is allowed to finish before: StreamFlow's connectors cannot be interrupted.

        :raises ExceptionGroup: of a :class:`WorkflowExecutionException` for everything that may be left

        If cancelled it returns at once; the teardown goes on.
        """
        self._closed = True
        if self._background is not None:
            try:
                await self._background.close()
            except (WorkflowException, ExceptionGroup) as exc:
                raise as_streamflow(exc) from exc.__cause__

    def _is_up(self, background: BackgroundManager, config: StreamFlowConfig) -> bool:
        """Whether there is nothing to do for a definition, nor to say."""
        deployed = self._deployed.get(config.name) if isinstance(cast("object", config.name), str) else None
        return deployed is not None and is_equal(deployed, _fields(config)) and background.is_up(config.name)

    def _start(self) -> BackgroundManager:
        def log(event: DeploymentEvent) -> None:
            log_progress(event, manager.definition(event.name))

        manager = DefaultDeploymentManager(
            self._translator.known(),
            connector_types=HostedTypes(),
            config_dir=_directory(self.context.config.get("path")),
            max_concurrent=self._max_concurrent,
            deploy_timeout=self._deploy_timeout,
            undeploy_timeout=self._undeploy_timeout,
            # Every event has its price; StreamFlow sets the level of its log before it makes a manager.
            on_event=log if logger.isEnabledFor(logging.WARNING) else None,
        )
        background = BackgroundManager(manager)
        background.start()
        return background


def _fields(config: StreamFlowConfig) -> tuple[Any, ...]:
    """Return all of a definition that makes up the deployment, the settings first."""
    wraps = config.wraps
    wrapped = (wraps.deployment, wraps.service) if wraps is not None else None
    return config.config, config.type, config.external, config.lazy, wrapped


def _directory(path: str | None) -> Path:
    """Return the directory of the file. Without a file, StreamFlow gives the directory in which it was started."""
    found = Path(path or ".").resolve()
    return found if found.is_dir() else found.parent


def _convert(setting: str, value: object) -> Any:
    try:
        return SETTINGS[setting](value)
    except ValueError as exc:
        raise WorkflowDefinitionException(f"deployment manager, setting '{setting}': {exc}") from None
