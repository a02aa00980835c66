"""R1, R2, D1 to D6, U1 to U8: histories that can be explained by the sequential model, and histories that cannot."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anydeploy import DeploymentConfig
from anydeploy.testing import Entry, EntryKind, History, Violation, every_rule, unit
from anydeploy.testing.machine import graphs

from .defects import DEFECTS
from .linearizability import Linearizability, Monitor, Possibilities, check
from .runs import GRAPHS, Act, acts, play, units
from .sequential import Model

many = settings(deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.timeout(0)
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@given(configs=graphs(), script=st.lists(acts, max_size=20), limit=st.sampled_from([None, None, 1, 2]))
@many
def test_the_rules_hold_at_every_turn(
    backend: str, configs: list[DeploymentConfig], script: list[Act], limit: int | None
) -> None:
    """D1-D6, R1-R4, U1-U8, K1, L1: between any two steps, and not only when everything is at rest."""
    play(backend, configs, script, [*every_rule(), Linearizability()], limit).history.check()


@pytest.mark.timeout(0)
@given(graph=st.sampled_from(["one", "stack"]), script=st.lists(acts, max_size=7))
@many
def test_the_manager_is_never_refused(graph: str, script: list[Act]) -> None:
    """D1 to D6, R1, R2, U1 to U8: whatever the manager does can be explained, in whatever way it is read."""
    history = play("asyncio", units(graph), script, []).history
    for prompt, witnessed in [(True, False), (False, True), (False, False)]:
        check(history.entries, Model(GRAPHS[graph], prompt=prompt, witnessed=witnessed))


# -- Histories made by hand -----------------------------------------------------------------------------------------


def told(story: str) -> list[Entry]:
    """A history in short: ``1 deploy a`` calls, ``1 returned`` (raised, refused, asked, gave up), ``a shows 1``,
    ``a: deploy ended 1``."""
    entries: list[Entry] = []
    for line in story.split(";"):
        first, *words = line.split()
        if first.endswith(":"):
            operation, what, number = words
            entries.append(Entry(EntryKind(what), operation, first[:-1], int(number)))
        elif words[0] == "shows":
            entries.append(Entry(EntryKind.READ, "get_connector", first, int(words[1])))
        elif words[0] in {"deploy", "undeploy", "undeploy_all", "close"}:
            entries.append(Entry(EntryKind.CALLED, words[0], "".join(words[1:]), caller=int(first)))
        else:
            call = next(e for e in entries[::-1] if e.kind is EntryKind.CALLED and e.caller == int(first))
            refused = words == ["refused"]
            what = EntryKind.RAISED if refused else EntryKind("_".join(words))
            entries.append(Entry(what, call.operation, call.name, caller=call.caller, refused=refused))
    return entries


_UP = "1 deploy a; 1 returned; a shows 1; "
_STACK_UP = "1 deploy b; 1 returned; a shows 1; b shows 1; "
_WITNESSED_UP = "1 deploy a; a: build built 1; a: deploy began 1; a: deploy ended 1; 1 returned; a shows 1; "
_WITNESSED_STACK_UP = _WITNESSED_UP + "3 deploy b; b: build built 1; b: deploy began 1; b: deploy ended 1; 3 returned; "

IMPOSSIBLE = {
    "read without any deploy": ("a shows 1", "it had to be None"),
    "a stale read after undeploy returned": (_UP + "2 undeploy a; 2 returned; a shows 1", "it had to be None"),
    "None although deploy returned": (_UP + "a shows 0", "it had to be a#1"),
    "None between two deploys and no undeploy": (_UP + "2 deploy a; a shows 0", "it had to be a#1"),
    "a second instance without an undeploy": (_UP + "2 deploy a; 2 returned; a shows 2", "it had to be a#1"),
    "the same instance after an undeploy": (
        _UP + "2 undeploy a; 2 returned; 3 deploy a; 3 returned; a shows 1",
        "it had to be one built after a#1",
    ),
    "deploy returned although it was undeployed meanwhile, and is up": (
        "1 deploy a; 2 undeploy a; a shows 0; 1 returned; a shows 1",
        "it had to be None",
    ),
    "deploy raised though nothing can have failed": (_UP + "2 deploy a; 2 raised", "it had to return"),
    "one of two that wait fails, and the other does not": (
        "1 deploy a; a shows 0; 2 deploy a; 2 raised; a shows 1",
        "it had to be None",
    ),
    "undeploy raised though nothing was there": ("1 undeploy a; 1 raised", "it had to return"),
    "deploy returned after close": ("1 close; 1 returned; 2 deploy a; 2 returned", "it had to raise"),
    "a cancelled deploy that stands": ("1 deploy a; a shows 1; 1 gave up; a shows 1", "it had to be None"),
    "undeploy_all that leaves something": (_UP + "2 undeploy_all; 2 returned; a shows 1", "it had to be None"),
    "undeploy_all with an error for nothing": ("1 undeploy_all; 1 raised", "it had to return"),
    "the wrapper is live and the inner is not": (
        "1 deploy b; b shows 1; a shows 0",
        "it had to be one built after a#0",
    ),
    "the inner goes down with a live wrapper": (_STACK_UP + "a shows 0", "it had to be a#1"),
    "an inner that was undeployed is shown": (_STACK_UP + "2 undeploy a; a shows 1", "it had to be None"),
    "the undeploy of an inner takes the wrapper down": (
        _STACK_UP + "2 undeploy a; 2 returned; b shows 0",
        "it had to be b#1",
    ),
    "an inner stays without demand": (_STACK_UP + "2 undeploy b; 2 returned; a shows 1", "it had to be None"),
    "an inner with a deploy of its own goes": (
        _STACK_UP + "2 deploy a; 2 returned; 3 undeploy b; 3 returned; a shows 0",
        "it had to be a#1",
    ),
    "a new inner under an old wrapper": (
        _STACK_UP + "2 undeploy a; 3 deploy a; 3 returned; a shows 2",
        "it had to be a#1",
    ),
    "a wrapper fails because its live inner was undeployed": (
        "1 deploy a; 1 returned; 2 deploy b; b shows 1; 3 undeploy a; 3 returned; 2 raised",
        "it had to return",
    ),
}
IMPOSSIBLE_FOR_WITNESSES = {
    "visible before it is deployed": (
        "1 deploy a; a: build built 1; a: deploy began 1; a shows 1",
        "it had to be None",
    ),
    "deploy returned before it is deployed": (
        "1 deploy a; a: build built 1; a: deploy began 1; 1 returned",
        "it had to go on waiting",
    ),
    "deploy raised though no connector failed": (
        "1 deploy a; a: build built 1; a: deploy began 1; a: deploy ended 1; 1 raised",
        "it had to return",
    ),
    "undeploy returned before it is undeployed": (
        _WITNESSED_UP + "2 undeploy a; a: undeploy began 1; 2 returned",
        "it had to go on waiting",
    ),
    "undeploy returned though it is stuck": (
        _WITNESSED_UP + "2 undeploy a; a: undeploy began 1; a: undeploy failed 1; 2 returned",
        "it had to raise",
    ),
    "undeploy_all returned before the inner is undeployed": (
        _WITNESSED_STACK_UP
        + "2 undeploy_all; b: undeploy began 1; b: undeploy ended 1; a: undeploy began 1; 2 returned",
        "it had to go on waiting",
    ),
    "an inner that was undeployed is shown after a second deploy of the wrapper": (
        _WITNESSED_UP + "2 undeploy a; a: undeploy began 1; 3 deploy b; 4 undeploy a; 4 returned; 5 deploy b; "
        "a: undeploy ended 1; a: build built 2; a: deploy began 2; a: deploy ended 2; a shows 2",
        "it had to be None",
    ),
    "another instance than the one that was built": (
        "1 deploy a; a: build built 1; a: deploy began 1; a: deploy ended 1; a shows 2",
        "it had to be a#1",
    ),
}
POSSIBLE = {
    "the undeploy of an inner returns at once": _STACK_UP + "2 undeploy a; 2 returned; a shows 0; b shows 1",
    "a hidden inner that is deployed again": _STACK_UP + "2 undeploy a; 2 returned; a shows 0; 3 deploy a; a shows 1",
    "up and down again before the caller wakes up": "1 deploy a; 2 undeploy a; 2 returned; 1 returned; a shows 0",
    "undeployed while it comes up": "1 deploy a; 2 undeploy a; 1 raised; 2 returned; a shows 0",
    "failed, and tried again": "1 deploy a; 1 raised; 2 deploy a; 2 returned; a shows 3",
    "a newcomer during the clean-up": "1 deploy a; 2 deploy a; 1 raised; 2 returned; a shows 2",
    "cancelled without effect": "1 deploy a; 1 asked; 1 gave up; a shows 0; 2 deploy a; 2 returned; a shows 1",
    "cancelled among others": "1 deploy a; 2 deploy a; 1 gave up; 2 returned; a shows 1",
    "a cancelled undeploy that goes on": _UP + "2 undeploy a; 2 asked; 2 gave up; a shows 0; 3 deploy a; a shows 2",
    "stuck, and tried again": _UP + "2 undeploy a; 2 raised; a shows 0; 3 deploy a; 3 returned; a shows 2",
    "stuck, and the deploy fails": _UP + "2 undeploy a; 2 raised; 3 deploy a; 3 raised; 4 undeploy a; 4 returned",
    "an inner that goes down by and by": _STACK_UP
    + "2 undeploy b; b shows 0; a shows 1; a shows 0; 2 returned; a shows 0",
    "everything, stuck": _STACK_UP + "2 undeploy_all; a shows 0; 2 raised; 3 undeploy_all; 3 returned",
    "a definition that is refused": _UP + "2 deploy a; 2 refused; a shows 1",
    "an inner that was hidden in its last life": "1 undeploy a; 1 returned; 2 deploy b; 2 returned; a shows 0",
    "an inner that was hidden in its last life, shown": "1 undeploy a; 1 returned; 2 deploy b; 2 returned; a shows 1",
    "pending for ever": _UP + "2 undeploy a; 3 deploy a; 4 deploy b; a shows 0; a shows 0",
    "undeployed twice": _UP + "2 undeploy a; 3 undeploy a; 3 returned; 2 returned",
}


@pytest.mark.parametrize("what", IMPOSSIBLE)
def test_what_cannot_be(what: str) -> None:
    """D1 to D6, R1 to R3, U1 to U8: a history that breaks them is refused at its last entry, with the reason."""
    story, reason = IMPOSSIBLE[what]
    assert_impossible(story, reason, Model(GRAPHS["stack"]))


@pytest.mark.parametrize("what", IMPOSSIBLE_FOR_WITNESSES)
def test_what_cannot_be_if_the_connectors_are_witnessed(what: str) -> None:
    """D1, D2, D5, R1, U1, U6: what connectors did is evidence."""
    story, reason = IMPOSSIBLE_FOR_WITNESSES[what]
    check(told(story), Model(GRAPHS["stack"]))
    assert_impossible(story, reason, Model(GRAPHS["stack"], witnessed=True))


def assert_impossible(story: str, reason: str, model: Model) -> None:
    entries = told(story)
    check(entries[:-1], model)
    with pytest.raises(Violation) as caught:
        check(entries, model)
    assert caught.value.rule == "linearizability"
    assert reason in caught.value.story
    assert caught.value.told.splitlines()[-1].strip() == str(entries[-1])


@pytest.mark.parametrize("what", POSSIBLE)
@pytest.mark.parametrize("prompt", [True, False])
def test_what_can_be(what: str, *, prompt: bool) -> None:
    """D1 to D6, R1 to R3, U1 to U8: a history that keeps them is accepted."""
    check(told(POSSIBLE[what]), Model(GRAPHS["stack"], prompt=prompt))


def test_an_inner_that_is_needed_again_is_not_waited_for() -> None:
    """U2: its undeploy while it goes down, but a wrapper waits for the next one, returns at once."""
    story = _WITNESSED_UP + "2 undeploy a; a: undeploy began 1; 3 deploy b; 4 undeploy a; 4 returned"
    check(told(story), Model(GRAPHS["stack"], witnessed=True))
    with pytest.raises(Violation, match="it had to go on waiting"):
        check(told(story + "; 2 returned"), Model(GRAPHS["stack"], witnessed=True))


def test_an_inner_that_was_to_come_up_again_goes_down_with_the_wrapper() -> None:
    """U1, U6: when the wrapper is undeployed before it has begun, the teardown of the inner may fail for that call."""
    story = "1 deploy b; a: deploy began 1; 2 undeploy_all; a: deploy cancelled 1; a: undeploy began 1; 3 deploy b; "
    story += "4 undeploy b; a: undeploy failed 1; 4 raised; 2 raised"
    check(told(story), Model(GRAPHS["stack"], witnessed=True))


def test_calls_that_are_not_prompt() -> None:
    """R1, U2: whether a call takes effect where it is made, or may do so later."""
    story = _UP + "2 undeploy a; a shows 1; a shows 0; 2 returned"
    check(told(story), Model(GRAPHS["one"], prompt=False))
    with pytest.raises(Violation, match=r"it had to be None; open calls: undeploy\(a\) by caller 2"):
        check(told(story), Model(GRAPHS["one"]))


# -- Online ----------------------------------------------------------------------------------------------------------


def after(story: str, dependencies: Mapping[str, tuple[str, ...]], *, witnessed: bool = False) -> Possibilities:
    monitor = Monitor(Model(dependencies, witnessed=witnessed))
    possible = monitor.start
    for entry in told(story):
        possible = monitor.after(possible, entry)
    return possible


def test_what_has_come_back_is_forgotten() -> None:
    """R1: two histories that allow the same are the same, though other callers made the calls."""
    one = after("1 deploy a; a shows 0; 2 deploy a; 1 returned; 2 returned; a shows 1; 3 undeploy a", GRAPHS["one"])
    other = after("7 deploy a; 7 returned; a shows 1; 3 undeploy a; a shows 0", GRAPHS["one"])
    assert one == other
    assert one != after("7 deploy a; 7 returned; a shows 1", GRAPHS["one"])


def test_it_stays_small() -> None:
    """D1, D2: three callers and three names leave few possibilities that do not follow from others."""
    story = "1 deploy c; 2 deploy b; 3 deploy a; 1 asked; 2 asked; 3 asked"
    assert len(after(story, GRAPHS["chain"], witnessed=True).least) <= 8


@pytest.mark.parametrize("definitions", [[unit("a", lazy=True)], [unit("a", "a")], [unit("a", "unknown")]], ids=str)
def test_it_has_nothing_to_say_without_a_model(definitions: list[DeploymentConfig]) -> None:
    """D4, L1: lazy and wrong definitions are no part of the model."""
    history = History(definitions, [Linearizability()], clock=lambda: 0.0)
    history.record(EntryKind.READ, "get_connector", "a", instance=1)
    history.check()


@pytest.mark.parametrize(
    "defect",
    [
        "the_connector_is_visible_while_deploying",
        "the_connector_is_visible_after_undeploy",
        "undeploy_does_not_tell_the_waiting_callers",
        "undeploy_returns_before_it_is_down",
        "a_granted_deploy_is_not_remembered",
    ],
)
def test_it_finds(defect: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """R1, U1, U3, U4: a manager with this defect is refused, in a few simple scripts."""
    DEFECTS[defect](monkeypatch)
    scripts = [
        [Act("deploy", 1), Act("end"), Act("end"), Act("undeploy", 1), Act("undeploy", 0), Act("end")],
        [Act("deploy", 1), Act("undeploy", 1), Act("end"), Act("end"), Act("deploy", 0), Act("end")],
    ]
    played = [play("asyncio", units("stack"), script, [Linearizability()], checked=False) for script in scripts]
    assert any(violation.rule == "linearizability" for each in played for violation in each.history.violations)
