"""D1 to D4: in order, once, one after the other, and not at all where it cannot work."""

from __future__ import annotations

from ...config import DeploymentConfig
from ..entries import EntryKind
from ..scripted import unit, wrapper
from ..subject import Feature
from .stage import Stage, scenario

A, B, C = unit("a"), wrapper("b", "a"), wrapper("c", "b")


@scenario("D1", A, B, C)
async def a_stack_comes_up_from_below(stage: Stage) -> None:
    """`deploy` brings up what its deployment wraps first, and returns when all of it is live."""
    plans = {name: stage.script.hold(f"deploy {name}") for name in "abc"}
    caller = await stage.start("deploy", "c")
    stage.stands(a="deploying", b="absent", c="absent")
    await stage.release(plans["a"])
    stage.stands(a="live", b="deploying", c="absent")
    await stage.release(plans["b"])
    stage.stands(a="live", b="live", c="deploying")
    stage.waits(caller)
    await stage.release(plans["c"])
    stage.returned(caller)


@scenario("D1", A, B)
async def a_wrapper_waits_for_what_another_caller_brings_up(stage: Stage) -> None:
    """A wrapper is not deployed before the deployment that it wraps, though that is on its way for another caller."""
    plan = stage.script.hold("deploy a")
    first = await stage.start("deploy", "a")
    second = await stage.start("deploy", "b")
    stage.stands(a="deploying", b="absent")
    await stage.release(plan)
    stage.returned(first, second)


@scenario("D1", unit("a"), unit("b"), unit("c", "a", "b"))
async def independent_ones_come_up_together(stage: Stage) -> None:
    """Independent deployments come up at the same time."""
    plans = [stage.script.hold("deploy a"), stage.script.hold("deploy b")]
    caller = await stage.start("deploy", "c")
    stage.stands(a="deploying", b="deploying", c="absent")
    await stage.release(plans[1])
    stage.stands(a="deploying", b="live", c="absent")
    await stage.release(plans[0])
    stage.returned(caller)


@scenario("D1", unit("a"), unit("b"), unit("c", "a"))
async def waves_are_no_barriers(stage: Stage) -> None:
    """A deployment starts as soon as its own dependencies are live, whatever else is still coming up."""
    stage.script.hold("deploy b")
    await stage.start("deploy", "b")
    await stage.done("deploy", "c")
    stage.stands(a="live", b="deploying", c="live")


@scenario("D2", A)
async def many_callers_bring_it_up_once(stage: Stage) -> None:
    """However many callers ask at the same time, one connector is built and deployed once."""
    plan = stage.script.hold("deploy a")
    callers = [await stage.start("deploy", "a") for _ in range(5)]
    await stage.release(plan)
    stage.returned(*callers)
    await stage.done("deploy", "a")
    stage.happened("a#1 was built")
    stage.happened("a#2 was built", times=0)


@scenario("D2", A, wrapper("b", "a"), wrapper("c", "a"))
async def two_wrappers_share_what_they_wrap(stage: Stage) -> None:
    """The deployment that two wrappers stand on is brought up once for both."""
    plan = stage.script.hold("deploy a")
    callers = [await stage.start("deploy", "b"), await stage.start("deploy", "c")]
    await stage.release(plan)
    stage.returned(*callers)
    stage.happened("deploy of a#1 began")
    stage.happened("a#2 was built", times=0)


@scenario("D3", A)
async def a_new_deploy_waits_for_the_teardown(stage: Stage) -> None:
    """`deploy` during the teardown waits for its end, and then brings up a fresh one."""
    await stage.done("deploy", "a")
    plan = stage.script.hold("undeploy a")
    down = await stage.start("undeploy", "a")
    up = await stage.start("deploy", "a")
    stage.waits(down, up)
    stage.stands(a="undeploying")
    await stage.release(plan)
    stage.returned(down, up)
    stage.happened("deploy of a#2 ended")
    stage.stands(a="live")


@scenario("D4", wrapper("a", "b"), wrapper("b", "a"))
async def a_cycle_is_refused(stage: Stage) -> None:
    """A cycle of dependencies is refused, again and again, with an error that shows the way round."""
    for _ in range(2):
        stage.says_misspecified(await stage.refused("deploy", "a"), "a -> b -> a")
    _nothing_was_touched(stage)


@scenario("D4", wrapper("a", "a"))
async def a_deployment_that_wraps_itself_is_refused(stage: Stage) -> None:
    """A deployment that wraps itself is refused, again and again."""
    for _ in range(2):
        stage.says_misspecified(await stage.refused("deploy", "a"), "a -> a")
    _nothing_was_touched(stage)


@scenario("D4", wrapper("a", "nowhere"))
async def an_unknown_dependency_is_refused(stage: Stage) -> None:
    """`wraps` on an unknown name is refused, again and again, with an error that names it."""
    for _ in range(2):
        stage.says_misspecified(await stage.refused("deploy", "a"), "nowhere")
    _nothing_was_touched(stage)


@scenario("D4", unit("a", type="nothing"))
async def an_unknown_type_is_refused(stage: Stage) -> None:
    """An unknown type is refused, again and again, with an error that names it."""
    for _ in range(2):
        stage.says_misspecified(await stage.refused("deploy", "a"), "nothing")


@scenario("D4", A, DeploymentConfig("b", "scripted", wraps="a"))
async def wraps_on_what_cannot_wrap_is_refused(stage: Stage) -> None:
    """`wraps` on a type that cannot wrap is refused."""
    stage.says_misspecified(await stage.refused("deploy", "b"), "wrap")
    _nothing_was_touched(stage)


@scenario("D4", A)
async def another_definition_of_a_live_name_is_refused(stage: Stage) -> None:
    """The same name with another definition is refused while it is not absent."""
    await stage.done("deploy", "a")
    other = unit("a", workdir="/elsewhere")
    stage.says_misspecified(await stage.refused("deploy", other), "a")
    stage.stands(a="live")


@scenario("D4", unit("a", config={"no_such_setting": 1}), needs=[Feature.SETTINGS])
async def wrong_settings_are_refused(stage: Stage) -> None:
    """Settings that the connector does not have are refused before it is built."""
    stage.says_misspecified(await stage.refused("deploy", "a"), "no_such_setting")
    _nothing_was_touched(stage)


def _nothing_was_touched(stage: Stage) -> None:
    touched = [entry for entry in stage.script.history.entries if entry.kind in {EntryKind.BUILT, EntryKind.BEGAN}]
    stage.expect(not touched, f"{', '.join(map(str, touched))}, although it was refused")
