"""Bring up execution environments in dependency order, exactly once, and never leave one behind.

    async with DefaultDeploymentManager(load_file("stack.yml")) as manager:
        await manager.deploy("web")
        await manager.get_connector("web").run(["echo", "hello"])

A name is imported from its module at its first use, so that the command line starts quickly and handles a Ctrl-C from
the beginning.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .config import DeploymentConfig, WrapsConfig
    from .connector import Command, Connector, ConnectorWrapper
    from .exceptions import (
        CommandError,
        ConnectionLostError,
        DependencyCycleError,
        DeployError,
        DifferentDefinitionError,
        InvalidConfigError,
        InvalidConnectorError,
        InvalidParameterError,
        ManagerClosedError,
        UndeployError,
        UnknownDeploymentError,
        WorkflowDefinitionException,
        WorkflowException,
        WorkflowExecutionException,
    )
    from .lazy import FutureConnector
    from .lifecycle import DeploymentEvent, DeploymentState, DeploymentStatus
    from .manager import DefaultDeploymentManager, DeploymentManager

__version__ = "0.1.0"

__all__ = [
    "Command",
    "CommandError",
    "ConnectionLostError",
    "Connector",
    "ConnectorWrapper",
    "DefaultDeploymentManager",
    "DependencyCycleError",
    "DeployError",
    "DeploymentConfig",
    "DeploymentEvent",
    "DeploymentManager",
    "DeploymentState",
    "DeploymentStatus",
    "DifferentDefinitionError",
    "FutureConnector",
    "InvalidConfigError",
    "InvalidConnectorError",
    "InvalidParameterError",
    "ManagerClosedError",
    "UndeployError",
    "UnknownDeploymentError",
    "WorkflowDefinitionException",
    "WorkflowException",
    "WorkflowExecutionException",
    "WrapsConfig",
    "__version__",
]

#: Where the names are defined; each module imports only from those before it.
_MODULES = ("exceptions", "config", "lifecycle", "connector", "lazy", "manager")


def __getattr__(name: str) -> object:
    if name in __all__:
        for module in _MODULES:
            defined = vars(import_module(f".{module}", __name__))
            if name in defined:
                return globals().setdefault(name, defined[name])
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
