"""R1 to R4: the connectors that `get_connector` gives, and the time for which they are good."""

from __future__ import annotations

from ..scripted import unit, wrapper
from .stage import Stage, scenario

A, B, C = unit("a"), wrapper("b", "a"), wrapper("c", "b")


@scenario("R1", A)
async def a_connector_is_there_while_it_is_live(stage: Stage) -> None:
    """`get_connector` gives None before, while it comes up, while it goes down, and after."""
    stage.shows("a", connector=False)
    up, down = stage.script.hold("deploy a"), stage.script.hold("undeploy a")
    await stage.start("deploy", "a")
    stage.shows("a", connector=False)
    await stage.release(up)
    stage.shows("a", connector=True)
    await stage.start("undeploy", "a")
    stage.shows("a", connector=False)
    await stage.release(down)
    stage.shows("a", connector=False)


@scenario("R1", A)
async def there_is_no_connector_after_a_failure(stage: Stage) -> None:
    """`get_connector` gives None after the deploy has failed, and while that is cleaned away."""
    stage.script.fail("deploy a")
    plan = stage.script.hold("undeploy a")
    await stage.start("deploy", "a")
    stage.shows("a", connector=False)
    await stage.release(plan)
    stage.shows("a", connector=False)


@scenario("R1", A)
async def an_unknown_name_has_no_connector(stage: Stage) -> None:
    """`get_connector` gives None for an unknown name."""
    stage.shows("nobody", connector=False)


@scenario("R1", A, B)
async def what_is_withdrawn_is_not_shown(stage: Stage) -> None:
    """`get_connector` gives None after `undeploy`, also of what others still need, until `deploy` is called again."""
    await stage.done("deploy", "b")
    stage.shows("a", connector=True)
    await stage.start("undeploy", "a")
    stage.shows("a", connector=False)
    await stage.done("deploy", "a")
    stage.shows("a", connector=True)


@scenario("R2", A, B)
async def it_is_the_same_connector_all_the_time(stage: Stage) -> None:
    """`get_connector` gives the same object, whatever else happens, and another one in the next life."""
    await stage.done("deploy", "a")
    first = stage.shows("a", connector=True)
    await stage.done("deploy", "b")
    stage.expect(stage.shows("a", connector=True) is first, "get_connector(a) gave another object")
    await stage.done("undeploy", "a")
    await stage.done("deploy", "a")
    stage.expect(stage.shows("a", connector=True) is first, "get_connector(a) gave another object when shown again")
    await stage.done("undeploy", "b")
    stage.expect(stage.shows("a", connector=True) is first, "get_connector(a) gave another object")
    await stage.done("undeploy", "a")
    await stage.done("deploy", "a")
    stage.expect(stage.shows("a", connector=True) is not first, "get_connector(a) gave the old object")


@scenario("R3", A, B, C)
async def nothing_goes_from_under_a_stack(stage: Stage) -> None:
    """While the top of a stack of three is live, undeploying what is in the middle takes nothing down."""
    await stage.done("deploy", "c")
    await stage.start("undeploy", "b")
    stage.stands(a="live", b="live", c="live")


@scenario("R3", A, B, C)
async def nothing_goes_from_under_a_stack_below(stage: Stage) -> None:
    """While the top of a stack of three is live, undeploying what is at the bottom takes nothing down."""
    await stage.done("deploy", "a")
    await stage.done("deploy", "c")
    await stage.start("undeploy", "a")
    stage.stands(a="live", b="live", c="live")


@scenario("R4", A)
async def what_goes_down_cannot_be_used(stage: Stage) -> None:
    """Once the teardown has begun every operation of the connector fails, and the error names the deployment."""
    await stage.done("deploy", "a")
    connector = stage.shows("a", connector=True)
    await stage.done("use", "a", connector=connector)
    plan = stage.script.hold("undeploy a")
    await stage.start("undeploy", "a")
    stage.tells_of(await stage.refused("use", "a", connector=connector), "a")
    await stage.release(plan)
    stage.tells_of(await stage.refused("use", "a", connector=connector), "a")


@scenario("R4", unit("a", type="stubborn"))
async def what_was_let_finish_cannot_be_used(stage: Stage) -> None:
    """That holds as well for what was given up and let finish because it could not be interrupted."""
    up, down = stage.script.hold("deploy a"), stage.script.hold("undeploy a")
    await stage.cancel(await stage.start("deploy", "a"))
    await stage.release(up)
    stage.stands(a="undeploying")
    await stage.refused("use", "a", connector=stage.script.connectors["a"][0])
    await stage.release(down)
    stage.stands(a="absent")
