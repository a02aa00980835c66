"""Puts deployment managers with StreamFlow's interface to the test of :mod:`anydeploy.testing`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from streamflow.core.deployment import Connector, DeploymentManager
from streamflow.core.deployment import DeploymentConfig as StreamFlowConfig
from streamflow.core.deployment import WrapsConfig as StreamFlowWraps
from streamflow.core.exception import WorkflowDefinitionException, WorkflowExecutionException
from streamflow.deployment.connector import connector_classes
from streamflow.deployment.future import FutureAware
from streamflow.deployment.manager import DefaultDeploymentManager
from streamflow.deployment.wrapper import ConnectorWrapper

from anydeploy.config import DeploymentConfig
from anydeploy.testing.scripted import Script
from anydeploy.testing.subject import Feature, Subject

if TYPE_CHECKING:
    from streamflow.core.context import StreamFlowContext

_BUFFER_SIZE = 2**16


class StreamFlowSubject(Subject):
    """A manager with StreamFlow's interface, over scripted connectors that are StreamFlow's."""

    backends = ("asyncio",)
    features = frozenset({Feature.LAZY, Feature.EXTERNAL})
    definition_errors = (WorkflowDefinitionException,)
    execution_errors = (WorkflowExecutionException,)

    @abstractmethod
    def build(self, context: StreamFlowContext, script: Script) -> DeploymentManager:
        """The manager in the context of a workflow. The limits that it is to have are those of the script."""

    @asynccontextmanager
    async def manager(self, script: Script, **_: Any) -> AsyncGenerator[ByName, None]:
        configs = script.premises.configs
        deployments = {name: _as_in_a_file(config) for name, config in configs.items()}
        context = SimpleNamespace(config={"path": str(Path.cwd() / "streamflow.yml"), "deployments": deployments})
        with _registered(_connector_types(script)):
            manager = self.build(cast("StreamFlowContext", context), script)
            try:
                yield ByName(manager, configs)
            finally:
                await manager.close()

    async def use(self, connector: Any) -> None:
        await connector.run(location=None, command=["true"])


class ReferenceSubject(StreamFlowSubject):
    """StreamFlow's own deployment manager."""

    name = f"the DefaultDeploymentManager of StreamFlow {version('streamflow')}"

    def build(self, context: StreamFlowContext, script: Script) -> DeploymentManager:
        return DefaultDeploymentManager(context)


class ByName:
    """A manager whose ``deploy`` takes a name, or one of anydeploy's definitions, in place of StreamFlow's."""

    def __init__(self, manager: DeploymentManager, configs: Mapping[str, DeploymentConfig]) -> None:
        self._manager = manager
        self._configs = configs

    async def deploy(self, deployment: str | DeploymentConfig) -> None:
        config = self._configs[deployment] if isinstance(deployment, str) else deployment
        await self._manager.deploy(_to_streamflow(config))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._manager, name)


def _to_streamflow(config: DeploymentConfig) -> StreamFlowConfig:
    wraps = None if config.wraps is None else StreamFlowWraps(config.wraps.deployment, config.wraps.service)
    return StreamFlowConfig(
        config.name,
        config.type,
        dict(config.config),
        external=config.external,
        lazy=config.lazy,
        workdir=config.workdir,
        wraps=wraps,
    )


def _as_in_a_file(config: DeploymentConfig) -> dict[str, Any]:
    """The definition as StreamFlow keeps what it has read, with anydeploy's own keys."""
    wraps = config.wraps and {"deployment": config.wraps.deployment, "service": config.wraps.service}
    own = {
        "dependsOn": list(config.depends_on),
        "deployTimeout": config.deploy_timeout,
        "undeployTimeout": config.undeploy_timeout,
        "retries": config.retries,
    }
    return {
        "type": config.type,
        "config": dict(config.config),
        "external": config.external,
        "lazy": config.lazy,
        "scheduling_policy": None,
        "workdir": config.workdir,
        "wraps": wraps,
    } | {key: value for key, value in own.items() if value}


@contextmanager
def _registered(types: Mapping[str, type[Connector]]) -> Generator[None, None, None]:
    """StreamFlow has one registry for all managers."""
    before = dict(connector_classes)
    connector_classes.update(types)
    try:
        yield
    finally:
        connector_classes.clear()
        connector_classes.update(before)


def _connector_types(script: Script) -> Mapping[str, type[Connector]]:
    class Operations:
        """The common part of both kinds."""

        async def deploy(self, external: bool) -> None:
            await script.operate("deploy", self, external=external)

        async def undeploy(self, external: bool) -> None:
            await script.operate("undeploy", self, external=external)

        async def run(self, *_: Any, **__: Any) -> None:
            await script.operate("run", self)

    class Scripted(Operations, Connector, FutureAware):
        def __init__(
            self,
            deployment_name: str,
            config_dir: str,
            transferBufferSize: int = _BUFFER_SIZE,  # noqa: N803
        ) -> None:
            super().__init__(deployment_name, config_dir, transferBufferSize)
            script.built(self)

    class Wrapper(Operations, ConnectorWrapper):
        def __init__(
            self,
            deployment_name: str,
            config_dir: str,
            connector: Connector,
            service: str | None = None,
            transferBufferSize: int = _BUFFER_SIZE,  # noqa: N803
        ) -> None:
            super().__init__(deployment_name, config_dir, connector, service, transferBufferSize)
            script.built(self, connector)

    types: dict[str, Any] = {"scripted": Scripted, "wrapper": Wrapper}
    for type_ in types.values():
        # Abstract in what nobody calls here.
        type_.__abstractmethods__ = frozenset()
    return types
