"""Bring up execution environments in dependency order, exactly once, and never leave one behind."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .config import DeploymentConfig, WrapsConfig
    from .connector import Command, Connector, ConnectorWrapper
    from .exceptions import (
        CommandError,
        DependencyCycleError,
        DeployError,
        InvalidConfigError,
        InvalidConnectorError,
        ManagerClosedError,
        UndeployError,
        UnknownDeploymentError,
        WorkflowDefinitionException,
        WorkflowException,
        WorkflowExecutionException,
    )
    from .future import FutureConnector
    from .lifecycle import DeploymentEvent, DeploymentState, DeploymentStatus
    from .manager import DefaultDeploymentManager, DeploymentManager

__version__ = "0.1.0"

__all__ = [
    "Command",
    "CommandError",
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
    "FutureConnector",
    "InvalidConfigError",
    "InvalidConnectorError",
    "ManagerClosedError",
    "UndeployError",
    "UnknownDeploymentError",
    "WorkflowDefinitionException",
    "WorkflowException",
    "WorkflowExecutionException",
    "WrapsConfig",
    "__version__",
]

#: Where the public names are that are not exceptions.
_HOMES = {
    "config": ("DeploymentConfig", "WrapsConfig"),
    "connector": ("Command", "Connector", "ConnectorWrapper"),
    "future": ("FutureConnector",),
    "lifecycle": ("DeploymentEvent", "DeploymentState", "DeploymentStatus"),
    "manager": ("DefaultDeploymentManager", "DeploymentManager"),
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for: the command imports this package to say its version."""
    if name not in __all__:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    home = next((module for module, names in _HOMES.items() if name in names), "exceptions")
    value: object = getattr(import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
