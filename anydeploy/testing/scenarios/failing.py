"""D5 and D6: failures and cancellations."""

from __future__ import annotations

from ..scripted import unit, wrapper
from .stage import Stage, scenario

A, B, C = unit("a"), wrapper("b", "a"), wrapper("c", "b")


@scenario("D5", A)
async def every_waiting_caller_is_told(stage: Stage) -> None:
    """When a deploy fails each waiting caller gets an error of its own, with the original as its cause."""
    plan = stage.script.hold("deploy a")
    callers = [await stage.start("deploy", "a") for _ in range(3)]
    failure = RuntimeError("no luck")
    await stage.release(plan, failure)
    errors = [stage.raised(caller) for caller in callers]
    for error in errors:
        stage.tells_of(error, "a", failure)
    stage.expect(len({id(error) for error in errors}) == len(errors), "several callers got one exception object")


@scenario("D5", A)
async def what_failed_is_cleaned_away(stage: Stage) -> None:
    """After a failed deploy the connector's `undeploy` is called, once."""
    stage.script.fail("deploy a")
    await stage.refused("deploy", "a")
    stage.stands(a="absent")
    stage.happened("undeploy of a#1 ended")


@scenario("D5", A)
async def what_failed_can_be_deployed_again(stage: Stage) -> None:
    """After a failure the name can be deployed again."""
    stage.script.fail("deploy a")
    await stage.refused("deploy", "a")
    await stage.done("deploy", "a")
    stage.stands(a="live")
    stage.shows("a", connector=True)


@scenario("D5", A)
async def a_newcomer_does_not_share_the_failure(stage: Stage) -> None:
    """A caller that comes while a failed deploy is cleaned away waits for that, and then gets a fresh one."""
    stage.script.fail("deploy a")
    plan = stage.script.hold("undeploy a")
    first, newcomer = await stage.start("deploy", "a"), await stage.start("deploy", "a")
    stage.waits(newcomer)
    await stage.release(plan)
    stage.raised(first)
    stage.returned(newcomer)
    stage.happened("deploy of a#2 ended")


@scenario("D5", A, B)
async def what_wraps_it_fails_with_it(stage: Stage) -> None:
    """A wrapper that waits for a deployment that fails, fails the same way, and can be deployed again."""
    failure = stage.script.fail("deploy a")
    error = await stage.refused("deploy", "b")
    stage.tells_of(error, "b", failure)
    stage.tells_of(error, "a")
    await stage.done("deploy", "b")
    stage.stands(a="live", b="live")


@scenario("D5", A, B)
async def what_came_up_for_it_goes_down_again(stage: Stage) -> None:
    """A dependency that came up only for a deployment that failed goes down again."""
    stage.script.fail("deploy b")
    await stage.refused("deploy", "b")
    stage.stands(a="absent", b="absent")


@scenario("D5", A)
async def a_constructor_may_fail_as_well(stage: Stage) -> None:
    """When a connector cannot be constructed the callers are told, and the name can be deployed again."""
    failure = stage.script.fail_constructor("a")
    stage.tells_of(await stage.refused("deploy", "a"), "a", failure)
    await stage.done("deploy", "a")
    stage.stands(a="live")


@scenario("D6", A)
async def others_do_not_notice_a_cancelled_caller(stage: Stage) -> None:
    """When the first caller is cancelled it returns at once, and the others get what they wait for."""
    plan = stage.script.hold("deploy a")
    first, second = await stage.start("deploy", "a"), await stage.start("deploy", "a")
    await stage.cancel(first)
    stage.waits(second)
    stage.stands(a="deploying")
    await stage.release(plan)
    stage.returned(second)
    stage.stands(a="live")


@scenario("D6", A, B)
async def others_keep_what_a_cancelled_caller_shared(stage: Stage) -> None:
    """When a caller is cancelled, a deployment that others wait for as well still comes up."""
    plan = stage.script.hold("deploy a")
    stage.script.hold("deploy b")
    below, above = await stage.start("deploy", "a"), await stage.start("deploy", "b")
    await stage.cancel(above)
    stage.stands(a="deploying")
    await stage.release(plan)
    stage.returned(below)
    stage.stands(a="live")


@scenario("D6", A)
async def what_nobody_wants_is_given_up(stage: Stage) -> None:
    """When the last caller is cancelled the deploy is cancelled, and cleaned away."""
    stage.script.hold("deploy a")
    await stage.cancel(await stage.start("deploy", "a"))
    stage.happened("deploy of a#1 was cancelled")
    stage.happened("undeploy of a#1 ended")
    stage.stands(a="absent")


@scenario("D6", A)
async def a_newcomer_does_not_join_what_is_given_up(stage: Stage) -> None:
    """A caller that comes while a cancelled deploy is cleaned away waits for that, and then gets a fresh one."""
    stage.script.hold("deploy a")
    plan = stage.script.hold("undeploy a")
    await stage.cancel(await stage.start("deploy", "a"))
    newcomer = await stage.start("deploy", "a")
    stage.waits(newcomer)
    stage.stands(a="undeploying")
    await stage.release(plan)
    stage.returned(newcomer)
    stage.happened("deploy of a#2 ended")


@scenario("D6", A, B)
async def a_cancelled_caller_leaves_nothing_below(stage: Stage) -> None:
    """When the only caller is cancelled, the dependency that had come up for it goes down again."""
    stage.script.hold("deploy b")
    await stage.cancel(await stage.start("deploy", "b"))
    stage.stands(a="absent", b="absent")


@scenario("D6", A, B)
async def a_name_can_be_deployed_after_a_cancellation(stage: Stage) -> None:
    """After its caller was cancelled a name can be deployed again."""
    stage.script.hold("deploy a")
    await stage.cancel(await stage.start("deploy", "b"))
    await stage.done("deploy", "b")
    stage.stands(a="live", b="live")


@scenario("D6", unit("a", type="stubborn"))
async def what_must_not_be_interrupted_is_let_finish(stage: Stage) -> None:
    """A connector that cannot be interrupted is let finish, and then undeployed."""
    plan = stage.script.hold("deploy a")
    await stage.cancel(await stage.start("deploy", "a"))
    stage.stands(a="deploying")
    await stage.release(plan)
    stage.stands(a="absent")
    stage.happened("deploy of a#1 ended")
