"""anydeploy's manager in a task of its own: nothing in StreamFlow can put ``async with`` around its life."""

from __future__ import annotations

import asyncio
from asyncio import AbstractEventLoop, Event, Task
from collections.abc import Iterable
from typing import Final

from attrs import define, field
from streamflow.log_handler import logger

from ...config import DeploymentConfig
from ...exceptions import DeployError, UndeployError, WorkflowExecutionException
from ...manager import DefaultDeploymentManager
from .signals import Lease, acquire

#: The event loop keeps no task alive, and a context that is never closed may be dropped while its environments are up.
_running: Final[set[Task[None]]] = set()


@define(eq=False)
class _EarlyDeploy:
    """A ``deploy`` that was called before the manager was entered, and waits for that.

    :ivar withdrawn: an ``undeploy`` was called after it
    """

    name: str
    withdrawn: bool = False


@define(eq=False)
class BackgroundManager:
    """Enters a manager in a task of its own, and leaves it there when it is closed or the event loop ends.

    Until that task has made its first step nothing is up, and every call waits for it.

    :ivar manager: the manager
    :ivar left: the error of what could not be taken down in the end
    """

    manager: DefaultDeploymentManager
    left: ExceptionGroup[UndeployError] | None = field(init=False, default=None)
    _loop: AbstractEventLoop = field(init=False)
    _task: Task[None] = field(init=False)
    #: Held from :meth:`start` to the end of the task.
    _lease: Lease = field(init=False)
    #: Set when the manager has been entered, or will not be.
    _entered: Event = field(init=False, factory=Event)
    _closing: Event = field(init=False, factory=Event)
    #: In their order; a dict, because they leave one by one.
    _early: dict[_EarlyDeploy, None] = field(init=False, factory=dict[_EarlyDeploy, None])

    def start(self) -> None:
        """Start the task on the running event loop."""
        self._lease = acquire(self.manager.hurry)
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._live(), name="anydeploy")
        _running.add(self._task)
        self._task.add_done_callback(self._ended)

    def is_up(self, name: str) -> bool:
        """:meth:`DefaultDeploymentManager.is_up`."""
        self._check_loop()
        return self.manager.is_up(name)

    async def deploy(self, deployment: DeploymentConfig | str) -> None:
        """:meth:`DefaultDeploymentManager.deploy`."""
        self._check_loop()
        if not self._entered.is_set():
            await self._enter(deployment if isinstance(deployment, str) else deployment.name)
        await self.manager.deploy(deployment)

    async def undeploy(self, name: str) -> None:
        """:meth:`DefaultDeploymentManager.undeploy`."""
        self._check_loop()
        self._withdraw(early for early in self._early if early.name == name)
        if self._entered.is_set():
            await self.manager.undeploy(name)
        else:
            await self._entered.wait()

    async def undeploy_all(self) -> None:
        """:meth:`DefaultDeploymentManager.undeploy_all`."""
        self._check_loop()
        self._withdraw(self._early)
        if self._entered.is_set():
            await self.manager.undeploy_all()
        else:
            await self._entered.wait()

    async def close(self) -> None:
        """Leave the manager, and wait until everything is down. If cancelled it returns at once; the teardown goes on.

        :raises ExceptionGroup: of an :class:`UndeployError` for everything that may be left
        """
        self._check_loop()
        self._lease.ending()
        self._closing.set()
        if not self._task.done():
            await asyncio.wait([self._task])
        if self.left is not None:
            raise self.left.derive(self.left.exceptions)

    async def _enter(self, name: str) -> None:
        early = _EarlyDeploy(name)
        self._early[early] = None
        try:
            await self._entered.wait()
        finally:
            del self._early[early]
        if early.withdrawn:
            raise DeployError(name, "was undeployed before it was up")

    def _withdraw(self, early: Iterable[_EarlyDeploy]) -> None:
        for each in early:
            each.withdrawn = True

    def _check_loop(self) -> None:
        if asyncio.get_running_loop() is not self._loop and not self._task.done():
            raise WorkflowExecutionException(
                "the deployment manager is in use on another event loop, that of its first deploy: close it there first"
            )

    async def _live(self) -> None:
        try:
            async with self.manager:
                self._entered.set()
                await self._closing.wait()
        except* UndeployError as group:
            self.left = group
            if not self._closing.is_set():
                logger.error("\n".join([str(group), *map(str, group.exceptions)]))

    def _ended(self, task: Task[None]) -> None:
        _running.discard(task)
        # The task may have been cancelled before its first step. Then the manager says that it is not in use.
        self._entered.set()
        self._lease.release()
