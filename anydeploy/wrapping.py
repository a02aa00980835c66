"""The checks of rule D4 between a wrapper and the deployment that it stands on.

They ask the connector class of that deployment, which is foreign code: whatever that raises, apart from
KeyboardInterrupt, is a problem of the wrapper's definition (rule D7).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, cast

from attrs import frozen

from .config import DeploymentConfig
from .connector import Connector, ConnectorWrapper
from .exceptions import WorkflowDefinitionException, describe, did_you_mean
from .frozen import thaw
from .typecheck import Problem, expected, is_iterable


@frozen
class Layer:
    """A deployment, as those see it that stand on it.

    :ivar type_name: the type string in its definition
    :ivar stateful: that flag of its class
    :ivar settings: in plain dicts and lists; right, where others stand on it
    :ivar wraps: the name of the deployment that it stands on, if it names one; ``service``: which of the services there
    """

    name: str
    type_name: str
    connector_type: type[Connector]
    stateful: bool
    settings: Mapping[str, Any]
    wraps: str | None = None
    service: str | None = None

    @classmethod
    def of(cls, config: DeploymentConfig, connector_type: type[Connector], *, stateful: bool) -> Layer:
        """Return the layer of a definition, with the class of its type."""
        below = (config.wraps.deployment, config.wraps.service) if config.wraps is not None else ()
        return cls(config.name, config.type, connector_type, stateful, thaw(config.config), *below)


#: Returns the layer of a name; None if it is not known, or not right.
Find: TypeAlias = Callable[[str], Layer | None]


def can_wrap(connector_type: type[Connector]) -> bool:
    """Whether a connector class stands on another connector."""
    return issubclass(connector_type, ConnectorWrapper)


def check_wraps(type_: str, connector_type: type[Connector]) -> list[Problem]:
    """Return the problem with a ``wraps`` of a definition, unless its connector can wrap another one."""
    if can_wrap(connector_type):
        return []
    problem = f"type '{type_}' cannot wrap another deployment"
    return [(("wraps",), f"{problem}; expected no 'wraps', or the type of a connector that wraps another one")]


def check_wrapped(layer: Layer, find: Find) -> list[Problem]:
    """Return the problems of a definition with what it wraps: a service that is not there, a place that is not kept.

        check_wrapped(layers["box"], layers.get)

    :param find: gives the layers below
    """
    wrapped = find(layer.wraps) if layer.wraps is not None else None
    if wrapped is None:
        return []
    problems: list[Problem] = []
    if layer.service is not None:
        problem = check_service(wrapped, layer.service)
        if problem is not None:
            problems.append((("wraps", "service"), problem))
    if layer.stateful:
        problem = _check_place(layer, wrapped, find)
        if problem is not None:
            problems.append((("wraps",), problem))
    return problems


def check_service(layer: Layer, service: str) -> str | None:
    """Return the problem with the name of a service of a deployment; None if it has it, or if only a deploy tells."""
    try:
        services = services_of(layer)
    except ValueError as exc:
        return str(exc)
    if services is None or service in services:
        return None
    if not services:
        return f"deployment '{layer.name}' (type '{layer.type_name}') has no services; expected none, found '{service}'"
    near = did_you_mean(service, services)
    return f"deployment '{layer.name}' has no service '{service}'{near} (expected one of {', '.join(services)})"


def services_of(layer: Layer) -> Sequence[str] | None:
    """Return the services of a deployment; None if they are not known before it is deployed.

    :raises ValueError: if its class fails to tell
    """
    try:
        answer = cast("object", layer.connector_type.services_of(layer.settings))
        services = None if answer is None else _names_in(answer)
    except KeyboardInterrupt:
        raise
    except BaseException as exc:
        raise ValueError(f"the services of deployment '{layer.name}' cannot be told: {describe(exc)}") from exc
    return services


def _names_in(answer: object) -> list[str]:
    names = list(answer) if is_iterable(answer) and not isinstance(answer, str) else None
    if names is None or not all(isinstance(each, str) for each in names):
        raise WorkflowDefinitionException(f"`services_of`: {expected('names, or None', answer)}")
    return names


def _check_place(layer: Layer, wrapped: Layer, find: Find) -> str | None:
    """Return the problem of a stateful wrapper whose commands may run in different places."""
    seen = {layer.name}
    below: Layer | None = wrapped
    while below is not None and below.name not in seen:
        seen.add(below.name)
        advice = _advice_for_stateful(below, directly=below is wrapped)
        if advice is not None:
            problem = f"type '{layer.type_name}' has to come back to the same place"
            return f"{problem}, and two commands on '{below.name}' may run in different ones; {advice}"
        # The commands of such a wrapper run where those of the environment below it do.
        passes_on = can_wrap(below.connector_type) and not below.stateful
        below = find(below.wraps) if passes_on and below.wraps is not None else None
    return None


def _advice_for_stateful(layer: Layer, *, directly: bool) -> str | None:
    try:
        advice = cast("object", layer.connector_type.check_stateful(layer.settings, directly=directly))
    except KeyboardInterrupt:
        raise
    except BaseException as exc:  # noqa: BLE001 - whatever foreign code raises is its verdict
        return f"`check_stateful` of {layer.connector_type.__name__} has failed: {describe(exc)}"
    if advice is None or isinstance(advice, str):
        return advice
    return f"`check_stateful` of {layer.connector_type.__name__}: {expected('a text, or None', advice)}"
