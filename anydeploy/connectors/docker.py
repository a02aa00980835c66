"""``docker`` and ``podman``: a container, which the program of that name starts where the wrapped environment is."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, ClassVar, Final

import attrs
from anyio import CancelScope, Event, create_task_group, current_time, get_cancelled_exc_class, move_on_after, sleep
from attrs import define, field

from ..command import Command
from ..exceptions import ConnectionLostError, InvalidConfigError, WorkflowExecutionException
from ._containers import ContainerError, ContainerProgram, ContainerState
from ._docker_settings import ContainerSettings, divide_variables, options_of
from .session import SessionError

#: Seconds between two looks at the health of a container.
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 1.0
#: Seconds that a call has which must not be left half-way.
_COMPLETING: Final = 10.0
#: Seconds that a pull has to end, which does nothing then that would be worth a wait.
_PULL_GRACE: Final = 0.5

_NEEDS_CONTAINER: Final = "this setting is required where `external` is true: the id or name of the container"

#: The options whose values contain paths where the program runs. A source without a dot is the name of a volume.
_FILE: Final = re.compile(r"(?P<before>)(?P<path>.+)(?P<after>)")
_PATHS: Final = {
    "--env-file": _FILE,
    "--label-file": _FILE,
    "--volume": re.compile(r"(?P<before>)(?P<path>\.\.?(?:/[^:]*)?)(?P<after>:.*)"),
    "--mount": re.compile(r"(?P<before>(?:.*,)?(?:source|src)=)(?P<path>\.\.?(?:/[^,]*)?)(?P<after>(?:,.*)?)"),
}


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

    program: ClassVar[str] = "docker"
    #: The container that commands run in: its name, or the setting ``containerId``.
    _container: str | None = field(init=False, default=None, repr=False)
    #: There may be a container of its own.
    _is_ours: bool = field(init=False, default=False, repr=False)

    @classmethod
    def services_of(cls, config: Mapping[str, Any]) -> Iterable[str]:  # noqa: ARG003
        """Return none: a container is one place."""
        return ()

    @classmethod
    def check_external(cls, config: Mapping[str, Any]) -> Iterable[tuple[Sequence[Any], str]]:
        """Return that ``containerId`` is missing, if it is."""
        return () if config.get("containerId") is not None else [(("containerId",), _NEEDS_CONTAINER)]

    async def deploy(self, external: bool) -> None:
        """Pull the image if it is missing, start the container, and wait until it is healthy.

        If cancelled, a pull is given up at once; a container that is being created is let finish, 10 s at most, since
        it could not be found otherwise.

        :raises ContainerError: with the reason; for a container that has ended, with its status and last output
        """
        if external:
            if self.container_id is None:
                raise InvalidConfigError(self.deployment_name, _NEEDS_CONTAINER, setting="containerId")
            self._container = self.container_id
        else:
            self._container = self.outside_name
            await self._pull_missing()
            await self.record_place()
            self._is_ours = True
            await self._finish_creating()
            await self.client.ask(
                "start", self.outside_name, failure=f"container '{self.outside_name}' could not be started"
            )
        self.record("container", self._container)
        await self._wait_until_healthy(self._container)
        try:
            await self.connect()
        except SessionError as exc:
            raise await self.client.explain(self._container, exc) from exc

    async def undeploy(self, external: bool) -> None:
        """Stop the container and remove it, unless ``external``. One that is not there is no error.

        Its main process has the setting ``stopTimeout``, 10 s by default, to end, which :meth:`hurry` cuts short. If
        cancelled, it removes the container at once.

        :raises ContainerError: if the container is still there
        """
        await self.disconnect()
        if external or not self._is_ours:
            return
        try:
            with self._terminator.grace_period(float("inf")):
                await self.client.stop(self.outside_name)
            if self.removes:
                await self.client.remove(self.outside_name)
        except get_cancelled_exc_class():
            if self.removes:
                with (
                    CancelScope(shield=True),
                    move_on_after(_COMPLETING),
                    suppress(WorkflowExecutionException, OSError),
                ):
                    await self.client.remove(self.outside_name)
            raise

    async def reattach(self, facts: Mapping[str, str] | None = None) -> None:
        """Open a new session in the container; after a crash, in the one that was recorded."""
        await self.return_to_place(facts)
        if self._container is None:
            self._container = (facts or {}).get("container", self.outside_name)
        await self.connect()

    def traces(self) -> Mapping[str, str]:
        """Return the name of the container, and what its sessions are found by."""
        return {**super().traces(), "container": self.outside_name}

    async def remove_left(self, traces: Mapping[str, str], facts: Mapping[str, str]) -> None:
        """Remove the container of an earlier process; in an external one, what its sessions have left.

        :raises ContainerError: if it is still there
        """
        await self.return_to_place(facts)
        if self._session is not None and self._container != traces.get("container"):
            await super().remove_left(traces, facts)
        if "container" in traces:
            await self.client.remove(traces["container"])

    def transform(self, command: Command) -> Command:
        return self.client.enter(self._container or self.outside_name, command)

    # -- Coming up ---------------------------------------------------------------------------------------------------

    @property
    def client(self) -> ContainerProgram:
        return ContainerProgram(self.connector, (self.program,), self.environment)

    async def _pull_missing(self) -> None:
        """Pull the image, unless it is there."""
        done = await self.client.call("image", "inspect", "--format", "{{.Id}}", self.image)
        if done.returncode != 0:
            failure, subject = f"image '{self.image}' could not be pulled", f"pulling '{self.image}'"
            await self.client.follow("pull", self.image, failure=failure, subject=subject, grace=_PULL_GRACE)

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
        given = ["--name", self.outside_name, "--interactive", "--pull=never", *self._options()]
        for name, value in self.labels.items():
            given += ["--label", f"{name}={value}"]
        # A later file goes before the earlier ones.
        if lines:
            given += ["--env-file", "/dev/stdin"]
        for name in others:
            given += ["--env", name]
        argv = ["create", *given, "--", self.image, *(self.command or ())]
        failure = f"a container of image '{self.image}' could not be created"
        await self.client.ask(*argv, failure=failure, stdin=lines, environment=others)

    def _options(self) -> Iterator[str]:
        """Yield the options of the settings. On this machine, relative paths are relative to the file."""
        directory = self.local_directory
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
            state = await self.client.state(container)
            if state is None or state.status != "running":
                raise await self.client.explain(container, ContainerError(f"container '{container}' does not run"))
            if state.health == "unhealthy":
                raise ContainerError(f"container '{container}' is unhealthy: {state.problem or 'its check has failed'}")
            if state.health in ("", "healthy") or await self._check_health(container, state):
                return
            await sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _check_health(self, container: str, state: ContainerState) -> bool:  # noqa: ARG002
        """Check the health of a container that is starting, where the program does not do it by itself."""
        return False

    def _session_lost(self, error: ConnectionLostError) -> None:
        self.tell_loss(self._container or self.outside_name, error)


@define(kw_only=True, eq=False, slots=False)
class PodmanConnector(DockerConnector):
    """A container of podman, with the settings of ``docker``.

    tools:
      type: podman
      config: {image: "docker.io/library/debian:12"}

    """

    program: ClassVar[str] = "podman"

    @property
    def client(self) -> ContainerProgram:
        # It would let the process of the container end first, for as long as that takes.
        # `rm` of podman 4.3 forgets a container that is just being stopped, and lets its processes run on.
        removing = (("kill",), ("rm", "--force", "--volumes", "--time=0"))
        return attrs.evolve(super().client, removing=removing)

    async def _check_health(self, container: str, state: ContainerState) -> bool:  # noqa: ARG002
        """Run the check once: podman leaves that to systemd, which is not everywhere."""
        return (await self.client.call("healthcheck", "run", container)).returncode == 0
