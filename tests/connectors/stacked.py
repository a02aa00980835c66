"""Connectors that bring up the one that they wrap themselves, in a task of its own, as a manager does."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from anyio import CancelScope, Event, create_task_group
from attrs import define, field

from anydeploy import Connector, ConnectorWrapper, WorkflowExecutionException
from anydeploy.connectors.local import LocalConnector
from anydeploy.connectors.ssh import SshConnector

#: The type of a connector, and its settings, by the connector that is tested.
Layer = tuple[type[ConnectorWrapper], Callable[[Any], Mapping[str, Any]]]


def over_ssh(base: Any, outer_settings: Callable[[Any], Mapping[str, Any]]) -> type[ConnectorWrapper]:
    """A connector type whose programs are run on a host that ssh reaches.

    :param outer_settings: those of the ssh, by the connector
    """
    return over(base, (SshConnector, outer_settings))


def over(base: Any, *layers: Layer) -> type[ConnectorWrapper]:
    """A connector type that stands on others.

    :param layers: these, the outermost first
    """

    @define(kw_only=True, eq=False, slots=False)
    class Stacked(base):
        _up: Event = field(init=False, factory=Event)
        _down: Event = field(init=False, factory=Event)
        _outer: AsyncExitStack | None = field(init=False, default=None)

        async def deploy(self, external: bool) -> None:
            problem = None
            async with AsyncExitStack() as stack:
                tasks = await stack.enter_async_context(create_task_group())
                try:
                    tasks.start_soon(self._hold)
                    await self._up.wait()
                    await super().deploy(external)
                    self._outer = stack.pop_all()
                except WorkflowExecutionException as exc:
                    problem = exc
                finally:
                    if self._outer is None:
                        self._down.set()
            if problem is not None:
                raise problem

        async def undeploy(self, external: bool) -> None:
            stack, self._outer = self._outer, None
            if stack is None:
                # Its deploy did not return: there is no connection any more.
                async with self._reached():
                    await super().undeploy(external)
                return
            try:
                await super().undeploy(external)
            finally:
                self._down.set()
                await stack.aclose()

        async def _hold(self) -> None:
            with CancelScope(shield=True):
                async with self._reached():
                    self._up.set()
                    await self._down.wait()

        @asynccontextmanager
        async def _reached(self) -> AsyncGenerator[None, None]:
            connector: Connector = LocalConnector(deployment_name="l", config_dir=self.config_dir)
            with CancelScope() as scope:
                async with AsyncExitStack() as exits:
                    try:
                        for number, (type_, settings) in enumerate(layers):
                            place = connector.for_wrapper(type_)
                            exits.push_async_callback(place.release)
                            connector = type_(
                                deployment_name=f"layer-{number}",
                                config_dir=self.config_dir,
                                connector=place,
                                **settings(self),
                            )
                            exits.push_async_callback(connector.undeploy, False)
                            await connector.deploy(False)
                        self.connector = connector.for_wrapper(base)
                        exits.push_async_callback(self.connector.release)
                        yield
                    finally:
                        scope.shield = True

    return Stacked
