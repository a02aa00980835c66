"""The events of deployments, and `status`."""

from __future__ import annotations

import logging

import anyio
import pytest
from scripted import World, settle, start

from anydeploy import DeployError, DeploymentState, InvalidConnectorError
from anydeploy.exceptions import describe
from anydeploy.lifecycle import Step
from anydeploy.testing import unit, wrapper
from anydeploy.testing.virtual import BACKENDS, run_virtual


@pytest.mark.parametrize("backend", BACKENDS)
def test_since(backend: str) -> None:
    """D1: an event and the status say when the deployment came to its state, on the clock of the event loop."""

    async def use() -> None:
        world = World()
        world.plan("deploy a", action=lambda connector: anyio.sleep(2))
        async with world.manager(unit("a")) as manager, anyio.create_task_group() as tasks:
            began = anyio.current_time()
            assert manager.status()["a"].since is None
            call = start(tasks, manager.deploy, "a")
            await anyio.sleep(1)
            assert manager.status()["a"].since == began
            await call.wait()
            await anyio.sleep(1)
            assert manager.status()["a"].since == began + 2
            assert [event.when for event in world.events] == [began, began, began + 2]

    run_virtual(backend, use)


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_event_has_the_time_of_its_reason(backend: str) -> None:
    """D1: be that a call, its cancellation, a connector that is done, a loss, a time that has come, or the end."""

    world = World()

    async def use() -> None:
        async def expect(*steps: Step) -> None:
            """These and no others are told, all of them now; then a second passes."""
            await settle()
            assert tuple(event.step for event in world.events) == steps
            assert {event.when for event in world.events} == {anyio.current_time()}
            world.events.clear()
            await anyio.sleep(1)

        up = (Step.DEMANDED, Step.BEGUN)
        async with anyio.create_task_group() as tasks:
            async with world.manager(unit("a", restarts=1)) as manager:
                await anyio.sleep(1)
                first, second, third = (world.hold("deploy a") for _ in range(3))
                call = start(tasks, manager.deploy, "a")
                await expect(*up)
                call.scope.cancel()
                await expect(Step.GIVEN_UP, Step.UNDEPLOYED)
                start(tasks, manager.deploy, "a")
                await expect(*up)
                second.release()
                await expect(Step.DEPLOYED)
                down = world.hold("undeploy a")
                start(tasks, manager.undeploy, "a")
                await expect(Step.RELEASED)
                down.release()
                await expect(Step.UNDEPLOYED)
                start(tasks, manager.deploy, "a")
                await expect(*up)
                third.release()
                await expect(Step.DEPLOYED)
                down = world.hold("undeploy a")
                start(tasks, manager.restart, "a")
                await expect(Step.RESTARTED, Step.RELEASED)
                down.release()
                await expect(Step.UNDEPLOYED, *up, Step.DEPLOYED)
                world.lose("a")
                await expect(Step.LOST)
                # Its pause of a second is over just now.
                await expect(Step.RENEWED, Step.RELEASED, Step.UNDEPLOYED, *up, Step.DEPLOYED)
                down = world.hold("undeploy a")
                start(tasks, manager.undeploy_all)
                await expect(Step.RELEASED)
                down.release()
                await expect(Step.UNDEPLOYED)
                await manager.deploy("a")
                await expect(*up, Step.DEPLOYED)
            await expect(Step.RELEASED, Step.UNDEPLOYED)
        assert first.reached.is_set()

    run_virtual(backend, use)


@pytest.mark.anyio
async def test_waiting_for() -> None:
    """D1, U2: on the way up dependencies that are not live, and when it has to go dependents that are not down."""
    world = World()
    base, side, top = world.hold("deploy base"), world.hold("deploy side"), world.hold("undeploy top")
    async with world.manager(unit("top", "base", "side"), unit("base"), unit("side")) as manager:

        def waiting_for(name: str) -> tuple[str, ...]:
            return manager.status()[name].waiting_for

        async with anyio.create_task_group() as tasks:
            call = start(tasks, manager.deploy, "top")
            await side.reached.wait()
            assert (waiting_for("top"), waiting_for("base")) == (("base", "side"), ())
            base.release()
            await settle()
            assert waiting_for("top") == ("side",)
            side.release()
            await call.wait()
            assert (waiting_for("top"), waiting_for("base")) == ((), ())
            await manager.undeploy("base")
            assert waiting_for("base") == ("top",)
            start(tasks, manager.undeploy, "top")
            await top.reached.wait()
            assert (waiting_for("top"), waiting_for("side")) == ((), ())
            top.release()


@pytest.mark.anyio
async def test_explicit() -> None:
    """U1: whether a deploy of its own stands for it, granted or with a caller still waiting."""
    world = World()
    plan = world.hold("deploy base")
    async with world.manager(unit("top", "base"), unit("base")) as manager, anyio.create_task_group() as tasks:
        call = start(tasks, manager.deploy, "top")
        await plan.reached.wait()
        assert [status.explicit for status in manager.status().values()] == [True, False]
        plan.release()
        await call.wait()
        assert [status.explicit for status in manager.status().values()] == [True, False]
        await manager.deploy("base")
        await manager.undeploy("top")
        assert [status.explicit for status in manager.status().values()] == [False, True]


@pytest.mark.anyio
async def test_missing() -> None:
    """X1: under what stays live stands, by name, what was lost further below, and nothing else."""
    world = World()
    configs = [unit("a"), wrapper("b", "a"), unit("c", "b"), unit("d", "c"), unit("e")]
    async with world.manager(*configs) as manager:
        await manager.deploy_all(["d", "e"])
        assert {status.missing for status in manager.status().values()} == {()}
        world.lose("a")
        await settle()
        missing = {name: set(status.missing) for name, status in manager.status().items()}
        assert missing == {"a": set(), "b": set(), "c": {"a", "b"}, "d": {"a", "b"}, "e": set()}


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_due(backend: str) -> None:
    """K3, X4: when a failed deploy is tried again, and a lost deployment renewed, and how often that has happened."""

    async def use() -> None:
        world = World()
        world.fail("deploy a")
        async with world.manager(unit("a", retries=1, restarts=2)) as manager, anyio.create_task_group() as tasks:
            began = anyio.current_time()
            call = start(tasks, manager.deploy, "a")
            await anyio.sleep(0.5)
            status = manager.status()["a"]
            assert (status.attempt, status.attempts, status.due) == (1, 2, began + 1)
            await call.wait()
            status = manager.status()["a"]
            assert (status.attempt, status.restarts, status.due) == (2, 0, None)
            world.lose("a")
            await anyio.sleep(0.5)
            status = manager.status()["a"]
            assert (status.state, status.restarts, status.due) == (DeploymentState.LOST, 1, began + 2)
            await anyio.sleep(1)
            status = manager.status()["a"]
            assert (status.state, status.restarts, status.due) == (DeploymentState.LIVE, 1, None)

    run_virtual(backend, use)


@pytest.mark.anyio
async def test_the_reason_of_a_failure() -> None:
    """D5, X1: a failed deploy is told from a loss, and the path leads to the one to blame."""
    world = World()
    world.fail("deploy a")
    async with world.manager(unit("a"), unit("b", "a"), unit("c", "b")) as manager:
        with pytest.raises(
            DeployError, match=r"^deployment .a. \(needed by c -> b\) failed to deploy: ScriptedError"
        ) as caught:
            await manager.deploy("c")
        assert caught.value.path == ("c", "b", "a")


@pytest.mark.anyio
@pytest.mark.parametrize("level", [logging.INFO, logging.WARNING])
async def test_log(caplog: pytest.LogCaptureFixture, level: int) -> None:
    """D5: every change is logged, and as a warning if something went wrong, whether anybody listens or not."""
    caplog.set_level(level, logger="anydeploy")
    world = World()
    world.fail("deploy a")
    async with world.manager(unit("a"), on_event=None) as manager:
        with pytest.raises(DeployError):
            await manager.deploy("a")
    expected = [
        (logging.INFO, "deployment 'a' is demanded"),
        (logging.INFO, "deployment 'a' begins an attempt"),
        (logging.WARNING, "deployment 'a' failed to deploy: ScriptedError: deploy a: as told"),
        (logging.INFO, "deployment 'a' was undeployed"),
    ]
    assert [(record.levelno, record.message) for record in caplog.records] == [e for e in expected if e[0] >= level]


def test_nothing_is_printed_unless_logging_is_set_up() -> None:
    """D5: a logger without any handler would print warnings."""
    assert logging.getLogger("anydeploy").handlers


@pytest.mark.anyio
async def test_what_was_left_behind() -> None:
    """U8: it is still shown after the end, as stuck, beside what is absent."""
    world = World()
    error = world.fail("undeploy a")
    world.fail("undeploy a", error)
    async with world.build(unit("a"), unit("b")) as manager:
        await manager.deploy_all()
        with pytest.raises(ExceptionGroup):
            await manager.close()
        assert {name: status.state.value for name, status in manager.status().items()} == {"a": "stuck", "b": "absent"}
        assert manager.status()["a"].error is error


@pytest.mark.anyio
async def test_a_deployment_shows_itself_alone() -> None:
    """D1: and not all that it is connected to, and everything that is connected to that."""
    hidden = ["dependents", "claims", "shared", "disappointed", "waits", "blamed", "connector", "task"]
    async with World().manager(unit("a"), unit("b", "a"), unit("c", "b")) as manager:
        await manager.deploy("c")
        text = repr(manager._engine.deployments["b"])
        assert [name for name in hidden if f" {name}=" in text] == []
        assert text.count(" dependencies=") == 1  # that of the definition


class Unprintable(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError("disk full"), "OSError: disk full"),
        (OSError(), "OSError"),
        (TimeoutError("took too long"), "took too long"),
        (TimeoutError(), "TimeoutError"),
        (InvalidConnectorError("a", "gone"), str(InvalidConnectorError("a", "gone"))),
        (Unprintable(), "Unprintable"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_text_of_an_error(error: Exception, text: str) -> None:
    """D5: with its type, unless the text says enough without."""
    assert describe(error) == text
