"""The definition of a deployment: pure data, checked when it is constructed, frozen, compared by value (rule D4)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
from typing import Any, ClassVar, Final, TypeAlias, cast

from attrs import frozen

from .duration import to_positive_seconds
from .exceptions import InvalidConfigError
from .frozen import EMPTY, freeze, is_equal
from .typecheck import Problem, expected, is_iterable, is_mapping, show, show_keys, to_count, unreadable

#: Returns the value that a field has for the one that is given. Adds to the problems, or raises ValueError for one.
_Check: TypeAlias = Callable[[Any, list[Problem]], object]


@frozen
class WrapsConfig:
    """The deployment that another one is stacked on.

    :ivar deployment: its name
    :ivar service: which of its services, for an environment that has several (a compose project, a pod)
    :raises InvalidConfigError: if a value is of a wrong type
    """

    deployment: str
    service: str | None = None

    def __attrs_post_init__(self) -> None:
        problems: list[Problem] = []
        _check_name(self.deployment, problems, "deployment")
        if self.service is not None:
            _check_text(self.service, problems, "service")
        for path, problem in problems:
            raise InvalidConfigError("", problem, field=show_keys(("wraps", *path)))


@frozen(init=False, eq=False)
class DeploymentConfig:
    """The definition of one deployment; the fields are those of StreamFlow, and five of anydeploy's own.

    It owns a deep copy of its settings that nobody can change (:func:`anydeploy.frozen.freeze`), and pickles and
    copies::

        DeploymentConfig("db", "process", {"command": ["postgres"]}, depends_on="network", deploy_timeout="2m")

    :ivar name: its name, unique in a manager
    :ivar type: the type of the connector that deploys it
    :ivar config: the settings of the connector, whose constructor is given a plain copy of them
    :ivar external: it exists already: connect and disconnect, never create or destroy (rule E1)
    :ivar lazy: bring it up at its first use and not before (rules L1, L2)
    :ivar scheduling_policy: StreamFlow's; kept, not interpreted
    :ivar workdir: the directory in the environment in which commands run that name no other
    :ivar wraps: the deployment that this one is stacked on; a plain name will do
    :ivar depends_on: the names of further deployments that must be live when this one is deployed; one will do
    :ivar deploy_timeout: seconds that one attempt to deploy may take, or a string such as ``2m``; None: the manager's
        (rule K2)
    :ivar undeploy_timeout: likewise for a teardown
    :ivar retries: how many times a failed deploy is tried again (rule K3)
    :ivar restarts: how many times it is brought up again by itself after it was lost (rule X4)
    :raises InvalidConfigError: if a value is of a wrong type, or out of range
    """

    name: str
    type: str
    config: Mapping[str, Any]
    external: bool
    lazy: bool
    scheduling_policy: object
    workdir: str | None
    wraps: WrapsConfig | None
    depends_on: tuple[str, ...]
    deploy_timeout: float | None
    undeploy_timeout: float | None
    retries: int
    restarts: int
    __hash__: ClassVar[None] = None  # type: ignore[assignment]

    def __init__(  # noqa: PLR0917 - the order is StreamFlow's
        self,
        name: str,
        type: str,  # noqa: A002 - StreamFlow's name
        config: Mapping[str, Any] = EMPTY,
        external: bool = False,
        lazy: bool = False,
        scheduling_policy: object = None,
        workdir: str | None = None,
        wraps: str | WrapsConfig | Mapping[str, str] | None = None,
        depends_on: str | Iterable[str] = (),
        deploy_timeout: float | str | None = None,
        undeploy_timeout: float | str | None = None,
        retries: int = 0,
        restarts: int = 0,
    ) -> None:
        given = (
            *(name, type, config, external, lazy, scheduling_policy, workdir, wraps, depends_on),
            *(deploy_timeout, undeploy_timeout, retries, restarts),
        )
        problems: list[Problem] = []
        assign = object.__setattr__.__get__(self)
        for (field, default), value in zip(_DEFAULTS, given, strict=True):
            # A default is right as it is, and there are many of them.
            checked = value if value is default else check_field(field, value, problems)
            if problems:
                path, problem = problems[0]
                known = "" if field == "name" else self.name
                raise InvalidConfigError(known, problem, field=show_keys((field, *path)))
            assign(field, checked)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, DeploymentConfig):
            return NotImplemented
        return is_equal(_values(self), _values(other))

    @property
    def dependencies(self) -> tuple[str, ...]:
        """The names this one waits for, each once: what it wraps first, then ``depends_on`` in its order."""
        wrapped = () if self.wraps is None else (self.wraps.deployment,)
        return tuple(dict.fromkeys((*wrapped, *self.depends_on)))


def check_field(field: str, value: object, problems: list[Problem]) -> object:
    """Return the value that a field of a definition has for the one that is given.

    :param field: its name in :class:`DeploymentConfig`
    :param problems: everything that is wrong is added to them; the paths begin inside the value
    """
    try:
        return _CHECKS[field](value, problems)
    except KeyboardInterrupt:
        raise
    except BaseException as exc:  # noqa: BLE001 - a mapping, or what is in one, may be anybody's
        problems.append(((), str(exc) if isinstance(exc, ValueError) else unreadable(exc)))
        return value


def _check_name(value: object, problems: list[Problem], *path: object) -> object:
    if not isinstance(value, str) or not value:
        problems.append((path, expected("a name, a string that is not empty", value)))
    return value


def _check_text(value: object, problems: list[Problem], *path: object) -> object:
    if not isinstance(value, str):
        problems.append((path, expected("a string", value)))
    return value


def _check_type(value: object, _: list[Problem]) -> object:
    if not isinstance(value, str) or not value:
        raise ValueError(expected("the type of a connector, a string that is not empty", value))
    return value


def _check_flag(value: object, _: list[Problem]) -> object:
    if not isinstance(value, bool):
        raise ValueError(expected("true or false", value))  # noqa: TRY004 - it becomes an InvalidConfigError
    return value


def _check_count(value: object, _: list[Problem]) -> object:
    return to_count(value, least=0)


def _check_duration(value: object, _: list[Problem]) -> object:
    return to_positive_seconds(value)


def _check_settings(value: object, problems: list[Problem]) -> object:
    if not is_mapping(value):
        raise ValueError(expected("a mapping of settings", value))
    problems += [((key,), f"the key is {show(key)}; expected a string") for key in value if not isinstance(key, str)]
    return freeze(value)


def _check_policy(value: object, _: list[Problem]) -> object:
    return freeze(value)


def _check_wraps(value: object, problems: list[Problem]) -> object:
    if isinstance(value, WrapsConfig):
        return value
    if isinstance(value, str) and value:
        return WrapsConfig(value)
    if not is_mapping(value):
        raise ValueError(expected("the name of a deployment, or a mapping with 'deployment' and 'service'", value))
    if "deployment" not in value:
        problems.append(((), "the key 'deployment' is required"))
    for key, item in value.items():
        if key == "deployment":
            _check_name(item, problems, key)
        elif key == "service":
            _check_text(item, problems, key)
        else:
            problems.append(((key,), "unknown key; expected 'deployment' or 'service'"))
    return value if problems else WrapsConfig(**cast("Mapping[str, Any]", value))


def _check_names(value: object, problems: list[Problem]) -> object:
    if isinstance(value, str) and value:
        return (value,)
    # A file yields its lines, each with the end of the line.
    if isinstance(value, str) or not is_iterable(value) or is_mapping(value) or hasattr(value, "readline"):
        raise ValueError(expected("the name of a deployment, or a list of names", value))
    names = tuple(value)
    for index, name in enumerate(names):
        _check_name(name, problems, index)
    return names


_CHECKS: Final[Mapping[str, _Check]] = {
    "name": _check_name,
    "type": _check_type,
    "config": _check_settings,
    "external": _check_flag,
    "lazy": _check_flag,
    "scheduling_policy": _check_policy,
    "workdir": _check_text,
    "wraps": _check_wraps,
    "depends_on": _check_names,
    "deploy_timeout": _check_duration,
    "undeploy_timeout": _check_duration,
    "retries": _check_count,
    "restarts": _check_count,
}
#: The fields in their order, with their defaults; no value is the default of one that is required.
_DEFAULTS: Final = tuple(
    zip(_CHECKS, (object(), object(), *(DeploymentConfig.__init__.__defaults__ or ())), strict=True)
)
_values = attrgetter(*_CHECKS)
