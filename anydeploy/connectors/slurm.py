"""``slurm``: the jobs of a Slurm cluster, submitted from the environment that is wrapped."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any, ClassVar, Final

import attrs
from anyio import Semaphore, create_task_group
from anyio.abc import ByteStream, Process, TaskGroup
from attrs import define, field
from attrs.converters import optional

from ..command import Command
from ..connector import Connector
from ..duration import to_positive_seconds
from ..exceptions import ConnectionLostError, InvalidConnectorError, WorkflowExecutionException, did_you_mean
from ..location import Location, Port
from ._settings import refused, to_path, to_positive
from ._slurm_allocation import AllocatedConnector, Allocation, AllocationConnector
from ._slurm_job import JobSpec
from ._slurm_options import Service, read_script, to_mode, to_services
from ._slurm_queue import JobQueue, job_label, queue_script
from ._slurm_remnants import find_job, remove_jobs
from .local import LocalConnector
from .remote import RemoteConnector
from .termination import Terminator

#: Seconds that a job may take to leave its nodes when it was killed.
_LEAVING: Final = 60.0
_NEEDS_NAME: Final = "an external allocation is found by its name: set `jobName` in each service of `services`"
_BY_SSH: Final = "reach the host with a deployment of type `ssh`, and wrap that"


def _ignore(_: Exception) -> None:
    """The wrapper of an allocation reports its loss: its own session ends with it."""


def _check_template(connector: Any, _: object, file: str | None) -> None:
    """Check a template, as far as its path is known before there is a connector."""
    if file is not None and (connector.config_dir is not None or Path(file).is_absolute()):
        read_script(Path(connector.config_dir or "/", file))


def _check_templates(connector: Any, attribute: object, services: Mapping[str, Service]) -> None:
    for name, each in services.items():
        try:
            _check_template(connector, attribute, each.file)
        except ValueError as exc:
            raise ValueError(f"service '{name}': file: {exc}") from exc


@define(kw_only=True, eq=False, slots=False)
class SlurmConnector(RemoteConnector):
    """A Slurm cluster, whose programs (``sbatch``, ``srun``, ``squeue`` ...) are run in the wrapped environment.

    Each command is a job. A wrapper that has to come back to the same place, as a container has, gets an allocation of
    its own, in which its commands are steps.

    :ivar mode: ``batch``: every command is a job; ``allocation``: one job holds the nodes, and all commands run in it;
        by default commands are jobs, and each wrapper that has to come back to the same place, as a container has, gets
        an allocation of its own
    :ivar services: kinds of jobs, by name: options of ``sbatch`` under the names that StreamFlow gives them
        (``partition``, ``cpusPerTask``, ``mem``, ``time`` ...), and ``file``
    :ivar file: a template of the batch script, a file on this machine in which ``{{streamflow_command}}`` stands for
        the command
    :ivar directory: the directory for the files of jobs, which the nodes share with the host of ``sbatch``; by default,
        the home directory there
    :ivar max_jobs: setting ``maxConcurrentJobs``: jobs in the queue at a time, beyond which commands wait
    :ivar interval: setting ``pollingInterval``: the time between two questions about all jobs
    """

    keeps_place: ClassVar[bool] = False

    mode: str | None = field(default=None, converter=to_mode)
    services: Mapping[str, Service] = field(
        factory=dict[str, Service], converter=to_services, validator=_check_templates
    )
    file: str | None = field(default=None, converter=optional(to_path), validator=_check_template)
    directory: str | None = field(default=None, converter=optional(to_path))
    max_jobs: int | None = field(default=None, alias="maxConcurrentJobs", converter=optional(to_positive))
    interval: float = field(default=1.0, alias="pollingInterval", converter=to_positive_seconds)
    _check_host_key: None = refused("checkHostKey", _BY_SSH)
    _data_transfer_connection: None = refused("dataTransferConnection", "copies go the way of all commands")
    _hostname: None = refused("hostname", _BY_SSH)
    _max_sessions: None = refused("maxConcurrentSessions", _BY_SSH)
    _max_connections: None = refused("maxConnections", _BY_SSH)
    _password_file: None = refused("passwordFile", _BY_SSH)
    _ssh_key: None = refused("sshKey", _BY_SSH)
    _passphrase_file: None = refused("sshKeyPassphraseFile", _BY_SSH)
    _transfer_buffer_size: None = refused("transferBufferSize", "copies need no buffer")
    _tunnel: None = refused("tunnel", _BY_SSH)
    _username: None = refused("username", _BY_SSH)
    _terminator: Terminator = field(init=False, factory=lambda: Terminator(_LEAVING), repr=False)
    _queue: JobQueue | None = field(init=False, default=None, repr=False)
    #: Those of the connector itself, by service.
    _allocations: dict[str | None, Allocation] = field(init=False, factory=dict[str | None, Allocation], repr=False)
    #: Those of wrappers.
    _lent: list[Allocation] = field(init=False, factory=list[Allocation], repr=False)
    #: By service; each is read when it is first needed.
    _specs: dict[str | None, JobSpec] = field(init=False, factory=dict[str | None, JobSpec], repr=False)
    _external: bool = field(init=False, default=False, repr=False)
    _free: Semaphore | None = field(init=False, default=None, repr=False)

    @classmethod
    def services_of(cls, config: Mapping[str, Any]) -> Iterable[str]:
        """Return the names in the setting ``services``."""
        return to_services(config.get("services"))

    @classmethod
    def check_stateful(cls, config: Mapping[str, Any], *, directly: bool) -> str | None:
        """Return the ``mode`` that is needed. An allocation of its own has only what stands on this itself."""
        mode = to_mode(config.get("mode"))
        if mode == "allocation" or (mode is None and directly):
            return None
        return f"set `mode: allocation` there{', or leave `mode` out' if directly else ''}"

    @classmethod
    def check_external(cls, config: Mapping[str, Any]) -> Iterable[tuple[Sequence[Any], str]]:
        """Return the services of ``mode: allocation`` whose jobs cannot be found, for they have no name."""
        if to_mode(config.get("mode")) != "allocation":
            return []
        services = to_services(config.get("services"))
        if not services:
            return [(("services",), _NEEDS_NAME)]
        return [(("services", name), _NEEDS_NAME) for name, each in services.items() if each.job_name is None]

    async def deploy(self, external: bool) -> None:
        """Reach Slurm; in ``mode: allocation``, submit the holding jobs, and return when they run.

        With ``external``, the jobs of ``mode: allocation`` exist: each is the running one that is named by the
        ``jobName`` of its service.

        :raises SessionError: if Slurm cannot be reached, with the reason in one line
        :raises WorkflowExecutionException: if a job is refused, or a template is wrong
        """
        self._external = external
        for service in (None, *self.services):
            self._read_spec(service)
        self._free = Semaphore(self.max_jobs) if self.max_jobs is not None else None
        await self.connect()

    async def undeploy(self, external: bool) -> None:  # noqa: ARG002
        """End all jobs that are left, and return when they have left their nodes."""
        await self.disconnect()

    def traces(self) -> Mapping[str, str]:
        """Return the beginnings of the names of directories of sessions, and of the comments of jobs."""
        return {**super().traces(), "jobs": self._label}

    async def remove_left(self, traces: Mapping[str, str], facts: Mapping[str, str]) -> None:  # noqa: ARG002
        """Cancel the jobs of an earlier process, and remove its files."""
        if "jobs" in traces:
            keep = self._queue.name if self._queue is not None and self._queue.is_open else None
            await remove_jobs(self.connector, traces["jobs"], self.directory_path, keep)
        await self.remove_sessions(self.connector, traces)

    async def get_available_locations(self, service: str | None = None) -> Mapping[str, Location]:
        """Return the one place that the cluster is; in ``mode: allocation``, with the node of the allocation.

        :raises WorkflowExecutionException: if there is no such service
        """
        self._check_service(service)
        wrapped = await self.connector.get_available_locations(self.service)
        allocation = self._allocations.get(self._service_of(service))
        node = allocation.way.node if allocation is not None and allocation.way is not None else None
        name = self.deployment_name
        inner = next(iter(wrapped.values()), None)
        return {name: Location(name, name, service, node, slots=self.max_jobs or 1, wraps=inner)}

    # -- Wrappers ----------------------------------------------------------------------------------------------------

    def for_wrapper(self, wrapper: type[Connector], service: str | None = None) -> Connector:
        """Return itself, or an allocation for a wrapper that has to come back to the same place.

        In ``mode: batch``, such a wrapper has been refused before (:meth:`check_stateful`).

        :raises WorkflowExecutionException: if there is no such service
        """
        if not wrapper.stateful or self.mode == "allocation":
            return self.at(service)
        self._check_service(service)
        return AllocatedConnector(
            deployment_name=self.deployment_name, config_dir=self.config_dir, owner=self, service=service
        )

    def check_usable(self) -> None:
        """Raise an :class:`InvalidConnectorError` if the environment must not be used."""
        self._check_valid()

    async def open_allocation(self, service: str | None, node: str | None) -> Allocation:
        """Submit a holding job for a wrapper, and wait until it runs. If cancelled, no job is left.

        :param node: the node that it has to get; None: any
        """
        if self._tasks is None:
            raise InvalidConnectorError(self.deployment_name, "it is not connected")
        allocation = self._new_allocation(service, _ignore, node=node)
        await allocation.open(self._tasks)
        self._lent.append(allocation)
        return allocation

    # -- The way in --------------------------------------------------------------------------------------------------

    @property
    def _label(self) -> str:
        return job_label(self.deployment_name, self.token)

    @property
    def directory_path(self) -> str | None:
        """The directory for files; on this machine, an absolute path."""
        if self.directory is None or not isinstance(self.connector, LocalConnector):
            return self.directory
        return str(self.config_dir.absolute() / self.directory)

    def new_name(self) -> str:
        name = super().new_name()
        return f"{self._label}-{name.rpartition('-')[2]}"

    async def open_way(self, tasks: TaskGroup) -> None:
        if self._queue is None or not self._queue.is_open:
            queue = self._new_queue()
            await queue.open(tasks)
            self._queue = queue
        if self.mode != "allocation":
            return
        try:
            for service in self._own_services:
                if service not in self._allocations:
                    adopted = await self._find_job(service) if self._external else None
                    allocation = self._new_allocation(service, self.report_lost, adopted)
                    await allocation.open(tasks)
                    self._allocations[service] = allocation
        except BaseException:
            await self.close_way()
            raise

    async def close_way(self) -> None:
        allocations = [*self._lent, *self._allocations.values()]
        problems: list[WorkflowExecutionException] = []

        async def close(allocation: Allocation) -> None:
            try:
                await allocation.close()
            except WorkflowExecutionException as exc:
                problems.append(exc)

        try:
            async with create_task_group() as closing:
                for each in allocations:
                    closing.start_soon(close, each)
        finally:
            self._lent.clear()
            self._allocations.clear()
            queue, self._queue = self._queue, None
            if queue is not None:
                await queue.close()
        if problems:
            raise problems[0]

    def _new_queue(self) -> JobQueue:
        def lost(error: ConnectionLostError) -> None:
            if self._queue is queue:
                self.report_lost(error)

        queue = JobQueue(
            name=self.new_name(),
            opener=self.start_client,
            beside=self.start_client,
            terminator=self._terminator,
            on_lost=lost,
            script=queue_script(self.directory_path, self.interval),
            label=self._label,
        )
        return queue

    def _new_allocation(
        self,
        service: str | None,
        on_lost: Callable[[Exception], None],
        adopted: tuple[str, str | None] | None = None,
        node: str | None = None,
    ) -> Allocation:
        if self._queue is None:
            raise InvalidConnectorError(self.deployment_name, "it is not connected")
        spec = self._read_spec(service)
        place = (f"--nodelist={node}",) if node is not None else ()
        spec = attrs.evolve(spec, options=(*spec.options, *place), held=True)
        suffix = f":{service}" if service is not None else ""

        def record(key: str, value: str) -> None:
            self.record(f"{key}{suffix}", value)

        return Allocation(self._queue, spec, self._way_into, on_lost, record, adopted, node)

    def _way_into(self, job: str, node: str | None) -> AllocationConnector:
        way = AllocationConnector(
            deployment_name=self.deployment_name,
            config_dir=self.config_dir,
            connector=self.connector,
            service=self.service,
            job=job,
            node=node,
        )
        way.token = self.token
        way._terminator = self._terminator  # noqa: SLF001
        return way

    def _read_spec(self, service: str | None) -> JobSpec:
        if service not in self._specs:
            settings = self.services[service] if service is not None else Service()
            file = settings.file or self.file
            try:
                script = read_script(self.config_dir / file if file is not None else None)
            except ValueError as exc:
                raise WorkflowExecutionException(str(exc)) from exc
            self._specs[service] = JobSpec(settings.options, script)
        return self._specs[service]

    async def _find_job(self, service: str | None) -> tuple[str, str | None]:
        """Return the id and the node of an allocation of another owner."""
        name = self.services[service].job_name if service is not None else None
        if name is None:
            raise WorkflowExecutionException(_NEEDS_NAME)
        return await find_job(self.connector, name)

    async def reattach(self, facts: Mapping[str, str] | None = None) -> None:
        """Open a new way to Slurm, and into the jobs of allocations that still run. No job is submitted.

        :raises WorkflowExecutionException: if Slurm cannot be reached, or a job is gone
        """
        known = {**(facts or {}), **self.facts}
        mode, self.mode = self.mode, "batch"
        try:
            await self.connect()
        finally:
            self.mode = mode
        tasks = self._tasks
        if tasks is None or mode != "allocation":
            return
        for service in self._own_services:
            job = known.get("job" if service is None else f"job:{service}")
            node = known.get("node" if service is None else f"node:{service}")
            if job is not None:
                allocation = self._new_allocation(service, self.report_lost, (job, node))
                await allocation.open(tasks)
                self._allocations[service] = allocation

    # -- Commands ----------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _start(self, command: Command) -> AsyncGenerator[Process, None]:
        queue = self._queue
        if queue is None:
            raise InvalidConnectorError(self.deployment_name, "it is not connected")
        self._check_service(command.service)
        if command.location not in {None, self.deployment_name}:
            problem = f"deployment '{self.deployment_name}' has no location '{command.location}'"
            raise WorkflowExecutionException(problem)
        placed = attrs.evolve(command, service=None, location=None)
        if self.mode == "allocation":
            allocation = self._allocations.get(self._service_of(command.service))
            if allocation is None:
                raise InvalidConnectorError(self.deployment_name, "it has no allocation")
            async with allocation.start(placed) as process:
                yield process
            return
        async with self._free or nullcontext(), queue.start_job(placed, self._read_spec(command.service)) as process:
            yield process

    def _forward(self, port: Port) -> AbstractAsyncContextManager[ByteStream]:
        return self.connector.forward_port(attrs.evolve(port, service=None, location=None))

    @property
    def _own_services(self) -> list[str | None]:
        """The services that have an allocation of the connector itself."""
        return [*self.services] or [None]

    def _service_of(self, service: str | None) -> str | None:
        """Return the service whose allocation a command goes to: the first one, if it names none."""
        return service if service is not None else next(iter(self.services), None)

    def _check_service(self, service: str | None) -> None:
        if service is not None and service not in self.services:
            near = did_you_mean(service, self.services)
            raise WorkflowExecutionException(f"deployment '{self.deployment_name}' has no service '{service}'{near}")
