"""The manager as a context manager, rules M1 to M3: what the suite of scenarios does not say."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

import anyio
import pytest
from anyio import create_task_group, get_cancelled_exc_class
from anyio.lowlevel import checkpoint
from scripted import World, settle, start

from anydeploy import (
    DefaultDeploymentManager,
    DeployError,
    DeploymentManager,
    InvalidParameterError,
    ManagerClosedError,
    UndeployError,
    WorkflowDefinitionException,
    WorkflowExecutionException,
)
from anydeploy.testing import ScriptedError, unit

pytestmark = pytest.mark.anyio


def on_asyncio() -> bool:
    return anyio.get_cancelled_exc_class() is asyncio.CancelledError


# -- M1 ----------------------------------------------------------------------------------------------------------------


async def test_outside_the_block() -> None:
    """M1: using the manager outside the block is an error that says so."""
    manager = World().build(unit("a"))
    for call in (manager.deploy("a"), manager.deploy_all(), manager.undeploy("a"), manager.undeploy_all()):
        with pytest.raises(ManagerClosedError, match="async with"):
            await call
    assert manager.get_connector("a") is None
    await manager.close()


@pytest.mark.parametrize(
    ("call", "found"),
    [
        ("manager.undeploy([])", "the name of a deployment, found a list"),
        ("manager.undeploy(5)", "the name of a deployment, found the number 5"),
        ("manager.restart({})", "the name of a deployment, found a mapping"),
        ("manager.restart(None)", r"the name of a deployment, found nothing \(null\)"),
        ("manager.deploy_all('ab')", "the names of deployments, in a list for example, found the string 'ab'"),
        ("manager.deploy_all(5)", "the names of deployments, in a list for example, found the number 5"),
        ("manager.deploy_all(['a', 5])", "the name of a deployment, found the number 5"),
    ],
)
async def test_a_name_of_the_wrong_type(call: str, found: str) -> None:
    """D4: a call that names no deployment says what it expects, and changes nothing."""
    async with World().manager(unit("a")) as manager:
        with pytest.raises(WorkflowDefinitionException, match=f"^expected {found}"):
            await eval(call)
        with pytest.raises(WorkflowDefinitionException, match=r"^expected the name of a deployment, found a list"):
            manager.get_connector([])  # type: ignore[arg-type]
        assert manager.status()["a"].step is None


_INTERFACE = ("deploy", "get_connector", "undeploy", "undeploy_all", "close")


@pytest.mark.parametrize("missing", _INTERFACE)
async def test_incomplete_manager(missing: str) -> None:
    """M1: a manager without one of the methods of the interface cannot be made."""
    incomplete = type("Incomplete", (DeploymentManager,), {name: None for name in _INTERFACE if name != missing})
    with pytest.raises(TypeError, match=f"method '?{missing}'?$"):
        incomplete()


async def test_options_are_named() -> None:
    """M1: only the definitions are told by their place."""
    with pytest.raises(TypeError, match="positional"):
        DefaultDeploymentManager((), {})  # type: ignore[misc]


@pytest.mark.parametrize("limit", [0, -1])
async def test_limit_that_lets_nothing_run(limit: int) -> None:
    """K1: is refused at once."""
    with pytest.raises(InvalidParameterError, match=f"1 or more, .* found the number {limit}$"):
        World().build(max_concurrent=limit)
    World().build(max_concurrent=1)


async def test_entered_twice() -> None:
    """M1: a manager is entered once."""
    async with World().build() as manager:
        with pytest.raises(WorkflowExecutionException, match="only once"):
            async with manager:
                pass


async def test_outer_cancellation_does_not_cut_the_teardown_short() -> None:
    """M1: the teardown is shielded from the cancellation of a scope around the block."""
    world = World()
    a, b = world.hold("undeploy a"), world.hold("undeploy b")
    async with create_task_group() as tasks:

        async def use() -> None:
            async with world.manager(unit("a"), unit("b", "a")) as manager:
                await manager.deploy("b")
                await anyio.sleep_forever()

        call = start(tasks, use)
        while "deployed b" not in world.told:
            await checkpoint()
        await settle()
        call.cancel()
        await b.reached.wait()
        b.release()
        await a.reached.wait()
        call.cancel()
        await settle()
        assert call.outcome == "waiting"
        a.release()
        assert await call.wait() == "cancelled"
    assert world.count("undeploy cancelled a") == world.count("undeploy cancelled b") == 0
    world.check()


async def test_outer_cancellation_during_a_deploy() -> None:
    """M1, D6: cancelled with a deploy in flight, it is given up and cleaned up."""
    world = World()
    plan = world.hold("deploy b")
    async with create_task_group() as tasks:

        async def use() -> None:
            async with world.manager(unit("a"), unit("b", "a")) as manager:
                await manager.deploy("b")

        call = start(tasks, use)
        await plan.reached.wait()
        call.cancel()
        assert await call.wait() == "cancelled"
    assert world.told[-2:] == ["undeploy a", "undeployed a"]
    world.check()


async def test_shutdown_timeout_with_hanging_undeploy() -> None:
    """M1, U8: a hanging undeploy is cut off by the shutdown timeout and reported; what lies under it goes down."""
    world = World()
    world.hold("undeploy b")
    world.hold("undeploy b")
    with anyio.fail_after(10), pytest.raises(ExceptionGroup) as caught:
        async with world.build(unit("a"), unit("b", "a"), shutdown_timeout=0.05, undeploy_timeout=None) as manager:
            await manager.deploy("b")
    error = caught.value.exceptions[0]
    assert isinstance(error, UndeployError)
    assert error.deployment_name == "b"
    assert "shutdown timeout" in str(error)
    # Nothing is left of the time for it, but it is given the chance to do what can be done at once.
    assert "undeploy a" in world.told
    assert "b" in world.existing


async def test_shutdown_timeout_reaches_a_teardown_with_a_successor() -> None:
    """M1, D3: so is one that somebody waits for in order to deploy the name again."""
    world = World()
    plan = world.hold("undeploy a")
    world.hold("undeploy a")
    with anyio.fail_after(10):
        async with create_task_group() as tasks:
            with pytest.raises(ExceptionGroup, match="left behind"):
                async with world.build(unit("a"), shutdown_timeout=0.05, undeploy_timeout=None) as manager:
                    await manager.deploy("a")
                    start(tasks, manager.undeploy, "a")
                    await plan.reached.wait()
                    start(tasks, manager.deploy, "a")
                    await settle()


async def test_no_shutdown_timeout() -> None:
    """M1: None is no limit: however long a teardown takes, it is waited for."""
    world = World()
    b = world.hold("undeploy b")
    async with create_task_group() as tasks:

        async def use() -> None:
            async with world.manager(unit("a"), unit("b", "a"), shutdown_timeout=None) as manager:
                await manager.deploy("b")

        call = start(tasks, use)
        await b.reached.wait()
        await settle()
        assert call.outcome == "waiting"
        b.release()
        assert await call.wait() == "returned"
    assert world.told[-1] == "undeployed a"
    world.check()


# -- M2 ----------------------------------------------------------------------------------------------------------------


async def test_body_exception_and_failing_teardown() -> None:
    """M2: if the teardown fails as well, both are visible."""
    world = World()
    world.fail("undeploy a", ScriptedError("first"))
    world.fail("undeploy a", ScriptedError("teardown"))
    with pytest.raises(ValueError, match="body") as caught:
        async with world.build(unit("a")) as manager:
            await manager.deploy("a")
            raise ValueError("body")
    assert "'a'" in caught.value.__notes__[0]
    assert "teardown" in caught.value.__notes__[0]


async def test_failing_teardown_alone() -> None:
    """M2, U8: if only the teardown fails, its error comes out, also when the body was cancelled."""
    for cancelled in (False, True):
        world = World()
        world.fail("undeploy a")
        error = world.fail("undeploy a")
        with pytest.raises(ExceptionGroup) as caught, anyio.CancelScope() as scope:
            async with world.build(unit("a")) as manager:
                await manager.deploy("a")
                if cancelled:
                    scope.cancel()
                    await checkpoint()
        assert [e.__cause__ for e in caught.value.exceptions] == [error]


async def test_body_exception_with_outer_cancellation_during_the_teardown() -> None:
    """M1, M2: a cancellation during the teardown does not replace the body's exception."""
    world = World()
    plan = world.hold("undeploy a")
    async with create_task_group() as tasks:

        async def use() -> None:
            async with world.manager(unit("a")) as manager:
                await manager.deploy("a")
                raise ScriptedError("body")

        call = start(tasks, use)
        await plan.reached.wait()
        call.cancel()
        await settle()
        plan.release()
        assert await call.wait() == "raised"
    assert str(call.error) == "body"
    world.check()


async def test_failing_teardown_with_outer_cancellation_during_it() -> None:
    """M1, M2: nor does it hide what may be left."""
    world = World()
    plan = world.hold("undeploy a")
    world.fail("undeploy a")
    async with create_task_group() as tasks:

        async def use() -> None:
            async with world.build(unit("a")) as manager:
                await manager.deploy("a")

        call = start(tasks, use)
        await plan.reached.wait()
        call.cancel()
        await settle()
        plan.release(ScriptedError("no"))
        assert await call.wait() == "raised"
    assert isinstance(call.error, ExceptionGroup)


@pytest.mark.parametrize("kind", ["deploy", "undeploy"])
async def test_keyboard_interrupt_out_of_a_connector(kind: str) -> None:
    """M2: KeyboardInterrupt and the like are not kept: the block ends, everything goes down, then it comes out."""
    world = World()
    error = KeyboardInterrupt()
    world.fail(f"{kind} b", error)
    with pytest.raises(KeyboardInterrupt) as caught:
        async with world.manager(unit("a"), unit("b", "a"), unit("c")) as manager:
            await manager.deploy("c")
            await manager.deploy("b")
            async with create_task_group() as tasks:
                start(tasks, manager.undeploy, "b")
                await anyio.sleep_forever()
    assert caught.value is error
    assert world.told.count("undeployed a") == world.told.count("undeployed c") == 1
    assert world.count("undeploy cancelled c") == 0
    world.check()


async def test_interrupt_is_not_tried_again() -> None:
    """M2, K3: who waits for the connector out of which it came is told at once, and the rest goes down."""
    world = World()
    world.fail("deploy a", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        async with world.manager(unit("a", retries=3)) as manager:
            with anyio.CancelScope(shield=True), pytest.raises(DeployError):
                await manager.deploy("a")
    assert world.count("deploy a") == 1
    world.check()


# -- M3 ----------------------------------------------------------------------------------------------------------------


async def test_native_cancellation_of_a_caller() -> None:
    """M3, D6: asyncio's Task.cancel() of one caller is noticed by no other; of the last, it withdraws the demand."""
    if not on_asyncio():
        pytest.skip("native cancellation is asyncio's")
    world = World()
    first, second = world.hold("deploy a"), world.hold("deploy a")
    async with world.manager(unit("a")) as manager:
        callers = [asyncio.ensure_future(manager.deploy("a")) for _ in range(2)]
        await first.reached.wait()
        callers[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await callers[0]
        first.release()
        await callers[1]
        await manager.undeploy("a")
        last = asyncio.ensure_future(manager.deploy("a"))
        await second.reached.wait()
        last.cancel()
        with pytest.raises(asyncio.CancelledError):
            await last
        await settle()
        assert world.told[-3:] == ["deploy cancelled a", "undeploy a", "undeployed a"]


async def test_every_call_is_a_checkpoint() -> None:
    """M3: also where there is nothing to wait for: who is cancelled already is told so."""
    world = World()
    async with world.manager(unit("a"), unit("lazy", lazy=True)) as manager:
        await manager.deploy("a")
        calls = [
            (manager.deploy, "a"),
            (manager.deploy, "lazy"),
            (manager.deploy_all, []),
            (manager.undeploy, "unknown"),
            (manager.undeploy_all,),
            (manager.close,),
            (world.build().close,),
        ]
        for function, *arguments in calls:
            with anyio.CancelScope() as scope:
                scope.cancel()
                await function(*arguments)
            assert scope.cancelled_caught, function
            await settle()


async def test_wait_for_is_a_cancellation() -> None:
    """M3: so is asyncio.timeout()."""
    if not on_asyncio():
        pytest.skip("native cancellation is asyncio's")
    world = World()
    world.hold("deploy a")
    async with world.manager(unit("a")) as manager:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await manager.deploy("a")
        await settle()
        assert list(world.existing) == []


async def test_native_cancellation_of_the_undeploying_caller() -> None:
    """M3, U5: nor does it reach a teardown."""
    if not on_asyncio():
        pytest.skip("native cancellation is asyncio's")
    world = World()
    plan = world.hold("undeploy a")
    async with world.manager(unit("a")) as manager:
        await manager.deploy("a")
        caller = asyncio.ensure_future(manager.undeploy("a"))
        await plan.reached.wait()
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        plan.release()
        await settle()
        assert world.told[-1] == "undeployed a"


@pytest.mark.parametrize("body_fails", [False, True])
async def test_native_cancellation_while_leaving_the_block(body_fails: bool) -> None:
    """M1, M3: Task.cancel() pierces shields, but the teardown does not run in the task that it is called on."""
    if not on_asyncio():
        pytest.skip("native cancellation is asyncio's")
    world = World()
    b, a = world.hold("undeploy b"), world.hold("undeploy a")

    async def use() -> None:
        async with world.manager(unit("a"), unit("b", "a")) as manager:
            await manager.deploy("b")
            if body_fails:
                raise ScriptedError("body")

    task = asyncio.ensure_future(use())
    await b.reached.wait()
    task.cancel()
    await settle()
    task.cancel()
    b.release()
    await a.reached.wait()
    await settle()
    assert not task.done()
    a.release()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    if body_fails:
        context: BaseException | None = caught.value
        while context is not None and not isinstance(context, ScriptedError):
            context = context.__context__
        assert context is not None
    assert world.count("undeploy cancelled a") == world.count("undeploy cancelled b") == 0
    world.check()


# Of a task that is cancelled before its first step anyio drops what it was to run.
@pytest.mark.filterwarnings("ignore:.*was never awaited:RuntimeWarning")
@pytest.mark.parametrize("steps", range(14))
async def test_every_task_is_cancelled_natively(steps: int) -> None:
    """M2: asyncio.run() cancels every task at its end: no caller hangs, and everything goes down, in order."""
    if not on_asyncio():
        pytest.skip("native cancellation is asyncio's")
    world = World()
    world.hold("deploy c")
    ended: list[str] = []

    async def use() -> None:
        async with world.manager(unit("a"), unit("b", "a"), unit("c", "b"), unit("d")) as manager:
            try:
                async with create_task_group() as tasks:
                    for name in "cd":
                        start(tasks, manager.deploy, name)
            finally:
                ended.append("callers")

    before = asyncio.all_tasks()
    task = asyncio.ensure_future(use())
    for _ in range(steps):
        await checkpoint()
    for each in asyncio.all_tasks() - before:
        each.cancel()
    with anyio.fail_after(10), pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["callers"] * (steps > 0)
    world.check()
    del task, before, each
    gc.collect()


@pytest.mark.parametrize("times", [1, 3])
async def test_every_task_of_a_deployment_is_cancelled_natively(times: int) -> None:
    """M2: nothing of that comes out of the block, and what is live stays so until it is undeployed in its turn."""
    if not on_asyncio():
        pytest.skip("native cancellation is asyncio's")
    world = World()
    plan = world.hold("deploy c")
    before = asyncio.all_tasks()
    async with world.manager(unit("a"), unit("b", "a"), unit("c", "b"), unit("d")) as manager:
        await manager.deploy_all(["b", "d"])
        call = asyncio.ensure_future(manager.deploy("c"))
        await plan.reached.wait()
        for _ in range(times):
            for each in asyncio.all_tasks() - before - {call}:
                each.cancel()
            await settle()
        with pytest.raises(DeployError, match="'c'"):
            await call
        assert [name for name in "abcd" if manager.status()[name].state == "live"] == ["a", "b", "d"]
        await manager.undeploy("d")
        await checkpoint()
    assert world.told[-4:] == ["undeploy b", "undeployed b", "undeploy a", "undeployed a"]


async def test_cancellation_natively_while_backing_off() -> None:
    """M3, K3: also when one of them waits to try again."""
    if not on_asyncio():
        pytest.skip("native cancellation is asyncio's")
    world = World()
    world.fail("deploy a")

    async def use() -> None:
        async with world.manager(unit("a", retries=3)) as manager:
            await manager.deploy("a")

    before = asyncio.all_tasks()
    task = asyncio.ensure_future(use())
    while "undeployed a" not in world.told:
        await checkpoint()
    await settle()
    for each in asyncio.all_tasks() - before:
        each.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    world.check()


async def test_failing_listener(caplog: pytest.LogCaptureFixture) -> None:
    """M1: an on_event that raises harms nobody, and the log says so."""
    world = World()

    def on_event(event: Any) -> None:
        raise ScriptedError("listener") if event.name == "a" else get_cancelled_exc_class()()

    async with world.manager(unit("a"), unit("b", "a"), on_event=on_event) as manager:
        await manager.deploy("b")
        await manager.undeploy("b")
    assert world.told[-1] == "undeployed a"
    failures = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(failures) == 10
    assert failures[0].exc_info is not None
    assert isinstance(failures[0].exc_info[1], ScriptedError)


async def test_failing_logging(caplog: pytest.LogCaptureFixture) -> None:
    """M1: nor does a logger that raises."""

    def refuse(record: logging.LogRecord) -> bool:
        raise ScriptedError("filter")

    world = World()
    logger = logging.getLogger("anydeploy")
    caplog.set_level(logging.INFO)
    logger.addFilter(refuse)
    try:
        async with world.manager(unit("a")) as manager:
            await manager.deploy("a")
    finally:
        logger.removeFilter(refuse)
    assert world.told[-1] == "undeployed a"


@pytest.mark.parametrize("state", ["deploying", "live", "undeploying", "absent"])
async def test_interrupt_in_a_listener(state: str) -> None:
    """M2: what no manager may keep for itself comes out of the block, when everything is down."""
    world = World()

    def on_event(event: Any) -> None:
        if (event.name, event.state) == ("b", state):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        async with world.manager(unit("a"), unit("b", "a"), unit("c", "b"), on_event=on_event) as manager:
            with suppress(DeployError):
                await manager.deploy("c")
            await manager.undeploy_all()
            await checkpoint()
    world.check()


async def test_listeners_and_connectors_run_in_the_context_of_the_manager() -> None:
    """M1: whoever it was whose call was the reason."""
    variable: ContextVar[str] = ContextVar("variable")
    variable.set("manager's")
    world = World()
    seen: list[str] = []

    async def act(connector: Any) -> None:
        seen.append(variable.get())
        variable.set("connector's")

    world.plan("deploy a", action=act)
    async with world.manager(unit("a"), unit("b", "a"), on_event=lambda _: seen.append(variable.get())) as manager:
        variable.set("caller's")
        await manager.deploy("b")
    assert seen == ["manager's"] * 11


@pytest.mark.skipif(sys.version_info < (3, 12), reason="asyncio has eager tasks since Python 3.12")
@pytest.mark.parametrize("state", ["deploying", "live", "undeploying", "absent"])
@pytest.mark.parametrize("call", ["undeploy", "undeploy_all", "deploy"])
async def test_listener_that_calls_the_manager_at_once(state: str, call: str) -> None:
    """M3: an eager task runs within on_event, where everything has been decided: what it calls disturbs nothing."""
    if not on_asyncio() or type(asyncio.get_running_loop()).__module__.startswith("uvloop"):
        pytest.skip("only asyncio has eager tasks; uvloop 0.23 cannot start any on Python 3.13")
    world = World()
    calls: list[asyncio.Task[None]] = []

    def on_event(event: Any) -> None:
        world.events.append(event)
        if event.name == "b" and event.state == state and not calls:
            arguments = [] if call == "undeploy_all" else ["a" if call == "undeploy" else "d"]
            calls.append(asyncio.create_task(getattr(manager, call)(*arguments)))

    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]
    try:
        configs = unit("a"), unit("b", "a"), unit("c", "b"), unit("d", "a")
        async with world.manager(*configs, on_event=on_event) as manager:
            with suppress(DeployError):
                await manager.deploy("c")
            await manager.undeploy_all()
            await asyncio.wait(calls)
    finally:
        asyncio.get_running_loop().set_task_factory(None)
    assert [task.cancelled() for task in calls] == [False]
    world.check()
    assert all(states[-1] == "absent" for states in map(world.states, "abc"))


async def test_error_whose_text_fails() -> None:
    """D5: an error that cannot even be printed is a failure like any other."""

    class Unprintable(Exception):
        def __str__(self) -> str:
            raise ValueError("no text")

    world = World()
    world.fail("deploy a", Unprintable())
    async with world.manager(unit("a"), unit("b", "a")) as manager:
        with pytest.raises(WorkflowExecutionException, match="'a'"):
            await manager.deploy("b")
        await manager.deploy("b")
