"""U1 to U5: the order in which deployments go down, and the callers that wait for it."""

from __future__ import annotations

from ..scripted import unit, wrapper
from .stage import Stage, scenario

A, B, C = unit("a"), wrapper("b", "a"), wrapper("c", "b")


@scenario("U1", A)
async def undeploy_returns_when_it_is_gone(stage: Stage) -> None:
    """`undeploy` takes down a deployment without demand, and returns when it is gone."""
    await stage.done("deploy", "a")
    plan = stage.script.hold("undeploy a")
    caller = await stage.start("undeploy", "a")
    stage.stands(a="undeploying")
    stage.waits(caller)
    await stage.release(plan)
    stage.returned(caller)
    stage.stands(a="absent")


@scenario("U1", A, B, C)
async def a_stack_goes_down_from_above(stage: Stage) -> None:
    """The dependencies that were up for a deployment follow it down, one after the other."""
    await stage.done("deploy", "c")
    plans = {name: stage.script.hold(f"undeploy {name}") for name in "abc"}
    await stage.start("undeploy", "c")
    stage.stands(a="live", b="live", c="undeploying")
    await stage.release(plans["c"])
    stage.stands(a="live", b="undeploying", c="absent")
    await stage.release(plans["b"])
    stage.stands(a="undeploying", b="absent", c="absent")
    await stage.release(plans["a"])
    stage.stands(a="absent", b="absent", c="absent")


@scenario("U1", A, B)
async def undeploy_returns_when_what_follows_is_gone(stage: Stage) -> None:
    """`undeploy` returns when what was up for its sake alone has followed it, and does not wait for what stays."""
    await stage.done("deploy", "b")
    plan = stage.script.hold("undeploy a")
    caller = await stage.start("undeploy", "b")
    stage.stands(a="undeploying", b="absent")
    stage.waits(caller)
    await stage.release(plan)
    stage.returned(caller)


@scenario("U1", A, B)
async def undeploy_does_not_wait_for_what_is_wanted_again(stage: Stage) -> None:
    """It returns without what somebody else has asked for meanwhile."""
    await stage.done("deploy", "b")
    plan = stage.script.hold("undeploy b")
    caller = await stage.start("undeploy", "b")
    await stage.done("deploy", "a")
    await stage.release(plan)
    stage.returned(caller)
    stage.stands(a="live", b="absent")


@scenario("U1", A, B)
async def what_was_deployed_for_itself_stays(stage: Stage) -> None:
    """A dependency with a `deploy` of its own stays when its dependent goes."""
    await stage.done("deploy", "a")
    await stage.done("deploy", "b")
    await stage.done("undeploy", "b")
    stage.stands(a="live", b="absent")


@scenario("U1", A)
async def undeploying_what_is_not_there_does_nothing(stage: Stage) -> None:
    """`undeploy` of an absent or unknown name returns and does nothing."""
    await stage.done("undeploy", "a")
    await stage.done("undeploy", "nobody")
    stage.stands(a="absent")


@scenario("U2", A, B)
async def undeploying_what_is_needed_returns_at_once(stage: Stage) -> None:
    """`undeploy` of a deployment with dependents returns at once; it goes down with the last of them."""
    await stage.done("deploy", "a")
    await stage.done("deploy", "b")
    await stage.done("undeploy", "a")
    stage.stands(a="live", b="live")
    await stage.done("undeploy", "b")
    stage.stands(a="absent", b="absent")


@scenario("U3", A)
async def concurrent_undeploys_take_it_down_once(stage: Stage) -> None:
    """Concurrent `undeploy` calls call the connector's `undeploy` once, and all return when it is down."""
    await stage.done("deploy", "a")
    plan = stage.script.hold("undeploy a")
    callers = [await stage.start("undeploy", "a") for _ in range(3)]
    stage.waits(*callers)
    await stage.release(plan)
    stage.returned(*callers)
    stage.happened("undeploy of a#1 began")


@scenario("U4", A)
async def undeploying_what_comes_up_tells_those_who_wait(stage: Stage) -> None:
    """`undeploy` of a deployment that is coming up ends that: the waiting callers get an error that says so."""
    stage.script.hold("deploy a")
    waiting = await stage.start("deploy", "a")
    await stage.done("undeploy", "a")
    stage.tells_of(stage.raised(waiting), "a")
    stage.stands(a="absent")
    stage.happened("undeploy of a#1 ended")


@scenario("U4", A, B)
async def undeploying_what_comes_up_for_another_one_does_not(stage: Stage) -> None:
    """`undeploy` of a deployment that is coming up leaves it alone while a dependent of it is demanded."""
    plan = stage.script.hold("deploy a")
    waiting = await stage.start("deploy", "b")
    await stage.done("undeploy", "a")
    stage.waits(waiting)
    await stage.release(plan)
    stage.returned(waiting)


@scenario("U5", A)
async def a_teardown_goes_on_when_its_caller_is_cancelled(stage: Stage) -> None:
    """A teardown that has begun goes on although its caller is cancelled, which returns at once."""
    await stage.done("deploy", "a")
    plan = stage.script.hold("undeploy a")
    await stage.cancel(await stage.start("undeploy", "a"))
    stage.stands(a="undeploying")
    await stage.release(plan)
    stage.stands(a="absent")


@scenario("U5", A)
async def the_others_wait_for_a_teardown_on(stage: Stage) -> None:
    """A caller that waits for a teardown does not notice that the caller that began it was cancelled."""
    await stage.done("deploy", "a")
    plan = stage.script.hold("undeploy a")
    first = await stage.start("undeploy", "a")
    second, third = await stage.start("undeploy", "a"), await stage.start("deploy", "a")
    await stage.cancel(first)
    stage.waits(second, third)
    await stage.release(plan)
    stage.returned(second, third)
