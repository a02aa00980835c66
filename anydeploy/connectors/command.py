"""The ``command`` connector: environments that command lines create and destroy, as terraform, helm or kind do."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import attrs
from anyio.abc import Process
from attrs import define, field
from attrs.converters import optional

from ..command import DEFAULT_GRACE, Command
from ..connector import ConnectorWrapper
from ..duration import to_positive_seconds, to_seconds
from ..quoting import becoming
from ._preamble import start_with_preamble
from ._ready import DEFAULT_TIMEOUT, CommandProbe, poll
from ._settings import to_argv, to_environment, to_path
from .local import StartError

#: Seconds between two runs of ``ready``, by default.
COMMAND_INTERVAL = 1.0

#: Becomes the command that the first line of its input is.
_BECOME: Final = """
if ! read -r anydeploy_command; then
    echo 'the variables of the command have not arrived: the prefix `run` has to pass its stdin on' >&2
    exit 1
fi
eval "unset anydeploy_command; $(printf %b "$anydeploy_command")"
"""
_TOLD: Final = ("sh", "-c", _BECOME, "anydeploy")


@define(kw_only=True, eq=False, slots=False)
class CommandConnector(ConnectorWrapper):
    """An environment that is created and destroyed by commands, which run in the environment that it wraps.

        kind:
          type: command
          config: {deploy: [kind, create, cluster], undeploy: [kind, delete, cluster]}

    Every setting is optional. Durations are seconds, or strings such as ``500ms``, ``2s``, ``2m``.

    :ivar deploy_command: setting ``deploy``: creates it, and has to end with status 0
    :ivar undeploy_command: setting ``undeploy``: destroys it, also after a ``deploy`` that failed or was cancelled
        half-way
    :ivar ready: a command that is repeated until it ends with status 0
    :ivar interval: the pause between two runs of ``ready``
    :ivar timeout: the limit for becoming ready
    :ivar run_prefix: setting ``run``: the prefix of every command that is run in this environment, such as ``[kubectl,
        exec, -i, pod, --]``; a command that has variables or a workdir needs a ``sh`` there, and variables come as the
        first line of its stdin
    :ivar environment: variables for all of these commands
    :ivar workdir: the directory in which all of these commands run
    :ivar grace: the time between SIGTERM and SIGKILL for a command that is stopped
    """

    deploy_command: tuple[str, ...] | None = field(default=None, alias="deploy", converter=optional(to_argv))
    undeploy_command: tuple[str, ...] | None = field(default=None, alias="undeploy", converter=optional(to_argv))
    ready: tuple[str, ...] | None = field(default=None, converter=optional(to_argv))
    interval: float = field(default=COMMAND_INTERVAL, converter=to_positive_seconds)
    timeout: float = field(default=DEFAULT_TIMEOUT, converter=to_positive_seconds)
    run_prefix: tuple[str, ...] | None = field(default=None, alias="run", converter=optional(to_argv))
    environment: Mapping[str, str] = field(factory=dict[str, str], converter=to_environment, repr=False)
    workdir: str | None = field(default=None, converter=optional(to_path))
    grace: float = field(default=DEFAULT_GRACE, converter=to_seconds)

    @classmethod
    def services_of(cls, config: Mapping[str, Any]) -> Iterable[str]:  # noqa: ARG003
        """Return none: all commands run in one environment."""
        return ()

    async def deploy(self, external: bool) -> None:
        """Run the deploy command, unless ``external``; then wait until ``ready`` succeeds.

        If cancelled, it stops the command that runs and lets the cancellation through.

        :raises CommandError: if the deploy command fails
        :raises NotReadyError: if ``ready`` does not succeed in time
        """
        if self.deploy_command is not None and not external:
            await self._run_outside(self.deploy_command)
        if self.ready is not None:
            outside = _Outside(
                deployment_name=self.deployment_name,
                config_dir=self.config_dir,
                connector=self.connector,
                owner=self,
            )
            await poll(CommandProbe(self.ready), outside, interval=self.interval, timeout=self.timeout)

    async def undeploy(self, external: bool) -> None:
        """Run the undeploy command, unless ``external``.

        If cancelled, it stops the command and lets the cancellation through.

        :raises CommandError: if it fails
        """
        if self.undeploy_command is not None and not external:
            await self._run_outside(self.undeploy_command)

    def transform(self, command: Command) -> Command:
        if self.run_prefix is None:
            return self.with_defaults(command)
        inner = command.inlined()
        return self.with_defaults(attrs.evolve(inner, argv=(*self.run_prefix, *inner.argv)))

    @asynccontextmanager
    async def _start(self, command: Command) -> AsyncGenerator[Process, None]:
        if self.run_prefix is None or not command.environment:
            async with super()._start(command) as process:
                yield process
            return
        try:
            preamble = becoming(command.argv, command.environment, command.workdir) + b"\n"
        except ValueError as exc:
            raise StartError(command.argv, str(exc)) from exc
        told = attrs.evolve(command, argv=_TOLD, environment={}, workdir=None, service=None)
        async with start_with_preamble(self.connector, self.transform(told), preamble) as process:
            yield process

    def with_defaults(self, command: Command) -> Command:
        """Return the command with the environment and workdir of the settings, where it has none of its own."""
        workdir = self.workdir if command.workdir is None else command.workdir
        return attrs.evolve(command, environment={**self.environment, **command.environment}, workdir=workdir)

    async def _run_outside(self, argv: tuple[str, ...]) -> None:
        await self.connector.run(argv, environment=self.environment, workdir=self.workdir, grace=self.grace)


@define(kw_only=True, eq=False, slots=False)
class _Outside(ConnectorWrapper):
    """The surroundings of a command connector's environment, where its own commands run."""

    owner: CommandConnector

    def transform(self, command: Command) -> Command:
        return self.owner.with_defaults(command)
