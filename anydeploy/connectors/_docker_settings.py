"""The settings of containers: those of StreamFlow's ``docker``, which are the options of ``docker run``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias, cast

import attrs
from attrs import define, field
from attrs.converters import optional

from ..typecheck import expected, is_list_or_tuple, is_number, show
from ._container_connector import ContainerConnector
from ._settings import kind_of, refused, to_argv, to_environment, to_flag, to_text

Scalar: TypeAlias = str | float

_CAPITALS: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
#: A longer line of a file of variables is an error for docker.
_LONGEST_LINE: Final = 60_000


def to_name(value: object) -> str:
    """The name of an image or a container, which cannot be taken for an option."""
    text = to_text(value)
    if text.startswith("-") or any(character.isspace() for character in text):
        raise ValueError(expected("a name", value))
    return text


def to_whole(value: object) -> int:
    """A whole number."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(expected("a whole number", value))
    return value


def to_number(value: object) -> float:
    """A number."""
    if not is_number(value, int, float):
        raise TypeError(expected("a number", value))
    return value


def to_size(value: object) -> Scalar:
    """A number of bytes, or a string with a unit, such as ``512m``."""
    return to_text(value) if isinstance(value, str) else to_whole(value)


def to_list(value: object) -> tuple[Scalar, ...]:
    """Strings, or numbers, none of them twice."""
    kind = "a list of strings"
    if not is_list_or_tuple(value):
        raise TypeError(expected(kind, value))
    items = tuple(cast("Sequence[object]", value))
    for item in items:
        if not (isinstance(item, str) and item and "\0" not in item) and not is_number(item, int):
            raise TypeError(f"expected {kind}; one of them is {show(item)}")
        if items.count(item) > 1:
            raise ValueError(f"{show(item)} is listed twice")
    return cast("tuple[Scalar, ...]", items)


def to_variables(value: object) -> tuple[str, ...]:
    """Variables as ``NAME=value``, or as ``NAME``: then the value is that where the program runs.

    A value is in no message.
    """
    kind = "a list of variables, each `NAME=value`"
    if not is_list_or_tuple(value):
        raise TypeError(f"expected {kind}, found {kind_of(value)}")
    names: set[str] = set()
    for position, item in enumerate(cast("Sequence[object]", value), start=1):
        if not isinstance(item, str):
            raise TypeError(f"expected {kind}; item {position} is {kind_of(item)}")
        name = item.partition("=")[0]
        if not name or name.startswith("#") or any(each.isspace() for each in name):
            raise ValueError(f"expected {kind}; item {position} has no name that can be passed")
        if "\0" in item or any("\ud800" <= each <= "\udfff" for each in item):
            raise ValueError(f"expected {kind}; item {position} contains what is no text")
        if name in names:
            raise ValueError(f"{name} is listed twice")
        names.add(name)
    return tuple(cast("Sequence[str]", value))


def option(name: str, convert: Callable[[object], Any], default: Any = None) -> Any:
    """Return a setting that is an option of a program, with the same name in its spelling."""
    converter = cast("Any", optional(convert))
    metadata = {"option": "--" + _CAPITALS.sub("-", name).lower()}
    return cast("Any", field)(default=default, alias=name, converter=converter, repr=False, metadata=metadata)


def options_of(settings: object, only: Sequence[str] | None = None) -> Iterator[str]:
    """Yield the options of a program that settings stand for, each as one word.

    :param only: the fields that count; None: all that are options
    """
    for attribute in attrs.fields(cast("Any", type(settings))):
        name = attribute.metadata.get("option")
        value = cast("object", getattr(settings, attribute.name, None))
        if name is None or value is None or (only is not None and attribute.name not in only):
            continue
        if isinstance(value, bool):
            yield name if value else f"{name}=false"
        else:
            yield from (f"{name}={each}" for each in (value if is_list_or_tuple(value) else (value,)))


def divide_variables(variables: Sequence[str]) -> tuple[str, Mapping[str, str]]:
    """Return variables as the text of a file, and those whose values no line of such a file can hold."""
    lines: list[str] = []
    others: dict[str, str] = {}
    for variable in variables:
        name, has_value, value = variable.partition("=")
        if has_value and ("\n" in value or "\r" in value or len(variable) > _LONGEST_LINE):
            others[name] = value
        else:
            lines.append(f"{variable}\n")
    return "".join(lines), others


@define(kw_only=True, eq=False, slots=False)
class ContainerSettings(ContainerConnector):
    """The settings of one container.

    :ivar image: the image, which is pulled if it is missing
    :ivar command: the command of the container, in place of that of the image
    :ivar variables: setting ``env``: variables of the container, each ``NAME=value``; their values stand in no list of
        processes
    :ivar environment: variables for the program itself, such as ``DOCKER_HOST``
    :ivar container_id: setting ``containerId``: the id or name of the container, required where the deployment is
        ``external``
    :ivar removes: setting ``rm``: remove the container at the end; otherwise it is only stopped
    :ivar init: run an init in the container, which ends it at once when it is asked to
    """

    image: str = field(converter=to_name)
    container_id: str | None = field(default=None, alias="containerId", converter=optional(to_name))
    command: tuple[str, ...] | None = field(default=None, converter=optional(to_argv))
    environment: Mapping[str, str] = field(factory=dict[str, str], converter=to_environment, repr=False)
    variables: tuple[str, ...] = field(default=(), alias="env", converter=to_variables, repr=False)
    removes: bool = field(default=True, alias="rm", converter=to_flag)
    _add_host: tuple[str | float, ...] | None = option("addHost", to_list)
    _blkio_weight: int | None = option("blkioWeight", to_whole)
    _blkio_weight_device: tuple[str | float, ...] | None = option("blkioWeightDevice", to_list)
    _cap_add: tuple[str | float, ...] | None = option("capAdd", to_list)
    _cap_drop: tuple[str | float, ...] | None = option("capDrop", to_list)
    _cgroup_parent: str | None = option("cgroupParent", to_text)
    _cgroupns: str | None = option("cgroupns", to_text)
    _cidfile: None = refused("cidfile", "the container is found by its name")
    _cpu_period: int | None = option("cpuPeriod", to_whole)
    _cpu_quota: int | None = option("cpuQuota", to_whole)
    _cpu_rt_period: int | None = option("cpuRTPeriod", to_whole)
    _cpu_rt_runtime: int | None = option("cpuRTRuntime", to_whole)
    _cpu_shares: int | None = option("cpuShares", to_whole)
    _cpus: float | None = option("cpus", to_number)
    _cpuset_cpus: str | None = option("cpusetCpus", to_text)
    _cpuset_mems: str | None = option("cpusetMems", to_text)
    _detach_keys: None = refused("detachKeys", "no terminal is attached to the container")
    _device: tuple[str | float, ...] | None = option("device", to_list)
    _device_cgroup_rule: tuple[str | float, ...] | None = option("deviceCgroupRule", to_list)
    _device_read_bps: tuple[str | float, ...] | None = option("deviceReadBps", to_list)
    _device_read_iops: tuple[str | float, ...] | None = option("deviceReadIops", to_list)
    _device_write_bps: tuple[str | float, ...] | None = option("deviceWriteBps", to_list)
    _device_write_iops: tuple[str | float, ...] | None = option("deviceWriteIops", to_list)
    _dns: tuple[str | float, ...] | None = option("dns", to_list)
    _dns_option: tuple[str | float, ...] | None = option("dnsOption", to_list)
    _dns_search: tuple[str | float, ...] | None = option("dnsSearch", to_list)
    _domainname: str | None = option("domainname", to_text)
    _entrypoint: str | None = option("entrypoint", to_text)
    _env_file: tuple[str | float, ...] | None = option("envFile", to_list)
    _expose: tuple[str | float, ...] | None = option("expose", to_list)
    _gpus: str | None = option("gpus", to_text)
    _group_add: tuple[str | float, ...] | None = option("groupAdd", to_list)
    _health_cmd: str | None = option("healthCmd", to_text)
    _health_interval: str | None = option("healthInterval", to_text)
    _health_retries: int | None = option("healthRetries", to_whole)
    _health_start_period: str | None = option("healthStartPeriod", to_text)
    _health_timeout: str | None = option("healthTimeout", to_text)
    _hostname: str | None = option("hostname", to_text)
    _init: bool | None = option("init", to_flag, default=True)
    _ip: str | None = option("ip", to_text)
    _ip6: str | None = option("ip6", to_text)
    _ipc: str | None = option("ipc", to_text)
    _isolation: str | None = option("isolation", to_text)
    _kernel_memory: str | float | None = option("kernelMemory", to_size)
    _label: tuple[str | float, ...] | None = option("label", to_list)
    _label_file: tuple[str | float, ...] | None = option("labelFile", to_list)
    _link: tuple[str | float, ...] | None = option("link", to_list)
    _link_local_ip: tuple[str | float, ...] | None = option("linkLocalIP", to_list)
    _log_driver: str | None = option("logDriver", to_text)
    _log_opt: tuple[str | float, ...] | None = option("logOpt", to_list)
    _mac_address: str | None = option("macAddress", to_text)
    _memory: str | float | None = option("memory", to_size)
    _memory_reservation: str | float | None = option("memoryReservation", to_size)
    _memory_swap: str | float | None = option("memorySwap", to_size)
    _memory_swappiness: int | None = option("memorySwappiness", to_whole)
    _mount: tuple[str | float, ...] | None = option("mount", to_list)
    _network: tuple[str | float, ...] | None = option("network", to_list)
    _network_alias: tuple[str | float, ...] | None = option("networkAlias", to_list)
    _no_healthcheck: bool | None = option("noHealthcheck", to_flag)
    _oom_kill_disable: bool | None = option("oomKillDisable", to_flag)
    _oom_score_adj: int | None = option("oomScoreAdj", to_whole)
    _pid: str | None = option("pid", to_text)
    _pids_limit: int | None = option("pidsLimit", to_whole)
    _privileged: bool | None = option("privileged", to_flag)
    _publish: tuple[str | float, ...] | None = option("publish", to_list)
    _publish_all: bool | None = option("publishAll", to_flag)
    _read_only: bool | None = option("readOnly", to_flag)
    _restart: str | None = option("restart", to_text)
    _runtime: str | None = option("runtime", to_text)
    _security_opt: tuple[str | float, ...] | None = option("securityOpt", to_list)
    _shm_size: str | float | None = option("shmSize", to_size)
    _sig_proxy: None = refused("sigProxy", "signals are for the commands that run in the container")
    _stop_signal: str | None = option("stopSignal", to_text)
    _stop_timeout: int | None = option("stopTimeout", to_whole)
    _storage_opt: tuple[str | float, ...] | None = option("storageOpt", to_list)
    _sysctl: tuple[str | float, ...] | None = option("sysctl", to_list)
    _tmpfs: tuple[str | float, ...] | None = option("tmpfs", to_list)
    _transfer_buffer_size: None = refused("transferBufferSize", "copies need no buffer")
    _ulimit: tuple[str | float, ...] | None = option("ulimit", to_list)
    _user: str | None = option("user", to_text)
    _userns: str | None = option("userns", to_text)
    _uts: str | None = option("uts", to_text)
    _volume: tuple[str | float, ...] | None = option("volume", to_list)
    _volume_driver: str | None = option("volumeDriver", to_text)
    _volumes_from: tuple[str | float, ...] | None = option("volumesFrom", to_list)
    _workdir: str | None = option("workdir", to_text)
