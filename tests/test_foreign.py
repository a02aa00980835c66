"""Foreign code is never trusted: rule D7, where it takes more than a script can tell."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio import CancelScope, create_task_group
from anyio.lowlevel import checkpoint
from attrs import define
from scripted import World, settle

from anydeploy import (
    Connector,
    ConnectorWrapper,
    DefaultDeploymentManager,
    DeployError,
    DeploymentConfig,
    UndeployError,
)
from anydeploy.lifecycle import Step
from anydeploy.testing import ScriptedError, unit, wrapper

pytestmark = pytest.mark.anyio


class Odd(BaseException):
    """No Exception, and none of those that the interpreter knows."""


#: Exceptions that foreign code may raise, and the manager survives.
ODD = [ScriptedError, SystemExit, Odd, GeneratorExit]


@define(kw_only=True, eq=False, slots=False)
class Careless(Connector):
    """Leaves open what it enters."""

    up: Callable[[], Awaitable[object]]
    down: Callable[[], Awaitable[object]]

    async def deploy(self, external: bool) -> None:
        await self.up()

    async def undeploy(self, external: bool) -> None:
        await self.down()


async def _nothing() -> None:
    await checkpoint()


async def _enter_scope() -> None:
    CancelScope().__enter__()


async def _enter_cancelled_scope() -> None:
    scope = CancelScope()
    scope.__enter__()
    scope.cancel()


async def _enter_task_group() -> None:
    tasks = create_task_group()
    await tasks.__aenter__()
    tasks.start_soon(anyio.sleep_forever)


@asynccontextmanager
async def _careless(up: Any, down: Any) -> AsyncGenerator[DefaultDeploymentManager, None]:
    """A manager with a connector `a`, and with `b`, which stays up, and must notice nothing."""
    configs = [DeploymentConfig("a", "careless", {"up": up, "down": down}), DeploymentConfig("b", "careless")]

    class Bound(Careless):
        def __init__(self, *, up: Any = _nothing, down: Any = _nothing, **options: Any) -> None:
            super().__init__(up=up, down=down, **options)

    with anyio.fail_after(10):
        async with DefaultDeploymentManager(configs, connector_types={"careless": Bound}) as manager:
            await manager.deploy("b")
            yield manager
            await checkpoint()
            assert manager.status()["b"].state == "live"


@pytest.mark.parametrize(
    ("up", "down"),
    [
        (_enter_scope, _nothing),
        (_enter_task_group, _nothing),
        (_nothing, _enter_scope),
        (_nothing, _enter_cancelled_scope),
        (_nothing, _enter_task_group),
    ],
)
async def test_scope_left_open(up: Any, down: Any, caplog: pytest.LogCaptureFixture) -> None:
    """D7: what a connector has left open when its environment is gone is an error in the log, and cancels nothing."""
    async with _careless(up, down) as manager:
        for _ in range(2):
            await manager.deploy("a")
            await manager.undeploy("a")
            assert manager.status()["a"].state == "absent"
    errors = [record.message for record in caplog.records if record.levelno == logging.ERROR]
    told = "after the teardown of deployment 'a' failed: its connector has left a task group or a scope open"
    assert [error for error in errors if told in error]


async def test_cancelled_scope_left_open() -> None:
    """D7, U6: one that cancels what the teardown awaits makes that fail; the next try is in a task of its own."""
    async with _careless(_enter_cancelled_scope, _nothing) as manager:
        await manager.deploy("a")
        await settle()
        assert manager.status()["a"].state == "live"
        with pytest.raises(UndeployError, match="'a'"):
            await manager.undeploy("a")
        await manager.undeploy("a")
        assert manager.status()["a"].state == "absent"


@pytest.mark.parametrize("leave", [_enter_scope, _enter_cancelled_scope, _enter_task_group])
async def test_scope_left_open_by_a_deploy_that_fails(leave: Any) -> None:
    """D7, D5: what its callers are told is the error that it has raised, and not the complaint about the scope."""

    async def up() -> None:
        await leave()
        raise ScriptedError("no luck")

    async with _careless(up, _nothing) as manager:
        for _ in range(2):
            with pytest.raises(DeployError, match="no luck"):
                await manager.deploy("a")
            assert manager.status()["a"].state == "absent"


@pytest.mark.parametrize("leave", [_enter_scope, _enter_cancelled_scope, _enter_task_group])
async def test_scope_left_open_by_a_teardown_that_fails(leave: Any) -> None:
    """D7, U6: likewise, and the next try is made in a task of its own."""
    works = False

    async def down() -> None:
        if not works:
            await leave()
            raise ScriptedError("no luck")

    async with _careless(_nothing, down) as manager:
        await manager.deploy("a")
        for _ in range(2):
            with pytest.raises(UndeployError, match="no luck"):
                await manager.undeploy("a")
            assert manager.status()["a"].state == "stuck"
        works = True
        await manager.undeploy("a")
        assert manager.status()["a"].state == "absent"


@pytest.mark.parametrize("error", ODD)
async def test_listener_that_raises(error: type[BaseException], caplog: pytest.LogCaptureFixture) -> None:
    """D7: whatever a listener raises is an error in the log: nothing is left half-way."""
    world = World()

    def on_event(event: Any) -> None:
        raise error

    async with world.manager(unit("a"), wrapper("b", "a"), on_event=on_event) as manager:
        await manager.deploy("b")
        world.connectors["a"][0].report_lost(ScriptedError("gone"))
        await manager.deploy("b")
        await manager.undeploy("b")
        await checkpoint()
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) > 10
    assert world.told[-1] == "undeployed a"


@pytest.mark.parametrize("error", ["gone", 1, ScriptedError, SystemExit(), Odd()], ids=repr)
@pytest.mark.parametrize("live", [False, True])
async def test_loss_that_is_reported_with_something_odd(error: Any, live: bool) -> None:
    """D7, X1: the report counts, whatever it is given; callers get errors with a cause as always."""
    world = World()

    async def report(connector: Any) -> None:
        connector.report_lost(error)

    async with world.manager(unit("a", "b"), unit("b")) as manager:
        if live:
            await manager.deploy("a")
            world.fail("deploy b", ScriptedError("gone again"))
            world.connectors["b"][0].report_lost(error)
            assert manager.status()["b"].state == "lost"
        else:
            world.plan("deploy b", action=report)
        with pytest.raises(DeployError, match="'b'") as caught:
            await manager.deploy("a")
        assert isinstance(caught.value.__cause__, BaseException)
        await manager.deploy("a")


class _Unprintable(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


async def test_loss_whose_error_cannot_be_printed() -> None:
    """D7, X1: likewise."""
    world = World()
    async with world.manager(unit("a")) as manager:
        await manager.deploy("a")
        world.connectors["a"][0].report_lost(_Unprintable())
        assert manager.status()["a"].state == "lost"


async def test_loss_that_its_own_hook_does_not_survive() -> None:
    """D7, X1: the connector gets what its `invalidate` has raised, and the manager knows of the loss all the same."""
    world = World()
    async with world.manager(unit("a")) as manager:
        await manager.deploy("a")
        error = world.fail_hook("invalidate a")
        with pytest.raises(ScriptedError) as caught:
            world.connectors["a"][0].report_lost(ScriptedError("gone"))
        assert caught.value is error
        assert manager.status()["a"].state == "lost"
        assert manager.get_connector("a") is None


async def test_loss_that_the_constructor_reports() -> None:
    """D7, X1: a deploy has failed that is lost before it returns, and this one before it was called."""

    class Early(Connector):
        deployed = 0

        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.report_lost(ScriptedError("early"))

        async def deploy(self, external: bool) -> None:
            await anyio.sleep_forever()

        async def undeploy(self, external: bool) -> None:
            """There is nothing to do."""

    config = DeploymentConfig("a", "early")
    with anyio.fail_after(10):
        async with DefaultDeploymentManager([config], connector_types={"early": Early}) as manager:
            with pytest.raises(DeployError, match="early"):
                await manager.deploy("a")
            assert manager.status()["a"].state == "absent"


async def test_inner_environment_that_is_lost_when_its_wrapper_is_about_to_be_deployed() -> None:
    """D7, X1: a listener hears of the attempt before the connector does, and so may report a loss that ends it."""
    world = World()

    def on_event(event: Any) -> None:
        if event.name == "b" and event.step is Step.BEGUN:
            world.connectors["a"][0].report_lost(ScriptedError("gone"))

    with anyio.fail_after(10):
        async with world.manager(unit("a"), wrapper("b", "a"), on_event=on_event) as manager:
            with pytest.raises(DeployError) as caught:
                await manager.deploy("b")
    assert caught.value.path == ("b", "a")
    assert "b" not in world.connectors


async def test_inner_environment_that_is_lost_while_its_wrapper_is_built() -> None:
    """D7, X1: so may the constructor; what it has built is given up at its first await."""

    class Rude(ConnectorWrapper):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.connector.report_lost(ScriptedError("gone"))

        async def deploy(self, external: bool) -> None:
            await anyio.sleep_forever()

    world = World()
    configs = [unit("a"), DeploymentConfig("b", "rude", wraps="a")]
    with anyio.fail_after(10):
        async with DefaultDeploymentManager(configs, connector_types={**world.types, "rude": Rude}) as manager:
            with pytest.raises(DeployError) as caught:
                await manager.deploy("b")
    assert caught.value.path == ("b", "a")


@pytest.mark.skipif(sys.version_info < (3, 12), reason="asyncio has eager tasks since Python 3.12")
async def test_deploy_that_is_given_up_when_it_is_about_to_begin() -> None:
    """D6, D7: an eager task that a listener starts may take the demand back before the connector is called."""
    on_asyncio = anyio.get_cancelled_exc_class() is asyncio.CancelledError
    if not on_asyncio or type(asyncio.get_running_loop()).__module__.startswith("uvloop"):
        pytest.skip("only asyncio has eager tasks; uvloop 0.23 cannot start any on Python 3.13")
    world = World()
    world.hold("deploy a")
    calls: list[asyncio.Task[None]] = []

    def on_event(event: Any) -> None:
        if event.step is Step.BEGUN:
            calls.append(asyncio.create_task(manager.undeploy("a")))

    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]
    try:
        with anyio.fail_after(10):
            async with world.manager(unit("a"), on_event=on_event) as manager:
                with pytest.raises(DeployError):
                    await manager.deploy("a")
                await calls[0]
    finally:
        asyncio.get_running_loop().set_task_factory(None)


async def test_task_that_the_connector_cancels_itself() -> None:
    """D7: a native cancellation of the task that it runs in, unless it lets that through, harms nothing."""
    if anyio.get_cancelled_exc_class() is not asyncio.CancelledError:
        pytest.skip("native cancellation is asyncio's")
    world = World()

    async def cancel(connector: Any) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()

    world.plan("deploy a", action=cancel)
    world.plan("undeploy a", action=cancel)
    async with world.manager(unit("a"), unit("b", "a")) as manager:
        await manager.deploy("b")
        await settle()
        assert manager.status()["a"].state == "live"
        await manager.undeploy("b")
        assert manager.status()["a"].state == "absent"
