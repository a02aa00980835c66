"""What the kit has to know of a deployment manager to put it to the test: how to build it, and what it claims."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from ..engine.slots import Slots
from ..exceptions import WorkflowDefinitionException, WorkflowExecutionException
from ..manager import DefaultDeploymentManager

if TYPE_CHECKING:
    from .scripted import Script


#: What a manager may be tested on.
BACKENDS = ("asyncio", "asyncio+uvloop", "trio")


class Feature(StrEnum):
    """What not every deployment manager has. The rules about it concern only those that do."""

    DEPENDS_ON = "dependencies besides wraps"
    LAZY = "lazy deployments"
    EXTERNAL = "external environments"
    LIMITS = "a limit on what runs at once"
    TIMEOUTS = "timeouts"
    RETRIES = "retries"
    UNINTERRUPTIBLE = "connectors that must not be interrupted"
    SETTINGS = "settings that are checked beforehand"
    BLOCK = "a block that owns what runs"


class Manager(Protocol):
    """What a subject has to give: the interface of a deployment manager, by name."""

    async def deploy(self, deployment: str) -> None: ...

    def get_connector(self, deployment_name: str) -> Any: ...

    async def undeploy(self, deployment_name: str) -> None: ...

    async def undeploy_all(self) -> None: ...

    async def close(self) -> None: ...


class Subject(ABC):
    """A deployment manager, as the kit builds and calls it.

    :cvar name: what it is called in reports
    :cvar backends: where it runs: ``asyncio``, ``asyncio+uvloop``, ``trio``
    :cvar features: what it claims to have
    :cvar definition_errors: what says that something is misspecified (rule D4)
    :cvar execution_errors: what says that something failed (rules D5 and U6)
    :cvar not_state: for the explorer, names of attributes by class on which nothing that the manager does depends
    """

    name: ClassVar[str]
    backends: ClassVar[tuple[str, ...]] = BACKENDS
    features: ClassVar[frozenset[Feature]] = frozenset(Feature)
    definition_errors: ClassVar[tuple[type[Exception], ...]] = (WorkflowDefinitionException,)
    execution_errors: ClassVar[tuple[type[Exception], ...]] = (WorkflowExecutionException,)
    not_state: ClassVar[Mapping[type, frozenset[str]]] = {}

    @abstractmethod
    def manager(self, script: Script, **options: Any) -> AbstractAsyncContextManager[Any]:
        """A block with a manager of the definitions of the script, whose connectors do what the script says.

        It gives a :class:`Manager`, and closes it at its end. The limits that the manager is to have are those of
        ``script.premises``; ``options`` are the manager's own.
        """

    @abstractmethod
    async def use(self, connector: Any) -> None:
        """Perform an operation of a connector that ``get_connector`` gave."""


class AnydeploySubject(Subject):
    """:class:`anydeploy.DefaultDeploymentManager`."""

    name = "anydeploy"
    # The numbers of requests: what counts is their order, and whoever asks next always comes last.
    not_state: ClassVar[Mapping[type, frozenset[str]]] = {Slots: frozenset({"_number"})}

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
