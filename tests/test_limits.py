"""Limits, rules K1 to K3: what the suite of scenarios does not say."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import anyio
import pytest
from anyio.abc import TaskGroup
from scripted import Call, World, settle, start

from anydeploy import (
    Connector,
    DefaultDeploymentManager,
    DeployError,
    DeploymentConfig,
    DeploymentState,
    UndeployError,
    WorkflowExecutionException,
)
from anydeploy.engine.deploying import pause_after
from anydeploy.testing import ScriptedError, unit
from anydeploy.testing.virtual import BACKENDS, run_virtual


@pytest.mark.parametrize("backend", BACKENDS)
def test_slots_and_priority(backend: str) -> None:
    """K1: never more than max_concurrent at once; the longest remaining path goes first, then who asked first."""

    async def use() -> None:
        world = World()
        async with world.manager(
            unit("x"), unit("y"), unit("c", "b"), unit("b", "a"), unit("a"), max_concurrent=1
        ) as m:
            await m.deploy_all()
            begun = [entry for entry in world.told if entry.startswith("deploy ")]
            assert begun == [f"deploy {name}" for name in "abxyc"]
        assert world.most_running == 1

    run_virtual(backend, use)


@pytest.mark.parametrize("backend", BACKENDS)
def test_timeouts(backend: str) -> None:
    """K2: a timeout is a failure that names the deployment and the limit; the definition's goes first."""

    async def use() -> None:
        world = World()
        world.hold("deploy a")
        world.hold("undeploy b")
        async with world.manager(
            unit("a", deploy_timeout=2.5), unit("b"), deploy_timeout=9, undeploy_timeout=3
        ) as manager:
            began = anyio.current_time()
            with pytest.raises(DeployError, match=r"'a'.*2\.5 s \(deploy_timeout\)$"):
                await manager.deploy("a")
            assert anyio.current_time() - began == 2.5
            await manager.deploy("b")
            with pytest.raises(UndeployError, match=r"'b'.*3 s"):
                await manager.undeploy("b")

    run_virtual(backend, use)


@pytest.mark.parametrize("backend", BACKENDS)
def test_timeouts_that_nobody_has_set(backend: str) -> None:
    """K2, M1: five minutes for a teardown, a quarter of an hour for all of them, and no limit for a deploy."""

    async def use() -> None:
        world = World()
        world.plan("deploy a", action=lambda connector: anyio.sleep(10_000))
        for _ in range(2):
            world.hold("undeploy a")
        world.hold("undeploy b")
        manager = world.build(unit("a", undeploy_timeout=5000), unit("b"))
        with pytest.raises(ExceptionGroup):
            async with manager:
                await manager.deploy_all()
                with pytest.raises(UndeployError, match="300 s"):
                    await manager.undeploy("b")
                began = anyio.current_time()
        assert anyio.current_time() - began == 900

    run_virtual(backend, use)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("late", [False, True])
def test_shutdown_timeout_before_the_definition_s(backend: str, late: bool) -> None:
    """K2, M1: the error names the limit that was reached, and still does when the connector took its time."""

    async def use() -> None:
        world = World()
        for _ in range(2):
            world.plan("undeploy a", action=_end_late if late else lambda connector: anyio.sleep_forever())
        with pytest.raises(ExceptionGroup) as caught:
            async with world.build(unit("a", undeploy_timeout=9), shutdown_timeout=4) as manager:
                await manager.deploy("a")
        (error,) = caught.value.exceptions
        assert "cut off by the shutdown timeout" in str(error)

    run_virtual(backend, use)


@pytest.mark.parametrize("backend", BACKENDS)
def test_shutdown_timeout_leaves_time_to_undeploy(backend: str) -> None:
    """M1, D6: a deploy that is allowed to finish has half of the time, and what it has made is undeployed."""

    async def use() -> None:
        world = World()
        plan = world.hold("deploy a")
        world.plan("undeploy a", delay=1.0)
        await anyio.sleep(3)
        async with anyio.create_task_group() as tasks:
            async with world.manager(unit("a", type="stubborn", deploy_timeout=100), shutdown_timeout=10) as manager:
                call = start(tasks, manager.deploy, "a")
                await plan.reached.wait()
                began = anyio.current_time()
            assert anyio.current_time() - began == 6
            assert await call.wait() == "raised"
        assert world.told == ["deploy a", "deploy cancelled a", "undeploy a", "undeployed a"]

    run_virtual(backend, use)


@pytest.mark.parametrize("backend", BACKENDS)
def test_backoff(backend: str) -> None:
    """K3: a second, then twice as long each time, but never more than half a minute."""

    async def use() -> None:
        world = World()
        for _ in range(7):
            world.fail("deploy a")
        async with world.manager(unit("a", retries=7)) as manager:
            began = anyio.current_time()
            await manager.deploy("a")
            assert anyio.current_time() - began == 1 + 2 + 4 + 8 + 16 + 30 + 30

    run_virtual(backend, use)


def test_backoff_has_no_end() -> None:
    """K3: nor does it overflow, however many attempts have failed."""
    assert {pause_after(failures) for failures in (6, 1_024, 1_025, 10**9)} == {30.0}


@pytest.mark.parametrize("backend", BACKENDS)
def test_restarts_are_counted_anew(backend: str) -> None:
    """X4: what was undeployed, and is deployed again, may renew itself as often as its definition says."""

    async def use() -> None:
        world = World()
        async with world.manager(unit("a", restarts=1)) as manager:
            for _ in range(2):
                await manager.deploy("a")
                world.lose("a")
                await anyio.sleep(2)
                assert manager.status()["a"].state is DeploymentState.LIVE
                world.lose("a")
                await anyio.sleep(2)
                assert manager.status()["a"].state is DeploymentState.LOST
                await manager.undeploy("a")

    run_virtual(backend, use)


@pytest.mark.parametrize("backend", BACKENDS)
def test_slot_is_free_during_the_backoff(backend: str) -> None:
    """K1, K3: who waits to try again keeps nobody from going on meanwhile, and then waits for a slot."""

    async def use() -> None:
        world = World()
        world.fail("deploy a")
        world.plan("deploy b", action=lambda connector: anyio.sleep(5))
        async with world.manager(unit("a", retries=1), unit("b"), max_concurrent=1) as manager:
            began = anyio.current_time()
            await manager.deploy_all(["a", "b"])
            assert anyio.current_time() - began == 5
            begun = [entry for entry in world.told if entry in ("deploy a", "deploy b")]
            assert begun == ["deploy a", "deploy b", "deploy a"]
            assert world.most_running == 1

    run_virtual(backend, use)


@pytest.mark.parametrize("backend", BACKENDS)
def test_undeploy_during_backoff(backend: str) -> None:
    """K3, U4: an undeploy during the backoff ends it; no further attempt is made."""

    async def use() -> None:
        world = World()
        world.fail("deploy a")
        async with world.manager(unit("a", retries=5)) as manager, anyio.create_task_group() as tasks:

            async def deploy() -> None:
                with pytest.raises(DeployError, match="undeployed"):
                    await manager.deploy("a")

            tasks.start_soon(deploy)
            await anyio.sleep(0.5)
            began = anyio.current_time()
            await manager.undeploy("a")
            assert anyio.current_time() == began
            await anyio.sleep(100)
            assert world.count("deploy a") == 1

    run_virtual(backend, use)


@pytest.mark.parametrize("backend", BACKENDS)
def test_deploy_that_comes_back_in_spite_of_its_timeout(backend: str) -> None:
    """K2: what it holds open has been cancelled: the deploy has failed, and is not shown."""

    class Late(Connector):
        undeployed = 0

        async def deploy(self, external: bool) -> None:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(5)

        async def undeploy(self, external: bool) -> None:
            Late.undeployed += 1

    async def use() -> None:
        config = DeploymentConfig("late", "late", deploy_timeout=1)
        async with DefaultDeploymentManager([config], connector_types={"late": Late}) as manager:
            with pytest.raises(DeployError) as caught:
                await manager.deploy("late")
            assert isinstance(caught.value.__cause__, TimeoutError)
            assert manager.get_connector("late") is None
            assert Late.undeployed == 1

    run_virtual(backend, use)


async def _end_late(connector: Any) -> None:
    await _ignore_the_timeout(connector)
    await anyio.sleep_forever()


async def _ignore_the_timeout(connector: Any) -> None:
    with anyio.CancelScope(shield=True):
        await anyio.sleep(5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_retry_after_a_deploy_that_ignored_its_timeout(backend: str) -> None:
    """K2, K3: it is undeployed and tried again like one that was cut off."""

    async def use() -> None:
        world = World()
        world.plan("deploy a", action=_ignore_the_timeout)
        async with world.manager(unit("a", retries=1, deploy_timeout=1)) as manager:
            await manager.deploy("a")
            assert manager.get_connector("a") is world.connectors["a"][1]
            assert world.count("undeployed a") == 1

    run_virtual(backend, use)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("late", [False, True])
def test_cleanup_that_fails_before_a_retry(backend: str, late: bool) -> None:
    """K3, U6: nothing is tried again above what may still be there: it is stuck, and its callers are told why."""

    async def use() -> None:
        world = World()
        if late:
            world.plan("deploy a", action=_ignore_the_timeout)
        else:
            world.fail("deploy a")
        world.fail("undeploy a")
        async with world.manager(unit("a", retries=3, deploy_timeout=1)) as manager:
            with pytest.raises(DeployError) as caught:
                await manager.deploy("a")
            assert ("did not end within 1 s" if late else "deploy a: as told") in str(caught.value)
            assert "undeploy a: as told" in caught.value.__notes__[0]
            assert manager.status()["a"].state == "stuck"
            assert len(world.connectors["a"]) == 1

    run_virtual(backend, use)


@pytest.mark.parametrize("backend", BACKENDS)
def test_waiting_costs_nothing_when_what_it_holds_has_failed(backend: str) -> None:
    """R3, U6: it waits for its turn to go down, and does not look every now and then: virtual time passes."""

    class Holding(Connector):
        async def deploy(self, external: bool) -> None:
            self.background: TaskGroup | None = anyio.create_task_group()
            await self.background.__aenter__()
            self.background.start_soon(fail)

        async def undeploy(self, external: bool) -> None:
            background, self.background = self.background, None
            if background is not None:
                await background.__aexit__(None, None, None)

    async def fail() -> None:
        raise ScriptedError("background")

    async def use() -> None:
        config = DeploymentConfig("a", "holding")
        async with DefaultDeploymentManager([config], connector_types={"holding": Holding}) as manager:
            await manager.deploy("a")
            await anyio.sleep(5)
            assert manager.status()["a"].state == "live"

    run_virtual(backend, use)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("what", ["deploy", "backoff"])
def test_interrupt_elsewhere(backend: str, what: str) -> None:
    """M2, D6, K3: what ends the block cuts short neither a deploy that must not be interrupted nor a backoff."""

    async def use() -> None:
        world = World()
        if what == "deploy":
            world.plan("deploy a", action=lambda connector: anyio.sleep(5))
        else:
            world.fail("deploy a")
        world.fail("deploy b", KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            async with world.manager(unit("a", type="stubborn", retries=3), unit("b")) as manager:
                with anyio.CancelScope(shield=True):
                    async with anyio.create_task_group() as tasks:
                        start(tasks, manager.deploy, "a")
                        await settle()
                        start(tasks, manager.deploy, "b")
                        await anyio.sleep(0.5)
                        tasks.cancel_scope.cancel()
        assert world.count("deploy a") == 1
        assert world.count("deploy cancelled a") == 0

    run_virtual(backend, use)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("up", "down"), [(1, 1), (1, 2), (2, 1), (2, 3), (3, 2), (3, 4), (4, 3)])
def test_urgency_of_what_comes_and_what_goes(backend: str, up: int, down: int) -> None:
    """K1: the path that remains counts the same on the way up and on the way down; then it is who asked first."""

    async def use() -> None:
        world = World()
        busy = world.hold("deploy busy")
        chains = {name: [f"{name}{i}" for i in range(n)] for name, n in (("up", up), ("down", down))}
        configs = [unit(name, *chain[:i][-1:]) for chain in chains.values() for i, name in enumerate(chain)]
        async with world.manager(*configs, unit("busy"), max_concurrent=1) as manager:
            for name in chains["down"]:
                await manager.deploy(name)
            async with anyio.create_task_group() as tasks:
                start(tasks, manager.deploy, "busy")
                await busy.reached.wait()
                calls = [(up, manager.deploy, chains["up"][-1]), (down, manager.undeploy, chains["down"][-1])]
                for _, call, name in sorted(calls, key=lambda each: each[0]):
                    start(tasks, call, name)
                    await settle()
                busy.release()
            following = world.told[world.position("deployed busy") + 1]
            assert following == ("deploy up0" if up >= down else f"undeploy down{down - 1}")

    run_virtual(backend, use)


@pytest.mark.parametrize("backend", BACKENDS)
def test_urgency_of_what_grows_while_it_comes_up(backend: str) -> None:
    """K1: what is asked for above it when its place has been chosen already counts for what follows it."""

    async def use() -> None:
        world = World()
        busy, base = world.hold("deploy busy"), world.hold("deploy base")
        configs = unit("busy"), unit("base"), unit("x"), unit("mid", "base"), unit("top", "mid")
        async with world.manager(*configs, max_concurrent=1) as manager:
            async with anyio.create_task_group() as tasks:
                for name in ("busy", "base", "x"):
                    start(tasks, manager.deploy, name)
                    await settle()
                busy.release()
                await base.reached.wait()
                start(tasks, manager.deploy, "top")
                await settle()
                base.release()
            begun = [entry for entry in world.told if entry.startswith("deploy ")]
            assert begun == [f"deploy {name}" for name in ("busy", "base", "mid", "x", "top")]

    run_virtual(backend, use)


@pytest.mark.parametrize("backend", BACKENDS)
def test_urgency_of_a_repeated_request(backend: str) -> None:
    """K1: a demand that was dropped and made again counts as what it is now, not as what it was."""

    async def use() -> None:
        world = World()
        busy = world.hold("deploy busy")
        configs = unit("busy"), unit("top", "mid"), unit("mid", "low"), unit("low"), unit("b", "a"), unit("a")
        async with world.manager(*configs, max_concurrent=1) as manager, anyio.create_task_group() as tasks:
            start(tasks, manager.deploy, "busy")
            await busy.reached.wait()
            first = start(tasks, manager.deploy, "top")
            await settle()
            first.cancel()
            await first.wait()
            calls = [start(tasks, manager.deploy, name) for name in ("low", "b")]
            await settle()
            busy.release()
            for call in calls:
                assert await call.wait() == "returned"
            assert [entry for entry in world.told if entry.startswith("deploy ")][1] == "deploy a"

    run_virtual(backend, use)


@pytest.mark.parametrize("backend", BACKENDS)
def test_request_that_was_dropped(backend: str) -> None:
    """K1, D6: what nobody wants any more takes no slot, although it was the first to ask."""

    async def use() -> None:
        world = World()
        base = world.hold("deploy base")
        configs = unit("first"), unit("top", "base"), unit("base"), unit("other")
        async with world.manager(*configs, max_concurrent=1) as manager, anyio.create_task_group() as tasks:
            call = start(tasks, manager.deploy_all, ["first", "top"])
            await base.reached.wait()
            call.cancel()
            await manager.deploy("other")
            assert "first" not in world.connectors

    run_virtual(backend, use)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("operation", ["deploy", "undeploy"])
@pytest.mark.parametrize("wait_for", ["lazy", "self", "other", "undeploy", "undeploy_all", "close"])
def test_connector_at_work_waits_for_nobody(backend: str, operation: str, wait_for: str) -> None:
    """K1, L1: what could only end in waiting for oneself is refused, in tasks of the connector as well."""

    async def use() -> None:
        world = World()
        refused: list[WorkflowExecutionException] = []
        configs = unit("a"), unit("b"), unit("lazy", lazy=True), unit("up")
        async with world.manager(*configs, max_concurrent=1) as manager:
            await manager.deploy_all(["up", "lazy"])
            lazy: Any = manager.get_connector("lazy")
            calls: dict[str, Callable[[], Awaitable[object]]] = {
                "lazy": lambda: lazy.run(["x"]),
                "self": lambda: manager.deploy("a"),
                "other": lambda: manager.deploy("b"),
                "undeploy": lambda: manager.undeploy("up"),
                "undeploy_all": manager.undeploy_all,
                "close": manager.close,
            }

            async def call() -> None:
                await manager.deploy("up")
                with pytest.raises(WorkflowExecutionException, match="'a' must not wait") as caught:
                    await calls[wait_for]()
                refused.append(caught.value)

            async def act(connector: Any) -> None:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(call)

            world.plan(f"{operation} a", action=act)
            await manager.deploy("a")
            await manager.undeploy("a")
            assert len(refused) == 1
            assert manager.get_connector("up") is not None

    run_virtual(backend, use)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("operation", ["deploy", "undeploy", "failing undeploy"])
def test_connector_that_was_at_work_may_wait(backend: str, operation: str) -> None:
    """K1: what it has started may wait for others as soon as its own deploy or undeploy has ended."""

    async def use() -> None:
        world = World()
        ended = anyio.Event()
        waiting: list[Call] = []

        async def later() -> None:
            await ended.wait()
            await manager.deploy("b")

        async def act(connector: Any) -> None:
            waiting.append(start(tasks, later))
            if operation == "failing undeploy":
                raise ScriptedError("no")

        world.plan(f"{operation.rsplit(maxsplit=1)[-1]} a", action=act)
        async with world.manager(unit("a"), unit("b")) as manager, anyio.create_task_group() as tasks:
            await manager.deploy("a")
            if operation != "deploy":
                with suppress(UndeployError):
                    await manager.undeploy("a")
            ended.set()
            assert await waiting[0].wait() == "returned"

    run_virtual(backend, use)


@pytest.mark.parametrize("backend", BACKENDS)
def test_connector_at_work_may_take_back_what_it_need_not_wait_for(backend: str) -> None:
    """U1, U2: an undeploy that returns at once is not refused."""

    async def use() -> None:
        world = World()
        async with world.manager(unit("a", "base"), unit("base"), max_concurrent=1) as manager:

            async def act(connector: Any) -> None:
                await manager.undeploy("nobody")
                await manager.undeploy("base")
                assert manager.get_connector("base") is None

            world.plan("undeploy a", action=act)
            await manager.deploy_all()
            await manager.undeploy("a")
            await settle()
            assert world.told[-2:] == ["undeploy base", "undeployed base"]

    run_virtual(backend, use)


@pytest.mark.parametrize("backend", BACKENDS)
def test_connector_with_a_manager_of_its_own(backend: str) -> None:
    """K1: a connector may well wait for another manager, whose connectors must not wait for it in turn."""

    async def use() -> None:
        inner, outer = World(), World()
        outer_manager = outer.build(unit("a"))

        async def act(connector: Any) -> None:
            async with inner.manager(unit("b")) as manager:
                await manager.deploy("b")

        async def wait_for_a(connector: Any) -> None:
            with pytest.raises(WorkflowExecutionException, match="'a' must not wait"):
                await outer_manager.deploy("a")

        outer.plan("deploy a", action=act)
        inner.plan("deploy b", action=wait_for_a)
        async with outer_manager:
            await outer_manager.deploy("a")
        assert inner.count("deployed b") == 1

    run_virtual(backend, use)
