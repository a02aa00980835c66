"""L1 and L2: deployments that come up when they are used."""

from __future__ import annotations

from ..scripted import unit, wrapper
from .stage import Stage, scenario

LAZY = unit("a", lazy=True)


@scenario("L1", LAZY)
async def what_is_never_used_is_never_deployed(stage: Stage) -> None:
    """`deploy` of a lazy deployment gives it a connector, and nothing comes up, nor goes down."""
    await stage.done("deploy", "a")
    stage.shows("a", connector=True)
    await stage.done("undeploy", "a")
    stage.shows("a", connector=False)
    stage.happened("a#1 was built", times=0)


@scenario("L1", LAZY, wrapper("b", "a", lazy=True))
async def the_first_use_brings_it_up(stage: Stage) -> None:
    """The first use brings it up with everything that it stands on, once for all users meanwhile."""
    await stage.done("deploy", "b")
    plan = stage.script.hold("deploy a")
    users = [await stage.start("use", "b") for _ in range(3)]
    stage.waits(*users)
    stage.stands(a="deploying", b="absent")
    await stage.release(plan)
    stage.returned(*users)
    stage.stands(a="live", b="live")
    stage.happened("b#2 was built", times=0)


@scenario("L1", LAZY)
async def a_failed_use_is_told(stage: Stage) -> None:
    """When it fails to come up all waiting users get an error that names it."""
    await stage.done("deploy", "a")
    plan = stage.script.hold("deploy a")
    users = [await stage.start("use", "a") for _ in range(2)]
    await stage.release(plan, RuntimeError("no luck"))
    for user in users:
        stage.tells_of(stage.raised(user), "a")


@scenario("L1", LAZY)
async def the_use_after_a_failure_tries_again(stage: Stage) -> None:
    """When it failed to come up the next use tries again."""
    await stage.done("deploy", "a")
    stage.script.fail("deploy a")
    await stage.refused("use", "a")
    await stage.done("use", "a")
    stage.stands(a="live")


@scenario("L1", LAZY)
async def others_do_not_notice_a_cancelled_use(stage: Stage) -> None:
    """When the first use is cancelled the others still get what they wait for."""
    await stage.done("deploy", "a")
    plan = stage.script.hold("deploy a")
    first, second = await stage.start("use", "a"), await stage.start("use", "a")
    await stage.cancel(first)
    await stage.release(plan)
    stage.returned(second)


@scenario("L1", LAZY)
async def what_was_used_goes_down_as_others_do(stage: Stage) -> None:
    """A deployment that was brought up by its use is taken down by `undeploy`."""
    await stage.done("deploy", "a")
    await stage.done("use", "a")
    await stage.done("undeploy", "a")
    stage.stands(a="absent")
    stage.happened("undeploy of a#1 ended")


@scenario("L2", LAZY)
async def it_is_taken_for_the_real_one(stage: Stage) -> None:
    """To `isinstance` the connector of a lazy deployment is of the real type."""
    await stage.done("deploy", "a")
    connector = stage.shows("a", connector=True)
    await stage.done("use", "a")
    real = stage.script.connectors["a"][0].__class__
    stage.expect(isinstance(connector, real), f"the lazy connector is not taken for a {real.__name__}")
