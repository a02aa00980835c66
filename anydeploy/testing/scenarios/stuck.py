"""U6 and U7: teardowns that fail, and the teardown of everything."""

from __future__ import annotations

from ..scripted import unit, wrapper
from .stage import Stage, scenario

A, B = unit("a"), wrapper("b", "a")


@scenario("U6", A)
async def a_failed_teardown_is_tried_again(stage: Stage) -> None:
    """When a teardown fails the caller is told, and `undeploy` tries it again."""
    await stage.done("deploy", "a")
    stage.script.fail("undeploy a")
    await stage.refused("undeploy", "a")
    stage.stands(a="stuck")
    stage.shows("a", connector=False)
    await stage.done("undeploy", "a")
    stage.stands(a="absent")


@scenario("U6", A)
async def a_failed_teardown_is_told_to_everybody(stage: Stage) -> None:
    """When a teardown fails each waiting caller gets an error of its own."""
    await stage.done("deploy", "a")
    plan = stage.script.hold("undeploy a")
    callers = [await stage.start("undeploy", "a") for _ in range(2)]
    failure = RuntimeError("no luck")
    await stage.release(plan, failure)
    errors = [stage.raised(caller) for caller in callers]
    for error in errors:
        stage.tells_of(error, "a", failure)
    stage.expect(errors[0] is not errors[1], "two callers got one exception object")


@scenario("U6", A)
async def deploying_what_is_stuck_tears_it_down_first(stage: Stage) -> None:
    """`deploy` of what is stuck first tries the teardown again, and then brings up a fresh one."""
    await stage.done("deploy", "a")
    stage.script.fail("undeploy a")
    await stage.refused("undeploy", "a")
    plan = stage.script.hold("undeploy a")
    caller = await stage.start("deploy", "a")
    stage.waits(caller)
    stage.stands(a="undeploying")
    await stage.release(plan)
    stage.returned(caller)
    stage.happened("deploy of a#2 ended")


@scenario("U6", A, B)
async def what_is_stuck_keeps_what_it_stands_on(stage: Stage) -> None:
    """The dependencies of a stuck deployment stay up, so that the next try can work, and then follow."""
    await stage.done("deploy", "b")
    stage.script.fail("undeploy b")
    await stage.refused("undeploy", "b")
    stage.stands(a="live", b="stuck")
    await stage.done("undeploy", "b")
    stage.stands(a="absent", b="absent")


@scenario("U6", A, B)
async def what_follows_and_fails_is_named(stage: Stage) -> None:
    """When what follows cannot be torn down, the caller is told, and the error names that one."""
    await stage.done("deploy", "b")
    failure = stage.script.fail("undeploy a")
    stage.tells_of(await stage.refused("undeploy", "b"), "a", failure)
    stage.stands(a="stuck", b="absent")
    await stage.done("undeploy", "a")
    stage.stands(a="absent")


@scenario("U6", A, unit("b"), unit("c", "a", "b"))
async def all_that_fail_are_told(stage: Stage) -> None:
    """When several cannot be torn down, one error is raised, for the first, and the others are in its notes."""
    await stage.done("deploy", "c")
    plans = {name: stage.script.hold(f"undeploy {name}") for name in "ab"}
    caller = await stage.start("undeploy", "c")
    first, second = RuntimeError("no luck"), RuntimeError("no luck either")
    await stage.release(plans["b"], first)
    stage.waits(caller)
    await stage.release(plans["a"], second)
    error = stage.raised(caller)
    stage.tells_of(error, "b", first)
    notes = "\n".join(getattr(error, "__notes__", ()))
    stage.expect("'a'" in notes and str(second) in notes, f"the notes of {error!r} do not tell of a: {notes}")


@scenario("U6", A)
async def the_cleanup_of_a_failure_may_fail(stage: Stage) -> None:
    """When the cleanup after a failed deploy fails too, it is not forgotten."""
    stage.script.fail("deploy a")
    stage.script.fail("undeploy a")
    await stage.refused("deploy", "a")
    stage.stands(a="stuck")
    await stage.done("undeploy", "a")
    stage.stands(a="absent")


@scenario("U7", A, B, wrapper("c", "b"), unit("d"))
async def everything_goes_down_from_above(stage: Stage) -> None:
    """`undeploy_all` takes everything down, what depends on others before them, the rest at the same time."""
    for name in "acd":
        await stage.done("deploy", name)
    plans = {name: stage.script.hold(f"undeploy {name}") for name in "abcd"}
    caller = await stage.start("undeploy_all")
    stage.stands(a="live", b="live", c="undeploying", d="undeploying")
    for name in "cba":
        await stage.release(plans[name])
    stage.waits(caller)
    await stage.release(plans["d"])
    stage.returned(caller)
    stage.stands(a="absent", b="absent", c="absent", d="absent")


@scenario("U7", A)
async def undeploying_everything_twice_does_nothing(stage: Stage) -> None:
    """`undeploy_all` can be repeated, and called when there is nothing."""
    await stage.done("undeploy_all")
    await stage.done("deploy", "a")
    await stage.done("undeploy_all")
    await stage.done("undeploy_all")
    stage.happened("undeploy of a#1 began")


@scenario("U7", A, B, unit("d"), unit("e"))
async def all_errors_come_out_together(stage: Stage) -> None:
    """One failed teardown stops only what lies under it, and all errors come out in one group."""
    for name in "bde":
        await stage.done("deploy", name)
    stage.script.fail("undeploy b")
    stage.script.fail("undeploy d")
    error = await stage.refused("undeploy_all")
    stage.stands(a="live", b="stuck", d="stuck", e="absent")
    stage.groups(error, "b", "d")


@scenario("U7", A, B)
async def undeploying_everything_gives_up_what_comes_up(stage: Stage) -> None:
    """`undeploy_all` while something is coming up ends that, and tells the callers that wait."""
    stage.script.hold("deploy b")
    waiting = await stage.start("deploy", "b")
    await stage.done("undeploy_all")
    stage.tells_of(stage.raised(waiting), "b")
    stage.stands(a="absent", b="absent")
