"""``command``: anything that a command line brings up and takes down: terraform, helm, kind, vagrant, a script."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
from attrs import define, field
from attrs.converters import optional

from ..connector import DEFAULT_GRACE, Command, ConnectorWrapper
from ..duration import to_positive_seconds, to_seconds
from ._ready import DEFAULT_TIMEOUT, CommandProbe, poll
from ._settings import to_argv, to_environment, to_path

#: Seconds between two runs of ``ready``, where the settings do not say.
COMMAND_INTERVAL = 1.0


@define(kw_only=True, eq=False, slots=False)
class CommandConnector(ConnectorWrapper):
    """An environment that is made and unmade by commands, which run in the environment that this one wraps.

    Every setting is optional. Durations are seconds, or strings such as ``500ms``, ``2s``, ``2m``.

    :ivar deploy_command: setting ``deploy``: the argv that brings it up; it is up when that has ended with status 0
    :ivar undeploy_command: setting ``undeploy``: the argv that takes it down, after a half-done ``deploy`` too
    :ivar ready: an argv, run every ``interval`` (1s) for at most ``timeout`` (60s), until it ends with status 0
    :ivar run_prefix: setting ``run``: an argv to put in front of every command that is run in this environment;
        environment and workdir of the command arrive behind it, by means of ``env`` and ``sh``
    :ivar environment: variables for all of these commands
    :ivar workdir: the directory that all of these commands run in
    :ivar grace: seconds that a command has to end when it is interrupted
    """

    deploy_command: tuple[str, ...] | None = field(default=None, alias="deploy", converter=optional(to_argv))
    undeploy_command: tuple[str, ...] | None = field(default=None, alias="undeploy", converter=optional(to_argv))
    ready: tuple[str, ...] | None = field(default=None, converter=optional(to_argv))
    interval: float = field(default=COMMAND_INTERVAL, converter=to_positive_seconds)
    timeout: float = field(default=DEFAULT_TIMEOUT, converter=to_positive_seconds)
    run_prefix: tuple[str, ...] | None = field(default=None, alias="run", converter=optional(to_argv))
    environment: Mapping[str, str] = field(factory=dict[str, str], converter=to_environment)
    workdir: str | None = field(default=None, converter=optional(to_path))
    grace: float = field(default=DEFAULT_GRACE, converter=to_seconds)

    async def deploy(self, external: bool) -> None:
        """Run the deploy command (not with ``external``), then wait until ``ready`` succeeds.

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
        """Run the undeploy command; not with ``external``.

        :raises CommandError: if it fails
        """
        if self.undeploy_command is not None and not external:
            await self._run_outside(self.undeploy_command)

    def transform(self, command: Command) -> Command:
        if self.run_prefix is None:
            return self.with_defaults(command)
        inner = command.inlined()
        return self.with_defaults(attrs.evolve(inner, argv=(*self.run_prefix, *inner.argv)))

    def with_defaults(self, command: Command) -> Command:
        """The command with the environment and the workdir of the settings, where it has none of its own."""
        workdir = self.workdir if command.workdir is None else command.workdir
        return attrs.evolve(command, environment={**self.environment, **command.environment}, workdir=workdir)

    async def _run_outside(self, argv: tuple[str, ...]) -> None:
        await self.connector.run(argv, environment=self.environment, workdir=self.workdir, grace=self.grace)


@define(kw_only=True, eq=False, slots=False)
class _Outside(ConnectorWrapper):
    """Where the commands of a command connector run: beside its environment, not in it."""

    owner: CommandConnector

    def transform(self, command: Command) -> Command:
        return self.owner.with_defaults(command)
