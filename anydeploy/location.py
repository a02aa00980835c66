"""The places of an environment: hosts, nodes, the containers of a service."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen


@frozen
class Hardware:
    """The resources of a location, as far as they are known.

    :ivar cores: processors
    :ivar memory: MiB
    :ivar storage: MiB that are free, by the path of a file system
    """

    cores: float
    memory: float
    storage: Mapping[str, float] = field(factory=dict[str, float])


@frozen
class Location:
    """One place in an environment where a command can run.

        for name in await cluster.get_available_locations():
            await cluster.at(location=name).run(["hostname"])

    :ivar name: unique in its deployment; that of :meth:`Connector.at`
    :ivar deployment: the name of the deployment
    :ivar service: the service that it belongs to, in an environment that has services
    :ivar hostname: the name or address of its machine; None: not known
    :ivar slots: the number of commands that it is meant for at a time
    :ivar hardware: None: not known
    :ivar wraps: the location of the wrapped environment through which it is reached
    """

    name: str
    deployment: str
    service: str | None = None
    hostname: str | None = None
    slots: int = 1
    hardware: Hardware | None = None
    wraps: Location | None = None


@frozen
class Port:
    """A port, as seen from a place in an environment.

    :ivar host: its host, by the name or address that it has there
    :ivar service: the service of the environment; ``location``: the place. None: the connector's default
    """

    host: str
    port: int
    service: str | None = None
    location: str | None = None
