"""What a deployment is defined by. Pure data: frozen, compared by value, never changed by the manager."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from attrs import field, frozen
from attrs.validators import and_, ge, gt, instance_of, min_len, optional


@frozen
class WrapsConfig:
    """The deployment that another one is stacked on.

    :ivar deployment: its name
    :ivar service: which of its services, for an environment that has several (a compose project, a pod)
    """

    deployment: str = field(validator=instance_of(str))
    service: str | None = field(default=None, validator=optional(instance_of(str)))


def _to_wraps(value: str | WrapsConfig | None) -> WrapsConfig | None:
    return WrapsConfig(value) if isinstance(value, str) else value


def _to_names(value: str | Iterable[str]) -> tuple[str, ...]:
    """A single name is one dependency, not a sequence of letters."""
    return (value,) if isinstance(value, str) else tuple(value)


_seconds = optional(and_(instance_of((int, float)), gt(0)))


@frozen
class DeploymentConfig:
    """The definition of one deployment; the fields are those of StreamFlow, and four of anydeploy's own.

    :ivar name: what it is called; unique in a manager
    :ivar type: which connector class deploys it
    :ivar config: the settings of the connector, passed to its constructor; never changed
    :ivar external: it exists already: connect and disconnect, never create or destroy (rule E1)
    :ivar lazy: bring it up at its first use and not before (rules L1, L2)
    :ivar scheduling_policy: StreamFlow's; kept, not interpreted
    :ivar workdir: the directory in the environment in which commands run that name no other
    :ivar wraps: the deployment that this one is stacked on; a plain name will do
    :ivar depends_on: the names of further deployments that must be live while this one is
    :ivar deploy_timeout: seconds that one attempt to deploy may take; None: the manager's (rule K2)
    :ivar undeploy_timeout: seconds that a teardown may take; None: the manager's (rule K2)
    :ivar retries: how many times a failed deploy is tried again (rule K3)
    """

    name: str = field(validator=(instance_of(str), min_len(1)))
    type: str = field(validator=instance_of(str))
    config: Mapping[str, Any] = field(factory=dict[str, Any])
    external: bool = field(default=False, converter=bool)
    lazy: bool = field(default=False, converter=bool)
    scheduling_policy: object = None
    workdir: str | None = field(default=None, validator=optional(instance_of(str)))
    wraps: WrapsConfig | None = field(default=None, converter=_to_wraps, validator=optional(instance_of(WrapsConfig)))
    depends_on: tuple[str, ...] = field(default=(), converter=_to_names)
    deploy_timeout: float | None = field(default=None, validator=_seconds)
    undeploy_timeout: float | None = field(default=None, validator=_seconds)
    retries: int = field(default=0, validator=(instance_of(int), ge(0)))

    @property
    def dependencies(self) -> tuple[str, ...]:
        """The names this one waits for, each once: what it wraps first, then ``depends_on`` in its order."""
        if self.wraps is None:
            return self.depends_on if len(self.depends_on) < 2 else tuple(dict.fromkeys(self.depends_on))
        return tuple(dict.fromkeys((self.wraps.deployment, *self.depends_on)))
