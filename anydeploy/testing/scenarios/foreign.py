"""D7: connectors that do what they must not."""

from __future__ import annotations

from ..scripted import HEADLESS, unit, wrapper
from ..subject import Feature
from .stage import Stage, scenario

A, B, Z = unit("a"), wrapper("b", "a"), unit("z")
HOOKS = [Feature.HOOKS]


async def _goes_on(stage: Stage) -> None:
    """A deployment that has nothing to do with it is untouched, and what was not trusted comes up in the end."""
    stage.stands(z="live")
    stage.shows("z", connector=True)
    await stage.done("deploy", "b")
    stage.stands(a="live", b="live", z="live")
    await stage.done("undeploy_all")
    stage.stands(a="absent", b="absent", z="absent")


@scenario("D7", A, B, Z)
async def a_deploy_may_raise_anything(stage: Stage) -> None:
    """An exception of a connector's `deploy`, SystemExit too, is a failure of that deployment, and cancels nothing."""
    await stage.done("deploy", "z")
    for failure in (SystemExit(3), BaseException("odd"), GeneratorExit()):
        stage.script.fail("deploy a", failure)
        error = await stage.refused("deploy", "b")
        stage.tells_of(error, "b", failure)
        stage.stands(a="absent", b="absent", z="live")
    await _goes_on(stage)


@scenario("D7", A, B, Z)
async def a_teardown_may_raise_anything(stage: Stage) -> None:
    """So is whatever its `undeploy` raises: it is stuck, and can be tried again."""
    for name in "az":
        await stage.done("deploy", name)
    for failure in (SystemExit(3), BaseException("odd"), GeneratorExit()):
        stage.script.fail("undeploy a", failure)
        stage.tells_of(await stage.refused("undeploy", "a"), "a", failure)
        stage.stands(a="stuck", z="live")
    await _goes_on(stage)


@scenario("D7", A, B, Z)
async def a_constructor_may_raise_anything(stage: Stage) -> None:
    """So is whatever its constructor raises; then there is nothing to clean away."""
    await stage.done("deploy", "z")
    for failure in (SystemExit(3), BaseException("odd"), GeneratorExit()):
        stage.script.fail_constructor("a", failure)
        stage.tells_of(await stage.refused("deploy", "b"), "b", failure)
        stage.stands(a="absent", b="absent", z="live")
    await _goes_on(stage)


@scenario("D7", unit("h", type=HEADLESS), A, B, Z, needs=HOOKS)
async def a_constructor_may_forget_its_base(stage: Stage) -> None:
    """A constructor that does not call the one of its base is told of, by the name of the deployment."""
    await stage.done("deploy", "z")
    for _ in range(2):
        error = await stage.refused("deploy", "h")
        stage.tells_of(error, "h")
        stage.expect("super().__init__()" in str(error), f"{error!r} does not say what is missing")
    await _goes_on(stage)


@scenario("D7", A, B, Z, needs=HOOKS)
async def a_hook_may_raise_anything(stage: Stage) -> None:
    """An exception of `invalidate` or `hurry` keeps nothing from going down."""
    for failure in (RuntimeError("no"), SystemExit(3), BaseException("odd"), GeneratorExit()):
        for name in "bz":
            await stage.done("deploy", name)
        for name in "ab":
            stage.script.fail_hook(f"hurry {name}", failure)
            for _ in range(2):
                stage.script.fail_hook(f"invalidate {name}", failure)
        stage.manager.hurry()
        await stage.done("undeploy", "b")
        stage.stands(a="absent", b="absent", z="live")
    await _goes_on(stage)


@scenario("D7", A, B, Z, needs=[Feature.HOOKS, Feature.LOSS])
async def a_hook_may_raise_when_something_is_lost(stage: Stage) -> None:
    """Nor does what `invalidate` raises keep what was lost from being lost, with all that is reached through it."""
    for name in "bz":
        await stage.done("deploy", name)
    stage.script.fail_hook("invalidate b", SystemExit(3))
    stage.script.lose("a")
    await stage.rest()
    stage.stands(a="lost", b="lost", z="live")
    stage.shows("b", connector=False)
    await _goes_on(stage)


@scenario("D7", A, B, Z, needs=[Feature.LOSS])
async def a_way_in_may_raise_anything(stage: Stage) -> None:
    """The wrapper is torn down although `reattach` raises."""
    for name in "bz":
        await stage.done("deploy", name)
    stage.cut_off("a")
    stage.script.fail("reattach a", SystemExit(3))
    await stage.done("undeploy", "b")
    stage.stands(a="absent", b="absent", z="live")
    await _goes_on(stage)


@scenario("D7", A, B, Z, needs=[Feature.LOSS])
async def a_loss_may_be_reported_at_any_time(stage: Stage) -> None:
    """A loss that is reported twice, during a teardown, or when all is over, changes nothing, and cancels nothing."""
    for name in "bz":
        await stage.done("deploy", name)
    for _ in range(2):
        stage.script.lose("a")
        await stage.rest()
    stage.stands(a="lost", b="lost")
    plan = stage.script.hold("undeploy a")
    caller = await stage.start("undeploy", "b")
    stage.script.lose("a")
    stage.script.lose("b")
    await stage.rest()
    stage.waits(caller)
    await stage.release(plan)
    stage.returned(caller)
    stage.script.lose("a")
    await stage.rest()
    stage.stands(a="absent", b="absent", z="live")
    await _goes_on(stage)
