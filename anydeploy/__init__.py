"""Bring up execution environments in dependency order, exactly once, and never leave one behind."""

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
