"""Callers of a manager: every call is written down, and may be made in a task of its own that can be cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, cast

from anyio import CancelScope, Event, current_time, get_cancelled_exc_class
from anyio.abc import TaskGroup
from attrs import define, field

from .entries import EntryKind
from .scripted import Script
from .subject import AnydeploySubject, Subject

_OPERATIONS = ("deploy", "undeploy", "undeploy_all", "restart", "close", "use")


@define(eq=False)
class Caller:
    """One call of the manager.

    :ivar number: callers are numbered from 1
    :ivar operation: ``deploy``, ``undeploy``, ``undeploy_all``, ``restart``, ``close``, or ``use``
    :ivar name: the deployment that it is about; empty where it is about all
    :ivar outcome: None until it has come to its end
    :ivar value: the result that the call returned
    :ivar error: the exception that it raised
    :ivar ended: set at its end
    :ivar begun: it has been made
    :ivar asked: it was asked to give up
    """

    number: int
    operation: str
    name: str
    function: Callable[[], Awaitable[Any]]
    script: Script
    subject: Subject
    outcome: EntryKind | None = None
    value: Any = None
    error: BaseException | None = None
    scope: CancelScope = field(factory=CancelScope)
    ended: Event = field(factory=Event)
    begun: bool = False
    asked: bool = False
    native: bool = False
    task: asyncio.Task[Any] | None = None

    def __str__(self) -> str:
        return f"{self.operation}({self.name}) by caller {self.number}"

    async def make(self) -> Any:
        """Make the call in the task that this is awaited in.

        :raises BaseException: whatever the call raises
        """
        with self.written_down():
            self.value = await self.function()
        return self.value

    @contextmanager
    def written_down(self) -> Generator[None, None, None]:
        """Write down, of a block that is the call, its beginning and its outcome."""
        self.begun = True
        self._record(EntryKind.CALLED)
        if self.asked:
            self._record(EntryKind.ASKED)
        try:
            yield
        except GeneratorExit:
            # The whole run was dropped, and its history with it.
            raise
        except get_cancelled_exc_class():
            self._end(EntryKind.GAVE_UP)
            raise
        except BaseException as exc:
            self._end(EntryKind.RAISED, exc)
            raise
        self._end(EntryKind.RETURNED)

    async def run(self) -> None:
        """Make the call as a task of its own, which :meth:`cancel` cancels. An exception of the call is kept."""
        with suppress(RuntimeError):
            self.task = asyncio.current_task()
        try:
            with self.scope, suppress(Exception):
                await self.make()
        except get_cancelled_exc_class():
            # A child that ends like this would take its task group with it.
            if not self.native:
                raise

    def cancel(self, how: str = "scope") -> None:
        """Ask the caller to give up: through its ``scope``, by a ``deadline``, or as ``native`` asyncio does it."""
        if self.outcome is not None:
            return
        self.asked = True
        if self.begun:
            self._record(EntryKind.ASKED)
        if how == "native" and self.task is not None:
            self.native = True
            self.task.cancel()
        elif how == "deadline":
            self.scope.deadline = current_time()
        else:
            self.scope.cancel()

    async def wait(self) -> EntryKind | None:
        """Wait for the end of the call, and return its outcome."""
        await self.ended.wait()
        return self.outcome

    def _end(self, outcome: EntryKind, error: BaseException | None = None) -> None:
        self.outcome, self.error = outcome, error
        try:
            self._record(outcome, error)
        finally:
            # A task that waits for it goes on even where a rule has raised an exception.
            self.ended.set()

    def _record(self, kind: EntryKind, error: BaseException | None = None) -> None:
        self.script.history.record(
            kind,
            self.operation,
            self.name,
            caller=self.number,
            error=error,
            refused=isinstance(error, self.subject.definition_errors),
            strange=error is not None and not self._is_known(error),
        )

    def _is_known(self, error: BaseException) -> bool:
        """Whether an error, or every one in a group, is of those that the manager is supposed to raise."""
        if isinstance(error, ExceptionGroup):
            return all(map(self._is_known, cast("ExceptionGroup[Exception]", error).exceptions))
        return isinstance(error, (*self.subject.definition_errors, *self.subject.execution_errors))


class Recorded:
    """A manager, every call of which is written down. Other attributes are those of the manager."""

    def __init__(self, subject: Subject, manager: Any, script: Script) -> None:
        self.subject = subject
        self.manager = manager
        self.script = script
        self._callers = 0

    async def deploy(self, deployment: Any) -> None:
        await self.caller("deploy", deployment).make()

    def get_connector(self, deployment_name: str) -> Any:
        connector = self.manager.get_connector(deployment_name)
        self.was_shown(deployment_name, connector)
        return connector

    def was_shown(self, deployment_name: str, connector: Any) -> None:
        """Write down that ``get_connector`` gave this."""
        instance = self.script.number(connector)
        self.script.history.record(EntryKind.READ, "get_connector", deployment_name, instance=instance)

    async def undeploy(self, deployment_name: str) -> None:
        await self.caller("undeploy", deployment_name).make()

    async def undeploy_all(self) -> None:
        await self.caller("undeploy_all").make()

    async def restart(self, deployment_name: str) -> None:
        await self.caller("restart", deployment_name).make()

    async def close(self) -> None:
        await self.caller("close").make()

    async def use(self, deployment_name: str) -> Any:
        """Perform an operation of the connector that ``get_connector`` gives for a name."""
        return await self.caller("use", deployment_name).make()

    def caller(self, operation: str, deployment: Any = "", *, connector: Any = None) -> Caller:
        """Prepare a call, to be made with ``await caller.make()`` or with ``tasks.start_soon(caller.run)``.

        :param deployment: the name of a deployment; or of one that is to be deployed the definition
        :param connector: to be used by ``use``; default: the one that ``get_connector`` gives at the time of the call
        :raises ValueError: if there is no such operation
        """
        if operation not in _OPERATIONS:
            raise ValueError(f"unknown operation {operation!r} (expected one of {', '.join(_OPERATIONS)})")
        name = deployment if isinstance(deployment, str) else deployment.name
        if not isinstance(deployment, str):
            self.script.define(deployment)

        async def use() -> Any:
            return await self.subject.use(connector or self.manager.get_connector(name))

        def call() -> Awaitable[Any]:
            if operation == "use":
                return use()
            function: Callable[..., Awaitable[Any]] = getattr(self.manager, operation)
            return function(deployment) if name else function()

        self._callers += 1
        return Caller(self._callers, operation, name, call, self.script, self.subject)

    def start(self, tasks: TaskGroup, operation: str, deployment: Any = "", **options: Any) -> Caller:
        """Make a call in a task of its own; the parameters are those of :meth:`caller`."""
        caller = self.caller(operation, deployment, **options)
        tasks.start_soon(caller.run, name=str(caller))
        return caller

    def read(self, names: Iterable[str] | None = None) -> dict[str, Any]:
        """Call ``get_connector`` for all names, or for these, and return the connectors by name."""
        names = self.script.premises.configs if names is None else names
        return {name: self.get_connector(name) for name in names}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.manager, name)


@asynccontextmanager
async def recorded(script: Script, subject: Subject | None = None, **options: Any) -> AsyncGenerator[Recorded, None]:
    """Open a block with a manager, every call of which is written down, its closing at the end of the block as well.

    ::

        async with recorded(Script(unit("a"))) as manager:
            await manager.deploy("a")

    :param script: the definitions, the limits, and what the connectors do
    :param subject: builds the manager; by default :class:`~anydeploy.DefaultDeploymentManager`
    :param options: the manager's own
    :raises Violation: at the end of the block, if a rule was broken; an ``ExceptionGroup`` of several
    """
    subject = subject or AnydeploySubject()
    block = subject.manager(script, **options)
    manager = Recorded(subject, await block.__aenter__(), script)
    try:
        yield manager
    except BaseException as exc:
        with manager.caller("close").written_down():
            if not await block.__aexit__(type(exc), exc, exc.__traceback__):
                raise
    else:
        with manager.caller("close").written_down():
            await block.__aexit__(None, None, None)
    script.history.at_end()
    script.history.check()
