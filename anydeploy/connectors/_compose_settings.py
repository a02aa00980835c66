"""The settings of Compose projects: those of StreamFlow's ``docker-compose``, which are options of the program."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from typing import Final, cast

from attrs import define, field
from attrs.converters import optional

from ..typecheck import expected
from ._container_connector import ContainerConnector
from ._docker_settings import option, options_of, to_list, to_whole
from ._settings import refused, to_environment, to_flag, to_text

_PROJECT: Final = re.compile(r"[a-z0-9][a-z0-9_-]*")
#: The levels of Python, and those of docker.
_LEVELS: Final = {"DEBUG": "debug", "INFO": "info", "WARNING": "warn", "ERROR": "error", "CRITICAL": "fatal"}

#: The fields that are options of ``docker``, of ``docker compose``, and of its ``up``.
_OF_DOCKER: Final = ("_host", "_log_level", "_tls", "_tlscacert", "_tlscert", "_tlskey", "_tlsverify")
_OF_COMPOSE: Final = ("_compatibility", "_verbose")
_OF_UP: Final = (
    *("_always_recreate_deps", "_build", "_force_recreate", "_no_build", "_no_deps", "_no_recreate"),
    *("_remove_orphans", "_renew_anon_volumes", "_timeout", "_wait"),
)


def to_files(value: object) -> tuple[str, ...]:
    """The paths of files, at least one."""
    files = to_list(value)
    if not files or not all(isinstance(each, str) and each != "-" for each in files):
        raise ValueError(expected("a list of files", value))
    return cast("tuple[str, ...]", files)


def to_project(value: object) -> str:
    """The name of a project, in the letters that Compose allows."""
    if not isinstance(value, str) or not _PROJECT.fullmatch(value):
        raise ValueError(expected("a name of lower-case letters, digits, dashes and underscores", value))
    return value


def to_profiles(value: object) -> tuple[str, ...]:
    """The names of profiles."""
    profiles = to_list(value)
    if not all(isinstance(each, str) for each in profiles):
        raise ValueError(expected("a list of profiles", value))
    return cast("tuple[str, ...]", profiles)


def to_level(value: object) -> str:
    """A level of the log, which docker spells in its own way."""
    if not isinstance(value, str) or value not in _LEVELS:
        raise ValueError(expected(f"one of {', '.join(_LEVELS)}", value))
    return _LEVELS[value]


@define(kw_only=True, eq=False, slots=False)
class ComposeSettings(ContainerConnector):
    """The settings of a project.

    :ivar files: the files that describe the project, the later ones on top of the earlier ones
    :ivar project_name: setting ``projectName``: the name of the project; by default, it is made of the deployment's
        name and a token
    :ivar project_directory: setting ``projectDirectory``: the directory that paths in the files are relative to; by
        default, that of the first file
    :ivar profiles: profiles whose services come up as well
    :ivar environment: variables for Compose, which it puts into the files
    :ivar wait: wait until the services run and are healthy
    :ivar timeout: whole seconds that containers have to end; by default, Compose gives them 10
    :ivar removes_volumes: setting ``removeVolumes``: remove the volumes of the project when it goes down
    :ivar removes_orphans: setting ``removeOrphans``: remove containers of services that the files do not have
    :ivar no_ansi: setting ``noAnsi``: write no control characters to the log
    """

    files: tuple[str, ...] = field(converter=to_files)
    project_name: str | None = field(default=None, alias="projectName", converter=optional(to_project))
    project_directory: str | None = field(default=None, alias="projectDirectory", converter=optional(to_text))
    profiles: tuple[str, ...] = field(default=(), converter=to_profiles)
    environment: Mapping[str, str] = field(factory=dict[str, str], converter=to_environment, repr=False)
    no_ansi: bool = field(default=False, alias="noAnsi", converter=to_flag)
    removes_volumes: bool = field(default=False, alias="removeVolumes", converter=to_flag)
    _always_recreate_deps: bool | None = option("alwaysRecreateDeps", to_flag)
    _build: bool | None = option("build", to_flag)
    _compatibility: bool | None = option("compatibility", to_flag)
    _force_recreate: bool | None = option("forceRecreate", to_flag)
    _host: str | None = option("host", to_text)
    _log_level: str | None = option("logLevel", to_level)
    _no_build: bool | None = option("noBuild", to_flag)
    _no_deps: bool | None = option("noDeps", to_flag)
    _no_recreate: bool | None = option("noRecreate", to_flag)
    _no_start: None = refused("noStart", "commands run in services that have been started")
    _remove_orphans: bool | None = option("removeOrphans", to_flag)
    _renew_anon_volumes: bool | None = option("renewAnonVolumes", to_flag)
    _skip_hostname_check: None = refused("skipHostnameCheck", "Compose v2 has no such option")
    _timeout: int | None = option("timeout", to_whole)
    _tls: bool | None = option("tls", to_flag)
    _tlscacert: str | None = option("tlscacert", to_text)
    _tlscert: str | None = option("tlscert", to_text)
    _tlskey: str | None = option("tlskey", to_text)
    _tlsverify: bool | None = option("tlsverify", to_flag)
    _transfer_buffer_size: None = refused("transferBufferSize", "copies need no buffer")
    _verbose: bool | None = option("verbose", to_flag)
    _wait: bool | None = option("wait", to_flag, default=True)

    @property
    def docker_options(self) -> tuple[str, ...]:
        """The options of ``docker``."""
        return tuple(options_of(self, _OF_DOCKER))

    @property
    def compose_options(self) -> tuple[str, ...]:
        """The options of ``docker compose``, all but the files and the project."""
        directory = (f"--project-directory={self.path(self.project_directory)}",) if self.project_directory else ()
        profiles = (f"--profile={profile}" for profile in self.profiles)
        ansi = ("--ansi=never",) if self.no_ansi else ()
        return (*directory, *profiles, *ansi, *options_of(self, _OF_COMPOSE))

    @property
    def file_options(self) -> tuple[str, ...]:
        """The options that name the files."""
        return tuple(f"--file={self.path(file)}" for file in self.files)

    @property
    def up_options(self) -> tuple[str, ...]:
        """The options of ``docker compose up``."""
        return tuple(options_of(self, _OF_UP))

    @property
    def down_options(self) -> tuple[str, ...]:
        """The options of ``docker compose down``."""
        volumes = ("--volumes",) if self.removes_volumes else ()
        return (*volumes, *options_of(self, ("_remove_orphans", "_timeout")))

    def path(self, path: str) -> str:
        """Return a path of the settings as one that is found from where the program runs."""
        return path if self.local_directory is None else posixpath.join(self.local_directory, path)
