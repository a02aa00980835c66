"""The settings, and those of one service: the options of ``sbatch``, under the names that StreamFlow gives them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from attrs import field, frozen

from ..exceptions import did_you_mean
from ..typecheck import expected, is_mapping, show

_TEXT: Final = (
    *("account", "acctgFreq", "batch", "bb", "bbf", "begin", "constraint", "container", "containerId", "cpuFreq"),
    *(
        "deadline",
        "distribution",
        "exclude",
        "export",
        "exportFile",
        "extraNodeInfo",
        "gid",
        "gpuBind",
        "gpuFreq",
        "gpus",
    ),
    *("gpusPerNode", "gpusPerSocket", "gpusPerTask", "gres", "gresFlags", "hint", "jobName", "licenses", "mailType"),
    *("mailUser", "mcsLabel", "mem", "memBind", "memPerCpu", "memPerGpu", "network", "nodefile", "nodelist", "nodes"),
    *("partition", "power", "prefer", "priority", "profile", "propagate", "qos", "reservation", "signal", "switches"),
    *("time", "timeMin", "tresPerTask", "wckey"),
)
_NUMBERS: Final = (
    *("coreSpec", "coresPerSocket", "cpusPerGpu", "cpusPerTask", "delayBoot", "mincpus", "nice", "ntasks"),
    *("ntasksPerCore", "ntasksPerGpu", "ntasksPerNode", "ntasksPerSocket", "socketsPerNode", "threadSpec"),
    *("threadsPerCore", "tmp"),
)
_FLAGS: Final = (
    *("contiguous", "ignorePBS", "noKill", "noRequeue", "overcommit", "oversubscribe", "reboot", "spreadJob"),
    *("useMinNodes", "waitAllNodes"),
)
#: True, or more that is said of it.
_FLAGS_OR_TEXT: Final = ("exclusive", "getUserEnv")

#: Those that cannot be had, and why.
REFUSED: Final[Mapping[str, str]] = {
    "array": "a command is one job",
    "clusterConstraint": "jobs are watched in the default cluster",
    "clusters": "jobs are watched in the default cluster",
    "openMode": "the output of a job goes back to its caller",
    "requeue": "a command is never run twice",
    "uid": "jobs are watched as those of the user who submits them",
}
KNOWN: Final = frozenset({"file", *_TEXT, *_NUMBERS, *_FLAGS, *_FLAGS_OR_TEXT, *REFUSED})

_TEMPLATE: Final = "#!/bin/sh\n{{streamflow_command}}\n"
_MODES: Final = ("batch", "allocation")
_CAPITAL: Final = re.compile(r"(?=[A-Z])")
#: A job ends with its script, which therefore has to outlive signals that are meant for the command.
_OUTLIVE: Final = "trap : HUP INT QUIT TERM USR1 USR2\n"
#: Where a template has something to be filled in, or more of Jinja.
_PLACE: Final = re.compile(r"\{\{\s*(.*?)\s*\}\}|(\{%|\{#)")


def _option(name: str) -> str:
    if name == "ignorePBS":
        return "--ignore-pbs"
    return "--" + _CAPITAL.sub("-", name).lower()


@frozen
class Service:
    """A kind of job.

    :ivar options: arguments of ``sbatch``
    :ivar file: a file with a template of the batch script
    """

    options: tuple[str, ...] = field(default=())
    file: str | None = None

    @property
    def job_name(self) -> str | None:
        """The name that its jobs have in place of one of ours."""
        prefix = "--job-name="
        return next((each.removeprefix(prefix) for each in self.options if each.startswith(prefix)), None)


def to_services(value: object) -> Mapping[str, Service]:
    """Return the services of a setting.

    :raises ValueError, TypeError: if one is wrong, or has a setting that cannot be had
    """
    if value is None:
        return {}
    if not is_mapping(value):
        raise TypeError(expected("a mapping from names of services to their settings", value))
    return {str(name): _to_service(str(name), settings) for name, settings in value.items()}


def _to_service(name: str, settings: object) -> Service:
    if settings is None:
        return Service()
    if not is_mapping(settings):
        raise TypeError(f"service '{name}': {expected('a mapping of settings', settings)}")
    unknown = next((str(key) for key in settings if key not in KNOWN), None)
    if unknown is not None:
        raise ValueError(f"service '{name}': unknown setting '{unknown}'{did_you_mean(unknown, KNOWN)}")
    options = [each for key, value in settings.items() for each in _to_options(name, str(key), value)]
    file: object = settings.get("file")
    if file is not None and not isinstance(file, str):
        raise TypeError(f"service '{name}': file: {expected('a path', file)}")
    return Service(tuple(options), file)


def _to_options(service: str, key: str, value: object) -> Iterator[str]:
    where = f"service '{service}': {key}"
    # Unset, or switched off, as StreamFlow has them.
    if value is None or value is False or key == "file":
        return
    if key in REFUSED:
        raise ValueError(f"{where}: this setting of StreamFlow's slurm is not supported: {REFUSED[key]}")
    if key in _FLAGS:
        if value is not True:
            raise TypeError(f"{where}: {expected('true or false', value)}")
        # Jobs are never queued again, whether that is said or not.
        if key != "noRequeue":
            yield f"{_option(key)}=1" if key == "waitAllNodes" else _option(key)
    elif key in _FLAGS_OR_TEXT and value is True:
        yield _option(key)
    elif isinstance(value, bool) or not isinstance(value, int if key in _NUMBERS else int | str):
        raise TypeError(f"{where}: expected {'a whole number' if key in _NUMBERS else 'a string'}, found {show(value)}")
    else:
        yield f"{_option(key)}={value}"


def read_script(file: Path | None) -> str:
    """Return the batch script of a template in a file, or of the one for all that have none.

    :raises ValueError: if it cannot be used, with the reason
    """
    if file is None:
        return to_script(_TEMPLATE)
    try:
        return to_script(file.read_text())
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else exc
        raise ValueError(f"the template {file} cannot be used: {reason}") from exc


def to_script(template: str) -> str:
    """Return the batch script of a template, in which a null character stands for the command.

    A template is that of StreamFlow, as far as it needs no Jinja: ``{{ streamflow_command }}`` is filled in. The
    command brings its variables and its directory along, so their places may be left empty.

    :raises ValueError: if the command has no place in it, there is more in it, or sbatch would not take it
    """

    def fill(match: re.Match[str]) -> str:
        if match[2] or match[1] not in {"streamflow_command", "streamflow_environment", "streamflow_workdir"}:
            raise ValueError(f"a template may contain {{{{streamflow_command}}}}, and has {match[0]!r}")
        return {"streamflow_command": "\0", "streamflow_environment": ":"}.get(match[1], ".")

    script = _PLACE.sub(fill, template.replace("\0", ""))
    lines = script.splitlines(keepends=True)
    if not any("\0" in line and not line.lstrip().startswith("#") for line in lines):
        raise ValueError("the template does not contain {{streamflow_command}}, or only in a comment")
    if not lines[0].startswith("#!"):
        raise ValueError(f"the template has to begin with a line such as `#!/bin/sh`, and begins with {show(lines[0])}")
    if lines[0].rstrip().endswith("sh"):
        # Options of sbatch stand before the first command.
        first = next(number for number, line in enumerate(lines) if line.strip() and not line.startswith("#"))
        lines.insert(first, _OUTLIVE)
    return "".join(lines)


def to_mode(value: object) -> str | None:
    """Return the mode, or None for both.

    :raises ValueError: if there is no such mode
    """
    if value is not None and (not isinstance(value, str) or value not in _MODES):
        known = did_you_mean(value, _MODES) if isinstance(value, str) else ""
        raise ValueError(f"{expected('`batch` or `allocation`', value)}{known}")
    return value
