"""The task that anydeploy's manager lives in when nobody can write ``async with`` around its life."""

from __future__ import annotations

import asyncio
from asyncio import Event, Task
from collections.abc import Iterable
from typing import Final

from attrs import define, field
from streamflow.log_handler import logger

from ...config import DeploymentConfig
from ...exceptions import DeployError, UndeployError, WorkflowDefinitionException, WorkflowExecutionException
from ...manager import DefaultDeploymentManager
from .signals import Hold, hold

#: Asyncio keeps no task alive, and a context that is never closed may be forgotten while its environments are up.
_running: Final[set[Task[None]]] = set()


@define(eq=False)
class _Early:
    """A ``deploy`` that was called before the manager was entered, and has not been passed on to it."""

    name: str
    withdrawn: bool = False


@define(eq=False)
class Host:
    """Enters a manager in a task of its own, and leaves it there when it is closed or the event loop ends.

    Until that task has made its first step nothing is up, and what is asked for waits for it.

    :ivar definitions: by name, those that the manager goes by
    :ivar left: what could not be taken down in the end
    """

    manager: DefaultDeploymentManager
    definitions: dict[str, DeploymentConfig]
    left: ExceptionGroup[UndeployError] | None = None
    _task: Task[None] = field(init=False)
    _entered: Event = field(init=False, factory=Event)
    _closing: Event = field(init=False, factory=Event)
    _early: list[_Early] = field(init=False, factory=list[_Early])
    _hold: Hold = field(init=False)

    def start(self) -> None:
        self._hold = hold()
        self._task = asyncio.create_task(self._live(), name="anydeploy")
        _running.add(self._task)
        self._task.add_done_callback(_running.discard)
        # It may have been cancelled before its first step. Then the manager says that it is not in use.
        self._task.add_done_callback(lambda _: self._entered.set())
        self._task.add_done_callback(lambda _: self._hold.release())

    async def deploy(self, config: DeploymentConfig | str) -> None:
        """:meth:`DefaultDeploymentManager.deploy`."""
        self._check_loop()
        if not self._entered.is_set():
            early = _Early(config if isinstance(config, str) else config.name)
            self._early.append(early)
            try:
                await self._entered.wait()
            finally:
                self._early.remove(early)
            if early.withdrawn:
                raise DeployError(early.name, "was undeployed before it was up")
        if isinstance(config, str):
            await self.manager.deploy(config)
        else:
            await self._deploy(config)

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
        self._hold.ending()
        self._closing.set()
        if not self._task.done():
            await asyncio.wait([self._task])
        if self.left is not None:
            raise self.left.derive(self.left.exceptions)

    async def _deploy(self, config: DeploymentConfig) -> None:
        before = self.definitions.get(config.name)
        self.definitions[config.name] = config
        try:
            await self.manager.deploy(config)
        except WorkflowDefinitionException:
            # Refused before the first await, so nobody else has come in between.
            if before is None:
                del self.definitions[config.name]
            else:
                self.definitions[config.name] = before
            raise

    def _withdraw(self, early: Iterable[_Early]) -> None:
        for each in early:
            each.withdrawn = True

    def _check_loop(self) -> None:
        if not self._task.done() and self._task.get_loop() is not asyncio.get_running_loop():
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
