"""StreamFlow's definitions of deployments as anydeploy's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import define, field
from streamflow.core.deployment import DeploymentConfig as StreamFlowConfig
from streamflow.core.deployment import LocalTarget
from streamflow.deployment.connector import connector_classes
from streamflow.deployment.utils import get_wraps_config
from streamflow.deployment.wrapper import ConnectorWrapper as StreamFlowWrapper
from streamflow.log_handler import logger

from ...config import DeploymentConfig, WrapsConfig
from ...connector import Connector
from ...connectors import UnknownConnectorTypeError
from ...exceptions import InvalidConfigError, WorkflowDefinitionException, did_you_mean
from ...file.structure import structure
from ...typecheck import Path
from ..hosting import hosted_type

#: The fields of a definition that are anydeploy's own, by their keys in a file. StreamFlow leaves them there.
_OWN: Mapping[str, str] = {
    "dependsOn": "depends_on",
    "deployTimeout": "deploy_timeout",
    "undeployTimeout": "undeploy_timeout",
    "retries": "retries",
    "restarts": "restarts",
}


@define
class Translator:
    """Translates StreamFlow's definitions, which it never changes.

    :ivar config: that of the StreamFlow context: the content of the file
    :ivar retries: for definitions that do not say
    """

    config: Mapping[str, Any]
    retries: int
    #: The names for which a warning has said that their ``wraps`` has no effect.
    _warned: set[str] = field(factory=set[str])

    def translate(self, config: StreamFlowConfig, known: DeploymentConfig | None = None) -> DeploymentConfig:
        """Return the definition that StreamFlow's stands for; the fields that are anydeploy's own are in the file.

        :param known: a translation of a definition of this name; it is returned if it is this one's
        :raises InvalidConfigError: if a field that is anydeploy's own is wrong
        """
        wraps = self._wraps(config)
        if (
            known is not None
            and known.type == config.type
            and known.config == config.config
            and known.external == config.external
            and known.lazy == config.lazy
            and known.wraps == wraps
        ):
            return known
        return DeploymentConfig(
            config.name,
            config.type,
            config.config,
            external=bool(config.external),
            lazy=bool(config.lazy),
            wraps=wraps,
            **self._own(config.name),
        )

    def known(self) -> Iterator[DeploymentConfig]:
        """Return the definitions that others may wrap: those in the file, and the one that StreamFlow has by itself.

        :raises InvalidConfigError: if one of them is wrong
        """
        yield self.translate(LocalTarget().deployment)
        for name, given in self._in_file().items():
            yield self.translate(
                StreamFlowConfig(
                    name=name,
                    type=given["type"],
                    config=given["config"],
                    external=given.get("external", False),
                    # StreamFlow's default, which is not that of anydeploy's own files.
                    lazy=given.get("lazy", True),
                    wraps=get_wraps_config(given.get("wraps")),
                )
            )

    def _in_file(self) -> Mapping[str, Mapping[str, Any]]:
        return self.config.get("deployments") or self.config.get("models") or {}

    def _own(self, name: str) -> dict[str, Any]:
        given = self._in_file().get(name)
        if given is None:
            return {"retries": self.retries}
        own = {key: given[key] for key in _OWN if key in given}
        problems: list[tuple[Path, str]] = []
        fields = structure({"retries": self.retries} | own, problems)
        if problems:
            raise InvalidConfigError(name, "; ".join(problem for _, problem in problems))
        return {attribute: fields[attribute] for attribute in _OWN.values() if attribute in fields}

    def _wraps(self, config: StreamFlowConfig) -> WrapsConfig | None:
        if config.wraps is None:
            return None
        real_type = connector_classes.get(config.type)
        if real_type is None or issubclass(real_type, StreamFlowWrapper):
            return WrapsConfig(config.wraps.deployment, config.wraps.service)
        if config.name not in self._warned:
            self._warned.add(config.name)
            logger.warning(
                f"The `wraps` directive has no effect on deployment {config.name}, as the `{config.type}` "
                f"connector does not inherit from the ConnectorWrapper class."
            )
        return None


class HostedTypes(Mapping[str, type[Connector]]):
    """The classes that host StreamFlow's connectors, by type string: those that are registered at the moment."""

    def __getitem__(self, type_: str) -> type[Connector]:
        if type_ not in connector_classes:
            raise UnknownTypeError(type_)
        return hosted_type(connector_classes[type_])

    def __iter__(self) -> Iterator[str]:
        return iter(connector_classes)

    def __len__(self) -> int:
        return len(connector_classes)


class UnknownTypeError(UnknownConnectorTypeError):
    """StreamFlow has no connector class of this type."""

    def __init__(self, type_: str) -> None:
        self.type = type_
        known = sorted(connector_classes)
        WorkflowDefinitionException.__init__(
            self, f"unknown type '{type_}'{did_you_mean(type_, known)} (known types: {', '.join(known)})"
        )
