"""X4: deployments that are restarted, and those that come up again by themselves."""

from __future__ import annotations

import anyio

from ..scripted import unit, wrapper
from ..subject import Feature
from .stage import Stage, scenario

A, B, C = unit("a"), wrapper("b", "a"), wrapper("c", "b")
RESTART = [Feature.RESTART]
BOTH = [Feature.RESTART, Feature.LOSS]


@scenario("X4", A, B, C, needs=RESTART)
async def a_restart_takes_down_what_stands_on_it(stage: Stage) -> None:
    """`restart` takes down a deployment after all that stands on it, brings it all up again, and then returns."""
    await stage.done("deploy", "c")
    plans = {told: stage.script.hold(told) for told in ("undeploy c", "undeploy b", "deploy b", "deploy c")}
    caller = await stage.start("restart", "b")
    stage.stands(a="live", b="live", c="undeploying")
    await stage.release(plans["undeploy c"])
    stage.stands(a="live", b="undeploying", c="absent")
    await stage.release(plans["undeploy b"])
    stage.stands(a="live", b="deploying", c="absent")
    await stage.release(plans["deploy b"])
    stage.stands(a="live", b="live", c="deploying")
    stage.waits(caller)
    await stage.release(plans["deploy c"])
    stage.returned(caller)
    stage.shows("c", connector=True)
    stage.happened("undeploy of a#1 began", times=0)
    await stage.done("undeploy", "c")
    stage.stands(a="absent", b="absent", c="absent")


@scenario("X4", A, needs=RESTART)
async def there_is_nothing_to_restart_of_what_is_absent(stage: Stage) -> None:
    """`restart` of what is absent returns and does nothing."""
    await stage.done("restart", "a")
    stage.happened("a#1 was built", times=0)


@scenario("X4", A, B, needs=RESTART)
async def what_goes_down_is_not_brought_up_by_a_restart(stage: Stage) -> None:
    """`restart` of what is up only until its dependent is down returns, and brings nothing up again."""
    await stage.done("deploy", "b")
    plan = stage.script.hold("undeploy b")
    caller = await stage.start("undeploy_all")
    await stage.done("restart", "a")
    await stage.release(plan)
    stage.returned(caller)
    stage.stands(a="absent", b="absent")
    stage.happened("a#2 was built", times=0)


@scenario("X4", A, B, needs=RESTART)
async def a_restart_goes_on_without_its_caller(stage: Stage) -> None:
    """A restart goes on although its caller is cancelled, who returns at once."""
    await stage.done("deploy", "b")
    plan = stage.script.hold("undeploy b")
    await stage.cancel(await stage.start("restart", "a"))
    stage.stands(a="live", b="undeploying")
    await stage.release(plan)
    stage.stands(a="live", b="live")
    stage.happened("deploy of a#2 ended")
    stage.happened("deploy of b#2 ended")


@scenario("X4", A, unit("d", "a"), needs=BOTH)
async def a_restart_of_what_was_lost_takes_down_all_that_depends_on_it(stage: Stage) -> None:
    """Also of what was lost: then what merely depends on it goes down and comes up as well."""
    await stage.done("deploy", "d")
    stage.script.lose("a")
    plan = stage.script.hold("undeploy d")
    caller = await stage.start("restart", "a")
    stage.stands(a="lost", d="undeploying")
    await stage.release(plan)
    stage.returned(caller)
    stage.stands(a="live", d="live")
    stage.happened("deploy of d#2 ended")


@scenario("X4", A, B, needs=RESTART)
async def what_is_stuck_ends_a_restart(stage: Stage) -> None:
    """When a teardown fails, the restart does: the caller is told, and what lies below stays live."""
    await stage.done("deploy", "b")
    stage.script.fail("undeploy b")
    stage.tells_of(await stage.refused("restart", "a"), "b")
    stage.stands(a="live", b="stuck")
    stage.happened("undeploy of a#1 began", times=0)
    await stage.done("deploy", "b")
    stage.stands(a="live", b="live")


@scenario("X4", A, B, needs=RESTART)
async def what_was_going_down_ends_a_restart_as_well(stage: Stage) -> None:
    """That holds also where the teardown had begun before the restart: nothing is returned that was not restarted."""
    await stage.done("deploy", "b")
    await stage.done("deploy", "a")
    plan = stage.script.hold("undeploy b")
    await stage.start("undeploy", "b")
    restart = await stage.start("restart", "a")
    await stage.release(plan, RuntimeError("no luck"))
    stage.tells_of(stage.raised(restart), "b")
    stage.stands(a="live", b="stuck")


@scenario("X4", A, B, needs=RESTART)
async def a_restart_begins_what_is_coming_up_afresh(stage: Stage) -> None:
    """A deployment that is coming up is given up and begun afresh; its callers get the fresh one."""
    stage.script.hold("deploy b")
    waiting = await stage.start("deploy", "b")
    plan = stage.script.hold("deploy b")
    restart = await stage.start("restart", "a")
    stage.happened("deploy of b#1 was cancelled")
    stage.happened("deploy of a#2 ended")
    stage.waits(waiting, restart)
    await stage.release(plan)
    stage.returned(waiting, restart)
    stage.stands(a="live", b="live")


@scenario("X4", A, B, needs=RESTART)
async def an_undeploy_ends_a_restart(stage: Stage) -> None:
    """When what is restarted is undeployed meanwhile, the caller is told so, and it does not come up again."""
    await stage.done("deploy", "b")
    plan = stage.script.hold("undeploy b")
    restart = await stage.start("restart", "a")
    down = await stage.start("undeploy", "b")
    stage.tells_of(stage.raised(restart), "b")
    await stage.release(plan)
    stage.returned(down)
    stage.stands(a="absent", b="absent")
    stage.happened("b#2 was built", times=0)


@scenario("X4", A, B, needs=RESTART)
async def a_restart_that_fails_is_told(stage: Stage) -> None:
    """When something does not come up again, the caller is told, and its demand has ended."""
    await stage.done("deploy", "b")
    failure = stage.script.fail("deploy b")
    stage.tells_of(await stage.refused("restart", "a"), "b", failure)
    stage.stands(a="absent", b="absent")


# -- By itself ---------------------------------------------------------------------------------------------------------


@scenario("X4", unit("a", restarts=2), B, unit("d", "a"), needs=[Feature.LOSS])
async def what_was_lost_comes_up_by_itself(stage: Stage) -> None:
    """With `restarts` it is renewed by itself after a second, as are its wrappers; mere dependents stay live."""
    for name in "bd":
        await stage.done("deploy", name)
    stage.script.lose("a")
    await anyio.sleep(0.9)
    stage.stands(a="lost", b="lost", d="live")
    await anyio.sleep(0.2)
    stage.stands(a="live", b="live", d="live")
    stage.happened("deploy of a#2 ended")
    stage.happened("deploy of b#2 ended")
    stage.happened("d#2 was built", times=0)


@scenario("X4", unit("a", restarts=1), unit("d", "a"), needs=[Feature.LOSS])
async def closing_renews_nothing(stage: Stage) -> None:
    """Closing takes down what was lost after what depends on it, though the time of its renewal comes meanwhile."""
    await stage.done("deploy", "d")
    stage.script.lose("a")
    plan = stage.script.hold("undeploy d")
    caller = await stage.start("close")
    await anyio.sleep(10)
    stage.stands(a="lost", d="undeploying")
    await stage.release(plan)
    stage.returned(caller)
    stage.happened("a#2 was built", times=0)


@scenario("X4", unit("a", restarts=2), needs=[Feature.LOSS])
async def it_comes_up_by_itself_so_many_times(stage: Stage) -> None:
    """It is renewed by itself as often as `restarts` says, the second time after two seconds; then it stays lost."""
    await stage.done("deploy", "a")
    for number, seconds in ((2, 1), (3, 2)):
        stage.script.lose("a")
        await anyio.sleep(seconds - 0.1)
        stage.happened(f"a#{number} was built", times=0)
        await anyio.sleep(0.2)
        stage.happened(f"deploy of a#{number} ended")
    stage.script.lose("a")
    await anyio.sleep(1000)
    stage.stands(a="lost")
    await stage.done("deploy", "a")
    stage.happened("deploy of a#4 ended")


@scenario("X4", unit("a", restarts=1), needs=[Feature.LOSS])
async def after_a_minute_it_counts_afresh(stage: Stage) -> None:
    """A deployment that has been live for a minute may be renewed by itself as often again."""
    await stage.done("deploy", "a")
    for number in (2, 3):
        await anyio.sleep(60)
        stage.script.lose("a")
        await anyio.sleep(1.1)
        stage.happened(f"deploy of a#{number} ended")
    await anyio.sleep(58)
    stage.script.lose("a")
    await anyio.sleep(1000)
    stage.stands(a="lost")


@scenario("X4", unit("a", restarts=2), needs=[Feature.LOSS])
async def a_failed_renewal_uses_up_one(stage: Stage) -> None:
    """A renewal that fails is tried again while one is left; after the last one nothing demands it any more."""
    await stage.done("deploy", "a")
    stage.script.lose("a")
    stage.script.fail("deploy a")
    stage.script.fail("deploy a")
    await anyio.sleep(1.1)
    stage.happened("undeploy of a#2 ended")
    await anyio.sleep(1.8)
    stage.happened("a#3 was built", times=0)
    await anyio.sleep(1000)
    stage.happened("undeploy of a#3 ended")
    stage.stands(a="absent")
    await stage.done("deploy", "a")
    stage.stands(a="live")


@scenario("X4", unit("a", restarts=1), needs=[Feature.LOSS])
async def a_deploy_does_not_wait_for_that(stage: Stage) -> None:
    """`deploy` renews it at once, and uses up none of its restarts."""
    await stage.done("deploy", "a")
    for _ in range(3):
        stage.script.lose("a")
        with stage.in_time(0):
            caller = await stage.start("deploy", "a")
            await caller.wait()
        stage.returned(caller)
    stage.happened("deploy of a#4 ended")


@scenario("X4", unit("a", restarts=1), B, needs=[Feature.LOSS])
async def what_is_not_demanded_does_not_come_up_by_itself(stage: Stage) -> None:
    """`undeploy` takes down what is lost, and it does not come up again."""
    await stage.done("deploy", "b")
    stage.script.lose("a")
    await stage.done("undeploy", "b")
    stage.stands(a="absent", b="absent")
    await anyio.sleep(1000)
    stage.happened("a#2 was built", times=0)


@scenario("X4", A, wrapper("b", "a", restarts=1), needs=[Feature.LOSS])
async def a_wrapper_that_comes_up_by_itself_brings_up_what_it_needs(stage: Stage) -> None:
    """A wrapper with `restarts` comes up by itself when it is lost with its inner environment, and that with it."""
    await stage.done("deploy", "b")
    stage.script.lose("a")
    await anyio.sleep(1.1)
    stage.stands(a="live", b="live")
    stage.happened("deploy of a#2 ended")
