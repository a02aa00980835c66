"""``docker-compose``: the services of a project, which Compose v2 brings up where the wrapped environment is."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from typing import Any, Final, cast

import attrs
from anyio import CancelScope, create_task_group, get_cancelled_exc_class, move_on_after, sleep
from anyio.abc import Process, TaskGroup
from attrs import define, field, frozen

from ..command import Command
from ..exceptions import InvalidConnectorError, WorkflowExecutionException, did_you_mean
from ..location import Location
from ._compose_settings import ComposeSettings
from ._containers import ContainerError, ContainerProgram, NoShellError, reason
from .session import Session, SessionError

_PROJECT_LABEL: Final = "com.docker.compose.project"
_COLUMNS: Final = (
    "{{.ID}}",
    '{{.Label "com.docker.compose.service"}}',
    '{{.Label "com.docker.compose.container-number"}}',
    '{{.Label "anydeploy.run"}}',
    "{{.State}}",
)
#: Seconds for a last teardown when the time for it is up.
_LAST: Final = 10.0
#: Seconds in which a container appears that was being made when Compose was interrupted.
_APPEARING: Final = 0.5


def missing_plugin(problem: str, standalone: str) -> str:
    """Return the sentence of an error where docker has no plugin ``compose``.

    :param problem: docker's own reason
    :param standalone: the version that the program ``docker-compose`` tells, if there is one
    """
    needed = "Docker Compose v2 is needed, as the plugin `docker compose`"
    version = standalone.strip().removeprefix("v")
    if version.startswith("1."):
        return f"{needed}; docker-compose {version} is v1, which is not supported"
    return f"{needed}: {problem}"


@frozen
class ServiceContainer:
    """A container of a service.

    :ivar name: that of its location: the service and a number
    :ivar token: that of the connector that made it; empty if it was made by others
    """

    id: str
    service: str
    number: int
    token: str
    state: str

    @property
    def name(self) -> str:
        return f"{self.service}-{self.number}"


@define(kw_only=True, eq=False, slots=False)
class ComposeConnector(ComposeSettings):
    """A project of Docker Compose, version 2. Each container of a service is a location, such as ``web-1``.

        web:
          type: docker-compose
          config: {files: [compose.yml]}

    ``deploy`` waits until the services run and are healthy, and ``undeploy`` takes the project down. Commands that name
    a service run in its first container, and those that name nothing in the first service. They need a ``sh`` there; a
    container without one is a location in which every command fails with that reason.
    """

    #: The project was not there when it was brought up, so it is this connector's to take down.
    _is_ours: bool = field(init=False, default=False, repr=False)
    #: Compose was interrupted while it brought the project up.
    _is_interrupted: bool = field(init=False, default=False, repr=False)
    #: The name of the project, when it is known to exist.
    _project: str | None = field(init=False, default=None, repr=False)
    #: By the names of their locations, in the order of services and numbers.
    _containers: dict[str, ServiceContainer] = field(init=False, factory=dict[str, ServiceContainer], repr=False)
    _sessions: dict[str, Session] = field(init=False, factory=dict[str, Session], repr=False)
    #: The reasons why containers cannot be entered that run all the same.
    _closed: dict[str, str] = field(init=False, factory=dict[str, str], repr=False)

    async def deploy(self, external: bool) -> None:
        """Bring the project up, or find it where it is ``external``, and enter its containers.

        :raises ContainerError: with the reason; for a container that has ended, with its status and last output. Also
            if a project of this name is up already and is not external, since it would be taken down with this one
        """
        await self._check_version()
        project, services = await self._read_files(None if external else self._own_project)
        if not external:
            others = [each for each in await self._find(project) if each.token != self.token]
            if others:
                problem = f"project '{project}' is there already, and was not made by this deployment"
                raise ContainerError(f"{problem}; take it down, or declare it external")
            await self.record_place()
            self._is_ours = self._is_interrupted = True
            await self._up(services)
            self._is_interrupted = False
        self._project = project
        self.record("project", project)
        await self._enter()

    async def undeploy(self, external: bool) -> None:
        """Take the project down, unless ``external``. A project that is not there is no error.

        The setting ``timeout``, 10 s by default, is the time that its containers have to end; :meth:`hurry` cuts it
        short, and so does a cancellation.

        :raises ContainerError: if something of it is still there
        """
        await self.disconnect()
        if external or not self._is_ours:
            return
        try:
            with self._terminator.grace_period(float("inf")) as grace:
                await self._down()
            if grace.cancelled_caught:
                await self._down("--timeout=0")
            if self._is_interrupted:
                await sleep(_APPEARING)
            left = await self._find(self._own_project)
            if left:
                # Those of services that the files do not have, or not any more.
                await self.client.remove(*(each.id for each in left))
                await self._down("--timeout=0")
        except get_cancelled_exc_class():
            with CancelScope(shield=True), move_on_after(_LAST), suppress(WorkflowExecutionException, OSError):
                await self._down("--timeout=0")
            raise

    async def reattach(self, facts: Mapping[str, str] | None = None) -> None:
        """Open new sessions in the containers; after a crash, in those of the project that was recorded."""
        await self.return_to_place(facts)
        if self._project is None:
            self._project = (facts or {}).get("project", self._own_project)
        await self._enter()

    def traces(self) -> Mapping[str, str]:
        """Return the name of the project, and what sessions in its containers are found by."""
        return {**super().traces(), "project": self._own_project}

    async def remove_left(self, traces: Mapping[str, str], facts: Mapping[str, str]) -> None:
        """Remove the project of an earlier process; in an external one, what its sessions have left.

        Containers that were made by others stay, and so does then the project.
        """
        await self.return_to_place(facts)
        for name in list(self._sessions):
            await self.remove_sessions(self.at(location=name), traces)
        if "project" not in traces:
            return
        found = await self._find(traces["project"])
        await self.client.remove(*(each.id for each in found if each.token == self.token))
        if all(each.token == self.token for each in found):
            await self._down()

    async def get_available_locations(self, service: str | None = None) -> Mapping[str, Location]:
        """Return the containers that run, by service and number.

        :raises WorkflowExecutionException: if there is no such service
        """
        if service is not None:
            self._container(service, None)
        wrapped = await self.connector.get_available_locations(self.service)
        inner = next(iter(wrapped.values()), None)
        hostname = inner.hostname if inner is not None else None
        return {
            name: Location(name, self.deployment_name, each.service, hostname, wraps=inner)
            for name, each in self._containers.items()
            if service in (None, each.service)
        }

    @property
    def client(self) -> ContainerProgram:
        return ContainerProgram(self.connector, ("docker", *self.docker_options), self.environment)

    @property
    def _own_project(self) -> str:
        return self.project_name or self.outside_name

    # -- The project -------------------------------------------------------------------------------------------------

    async def _check_version(self) -> None:
        """Check that the plugin of version 2 is there.

        :raises ContainerError: if it is not; where version 1 is there, the error says so
        """
        done = await self.client.call("compose", "version", "--short")
        if done.returncode == 0:
            return
        standalone = ""
        with suppress(OSError):
            old = await self.connector.run(["docker-compose", "version", "--short"], check=False)
            standalone = old.stdout.decode(errors="replace")
        raise ContainerError(missing_plugin(reason(done.stderr or done.stdout), standalone))

    async def _read_files(self, project: str | None) -> tuple[str, Sequence[str]]:
        """Return the names of the project and of its services, as the files have them.

        :param project: its name; None: that of the settings, or else that of the files
        """
        name = project or self.project_name
        argv = self._compose("config", "--format=json", project=name)
        described = await self.client.ask(*argv, failure="the files of the project cannot be used")
        found = cast("dict[str, Any]", json.loads(described))
        return str(found["name"]), list(cast("dict[str, Any]", found.get("services") or {}))

    async def _up(self, services: Sequence[str]) -> None:
        # Compose puts variables into whatever it reads.
        labels = {name: value.replace("$", "$$") for name, value in self.labels.items()}
        labelled = {"services": {service: {"labels": labels} for service in services}}
        argv = self._compose("up", "--detach", *self.up_options, project=self._own_project, further=("--file=-",))
        try:
            await self.client.follow(
                *argv,
                failure=f"project '{self._own_project}' could not be brought up",
                subject=f"project '{self._own_project}'",
                stdin=json.dumps(labelled).encode(),
            )
        except ContainerError as exc:
            raise await self._explain_failure(exc) from exc

    async def _explain_failure(self, error: ContainerError) -> ContainerError:
        """Return an error with the last output of containers that have ended with another status than 0."""
        ends: list[str] = []
        for container in await self._find(self._own_project):
            state = await self.client.state(container.id)
            if state is not None and state.has_ended and state.exit_code != 0:
                ends.append(f"{container.name}: {await self.client.describe_end(container.id[:12], state)}")
            elif state is not None and state.health == "unhealthy":
                ends.append(f"{container.name} is unhealthy: {state.problem}")
        return ContainerError("\n".join([str(error), *ends]))

    async def _down(self, *options: str) -> None:
        """Take the project down, by its files or, where these cannot be used any more, by its name."""
        words = ("down", *self.down_options, *options)
        done = await self.client.call(*self._compose(*words, project=self._own_project))
        if done.returncode != 0:
            argv = ("compose", f"--project-name={self._own_project}", *words)
            await self.client.ask(*argv, failure=f"project '{self._own_project}' could not be taken down")

    async def _find(self, project: str) -> list[ServiceContainer]:
        """Return the containers of a project, whether they run or not."""
        given = ("--all", "--no-trunc", f"--filter=label={_PROJECT_LABEL}={project}", f"--format={'|'.join(_COLUMNS)}")
        listed = await self.client.ask("ps", *given, failure=f"the containers of project '{project}' are not known")
        rows = (line.split("|") for line in listed.splitlines())
        found = [ServiceContainer(key, service, int(number or 0), *rest) for key, service, number, *rest in rows]
        return sorted(found, key=lambda each: (each.service, each.number))

    def _compose(self, *words: str, project: str | None, further: Sequence[str] = ()) -> tuple[str, ...]:
        name = (f"--project-name={project}",) if project is not None else ()
        return ("compose", *self.file_options, *further, *name, *self.compose_options, *words)

    # -- Its containers ----------------------------------------------------------------------------------------------

    async def _enter(self) -> None:
        """Find the containers that run, and open sessions in them.

        :raises ContainerError: if there are none, or one that has a shell cannot be entered
        """
        project = self._project or self._own_project
        found = [each for each in await self._find(project) if each.state == "running"]
        if not found:
            raise ContainerError(f"no container of project '{project}' runs")
        self._containers = {each.name: each for each in found}
        await self.connect()

    async def open_way(self, tasks: TaskGroup) -> None:
        problems: list[WorkflowExecutionException] = []

        async def enter(container: ServiceContainer) -> None:
            session = self._new_session(container)
            try:
                await session.open(tasks)
            except SessionError as exc:
                try:
                    explained = await self.client.explain(container.id[:12], exc)
                except (WorkflowExecutionException, OSError):
                    explained = exc
                if isinstance(explained, NoShellError):
                    self._closed[container.name] = str(explained)
                else:
                    problems.append(explained)
            else:
                self._sessions[container.name] = session

        try:
            async with create_task_group() as entering:
                for name, container in self._containers.items():
                    session = self._sessions.get(name)
                    if name not in self._closed and (session is None or not session.is_open):
                        entering.start_soon(enter, container)
        except BaseException:
            await self.close_way()
            raise
        if problems:
            await self.close_way()
            raise problems[0]

    async def close_way(self) -> None:
        await super().close_way()
        sessions, self._sessions = self._sessions, {}
        async with create_task_group() as closing:
            for session in sessions.values():
                closing.start_soon(session.close)

    def _new_session(self, container: ServiceContainer) -> Session:
        def start(command: Command) -> AbstractAsyncContextManager[Process]:
            # Service and location are those of this connector, and mean nothing below.
            entering = attrs.evolve(self.client.enter(container.id, command), service=None, location=None)
            return self.connector.start_command(entering)

        return Session(
            name=self.new_name(),
            opener=start,
            beside=start,
            terminator=self._terminator,
            on_lost=partial(self.tell_loss, container.id[:12]),
        )

    @asynccontextmanager
    async def _start(self, command: Command) -> AsyncGenerator[Process, None]:
        if self._tasks is None:
            raise InvalidConnectorError(self.deployment_name, "it is not connected")
        container = self._container(command.service, command.location)
        session = self._sessions.get(container.name)
        if session is None:
            raise ContainerError(self._closed.get(container.name, f"'{container.name}' was not entered"))
        async with self.telling_loss(), session.start(command) as process:
            yield process

    def _container(self, service: str | None, location: str | None) -> ServiceContainer:
        """Return the container at a location, by default the first of a service, by default of the first service.

        :raises WorkflowExecutionException: if there is none
        """
        for name, container in self._containers.items():
            if service in (None, container.service) and location in (None, name):
                return container
        services = {container.service for container in self._containers.values()}
        if service is not None and service not in services:
            near = did_you_mean(service, services)
            problem = f"deployment '{self.deployment_name}' has no service '{service}' that runs{near}"
        else:
            problem = f"deployment '{self.deployment_name}' has no location '{location}'"
        raise WorkflowExecutionException(problem)
