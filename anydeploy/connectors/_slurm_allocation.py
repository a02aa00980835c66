"""Allocations: a job that holds its nodes, and a session inside it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from subprocess import DEVNULL
from typing import Final, Protocol

import attrs
from anyio import CancelScope, Event, Lock, create_task_group, move_on_after
from anyio.abc import Process, TaskGroup
from attrs import define, field

from ..command import Command
from ..connector import Connector
from ..exceptions import ConnectionLostError, WorkflowExecutionException
from ..location import Location
from ._slurm_job import JobError, JobProcess, JobSpec
from ._slurm_queue import JobQueue
from .remote import RemoteConnector
from .session import Session

#: It holds the job. No program of everybody's can wait for ever.
_HOLD: Final = Command(("sleep", "2147483647"), stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL)
#: Seconds that what runs in a step has to end.
_ENDING: Final = 15.0
#: Seconds within which Slurm says that a job has ended whose steps were ended with it.
_PATIENCE: Final = 5.0


@define(kw_only=True, eq=False, slots=False)
class AllocationConnector(RemoteConnector):
    """The first node of a job, entered by ``srun``.

    :ivar job: the id
    :ivar node: None: any one of the job
    """

    job: str
    node: str | None = None

    async def deploy(self, external: bool) -> None:  # noqa: ARG002
        await self.connect()

    async def undeploy(self, external: bool) -> None:  # noqa: ARG002
        await self.disconnect()

    def new_session(self) -> Session:
        # A `srun` that is told to end kills its step, and goes on when nothing reads what it prints.
        return attrs.evolve(super().new_session(), patience=_ENDING, pumped=True)

    def transform(self, command: Command) -> Command:
        place = ("--nodelist", self.node) if self.node is not None else ()
        stdin = ("--input=none",) if command.stdin == DEVNULL else ()
        step = ("--overlap", "--nodes=1", "--ntasks=1", "--mem=0", "--mpi=none", "--quiet")
        return attrs.evolve(command, argv=("srun", f"--jobid={self.job}", *step, *place, *stdin, *command.argv))


@define(eq=False)
class Allocation:
    """One allocation, in a task of its own.

    ::

        allocation = Allocation(queue, JobSpec(), way_in, on_lost=report_lost, on_fact=record)
        await allocation.open(tasks)
        async with allocation.start(Command(["hostname"])) as process:
            await process.wait()
        await allocation.close()

    :ivar enter: makes the connector that leads into a job on a node
    :ivar on_lost: told, once, that it has ended by itself, or that only the way in is lost
    :ivar on_fact: told the id of the job, and its node
    :ivar adopted: the id and the node of a job that is there, and not ended with it; None: it submits one
    :ivar node: the one of its nodes that is entered; None: the first
    """

    queue: JobQueue
    spec: JobSpec
    enter: Callable[[str, str | None], AllocationConnector]
    on_lost: Callable[[Exception], None]
    on_fact: Callable[[str, str], None]
    adopted: tuple[str, str | None] | None = None
    node: str | None = None
    way: AllocationConnector | None = field(init=False, default=None)
    #: Set when it has been opened, or could not be.
    opened: Event = field(init=False, factory=Event)
    #: Set when its task has come to its end.
    ended: Event = field(init=False, factory=Event)
    #: Set when its loss has been reported, or will not be any more.
    _reported: Event = field(init=False, factory=Event)
    _closing: Event = field(init=False, factory=Event)
    _way_lost: Event = field(init=False, factory=Event)
    _scope: CancelScope = field(init=False, factory=CancelScope)
    #: Why it could not be opened, or its job not be ended.
    _problem: Exception | None = field(init=False, default=None)
    #: Why it cannot be used any more.
    _loss: Exception | None = field(init=False, default=None)

    @property
    def is_lost(self) -> bool:
        """Whether nothing can be started in it any more, though it has not been closed."""
        return self._loss is not None or self._way_lost.is_set()

    async def open(self, tasks: TaskGroup) -> None:
        """Open it in a task of a group. If cancelled, or if it fails, nothing of it is left.

        :raises WorkflowExecutionException: with the reason
        """
        tasks.start_soon(self._run)
        try:
            await self.opened.wait()
        except BaseException:
            self._scope.cancel()
            with CancelScope(shield=True):
                await self.ended.wait()
            raise
        if self.way is None:
            await self.ended.wait()
            _raise(self._problem)

    async def close(self) -> None:
        """End the session, then the job, and wait until it has left its nodes.

        :raises WorkflowExecutionException: if the job cannot be ended

        If cancelled, it drops the session first.
        """
        self._closing.set()
        try:
            await self.ended.wait()
        finally:
            self._scope.cancel()
            with CancelScope(shield=True):
                await self.ended.wait()
        _raise(self._problem)

    @asynccontextmanager
    async def start(self, command: Command) -> AsyncGenerator[Process, None]:
        """Start a command in it, as :meth:`Connector.start_command` does.

        If it is lost, that has been reported before the command fails for it.
        """
        _raise(self._problem or self._loss)
        if self.way is None:
            raise WorkflowExecutionException("the allocation has ended")
        try:
            async with self.way.start_command(command) as process:
                yield process
        except WorkflowExecutionException:
            if self.is_lost:
                await self._reported.wait()
            raise

    async def _run(self) -> None:
        try:
            with self._scope:
                if self.adopted is not None:
                    await self._live(self.enter(*self.adopted), None)
                    return
                async with self.queue.start_job(_HOLD, self.spec, self.on_fact) as job:
                    await self._live(self.enter(job.job or "", self.node or job.node), job)
        except Exception as exc:  # noqa: BLE001 - an outcome, whatever the connector below raises
            self._problem = self._problem or exc
        finally:
            self._reported.set()
            self.opened.set()
            self.ended.set()

    async def _live(self, way: AllocationConnector, job: JobProcess | None) -> None:
        way.on_lost = lambda _: self._way_lost.set()
        with CancelScope() as stay:
            await way.connect()
            try:
                self.way = way
                self.opened.set()
                async with create_task_group() as tasks:
                    if job is not None:
                        tasks.start_soon(self._watch, job)
                    tasks.start_soon(self._watch_way, job, way)
                    await self._closing.wait()
                    tasks.cancel_scope.cancel()
            finally:
                stay.shield = True
                await way.disconnect()

    async def _watch(self, job: JobProcess) -> None:
        try:
            await job.wait()
        except ConnectionLostError:
            # The queue reports that by itself.
            self._reported.set()
        except JobError as exc:
            self._lose(exc)
        else:
            self._lose(JobError(f"job {job.job}, the allocation, has ended", job.job, job.state))

    async def _watch_way(self, job: JobProcess | None, way: AllocationConnector) -> None:
        await self._way_lost.wait()
        if job is not None:
            # Where the job has ended, the session in it was ended first.
            with move_on_after(_PATIENCE):
                await job.ended.wait()
                return
        self._lose(way.reported_loss or ConnectionLostError("the session in the allocation has ended"))

    def _lose(self, error: Exception) -> None:
        if not self._closing.is_set():
            self._loss = self._loss or error
            self.on_lost(error)
        self._reported.set()


def _raise(problem: Exception | None) -> None:
    """Raise a fresh error for a problem, if there is one."""
    if problem is not None:
        raise WorkflowExecutionException(str(problem)) from problem


class _Owner(Protocol):
    """The connector to whose environment an allocation belongs."""

    async def open_allocation(self, service: str | None, node: str | None) -> Allocation: ...

    def check_usable(self) -> None: ...


@define(kw_only=True, eq=False, slots=False)
class AllocatedConnector(Connector):
    """An allocation for one wrapper. It is made when the wrapper first uses it.

    If it ends by itself, the wrapper may have left something on the node that is no process of the job, such as a
    container. The next use makes another allocation of the same node.

    :ivar owner: the connector that makes it
    :ivar service: the one for which it is made
    :ivar node: the node that it has to be; None until there is one
    """

    owner: _Owner
    service: str | None = None
    node: str | None = None
    _allocation: Allocation | None = field(init=False, default=None)
    _opening: Lock = field(init=False, factory=Lock)

    async def deploy(self, external: bool) -> None:
        """Do nothing: it is made on its first use."""

    async def undeploy(self, external: bool) -> None:  # noqa: ARG002
        await self.release()

    async def release(self) -> None:
        """End the allocation, if there is one."""
        allocation = self._allocation
        if allocation is not None:
            await allocation.close()
            self._allocation = None

    def at(self, service: str | None = None, *, location: str | None = None) -> Connector:
        """Return an allocation of a certain node."""
        if (service or self.service, location or self.node) == (self.service, self.node):
            return self
        return attrs.evolve(self, service=service or self.service, node=location or self.node)

    async def get_available_locations(self, service: str | None = None) -> Mapping[str, Location]:
        """Return the node, which it has from its first use on."""
        name = self.node or self.deployment_name
        return {name: Location(name, self.deployment_name, service or self.service, self.node)}

    def _check_valid(self) -> None:
        self.owner.check_usable()

    @asynccontextmanager
    async def _start(self, command: Command) -> AsyncGenerator[Process, None]:
        async with self._opening:
            if self._allocation is not None and self._allocation.is_lost:
                await self.release()
            allocation = self._allocation
            if allocation is None:
                allocation = self._allocation = await self.owner.open_allocation(self.service, self.node)
                self.node = allocation.way.node if allocation.way is not None else self.node
        async with allocation.start(attrs.evolve(command, service=None, location=None)) as process:
            yield process
