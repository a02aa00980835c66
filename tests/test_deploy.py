"""Deploying, rules D1 to D6: what the suite of scenarios does not say."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import anyio
import pytest
from anyio import create_task_group
from attrs import define
from scripted import World, settle, start

from anydeploy import (
    Connector,
    DefaultDeploymentManager,
    DeployError,
    DeploymentConfig,
    UndeployError,
)
from anydeploy.lifecycle import DeploymentState, Step
from anydeploy.testing import ScriptedError, unit, wrapper

pytestmark = pytest.mark.anyio


# -- D1 ----------------------------------------------------------------------------------------------------------------


async def test_long_chain() -> None:
    """D1: a chain of 2,000 comes up and goes down without recursion."""
    world = World()
    count = 2_000
    configs = [unit(f"n{i}", *([f"n{i - 1}"] if i else [])) for i in range(count)]
    # Unknown to the world, which would look at the whole closure again and again.
    async with DefaultDeploymentManager(configs, connector_types=world.types) as manager:
        await manager.deploy(f"n{count - 1}")
        assert [e for e in world.told if e.startswith("deploy ")] == [f"deploy n{i}" for i in range(count)]
        await manager.undeploy(f"n{count - 1}")
        ended = [e for e in world.told if e.startswith("undeploy ")]
        assert ended[0] == f"undeploy n{count - 1}"
        with anyio.fail_after(30):
            while world.existing:
                await settle()
    assert world.existing == {}


# -- D2 ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("group_first", [False, True])
async def test_each_waits_for_what_it_has_asked_for(group_first: bool) -> None:
    """D1, D2: of two callers one waits for a single deployment and the other one for more than that."""
    world = World()
    a, b = world.hold("deploy a"), world.hold("deploy b")
    async with world.manager(unit("a"), unit("b")) as manager, create_task_group() as tasks:
        calls: dict[bool, Any] = {}
        for is_group in (group_first, not group_first):
            calls[is_group] = start(tasks, *([manager.deploy_all] if is_group else [manager.deploy, "a"]))
            await settle()
        await b.reached.wait()
        a.release()
        assert await calls[False].wait() == "returned"
        await settle()
        assert calls[True].outcome == "waiting"
        b.release()
        assert await calls[True].wait() == "returned"


# -- D3 ----------------------------------------------------------------------------------------------------------------


async def test_dependent_of_what_is_being_torn_down_waits() -> None:
    """D3: so does a dependent that needs a fresh one."""
    world = World()
    plan = world.hold("undeploy a")
    async with world.manager(unit("a"), wrapper("b", "a")) as manager:
        await manager.deploy("a")
        async with create_task_group() as tasks:
            start(tasks, manager.undeploy, "a")
            await plan.reached.wait()
            up = start(tasks, manager.deploy, "b")
            await settle()
            assert world.count("deploy b") == 0
            plan.release()
            assert await up.wait() == "returned"
        assert world.connectors["b"][0].connector is world.connectors["a"][1]


@pytest.mark.parametrize("given_up", [False, True])
async def test_what_is_told_of_a_newcomer_during_the_teardown(given_up: bool) -> None:
    """D3: the name is undeploying until that has ended, whoever waits for it."""
    world = World()
    plan = world.hold("undeploy a")
    async with world.manager(unit("a")) as manager:
        await manager.deploy("a")
        async with create_task_group() as tasks:
            start(tasks, manager.undeploy, "a")
            await plan.reached.wait()
            up = start(tasks, manager.deploy, "a")
            await settle()
            assert manager.status()["a"].state == "undeploying"
            assert manager.status()["a"].explicit
            if given_up:
                up.cancel()
                await up.wait()
                assert not manager.status()["a"].explicit
            plan.release()
    again = [] if given_up else ["deploying", "live", "undeploying", "absent"]
    assert world.states("a") == ["deploying", "live", "undeploying", "absent", *again]


async def test_deploy_during_teardown_given_up() -> None:
    """D3, D6: a newcomer that is cancelled while it waits for a teardown leaves nothing behind it."""
    world = World()
    plan = world.hold("undeploy a")
    async with world.manager(unit("a")) as manager:
        await manager.deploy("a")
        async with create_task_group() as tasks:
            down = start(tasks, manager.undeploy, "a")
            await plan.reached.wait()
            up = start(tasks, manager.deploy, "a")
            await settle()
            up.cancel()
            assert await up.wait() == "cancelled"
            again = start(tasks, manager.deploy, "a")
            await settle()
            assert len(world.connectors["a"]) == 1
            plan.release()
            assert await down.wait() == "returned"
            assert await again.wait() == "returned"
        assert len(world.connectors["a"]) == 2


# -- D5 ----------------------------------------------------------------------------------------------------------------


async def test_failure_fails_dependents_with_the_path() -> None:
    """D5: dependents that were waiting fail the same way, naming the path down; other dependencies go down again."""
    world = World()
    error = world.fail("deploy base")
    async with world.manager(
        unit("top", "side", "mid"), unit("mid", "base"), unit("base", "bottom"), unit("side"), unit("bottom")
    ) as manager:
        await manager.deploy("bottom")
        with pytest.raises(DeployError) as caught:
            await manager.deploy("top")
        assert caught.value.deployment_name == "top"
        assert caught.value.path == ("top", "mid", "base")
        assert caught.value.__cause__ is error
        assert "top -> mid" in str(caught.value)
        assert "'base'" in str(caught.value)
        await settle()
        assert list(world.existing) == ["bottom"]
        assert "mid" not in world.connectors
        ends = {event.name: event.error for event in world.events if event.state == "absent"}
        assert ends == {"top": error, "mid": error, "base": None, "side": None}
        assert {name: str(s.state) for name, s in manager.status().items()} == {
            "top": "absent",
            "mid": "absent",
            "base": "absent",
            "side": "absent",
            "bottom": "live",
        }
        await manager.deploy("top")


async def test_failure_is_told_at_once() -> None:
    """D5: the event does not wait for the end of the cleanup, for which the caller does."""
    world = World()
    error = world.fail("deploy a")
    cleanup = world.hold("undeploy a")
    async with world.manager(unit("a")) as manager, create_task_group() as tasks:
        call = start(tasks, manager.deploy, "a")
        await cleanup.reached.wait()
        await settle()
        assert call.outcome == "waiting"
        events = list(world.events)
        cleanup.release()
    assert [event.step for event in events] == [Step.DEMANDED, Step.BEGUN, Step.FAILED]
    assert events[-1].state == "undeploying"
    assert events[-1].error is error


async def test_failure_in_a_diamond() -> None:
    """D5: in a diamond every caller gets an error with a path that exists, and each is failed once."""
    world = World()
    plan = world.hold("deploy base")
    async with world.manager(
        unit("top", "left", "right"), unit("left", "base"), unit("right", "base"), unit("base")
    ) as manager:
        async with create_task_group() as tasks:
            calls = {name: start(tasks, manager.deploy, name) for name in ("top", "left", "right", "base")}
            await plan.reached.wait()
            plan.release(ScriptedError("no"))
        paths = {name: call.error.path for name, call in calls.items() if isinstance(call.error, DeployError)}
        assert paths["top"] in [("top", "left", "base"), ("top", "right", "base")]
        assert paths["left"] == ("left", "base")
        assert paths["right"] == ("right", "base")
        assert paths["base"] == ("base",)
        assert world.states("top") == ["deploying", "absent"]


async def test_failing_constructor() -> None:
    """D5: a constructor that raises fails the deployment; there is nothing to undeploy."""
    world = World()
    error = ScriptedError("no such host")
    world.fail_constructor("a", error)
    async with world.manager(unit("a", "b"), unit("b")) as manager:
        with pytest.raises(DeployError, match="no such host") as caught:
            await manager.deploy("a")
        assert caught.value.__cause__ is error
        await settle()
        assert world.told == ["deploy b", "deployed b", "undeploy b", "undeployed b"]
        await manager.deploy("a")


async def test_failed_cleanup_shows_and_is_stuck() -> None:
    """D5, U6: if cleaning up fails too, the caller sees both, and the name is stuck."""
    world = World()
    error = world.fail("deploy a", ScriptedError("first"))
    world.fail("undeploy a", ScriptedError("second"))
    async with world.manager(unit("a")) as manager:
        with pytest.raises(DeployError, match="first") as caught:
            await manager.deploy("a")
        assert caught.value.__cause__ is error
        assert "second" in caught.value.__notes__[0]
        assert manager.status()["a"].state == "stuck"


async def test_dependency_demanded_by_another_while_dependent_fails() -> None:
    """D5: a dependency that somebody else asked for meanwhile stays up when the dependent fails."""
    world = World()
    plan = world.hold("deploy top")
    async with world.manager(unit("top", "base"), unit("base")) as manager:
        async with create_task_group() as tasks:
            call = start(tasks, manager.deploy, "top")
            await plan.reached.wait()
            other = start(tasks, manager.deploy, "base")
            plan.release(ScriptedError("no"))
            assert await call.wait() == "raised"
            assert await other.wait() == "returned"
        await settle()
        assert list(world.existing) == ["base"]


async def test_dependency_wanted_at_the_moment_its_teardown_begins() -> None:
    """D5, D3: somebody who asks for the dependency when it has begun to go waits and gets a fresh one."""
    world = World()
    world.fail("deploy top")
    down = world.hold("undeploy base")
    async with world.manager(unit("top", "base"), unit("base")) as manager:
        async with create_task_group() as tasks:
            with pytest.raises(DeployError):
                await manager.deploy("top")
            await down.reached.wait()
            other = start(tasks, manager.deploy, "base")
            top = start(tasks, manager.deploy, "top")
            await settle()
            down.release()
            assert await other.wait() == "returned"
            assert await top.wait() == "returned"
        assert len(world.connectors["base"]) == 2


async def test_deploy_all_is_all_or_nothing() -> None:
    """D5: when one of deploy_all's names fails, the demand for the others is withdrawn."""
    world = World()
    world.fail("deploy b")
    async with world.manager(unit("a"), unit("b"), unit("c")) as manager:
        with pytest.raises(DeployError, match="'b'"):
            await manager.deploy_all()
        await settle()
        assert list(world.existing) == []
        await manager.deploy_all()
        assert sorted(world.existing) == ["a", "b", "c"]


async def test_connector_that_gives_itself_up() -> None:
    """D5: a cancellation that the connector brought upon itself is a failure like any other; the manager goes on."""

    async def cancelled_from_inside(connector: Any) -> None:
        inner = asyncio.get_running_loop().create_future()
        inner.cancel()
        await inner

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pytest.skip("only asyncio has such cancellations")
    world = World()
    world.plan("deploy a", action=cancelled_from_inside)
    async with world.manager(unit("a"), unit("b")) as manager:
        await manager.deploy("b")
        with pytest.raises(DeployError, match="'a'"):
            await manager.deploy("a")
        await anyio.lowlevel.checkpoint()
        assert manager.get_connector("b") is not None
        await manager.deploy("a")


# -- D6 ----------------------------------------------------------------------------------------------------------------


async def test_who_comes_after_a_cancelled_caller_has_a_demand_of_its_own() -> None:
    """D2, D6: of what a dependent kept going, it waits for the end as if nobody had been there before."""
    world = World()
    plan = world.hold("deploy base")
    async with world.manager(unit("top", "base"), unit("base")) as manager, create_task_group() as tasks:
        first, top = start(tasks, manager.deploy, "base"), start(tasks, manager.deploy, "top")
        await plan.reached.wait()
        first.cancel()
        assert await first.wait() == "cancelled"
        second = start(tasks, manager.deploy, "base")
        await settle()
        top.cancel()
        assert await top.wait() == "cancelled"
        await settle()
        assert world.count("deploy cancelled base") == 0
        plan.release()
        assert await second.wait() == "returned"
        assert world.told == ["deploy base", "deployed base"]


async def test_cancelled_before_it_was_started() -> None:
    """D6: a caller that is cancelled before anything began leaves nothing."""
    world = World()
    async with world.manager(unit("a")) as manager:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await manager.deploy("a")
        await settle()
        assert list(world.existing) == []
        assert manager.get_connector("a") is None


async def test_cancelled_between_live_and_waking_up() -> None:
    """D6: cancelled when it is live already, but before the caller has run again: the demand goes all the same."""
    world = World()
    async with world.manager(unit("a"), unit("b")) as manager, create_task_group() as tasks:
        for others in (0, 2):
            world.told.clear()
            call = start(tasks, manager.deploy, "a")
            rest = [start(tasks, manager.deploy, "a") for _ in range(others)]
            for _ in range(1_000):
                if "deployed a" in world.told or call.outcome != "waiting":
                    break
                await anyio.lowlevel.checkpoint()
            # Whether this still comes in time depends on the backend's order; both ends must be consistent.
            call.cancel()
            outcomes = [await c.wait() for c in (call, *rest)]
            await settle()
            wanted = "returned" in outcomes
            assert outcomes[1:] == ["returned"] * others
            assert (manager.get_connector("a") is not None) is wanted
            assert list(world.existing) == (["a"] if wanted else [])
            await manager.undeploy("a")


async def test_cancelled_exactly_when_it_becomes_live() -> None:
    """D6: the caller is cancelled from within the very change to live."""
    world = World()
    calls: list[Any] = []

    def on_event(event: Any) -> None:
        if event.state == "live":
            calls[0].cancel()

    async with world.manager(unit("a"), on_event=on_event) as manager, create_task_group() as tasks:
        calls.append(start(tasks, manager.deploy, "a"))
        outcome = await calls[0].wait()
        await settle()
        assert list(world.existing) == (["a"] if outcome == "returned" else [])
        assert (manager.get_connector("a") is None) is (outcome == "cancelled")


async def test_given_up_in_the_moment_it_would_have_succeeded() -> None:
    """D6: the last demand goes when the connector's deploy is about to return: it is undeployed once, not cancelled."""
    world = World()
    plan = world.hold("deploy a")
    async with world.manager(unit("a")) as manager, create_task_group() as tasks:
        call = start(tasks, manager.deploy, "a")
        await plan.reached.wait()
        await settle()
        plan.release()
        call.cancel()
        await call.wait()
        await settle()
        assert world.count("undeploy a") == world.count("undeployed a") == 1
        assert manager.status()["a"].state == "absent"


async def test_given_up_before_its_task_has_made_a_step() -> None:
    """D6, U1: nothing is deployed, and at once nothing is left that what it stands on would have to wait for."""
    if anyio.get_cancelled_exc_class() is not asyncio.CancelledError:
        pytest.skip("trio has no way to stop a caller between two steps of others")
    world = World()
    async with world.manager(unit("a", "base"), unit("base")) as manager:
        await manager.deploy("base")
        caller = manager.deploy("a")
        caller.send(None)
        caller.close()
        await manager.undeploy("base")
        assert world.existing == {}
        assert world.count("deploy a") == 0


@pytest.mark.parametrize("operation", ["undeploy", "undeploy_all", "close"])
async def test_demand_taken_back_during_the_cleanup(operation: str) -> None:
    """D5, U4: what has failed has failed, for whoever waited for that; who came later was only taken back."""
    world = World()
    error = world.fail("deploy a")
    plan = world.hold("undeploy a")
    async with world.manager(unit("a"), unit("b", "a")) as manager, create_task_group() as tasks:
        waiting = [start(tasks, manager.deploy, "a") for _ in range(2)]
        await plan.reached.wait()
        newcomer = start(tasks, manager.deploy, "b")
        await settle()
        down = start(tasks, getattr(manager, operation), *(["a"] if operation == "undeploy" else []))
        await settle()
        plan.release()
        for call in waiting:
            assert await call.wait() == "raised"
            assert isinstance(call.error, DeployError)
            assert call.error.__cause__ is error
        assert await down.wait() == "returned"
        assert await newcomer.wait() == ("returned" if operation == "undeploy" else "raised")


async def test_uninterruptible_is_let_finish() -> None:
    """D6: a connector that cannot be interrupted is let finish, then undeployed; its caller returns at once."""
    world = World()
    plan = world.hold("deploy a")
    async with world.manager(unit("a", "b", type="stubborn"), unit("b")) as manager, create_task_group() as tasks:
        first = start(tasks, manager.deploy, "a")
        await plan.reached.wait()
        first.cancel()
        assert await first.wait() == "cancelled"
        second = start(tasks, manager.deploy, "a")
        await settle()
        assert world.told[-1] == "deploy a"
        plan.release()
        assert await second.wait() == "returned"
        assert world.told[2:] == ["deploy a", "deployed a", "undeploy a", "undeployed a", "deploy a", "deployed a"]
        assert "live" not in world.states("a")[:-1]


async def test_uninterruptible_that_fails_after_all() -> None:
    """D6: and if it fails after it was given up, it is cleaned up once."""
    world = World()
    plan = world.hold("deploy a")
    async with world.manager(unit("a", type="stubborn")) as manager, create_task_group() as tasks:
        call = start(tasks, manager.deploy, "a")
        await plan.reached.wait()
        call.cancel()
        await call.wait()
        plan.release(ScriptedError("no"))
        await settle()
        assert world.told == ["deploy a", "deploy failed a", "undeploy a", "undeployed a"]


async def test_connector_that_fails_when_cancelled() -> None:
    """D6: a connector that answers the cancellation with an error is cleaned up all the same."""
    world = World()

    async def spiteful(connector: Any) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise ScriptedError("spite")

    plan = world.plan("deploy a", action=spiteful)
    async with world.manager(unit("a")) as manager, create_task_group() as tasks:
        call = start(tasks, manager.deploy, "a")
        await plan.reached.wait()
        call.cancel()
        await call.wait()
        await settle()
        assert world.count("undeployed a") == 1
        await manager.deploy("a")


async def test_connector_that_ignores_the_cancellation() -> None:
    """D6: a connector that swallows the cancellation and comes up is undeployed."""
    world = World()

    async def swallow(connector: Any) -> None:
        with anyio.CancelScope() as scope:
            scope.shield = True
            await opened.wait()

    opened = anyio.Event()
    plan = world.plan("deploy a", action=swallow)
    async with world.manager(unit("a")) as manager, create_task_group() as tasks:
        call = start(tasks, manager.deploy, "a")
        await plan.reached.wait()
        call.cancel()
        await call.wait()
        opened.set()
        await settle()
        assert world.told == ["deploy a", "deployed a", "undeploy a", "undeployed a"]


async def test_group_of_targets_cancelled() -> None:
    """D6: a cancelled deploy_all withdraws the demand for all of it, and only its own."""
    world = World()
    plan = world.hold("deploy c")
    async with world.manager(unit("a"), unit("b"), unit("c", "b")) as manager, create_task_group() as tasks:
        await manager.deploy("a")
        call = start(tasks, manager.deploy_all)
        await plan.reached.wait()
        call.cancel()
        await call.wait()
        await settle()
        assert list(world.existing) == ["a"]


# -- A connector that holds something open between deploy and undeploy -------------------------------------------------


def _holding(world: World, *, background: Any) -> type[Connector]:
    @define(kw_only=True, eq=False, slots=False)
    class Holding(Connector):
        stack: Any = None
        children: Any = None

        def __attrs_post_init__(self) -> None:
            world.built(self)

        async def deploy(self, external: bool) -> None:
            async with AsyncExitStack() as stack:
                self.children = await stack.enter_async_context(create_task_group())
                stack.callback(self.children.cancel_scope.cancel)
                self.children.start_soon(background)
                await world.operate("deploy", self, external=external)
                self.stack = stack.pop_all()

        async def undeploy(self, external: bool) -> None:
            # First, and on its own: what it holds may have been cancelled, and would cancel what is done within.
            stack, self.stack = self.stack, None
            if stack is not None:
                await stack.aclose()
            await world.operate("undeploy", self, external=external)

    return Holding


async def test_connector_may_hold_a_task_group() -> None:
    """D6, M1: what a connector holds open from deploy to undeploy is entered and left in one task, in order."""
    world = World()
    types = {"holding": _holding(world, background=anyio.sleep_forever)}
    configs = [DeploymentConfig("a", "holding"), DeploymentConfig("b", "holding", depends_on="a")]
    async with DefaultDeploymentManager(configs, connector_types=types) as manager:
        await manager.deploy("b")
        await manager.undeploy("b")
        await settle()
        assert world.existing == {}
        # Given up in the moment it comes up: the undeploy runs inside a scope that was cancelled too late.
        plan = world.hold("deploy b")
        async with create_task_group() as tasks:
            call = start(tasks, manager.deploy, "b")
            await plan.reached.wait()
            await settle()
            plan.release()
            call.cancel()
        await settle()
        assert world.existing == {}
        plan = world.hold("deploy b")
        async with create_task_group() as tasks:
            call = start(tasks, manager.deploy, "b")
            await plan.reached.wait()
            call.cancel()
        await settle()
        assert world.existing == {}
        await manager.deploy("b")
    assert world.existing == {}


async def test_background_task_of_a_connector_crashes() -> None:
    """U1, U6: when the task group a connector holds open fails, the environment still goes down in its turn."""
    world = World()
    crash = anyio.Event()

    async def background() -> None:
        await crash.wait()
        raise ScriptedError("background")

    types = {"holding": _holding(world, background=background), **world.types}
    configs = [DeploymentConfig("a", "holding"), unit("b", "a")]
    world.define(*configs)
    async with DefaultDeploymentManager(configs, connector_types=types) as manager:
        await manager.deploy("b")
        crash.set()
        await settle()
        # No caller withdrew the demand; in particular nothing is pulled away under the dependent.
        assert sorted(world.existing) == ["a", "b"]
        await manager.deploy("b")
        with pytest.raises(UndeployError, match="'a'"):
            await manager.undeploy("b")
        assert list(world.existing) == ["a"]
        assert manager.status()["a"].state == "stuck"
        await manager.undeploy("a")
    assert world.existing == {}
    world.check()


async def test_what_is_lost_far_below_is_renewed_first() -> None:
    """X2: below a dependent that stays live meanwhile."""
    world = World()
    async with world.manager(unit("a"), unit("b", "a"), unit("c", "b")) as manager:
        await manager.deploy("c")
        world.lose("a")
        assert manager.status()["c"].missing == ("a",)
        await manager.deploy("c")
        assert manager.status()["a"].state is DeploymentState.LIVE
        assert [world.count(f"deploy {name}") for name in "abc"] == [2, 1, 1]
