"""X1 to X3: environments that are lost, and what becomes of what stands on them."""

from __future__ import annotations

from ..entries import EntryKind
from ..scripted import unit, wrapper
from ..subject import Feature
from .stage import Stage, scenario

A, B, C, D = unit("a"), wrapper("b", "a"), wrapper("c", "b"), unit("d", "a")
LOSS = [Feature.LOSS]


@scenario("X1", A, B, C, needs=LOSS)
async def what_is_reached_through_it_is_lost_with_it(stage: Stage) -> None:
    """When an environment is lost, so is every wrapper of it, and of these; each says which one is to blame."""
    await stage.done("deploy", "c")
    connectors = {name: stage.shows(name, connector=True) for name in "abc"}
    stage.script.lose("a")
    await stage.rest()
    stage.stands(a="lost", b="lost", c="lost")
    for name, connector in connectors.items():
        stage.shows(name, connector=False)
        error = await stage.refused("use", name, connector=connector)
        stage.tells_of(error, name)
        stage.tells_of(error, "a")


@scenario("X1", A, D, unit("e", "d"), needs=LOSS)
async def what_merely_depends_on_it_stays_live(stage: Stage) -> None:
    """A mere dependent of a lost environment stays live, and so does all that stands on the dependent."""
    await stage.done("deploy", "e")
    stage.script.lose("a")
    await stage.rest()
    stage.stands(a="lost", d="live", e="live")
    for name in "de":
        stage.shows(name, connector=True)
        await stage.done("use", name)


@scenario("X1", A, B, unit("z"), needs=LOSS)
async def lost_stays_lost(stage: Stage) -> None:
    """A lost deployment stays lost, whatever happens elsewhere, and is taken down by `undeploy`."""
    await stage.done("deploy", "b")
    stage.script.lose("b")
    await stage.done("deploy", "z")
    await stage.done("deploy", "a")
    stage.stands(a="live", b="lost")
    await stage.done("undeploy", "b")
    stage.stands(a="live", b="absent")
    stage.happened("undeploy of b#1 ended")


@scenario("X1", A, B, needs=LOSS)
async def what_comes_up_on_it_fails(stage: Stage) -> None:
    """A wrapper that is coming up when its inner environment is lost fails, and is cleaned away."""
    stage.script.hold("deploy b")
    caller = await stage.start("deploy", "b")
    failure = stage.script.lose("a")
    await stage.rest()
    stage.tells_of(stage.raised(caller), "b", failure)
    stage.happened("deploy of b#1 was cancelled")
    stage.happened("undeploy of b#1 ended")
    stage.stands(a="absent", b="absent")


@scenario("X1", A, needs=LOSS)
async def a_loss_before_it_is_live_is_a_failed_deploy(stage: Stage) -> None:
    """A loss that is reported before `deploy` has returned makes it fail, whether or not it would ever return."""
    stage.script.hold("deploy a")
    caller = await stage.start("deploy", "a")
    failure = stage.script.lose("a")
    await stage.rest()
    stage.tells_of(stage.raised(caller), "a", failure)
    stage.happened("undeploy of a#1 ended")

    async def report(_: object) -> None:
        stage.script.lose("a", failure)

    stage.script.plan("deploy a", action=report)
    stage.tells_of(await stage.refused("deploy", "a"), "a", failure)
    stage.happened("undeploy of a#2 ended")
    stage.stands(a="absent")
    await stage.done("deploy", "a")


@scenario("R1", A, needs=LOSS)
async def what_is_lost_is_not_shown(stage: Stage) -> None:
    """`get_connector` gives None from the loss until a fresh one is live."""
    await stage.done("deploy", "a")
    stage.script.lose("a")
    stage.shows("a", connector=False)
    plan = stage.script.hold("deploy a")
    await stage.start("deploy", "a")
    stage.shows("a", connector=False)
    await stage.release(plan)
    stage.shows("a", connector=True)


@scenario("R3", A, B, D, needs=LOSS)
async def only_what_was_lost_goes_from_under_what_is_live(stage: Stage) -> None:
    """A lost environment is renewed under a mere dependent, and not under a wrapper."""
    for name in "bd":
        await stage.done("deploy", name)
    stage.script.lose("a")
    plan = stage.script.hold("undeploy b")
    caller = await stage.start("deploy", "d")
    stage.stands(a="lost", b="undeploying", d="live")
    await stage.release(plan)
    stage.returned(caller)
    stage.happened("undeploy of d#1 began", times=0)
    stage.stands(a="live", b="live", d="live")


@scenario("R4", A, needs=LOSS)
async def what_is_lost_cannot_be_used(stage: Stage) -> None:
    """From the moment of the loss every operation of the connector fails, and the error tells the reason."""
    await stage.done("deploy", "a")
    connector = stage.shows("a", connector=True)
    failure = stage.script.lose("a")
    error = await stage.refused("use", "a", connector=connector)
    stage.tells_of(error, "a")
    stage.expect(str(failure) in str(error), f"{error!r} does not tell the reason, which is {failure}")


# -- Renewal -----------------------------------------------------------------------------------------------------------


@scenario("X2", A, B, needs=LOSS)
async def a_deploy_renews_what_was_lost(stage: Stage) -> None:
    """`deploy` of what was lost tears it down with its wrappers, from above, and brings up fresh ones."""
    await stage.done("deploy", "b")
    stage.script.lose("a")
    plan = stage.script.hold("undeploy a")
    caller = await stage.start("deploy", "b")
    stage.waits(caller)
    stage.stands(a="undeploying", b="absent")
    await stage.release(plan)
    stage.returned(caller)
    stage.happened("deploy of a#2 ended")
    stage.happened("deploy of b#2 ended")
    stage.stands(a="live", b="live")


@scenario("X2", A, B, C, needs=LOSS)
async def a_caller_waits_for_its_closure_only(stage: Stage) -> None:
    """Wrappers that were lost with it and are demanded come up again behind it, while the caller returns."""
    await stage.done("deploy", "c")
    stage.script.lose("a")
    plan = stage.script.hold("deploy b")
    await stage.done("deploy", "a")
    stage.stands(a="live", b="deploying", c="absent")
    await stage.release(plan)
    stage.stands(a="live", b="live", c="live")
    stage.shows("c", connector=True)
    await stage.done("undeploy", "a")
    await stage.done("undeploy", "c")
    stage.stands(a="absent", b="absent", c="absent")


@scenario("X2", A, D, needs=LOSS)
async def nothing_is_returned_that_stands_on_what_was_lost(stage: Stage) -> None:
    """`deploy` of what merely depends on it waits for its renewal, though it is live itself and stays so."""
    await stage.done("deploy", "d")
    stage.script.lose("a")
    plan = stage.script.hold("deploy a")
    caller = await stage.start("deploy", "d")
    stage.waits(caller)
    stage.stands(a="deploying", d="live")
    await stage.release(plan)
    stage.returned(caller)
    stage.happened("d#2 was built", times=0)


@scenario("U4", A, D, needs=LOSS)
async def undeploying_what_is_renewed_for_another_one_does_not_end_that(stage: Stage) -> None:
    """`undeploy` of what is renewed returns at once while something else that is wanted waits for it."""
    await stage.done("deploy", "d")
    stage.script.lose("a")
    plan = stage.script.hold("deploy a")
    waiting = await stage.start("deploy", "d")
    await stage.done("undeploy", "a")
    stage.waits(waiting)
    await stage.release(plan)
    stage.returned(waiting)
    stage.shows("a", connector=False)


@scenario("X2", A, D, unit("e", "a"), needs=LOSS)
async def a_newcomer_waits_for_the_renewal(stage: Stage) -> None:
    """A new dependent comes up when it has been renewed."""
    await stage.done("deploy", "d")
    stage.script.lose("a")
    plan = stage.script.hold("undeploy a")
    caller = await stage.start("deploy", "e")
    stage.stands(a="undeploying", e="absent", d="live")
    await stage.release(plan)
    stage.returned(caller)
    stage.happened("deploy of a#2 ended")


@scenario("X2", A, D, needs=LOSS)
async def what_is_live_by_the_time_may_stand_on_what_was_lost_before(stage: Stage) -> None:
    """A mere dependent that is coming up when it is lost goes on; its caller waits for the renewal as well."""
    up = stage.script.hold("deploy d")
    caller = await stage.start("deploy", "d")
    stage.script.lose("a")
    await stage.rest()
    stage.waits(caller)
    stage.stands(a="lost", d="deploying")
    plan = stage.script.hold("deploy a")
    await stage.release(up)
    stage.stands(a="deploying", d="live")
    stage.waits(caller)
    await stage.release(plan)
    stage.returned(caller)


@scenario("X2", A, B, needs=LOSS)
async def a_renewal_that_fails_is_a_failed_deploy(stage: Stage) -> None:
    """A renewal that fails is told to those who wait, ends the demand, and can be tried again."""
    await stage.done("deploy", "b")
    stage.script.lose("a")
    failure = stage.script.fail("deploy a")
    error = await stage.refused("deploy", "b")
    stage.tells_of(error, "b", failure)
    stage.tells_of(error, "a")
    stage.stands(a="absent", b="absent")
    stage.happened("undeploy of a#2 ended")
    await stage.done("deploy", "a")
    stage.stands(a="live", b="absent")


@scenario("X2", A, D, needs=LOSS)
async def what_merely_depends_on_it_outlives_a_failed_renewal(stage: Stage) -> None:
    """So does what merely depends on it and is live; the next `deploy` of that tries the renewal again."""
    await stage.done("deploy", "d")
    stage.script.lose("a")
    failure = stage.script.fail("deploy a")
    stage.tells_of(await stage.refused("deploy", "d"), "d", failure)
    stage.stands(a="absent", d="live")
    await stage.done("deploy", "d")
    stage.stands(a="live", d="live")
    stage.happened("d#2 was built", times=0)


@scenario("X2", A, B, needs=LOSS)
async def what_is_stuck_keeps_what_was_lost(stage: Stage) -> None:
    """When the teardown of a wrapper fails, what it is reached through stays lost, so that the next try can work."""
    await stage.done("deploy", "b")
    stage.script.lose("a")
    failure = stage.script.fail("undeploy b")
    error = await stage.refused("deploy", "a")
    stage.tells_of(error, "a")
    stage.tells_of(error, "b")
    stage.expect(str(failure) in str(error), f"{error!r} does not tell the reason, which is {failure}")
    stage.stands(a="lost", b="stuck")
    await stage.done("deploy", "b")
    stage.stands(a="live", b="live")


# -- A fresh way in ----------------------------------------------------------------------------------------------------


def _order(stage: Stage, *told: str) -> None:
    """These entries are in the history, in this order and each of them once."""
    found = [str(entry) for entry in stage.script.history.entries if str(entry) in told]
    stage.expect(found == list(told), f"the order was: {', '.join(found)}")


@scenario("X3", A, B, C, needs=LOSS)
async def the_way_in_is_opened_for_the_teardown(stage: Stage) -> None:
    """Before a wrapper is torn down, what it is reached through and was cut off is asked to reattach, from below."""
    await stage.done("deploy", "c")
    stage.cut_off("a")
    await stage.done("undeploy", "c")
    _order(
        stage,
        "reattach of a#1 ended",
        "reattach of b#1 ended",
        "undeploy of c#1 began",
        "undeploy of b#1 began",
        "undeploy of a#1 began",
    )
    stage.stands(a="absent", b="absent", c="absent")


@scenario("X3", A, B, C, needs=LOSS)
async def what_is_cut_off_meanwhile_is_asked_as_well(stage: Stage) -> None:
    """A connector whose connection is lost while another one reattaches is asked before the teardown, too."""
    await stage.done("deploy", "c")
    stage.cut_off("b")
    plan = stage.script.hold("reattach b")
    caller = await stage.start("undeploy", "c")
    stage.cut_off("a")
    await stage.release(plan)
    stage.returned(caller)
    _order(stage, "reattach of b#1 ended", "reattach of a#1 ended", "undeploy of c#1 began")


@scenario("X3", A, B, needs=LOSS)
async def it_is_opened_for_the_teardown_alone(stage: Stage) -> None:
    """The operations of users stay refused while a connector reattaches, and afterwards."""
    await stage.done("deploy", "b")
    connectors = {name: stage.shows(name, connector=True) for name in "ab"}
    stage.cut_off("a")
    plan, down = stage.script.hold("reattach a"), stage.script.hold("undeploy b")
    await stage.start("undeploy", "b")
    stage.stands(a="lost", b="lost")
    for _ in range(2):
        for name, connector in connectors.items():
            stage.tells_of(await stage.refused("use", name, connector=connector), name)
        await stage.release(plan)
    stage.stands(a="lost", b="undeploying")
    await stage.release(down)


@scenario("X3", A, B, needs=LOSS)
async def a_teardown_is_tried_without_a_way_in(stage: Stage) -> None:
    """When the connector cannot reattach, the wrapper's `undeploy` is called all the same."""
    await stage.done("deploy", "b")
    stage.cut_off("a")
    stage.script.fail("reattach a")
    await stage.done("undeploy", "b")
    _order(stage, "undeploy of b#1 ended", "undeploy of a#1 ended")
    stage.stands(a="absent", b="absent")


@scenario("X3", A, B, C, needs=LOSS)
async def there_is_no_way_into_what_has_ended(stage: Stage) -> None:
    """Where the environment itself has ended, nothing is asked to reattach."""
    await stage.done("deploy", "c")
    stage.script.lose("b")
    await stage.done("undeploy", "c")
    asked = [entry for entry in stage.script.history.entries if entry.operation == "reattach"]
    stage.expect(not asked, f"{', '.join(map(str, asked))}, although it has ended")


@scenario("X3", A, B, wrapper("c", "a"), needs=LOSS)
async def one_way_in_serves_all(stage: Stage) -> None:
    """Wrappers that are torn down at the same time share the way in: the connector reattaches once."""
    for name in "bc":
        await stage.done("deploy", name)
    stage.cut_off("a")
    plan = stage.script.hold("reattach a")
    caller = await stage.start("undeploy_all")
    await stage.release(plan)
    stage.returned(caller)
    began = [entry for entry in stage.script.history.entries if entry.operation == "reattach"]
    stage.expect([entry.kind for entry in began] == [EntryKind.BEGAN, EntryKind.ENDED], "it reattached more than once")


@scenario("X3", unit("a", retries=1), B, needs=LOSS)
async def what_a_failed_attempt_has_lost_is_forgotten(stage: Stage) -> None:
    """A connection that was lost before the deployment came up is not looked for when it is lost for good."""

    async def cut_off(_: object) -> None:
        stage.cut_off("a")

    stage.script.plan("deploy a", action=cut_off)
    caller = await stage.start("deploy", "b")
    await caller.wait()
    stage.returned(caller)
    stage.script.lose("a")
    await stage.done("undeploy", "b")
    stage.happened("reattach of a#2 began", times=0)


@scenario("X3", A, B, undeploy_timeout=5, needs=LOSS)
async def the_way_in_has_no_time_of_its_own(stage: Stage) -> None:
    """The time that a connector takes to reattach counts for the teardown of the wrapper; the next one tries again."""
    await stage.done("deploy", "b")
    stage.cut_off("a")
    stage.script.delay("reattach a", 2)
    stage.script.hold("undeploy b")
    caller = await stage.start("undeploy", "b")
    with stage.in_time(5):
        await caller.wait()
    stage.tells_of(stage.raised(caller), "b")
    stage.stands(a="lost", b="stuck")
    await stage.done("undeploy", "b")
    stage.stands(a="absent", b="absent")


@scenario("X3", A, B, undeploy_timeout=5, needs=LOSS)
async def the_way_in_leaves_time_to_undeploy(stage: Stage) -> None:
    """A connector that does not come to an end with reattaching has half of the time; `undeploy` is called then."""
    await stage.done("deploy", "b")
    stage.cut_off("a")
    stage.script.hold("reattach a")
    caller = await stage.start("undeploy", "b")
    with stage.in_time(2.5):
        await caller.wait()
    stage.returned(caller)
    stage.happened("reattach of a#1 was cancelled")
    stage.happened("undeploy of b#1 ended")
    stage.stands(a="absent", b="absent")
