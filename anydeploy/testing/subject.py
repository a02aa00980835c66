"""Subjects: how the kit builds and calls a deployment manager, and what the manager claims to have."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager
from enum import StrEnum
from typing import Any, ClassVar, Protocol

from ..exceptions import WorkflowDefinitionException, WorkflowExecutionException
from ..manager import DefaultDeploymentManager
from .scripted import Script

#: The event loops that a manager may be tested on.
BACKENDS = ("asyncio", "asyncio+uvloop", "trio")


class Feature(StrEnum):
    """A feature that not every deployment manager has. The rules about it concern only those that do."""

    DEPENDS_ON = "dependencies besides wraps"
    LAZY = "lazy deployments"
    EXTERNAL = "external environments"
    LIMITS = "a limit on what runs at once"
    TIMEOUTS = "timeouts"
    RETRIES = "retries"
    UNINTERRUPTIBLE = "connectors that must not be interrupted"
    SETTINGS = "settings that are checked beforehand"
    BLOCK = "a block that owns what runs"
    LOSS = "connectors that report the loss of their environment"
    RESTART = "a call that restarts a deployment"
    RESTARTS = "lost deployments that come up again by themselves"
    HOOKS = "connectors of anydeploy's own contract"


class Manager(Protocol):
    """The interface of a deployment manager, by name, that the block of a subject gives."""

    async def deploy(self, deployment: str) -> None: ...

    def get_connector(self, deployment_name: str) -> Any: ...

    async def undeploy(self, deployment_name: str) -> None: ...

    async def undeploy_all(self) -> None: ...

    async def close(self) -> None: ...


class Subject(ABC):
    """A deployment manager, as the kit builds and calls it.

    :cvar name: its name in reports
    :cvar backends: the event loops that it runs on: ``asyncio``, ``asyncio+uvloop``, ``trio``
    :cvar features: those that it claims to have
    :cvar definition_errors: raised where something is misspecified (rule D4)
    :cvar execution_errors: raised where something failed (rules D5 and U6)
    """

    name: ClassVar[str]
    backends: ClassVar[tuple[str, ...]] = BACKENDS
    features: ClassVar[frozenset[Feature]] = frozenset(Feature)
    definition_errors: ClassVar[tuple[type[Exception], ...]] = (WorkflowDefinitionException,)
    execution_errors: ClassVar[tuple[type[Exception], ...]] = (WorkflowExecutionException,)

    @abstractmethod
    def manager(self, script: Script, **options: Any) -> AbstractAsyncContextManager[Any]:
        """Open a block with a manager of the definitions of the script, whose connectors do what the script says.

        It gives a :class:`Manager`, and closes it at its end. The limits of the manager are to be those of
        ``script.premises``.

        :param options: the manager's own
        """

    @abstractmethod
    async def use(self, connector: Any) -> None:
        """Perform an operation of a connector that ``get_connector`` gave."""


class AnydeploySubject(Subject):
    """:class:`anydeploy.DefaultDeploymentManager`."""

    name = "anydeploy"

    def manager(self, script: Script, **options: Any) -> DefaultDeploymentManager:
        premises = script.premises
        return DefaultDeploymentManager(
            premises.configs,
            connector_types=script.types,
            max_concurrent=premises.max_concurrent,
            deploy_timeout=premises.deploy_timeout,
            undeploy_timeout=premises.undeploy_timeout,
            **options,
        )

    async def use(self, connector: Any) -> None:
        await connector.run(["true"])
