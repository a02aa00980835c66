"""``docker`` and ``podman``: a container, which the program of that name starts where the wrapped environment is."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from subprocess import DEVNULL
from typing import ClassVar, Final

import attrs
from anyio import CancelScope, Event, create_task_group, current_time, move_on_after, sleep
from attrs import define, field

from ..command import Command
from ..connector import Connector
from ..exceptions import ConnectionLostError, WorkflowDefinitionException, WorkflowExecutionException
from ._containers import ContainerError, ContainerProgram, ContainerState
from ._docker_settings import ContainerSettings, divide_variables, options_of
from .local import LocalConnector
from .session import SessionError

#: Seconds between two looks at the health of a container.
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 1.0
#: Seconds that a call has which must not be left half-way.
_COMPLETING: Final = 10.0
#: Seconds in which a lost connection is told from a container that has ended.
_ASKING: Final = 10.0
#: Seconds that a pull has to end, which does nothing then that would be worth a wait.
_PULL_GRACE: Final = 0.5

#: The options whose values contain paths where the program runs. A source without a dot is the name of a volume.
_FILE: Final = re.compile(r"(?P<before>)(?P<path>.+)(?P<after>)")
_PATHS: Final = {
    "--env-file": _FILE,
    "--label-file": _FILE,
    "--volume": re.compile(r"(?P<before>)(?P<path>\.\.?(?:/[^:]*)?)(?P<after>:.*)"),
    "--mount": re.compile(r"(?P<before>(?:.*,)?(?:source|src)=)(?P<path>\.\.?(?:/[^,]*)?)(?P<after>(?:,.*)?)"),
}


def outside_name(connector: Connector) -> str:
    """Return the name of what a connector makes outside: ``anydeploy-<project>-<deployment>-<token>``."""
    words = (connector.config_dir.absolute().name, connector.deployment_name, connector.token)
    reduced = (re.sub(r"[^a-z0-9]+", "-", word.lower()).strip("-") for word in words)
    return "-".join(("anydeploy", *(word for word in reduced if word)))


def labels(connector: Connector) -> Mapping[str, str]:
    """Return the labels of what a connector makes outside."""
    return {"anydeploy.run": connector.token, "anydeploy.deployment": connector.deployment_name}


def local_directory(connector: Connector, wrapped: Connector) -> str | None:
    """Return the directory that relative paths are relative to, where the wrapped environment is this machine."""
    return str(connector.config_dir.absolute()) if isinstance(wrapped, LocalConnector) else None


@define(kw_only=True, eq=False, slots=False)
class DockerConnector(ContainerSettings):
    """A container, in which commands run by means of ``docker exec``.

        tools:
          type: docker
          config: {image: "debian:12", volume: ["./data:/data"]}

    The settings are the options of ``docker run``, with the names that StreamFlow gives them. The values of ``env`` are
    in no argv. The container gets a name and labels with the token of this connector, its stdin stays open, and it is
    ready when its health check says so, if it has one. An external container is that of ``containerId``.
    """

    stateful: ClassVar[bool] = True
    program: ClassVar[str] = "docker"
    #: The container that commands run in: its name, or the setting ``containerId``.
    _container: str | None = field(init=False, default=None, repr=False)
    #: Around the question why the session has ended.
    _asking: CancelScope = field(init=False, factory=CancelScope, repr=False)

    async def deploy(self, external: bool) -> None:
        """Pull the image if it is missing, start the container, and wait until it is healthy.

        If cancelled, a pull is given up at once; a container that is being created is let finish, 10 s at most, since
        it could not be found otherwise.

        :raises ContainerError: with the reason; for a container that has ended, with its status and last output
        """
        if external:
            if self.container_id is None:
                problem = f"deployment '{self.deployment_name}' is external, and needs the setting `containerId`"
                raise WorkflowDefinitionException(problem)
            self._container = self.container_id
        else:
            self._container = self.name
            await self._pull_missing()
            await self._finish_creating()
            await self._client.ask("start", self.name, failure=f"container '{self.name}' could not be started")
        self.record("container", self._container)
        await self._wait_until_healthy(self._container)
        try:
            await self.connect()
        except SessionError as exc:
            raise await self._client.explain(self._container, exc) from exc

    async def undeploy(self, external: bool) -> None:
        """Stop the container and remove it, unless ``external``. One that is not there is no error.

        Its main process has the setting ``stopTimeout``, 10 s by default, to end, which :meth:`hurry` cuts short. If
        cancelled, it removes the container at once.

        :raises ContainerError: if the container is still there
        """
        await self.disconnect()
        if external:
            return
        try:
            with self._terminator.grace_period(float("inf")):
                await self._client.stop(self.name)
            if self.removes:
                await self._client.remove(self.name)
        except BaseException:
            if self.removes:
                with CancelScope(shield=True), move_on_after(_COMPLETING / 2):
                    await self._client.remove(self.name)
            raise

    async def reattach(self, facts: Mapping[str, str] | None = None) -> None:
        """Open a new session in the container; after a crash, in the one that was recorded."""
        if self._container is None:
            self._container = (facts or {}).get("container", self.name)
        await self.connect()

    def traces(self) -> Mapping[str, str]:
        """Return the name of the container, and what its sessions are found by."""
        return {**super().traces(), "container": self.name}

    async def remove_left(self, traces: Mapping[str, str], facts: Mapping[str, str]) -> None:
        """Remove the container of an earlier process; in an external one, what its sessions have left.

        :raises ContainerError: if it is still there
        """
        if self._session is not None and self._container != traces.get("container"):
            await super().remove_left(traces, facts)
        if "container" in traces:
            await self._client.remove(traces["container"])

    @property
    def name(self) -> str:
        """The name of the container that this connector makes."""
        return outside_name(self)

    def transform(self, command: Command) -> Command:
        interactive = ("--interactive",) if command.stdin != DEVNULL else ()
        argv = [self.program, "exec", *interactive, self._container or self.name, *command.argv]
        return attrs.evolve(command, argv=argv, environment=self.environment)

    # -- Coming up ---------------------------------------------------------------------------------------------------

    @property
    def _client(self) -> ContainerProgram:
        return ContainerProgram(self.connector, (self.program,), self.environment)

    async def _pull_missing(self) -> None:
        """Pull the image, unless it is there."""
        done = await self._client.call("image", "inspect", "--format", "{{.Id}}", self.image)
        if done.returncode != 0:
            failure, subject = f"image '{self.image}' could not be pulled", f"pulling '{self.image}'"
            await self._client.follow("pull", self.image, failure=failure, subject=subject, grace=_PULL_GRACE)

    async def _finish_creating(self) -> None:
        """Create the container. If cancelled, let that finish: the daemon would create it behind our back."""
        problem: Exception | None = None
        created = Event()
        completing = CancelScope(shield=True)

        async def create() -> None:
            nonlocal problem
            with completing:
                try:
                    await self._create()
                except (WorkflowExecutionException, OSError) as exc:
                    # Raised in here, it would come out of the task group as a group.
                    problem = exc
            created.set()

        async with create_task_group() as tasks:
            tasks.start_soon(create)
            try:
                await created.wait()
            finally:
                completing.deadline = current_time() + _COMPLETING
        if problem is not None:
            raise problem

    async def _create(self) -> None:
        lines, others = divide_variables(self.variables)
        given = ["--name", self.name, "--interactive", "--pull=never"]
        for name, value in labels(self).items():
            given += ["--label", f"{name}={value}"]
        if lines:
            given += ["--env-file", "/dev/stdin"]
        for name in others:
            given += ["--env", name]
        argv = ["create", *given, *self._options(), "--", self.image, *(self.command or ())]
        failure = f"a container of image '{self.image}' could not be created"
        await self._client.ask(*argv, failure=failure, stdin=lines, environment=others)

    def _options(self) -> Iterator[str]:
        """Yield the options of the settings. On this machine, relative paths are relative to the file."""
        directory = local_directory(self, self.connector)
        for word in options_of(self):
            name, _, value = word.partition("=")
            if directory is not None and name in _PATHS and (found := _PATHS[name].fullmatch(value)):
                path = posixpath.normpath(posixpath.join(directory, found["path"]))
                yield f"{name}={found['before']}{path}{found['after']}"
            else:
                yield word

    async def _wait_until_healthy(self, container: str) -> None:
        """Wait for the health check of a container, if it has one.

        :raises ContainerError: if the container does not run (any more), or is unhealthy
        """
        pause = _FIRST_PAUSE
        while True:
            state = await self._client.state(container)
            if state is None or state.status != "running":
                raise await self._client.explain(container, ContainerError(f"container '{container}' does not run"))
            if state.health == "unhealthy":
                raise ContainerError(f"container '{container}' is unhealthy: {state.problem or 'its check has failed'}")
            if state.health in ("", "healthy") or await self._check_health(container, state):
                return
            await sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _check_health(self, container: str, state: ContainerState) -> bool:  # noqa: ARG002
        """Check the health of a container that is starting, where the program does not do it by itself."""
        return False

    # -- Loss --------------------------------------------------------------------------------------------------------

    async def close_way(self) -> None:
        self._asking.cancel()
        await super().close_way()

    def _session_lost(self, error: ConnectionLostError) -> None:
        if self._tasks is None:
            self.report_lost(error)
            return
        self._asking = CancelScope()
        self._tasks.start_soon(self._report_loss, error)

    async def _report_loss(self, error: ConnectionLostError) -> None:
        """Report that the container has ended, or else that only the connection to it is lost."""
        loss: Exception = error
        with self._asking:
            try:
                with move_on_after(_ASKING):
                    loss = await self._client.explain(self._container or self.name, error)
            except (WorkflowExecutionException, OSError):
                # Not even that can be asked.
                loss = error
            self.report_lost(loss)


@define(kw_only=True, eq=False, slots=False)
class PodmanConnector(DockerConnector):
    """A container of podman, with the settings of ``docker``.

    tools:
      type: podman
      config: {image: "docker.io/library/debian:12"}

    """

    program: ClassVar[str] = "podman"

    async def _check_health(self, container: str, state: ContainerState) -> bool:  # noqa: ARG002
        """Run the check once: podman leaves that to systemd, which is not everywhere."""
        return (await self._client.call("healthcheck", "run", container)).returncode == 0
