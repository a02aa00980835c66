"""U8 and M1 to M3: the end of a manager."""

from __future__ import annotations

from anyio import CancelScope

from ..scripted import unit, wrapper
from ..subject import Feature
from .stage import Stage, scenario

A, B = unit("a"), wrapper("b", "a")


@scenario("U8", A, B)
async def closing_takes_everything_down(stage: Stage) -> None:
    """`close` takes everything down from above, and can be repeated."""
    await stage.done("deploy", "b")
    plan = stage.script.hold("undeploy b")
    caller = await stage.start("close")
    stage.stands(a="live", b="undeploying")
    await stage.release(plan)
    stage.returned(caller)
    stage.stands(a="absent", b="absent")
    await stage.done("close")


@scenario("U8", A)
async def closing_gives_up_what_comes_up(stage: Stage) -> None:
    """`close` cancels a deploy in flight, cleans it away, and tells the callers that wait."""
    stage.script.hold("deploy a")
    waiting = await stage.start("deploy", "a")
    await stage.done("close")
    stage.stands(a="absent")
    stage.raised(waiting)
    stage.happened("undeploy of a#1 ended")


@scenario("U8", A)
async def nothing_is_deployed_after_closing(stage: Stage) -> None:
    """After `close`, `deploy` raises and `get_connector` gives None."""
    await stage.done("deploy", "a")
    await stage.done("close")
    await stage.refused("deploy", "a")
    stage.shows("a", connector=False)
    stage.stands(a="absent")


@scenario("U8", A, B)
async def closing_tries_a_last_time(stage: Stage) -> None:
    """`close` gives what is stuck a last try, goes on below it, and reports what may be left."""
    await stage.done("deploy", "b")
    stage.script.fail("undeploy b")
    await stage.refused("undeploy", "b")
    stage.script.fail("undeploy b")
    error = await stage.refused("close")
    stage.groups(error, "b")
    stage.stands(a="absent", b="stuck")
    stage.happened("undeploy of a#1 ended")


@scenario("M1", A, needs=[Feature.BLOCK])
async def leaving_the_block_is_closing(stage: Stage) -> None:
    """Leaving the block of a manager takes everything down, though its body is cancelled."""
    with CancelScope() as scope:
        async with stage.subject.manager(stage.script) as manager:
            await manager.deploy("a")
            scope.cancel()
    stage.happened("undeploy of a#1 ended")


@scenario("M1", A, needs=[Feature.BLOCK])
async def there_is_no_deploying_outside_the_block(stage: Stage) -> None:
    """Using a manager outside its block is an error."""
    async with stage.subject.manager(stage.script) as manager:
        pass
    try:
        await manager.deploy("a")
    except stage.subject.execution_errors:
        return
    stage.expect(condition=False, otherwise="deploy(a) outside the block returned")


@scenario("M2", A, needs=[Feature.BLOCK])
async def an_exception_in_the_block_comes_out_as_itself(stage: Stage) -> None:
    """An exception that is raised in the block comes out as itself, and what is up goes down."""
    error = RuntimeError("in the block")
    try:
        async with stage.subject.manager(stage.script) as manager:
            await manager.deploy("a")
            raise error  # noqa: TRY301 - this is what it is about
    except Exception as exc:  # noqa: BLE001 - another exception in its place is the finding
        stage.expect(exc is error, f"{exc!r} came out")
    stage.happened("undeploy of a#1 ended")


@scenario("M3", A, unit("b"))
async def however_a_caller_is_cancelled(stage: Stage) -> None:
    """A deadline and the native cancellation of asyncio's tasks are cancellations like any other."""
    for name, how in (("a", "deadline"), ("b", "native")):
        stage.script.hold(f"deploy {name}")
        await stage.cancel(await stage.start("deploy", name), how)
        stage.happened(f"deploy of {name}#1 was cancelled")
