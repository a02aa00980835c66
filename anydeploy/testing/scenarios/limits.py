"""K1 to K3 and E1: limits, and external environments."""

from __future__ import annotations

import anyio

from ..scripted import unit, wrapper
from ..subject import Feature
from .stage import Stage, scenario

A = unit("a")


@scenario("K1", unit("a"), unit("b"), unit("c"), max_concurrent=2)
async def no_more_than_the_limit_come_up_at_once(stage: Stage) -> None:
    """Not more connectors are brought up at once than the limit says."""
    plans = {name: stage.script.hold(f"deploy {name}") for name in "abc"}
    callers = [await stage.start("deploy", name) for name in "abc"]
    stage.stands(a="deploying", b="deploying", c="absent")
    await stage.release(plans["b"])
    stage.stands(a="deploying", b="live", c="deploying")
    await stage.release(plans["a"])
    await stage.release(plans["c"])
    stage.returned(*callers)


@scenario("K1", unit("a"), unit("b"), unit("c"), unit("d", "c"), unit("e", "d"), max_concurrent=1)
async def the_longest_way_goes_first(stage: Stage) -> None:
    """Of those that are ready, the one with the longest way above it goes first."""
    plan = stage.script.hold("deploy a")
    for name in "abe":
        await stage.start("deploy", name)
    await stage.release(plan)
    began = [entry.name for entry in stage.script.history.entries if str(entry).startswith("deploy of")]
    stage.expect(began.index("c") < began.index("b"), f"they came up in the order {list(dict.fromkeys(began))}")


@scenario("K1", unit("a"), wrapper("b", "a"), wrapper("c", "b"), max_concurrent=1)
async def nobody_holds_a_place_that_it_waits_for(stage: Stage) -> None:
    """A stack comes up and goes down with a limit of one: what waits for another one takes no place."""
    await stage.done("deploy", "c")
    await stage.done("undeploy", "c")
    stage.stands(a="absent", b="absent", c="absent")


@scenario("K1", unit("a"), unit("b"), max_concurrent=1)
async def what_is_stuck_takes_no_place(stage: Stage) -> None:
    """A teardown that has failed, or a deploy that has, leaves its place to others."""
    await stage.done("deploy", "a")
    stage.script.fail("undeploy a")
    await stage.refused("undeploy", "a")
    stage.script.fail("deploy b")
    await stage.refused("deploy", "b")
    await stage.done("deploy", "b")


@scenario("K2", unit("a", deploy_timeout=5), needs=[Feature.TIMEOUTS])
async def a_deploy_that_takes_too_long_fails(stage: Stage) -> None:
    """A deploy that takes longer than its limit fails, with an error that names the deployment and the limit."""
    stage.script.hold("deploy a")
    caller = await stage.start("deploy", "a")
    with stage.in_time(5):
        await caller.wait()
    error = stage.raised(caller)
    stage.tells_of(error, "a")
    stage.expect("5" in str(error), f"{error!r} does not name the limit")
    stage.stands(a="absent")


@scenario("K2", A, undeploy_timeout=5)
async def a_teardown_that_takes_too_long_fails(stage: Stage) -> None:
    """A teardown that takes longer than the manager's limit fails, and what it was about is stuck."""
    await stage.done("deploy", "a")
    stage.script.hold("undeploy a")
    caller = await stage.start("undeploy", "a")
    with stage.in_time(5):
        await caller.wait()
    error = stage.raised(caller)
    stage.tells_of(error, "a")
    stage.expect("5" in str(error), f"{error!r} does not name the limit")
    stage.stands(a="stuck")


@scenario("K3", unit("a", retries=2))
async def a_failed_deploy_is_tried_again(stage: Stage) -> None:
    """A deploy that fails is tried again as often as its definition says, and each try is cleaned away before."""
    stage.script.fail("deploy a")
    stage.script.fail("deploy a")
    caller = await stage.start("deploy", "a")
    await caller.wait()
    stage.returned(caller)
    stage.happened("undeploy of a#1 ended")
    stage.happened("undeploy of a#2 ended")
    stage.stands(a="live")


@scenario("K3", unit("a", retries=1))
async def there_is_a_pause_between_the_tries(stage: Stage) -> None:
    """A pause stands between two tries, and after the last one the caller is told."""
    stage.script.fail("deploy a")
    failure = stage.script.fail("deploy a")
    begun = anyio.current_time()
    caller = await stage.start("deploy", "a")
    await caller.wait()
    stage.tells_of(stage.raised(caller), "a", failure)
    stage.expect(anyio.current_time() > begun, "there was no pause")
    stage.stands(a="absent")


@scenario("E1", unit("a", external=True), unit("b"))
async def a_connector_is_told_what_is_external(stage: Stage) -> None:
    """`external` is told to the connector's `deploy` and `undeploy`."""
    for name in "ab":
        await stage.done("deploy", name)
    await stage.done("undeploy_all")
    stage.happened("undeploy of a#1 ended")
    stage.happened("undeploy of b#1 ended")
