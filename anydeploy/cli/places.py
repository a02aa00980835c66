"""The places that the command of ``run`` may run in: deployments, and services of deployments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress

from attrs import frozen

from ..checking import find_connector_type, flags_of
from ..config import DeploymentConfig
from ..wrapping import Layer, check_service, services_of
from .loading import Misuse


@frozen
class Place:
    """A deployment, or one of its services: ``NAME`` or ``NAME/SERVICE``.

    :ivar service: None: the default of the deployment
    """

    name: str
    service: str | None = None

    @classmethod
    def read(cls, written: str) -> Place:
        """Return the place that an argument stands for.

        :raises Misuse: if the name of the service is missing behind the slash
        """
        name, slash, service = written.partition("/")
        if slash and not service:
            raise Misuse([f"'{written}': the service is missing; expected NAME or NAME/SERVICE"])
        return cls(name, service or None)

    def check(self, configs: Mapping[str, DeploymentConfig]) -> None:
        """Check the service, as far as services are known before the deployment is up.

        :raises Misuse: if the deployment does not have it
        """
        problem = check_service(_layer(configs[self.name]), self.service) if self.service is not None else None
        if problem is not None:
            raise Misuse([problem])


def every_place(configs: Mapping[str, DeploymentConfig]) -> Iterator[str]:
    """Yield the deployments, each followed by its services, as far as they are known, as arguments have them."""
    for name, config in configs.items():
        yield name
        with suppress(ValueError):
            for service in services_of(_layer(config)) or ():
                yield f"{name}/{service}"


def _layer(config: DeploymentConfig) -> Layer:
    connector_type = find_connector_type(config.type, {})
    return Layer.of(config, connector_type, stateful=flags_of(config.type, connector_type).stateful)
