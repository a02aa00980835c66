"""D1-D3, D5-D7, R1-R4, X1-X4, U1-U8, K1, K3, L1, E1: a monitor keeps still while its rule is kept, and tells if not."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from testing.storyteller import Storyteller

from anydeploy.testing import RULES, Rule, Violation, unit, wrapper

A = unit("a")
B = unit("b", "a")
W = wrapper("w", "a")


@attrs.define
class Case:
    rule: str
    configs: tuple[Any, ...]
    story: str
    #: Part of the violation; empty: the rule is kept.
    told: str = ""
    limits: dict[str, Any] = attrs.field(factory=dict)


def keeps(rule: str, story: str, *configs: Any, **limits: Any) -> Case:
    return Case(rule, configs or (A, B), story, "", limits)


def breaks(rule: str, told: str, story: str, *configs: Any, **limits: Any) -> Case:
    return Case(rule, configs or (A, B), story, told, limits)


LAZY = unit("a", lazy=True)
STUBBORN = unit("a", type="stubborn")
EXTERNAL = unit("a", external=True)
IMPATIENT = unit("a", deploy_timeout=1, undeploy_timeout=1)
PATIENT = unit("a", retries=1)
ALONE = unit("c")
FAILED = "a1 coming; a1 deploy failed"
RESTARTS = unit("a", restarts=1)
#: Deployed, granted, and lost.
LOST = "1 deploy a; a1 up; 1 returned; a1 lost"
#: It came up again by itself after that; or was deployed afresh.
RENEWED = f"{LOST}; wait 1; a1 down; a2 up"
AGAIN = "3 deploy a; a2 up; 3 returned"
#: Its dependent is live, and it was lost.
GAP = "1 deploy b; a1 up; b1 up; 1 returned; a1 lost"
WRAPPED = "1 deploy w; a1 up; w1 built 1; w1 deploy began; w1 deploy ended; 1 returned"
V = wrapper("v", "a", restarts=1)
WRAPPED_TWICE = f"{WRAPPED}; 2 deploy v; v1 built 1; v1 deploy began; v1 deploy ended; 2 returned"
BOTH = "1 deploy w; a1 up; c1 up; w1 built 1; w1 deploy began; w1 deploy ended; 1 returned"
TRIANGLE = "1 deploy c; a1 up; b1 up; c1 up; 1 returned; 2 deploy b; 2 returned"
RESTARTED = "1 deploy b; a1 up; b1 up; 1 returned; 2 restart a"

CASES = [
    keeps("D1", "1 deploy b; a1 up; b1 up; 1 returned; rest"),
    keeps("D1", "1 deploy b; a1 coming; rest"),
    keeps("D1", "1 deploy b; a1 up; b1 built 1", A, wrapper("b", "a")),
    breaks("D1", "a is absent, and b depends on it", "1 deploy b; b1 coming"),
    breaks("D1", "a#1 is deploying, and b depends on it", "a1 coming; b1 coming"),
    breaks("D1", "b#1 was built upon a#1, but a#2 is live", "a1 up; a1 down; a2 up; b1 built 1", A, wrapper("b", "a")),
    breaks("D1", "deploy(b) by caller 1 returned, but b#1 is deploying", "1 deploy b; a1 up; b1 coming; 1 returned"),
    breaks("D1", "waits for nothing: a is absent, b is absent", "1 deploy b; rest"),
    breaks("D1", "c is ready and is not deployed", "1 deploy d; a1 coming; rest", A, ALONE, unit("d", "a", "c")),
    breaks("D1", "use(a) by caller 2 returned, but a is absent", "1 deploy a; 1 returned; 2 use a; 2 returned", LAZY),
    keeps("D2", "a1 up; a1 down; a2 up"),
    breaks("D2", "a#2 was built, but a#1 is live", "a1 up; a2 built"),
    breaks("D2", "deploy of a#1 began for the second time, when it was live", "a1 up; a1 deploy began"),
    breaks("D2", "for the second time, when it was gone", "a1 up; a1 down; a1 deploy began"),
    keeps("D3", "a1 up; a1 down; a2 up"),
    breaks("D3", "deploy of a#2 began, but a#1 is undeploying", "a1 up; a1 undeploy began; a2 coming"),
    breaks("D3", "deploy of a#2 began, but a#1 is stuck", "a1 up; a1 stuck; a2 coming"),
    keeps("D5", f"1 deploy b; {FAILED}; a1 down; 1 raised; rest"),
    keeps("D5", f"1 deploy a; {FAILED}; a1 down; a2 up; 1 returned", PATIENT),
    keeps("D5", "1 deploy a; 2 undeploy a; 1 raised"),
    keeps("D5", "1 deploy a; 1 raised refused"),
    keeps("D5", "1 deploy a; a1 up; a1 down; 1 raised", IMPATIENT),
    breaks("D5", "although nothing that it waited for had failed", "1 deploy a; 1 raised"),
    breaks("D5", "although what it waited for had failed", f"1 deploy b; {FAILED}; 1 returned"),
    breaks("D5", "although what it waited for had failed", "1 deploy b; a1 build failed; 1 returned"),
    breaks("D5", "that another caller got before", f"1 deploy a; 2 deploy a; {FAILED}; 1 raised; 2 raised same"),
    breaks("D5", "does not name b", f"1 deploy b; {FAILED}; 1 raised nameless"),
    breaks("D5", "without its cause", f"1 deploy a; {FAILED}; 1 raised causeless"),
    keeps("D5", f"{GAP}; 2 deploy b; a1 down; a2 coming; a2 deploy failed; 2 raised"),
    keeps("D5", "1 deploy d; a1 up; c1 coming; a1 lost; 1 raised", A, ALONE, unit("d", "a", "c")),
    breaks(
        "D5",
        "although what it waited for had failed",
        "1 deploy w; a1 up; w1 built 1; w1 deploy began; a1 lost; w1 deploy ended; w1 down; 1 returned",
        A,
        W,
    ),
    breaks("D5", "a#1 may be half made, and is not cleaned away", f"1 deploy a; {FAILED}; rest"),
    keeps("D6", "1 deploy a; a1 coming; 1 leaves; a1 deploy cancelled; rest"),
    keeps("D6", "1 deploy a; a1 coming; a1 deploy cancelled", IMPATIENT),
    keeps("D6", "1 deploy a; a1 coming; 1 leaves; rest; a1 deploy ended", STUBBORN),
    breaks(
        "D6",
        "although it was demanded by deploy(a) by caller 2",
        "1 deploy a; 2 deploy a; a1 coming; 1 leaves; a1 deploy cancelled",
    ),
    keeps("D6", "1 deploy a; a1 coming; 1 asked; a1 deploy cancelled; 1 gave_up"),
    breaks("D6", "which must not be interrupted", "1 deploy a; a1 coming; 1 leaves; a1 deploy cancelled", STUBBORN),
    breaks("D6", "deploy(a) by caller 1 was cancelled, and still waits", "1 deploy a; 1 asked; rest"),
    breaks("D6", "a#1 has lost its last demand, and its deploy goes on", "1 deploy a; a1 coming; 1 leaves; rest"),
    breaks(
        "D6",
        "which had lost its last demand before",
        "1 deploy a; a1 coming; 1 leaves; 2 deploy a; a1 deploy ended; 2 returned",
    ),
    keeps("D7", "1 deploy a; 1 raised; 2 use a; 2 raised strange"),
    breaks("D7", "which is none of the errors of a manager", "1 deploy a; 1 raised strange"),
    keeps("R1", f"{LOST}; read a 0"),
    breaks("R1", "gave a#1, but a#1 is lost", f"{LOST}; read a 1"),
    keeps(
        "R1",
        "read a 0; 1 deploy a; a1 up; rest; read a 1; 1 returned; read a 1; 2 undeploy a; read a 0; a1 down; read a 0",
    ),
    keeps("R1", "1 deploy a; a1 up; read a 0; read a 1"),
    keeps("R1", "read nobody 0"),
    keeps("R1", "1 deploy a; a1 up; 2 undeploy a; 1 returned; read a 0; read a 1"),
    breaks("R1", "get_connector(a) gave a#1, but a#1 is deploying", "1 deploy a; a1 coming; read a 1"),
    breaks("R1", "get_connector(a) gave None, but a#1 is live", "1 deploy a; a1 up; 1 returned; read a 0"),
    breaks("R1", "get_connector(a) gave None, but a#1 is live", "1 deploy a; a1 up; rest; read a 0"),
    breaks(
        "R1", "but a#1 is live, and undeploy was called", "1 deploy b; a1 up; b1 up; 1 returned; 2 undeploy a; read a 1"
    ),
    breaks("R1", "gave a#1, but a is absent", "1 deploy a; a1 up; 1 returned; 2 undeploy a; a1 down; read a 1"),
    breaks("R1", "a name that is not known", "read nobody 1"),
    keeps("R2", "1 deploy a; a1 up; read a 1; read a 1; 2 undeploy a; a1 down; a2 up; read a 2"),
    keeps("R2", "1 deploy a; read a -1; read a -1; 2 undeploy a; 3 deploy a; read a -2", LAZY),
    keeps("R2", "1 deploy b; a1 up; read a -1; a1 down; a2 up; read a -2", LAZY, B),
    breaks("R2", "get_connector(a) gave a#1, but a#2 is live", "a1 up; a1 down; a2 up; read a 1"),
    breaks("R2", "gave a stand-in, but another one than before", "1 deploy a; read a -1; read a -2", LAZY),
    keeps("R3", "a1 up; b1 up; b1 down; a1 down"),
    breaks("R3", "b#1 is live, but a#1 is stuck", "a1 up; b1 coming; a1 stuck; b1 deploy ended"),
    breaks("R3", "undeploy of a#1 began under b#1, which is live", "a1 up; b1 up; a1 undeploy began"),
    keeps("R3", f"{GAP}; 2 deploy b; a1 down; a2 up; 2 returned"),
    keeps("R3", "1 deploy b; a1 up; b1 coming; a1 lost; b1 deploy ended"),
    breaks(
        "R3", "undeploy of a#2 began under b#1", f"{GAP}; 2 deploy b; a1 down; a2 up; 2 returned; a2 undeploy began"
    ),
    breaks("R3", "undeploy of a#1 began under b#1", f"{RESTARTED}; a1 lost; a1 undeploy began"),
    breaks("R4", "run of a#1 began, when it was lost", f"{LOST}; a1 run began"),
    breaks("R4", "run of w#1 began, when it was lost", f"{WRAPPED}; a1 lost; w1 run began", A, W),
    keeps("R4", "a1 up; a1 run began; a1 run ended; a1 undeploy began; a1 run failed"),
    breaks("R4", "run of a#1 began, when it was undeploying", "a1 up; a1 undeploy began; a1 run began"),
    breaks("R4", "run of a#1 began, when it was gone", "a1 up; a1 down; a1 run began"),
    keeps("X1", f"{LOST}; rest; 2 undeploy a; a1 down; 2 returned"),
    keeps("X1", f"{LOST}; 2 deploy a; a1 undeploy began"),
    keeps("X1", f"{GAP}; 2 deploy b; a1 undeploy began"),
    keeps("X1", f"{LOST}; 2 restart a; a1 undeploy began"),
    keeps("X1", f"{LOST}; wait 1; a1 undeploy began", RESTARTS),
    keeps("X1", f"{WRAPPED}; a1 lost; 2 deploy a; w1 undeploy began", A, W),
    breaks("X1", "though nothing has asked for it", f"{LOST}; a1 undeploy began"),
    breaks("X1", "though nothing has asked for it", f"{WRAPPED}; w1 lost; 2 deploy a; w1 undeploy began", A, W),
    breaks(
        "X1",
        "though nothing has asked for it",
        f"{LOST}; wait 1; a1 down; a2 up; a2 lost; wait 9; a2 undeploy began",
        RESTARTS,
    ),
    breaks(
        "X1",
        "w#1 has lost its environment, and its deploy goes on",
        "1 deploy w; a1 up; w1 built 1; w1 deploy began; a1 lost; rest",
        A,
        W,
    ),
    keeps("X2", f"{GAP}; 2 deploy b; a1 down; a2 up; 2 returned; rest"),
    keeps("X2", f"{GAP}; 2 deploy b; a1 undeploy began; rest"),
    keeps("X2", "1 deploy b; a1 up; b1 up; a1 lost; 1 returned"),
    breaks("X2", "returned, but a#1 is lost, b#1 is live", f"{GAP}; 2 deploy b; 2 returned"),
    breaks("X2", "returned, but a is absent, b#1 is live", f"{GAP}; 2 deploy b; a1 down; 2 returned"),
    breaks("X2", "a#1 was lost and has been asked for since, and is not renewed", f"{GAP}; 2 deploy b; rest"),
    breaks("X2", "w#1 was lost and has been asked for", f"{WRAPPED}; a1 lost; 2 deploy a; rest", A, W),
    keeps(
        "X3",
        f"{WRAPPED}; a1 cut; 2 undeploy w; a1 reattach began; rest; a1 reattach failed; w1 undeploy began",
        A,
        W,
    ),
    keeps("X3", f"{WRAPPED}; a1 lost; 2 undeploy w; w1 undeploy began", A, W),
    breaks(
        "X3",
        "but a#1, whose connection was lost, was not asked to reattach",
        f"{WRAPPED}; a1 cut; 2 undeploy w; w1 undeploy began",
        A,
        W,
    ),
    breaks("X3", "although its connection was not lost", f"{WRAPPED}; a1 lost; a1 reattach began", A, W),
    breaks("X3", "although nothing is there that is reached through it", f"{GAP}; a1 cut; a1 reattach began"),
    keeps("X4", f"{WRAPPED_TWICE}; w1 lost; wait 100; a1 lost; read a 0; rest", A, W, V),
    keeps("X4", f"{WRAPPED_TWICE}; a1 lost; wait 1; v1 stuck; wait 100; read a 0; rest", A, W, V),
    # A teardown waits while another environment reattaches for it.
    keeps("X4", f"{BOTH}; a1 cut; 2 restart c; a1 reattach began; rest", A, ALONE, wrapper("w", "a", "c")),
    keeps("X4", f"{RESTARTED}; b1 undeploy began; rest; b1 undeploy ended; a1 down; a2 up; b2 up; 2 returned; rest"),
    keeps(
        "X2",
        "1 deploy b; a1 up; b1 up; 1 returned; 2 undeploy b; b1 undeploy began; a1 lost; 3 restart a; 3 returned;"
        " b1 undeploy failed; 2 raised b; rest",
    ),
    keeps(
        "U1",
        "1 deploy b; a1 up; b1 up; 1 returned; a1 lost; 2 deploy b; a1 down; a2 coming; 3 close; 2 raised;"
        " b1 undeploy began; a2 deploy ended; a2 undeploy began",
        STUBBORN,
        B,
    ),
    keeps("X4", "1 restart a; 1 returned"),
    keeps("X4", f"{RESTARTED}; b1 stuck; 2 raised"),
    keeps("X4", f"{RESTARTED}; 3 undeploy b; 2 raised"),
    keeps("X4", f"{LOST}; wait 1; a1 undeploy began", RESTARTS),
    keeps("X1", f"{LOST}; 2 undeploy a; a1 down; 2 returned; {AGAIN}; a2 lost; wait 1; a2 undeploy began", RESTARTS),
    breaks(
        "X1",
        "nothing has asked for it",
        f"{LOST}; wait 1; a1 down; a2 up; a2 lost; wait 1; a2 undeploy began",
        RESTARTS,
    ),
    keeps("X4", f"{LOST}; 2 deploy a; a1 undeploy began", RESTARTS),
    keeps("X4", f"{LOST}; wait 100; read a 0; rest"),
    breaks("X4", "returned, but a#1, which was to go, is live", f"{RESTARTED}; b1 down; b2 up; 2 returned"),
    breaks(
        "X4", "restart(a) by caller 2 returned, but b is absent", f"{RESTARTED}; b1 down; a1 down; a2 up; 2 returned"
    ),
    breaks("X4", "although nothing had failed", f"{RESTARTED}; 2 raised"),
    breaks("X4", "restart(a) by caller 2 waits for nothing", f"{RESTARTED}; rest"),
    breaks("X4", "b#1 is to be restarted, and stays live", f"{RESTARTED}; 2 leaves; rest"),
    breaks("X4", "by itself, without a pause", f"{LOST}; a1 undeploy began", RESTARTS),
    breaks("X4", "a#1 was lost long ago, and has not come up by itself", f"{LOST}; wait 32; read a 0; rest", RESTARTS),
    keeps(
        "U1",
        f"{BOTH}; 2 undeploy w; w1 stuck; 2 raised; a1 cut; 3 undeploy_all; a1 reattach began; 4 close; rest",
        A,
        ALONE,
        wrapper("w", "a", "c"),
    ),
    keeps("U1", f"{GAP}; 2 deploy b; a1 stuck; 2 raised a; 3 restart a; a1 undeploy began"),
    keeps(
        "U6",
        f"{GAP}; 2 deploy b; a1 undeploy began; 3 undeploy b; 2 raised; b1 undeploy began; a1 undeploy failed;"
        "b1 undeploy ended; a1 down; 3 returned",
    ),
    # A deployment that waits to come up again fails with its dependency when that is lost.
    keeps(
        "U1",
        f"{TRIANGLE}; 3 restart b; c1 down; b1 undeploy began; 3 leaves; a1 lost; b1 undeploy ended; a1 down;"
        "a2 up; b2 up; rest",
        A,
        B,
        unit("c", "a", "b"),
    ),
    keeps("U1", f"{GAP}; 2 deploy a; a1 down; rest"),
    keeps("U1", f"{RESTARTED}; b1 down; a1 down; a2 coming; rest"),
    breaks("U1", "undeploy of a#1 began under b#1, which is live", f"{RESTARTED}; a1 undeploy began"),
    breaks("U1", "a#1 is lost, but nothing demands it", "1 deploy a; a1 up; 1 returned; a1 lost; 2 undeploy a; rest"),
    breaks(
        "U1",
        "was granted and not taken back, but b is absent",
        f"{RESTARTED}; b1 down; 2 leaves; rest",
    ),
    keeps("U1", "1 deploy b; a1 up; b1 up; 1 returned; 2 undeploy b; b1 down; 3 deploy a; 2 returned"),
    breaks(
        "U1",
        "undeploy(b) by caller 2 returned, but a#1 is live",
        "1 deploy b; a1 up; b1 up; 1 returned; 2 undeploy b; b1 down; 2 returned",
    ),
    keeps("U1", "1 deploy b; a1 up; b1 up; 1 returned; rest; 2 undeploy b; b1 down; a1 down; 2 returned; rest"),
    keeps("U1", "1 deploy a; a1 up; 1 returned; 2 undeploy a; a1 stuck; 2 raised; rest"),
    keeps("U1", "1 deploy a; a1 up; a1 undeploy began", IMPATIENT),
    keeps("U1", "1 deploy a; 2 deploy c; c1 coming; a1 up; 1 leaves; rest", A, ALONE, max_concurrent=1),
    breaks("U1", "undeploy of a#1 began under b#1, which is deploying", "a1 up; b1 coming; a1 undeploy began"),
    breaks(
        "U1",
        "although it was demanded by the deploy(b) that was granted",
        "1 deploy b; a1 up; b1 up; 1 returned; b1 undeploy began",
    ),
    breaks(
        "U1",
        "undeploy(a) by caller 2 returned, but a#1 is live",
        "1 deploy a; a1 up; 1 returned; 2 undeploy a; 2 returned",
    ),
    breaks(
        "U1",
        "was granted and not taken back, but a#1 is undeploying",
        "1 deploy a; a1 up; 1 returned; a1 undeploy began; rest",
    ),
    breaks(
        "U1", "a#1 is live, but nothing demands it", "1 deploy b; a1 up; b1 up; 1 returned; 2 undeploy b; b1 down; rest"
    ),
    breaks(
        "U1",
        "undeploy(a) by caller 2 waits for nothing that it has to wait for: a#1 is live",
        "1 deploy a; a1 up; 1 returned; 2 undeploy a; rest",
    ),
    keeps("U2", "1 deploy b; a1 up; b1 up; 1 returned; 2 undeploy a; 2 returned; rest"),
    breaks(
        "U2",
        "undeploy(a) by caller 2 waits, although a was needed by others",
        "1 deploy b; a1 up; b1 up; 1 returned; 2 undeploy a; rest",
    ),
    keeps(
        "U3",
        "a1 up; 2 undeploy a; a1 undeploy began; 3 undeploy a; a1 undeploy ended; 2 returned; 3 returned",
    ),
    breaks("U3", "undeploy of a#1 began while it was undeploying", "a1 up; a1 undeploy began; a1 undeploy began"),
    breaks("U3", "undeploy of a#1 began, although it was gone", "a1 up; a1 down; a1 undeploy began"),
    breaks(
        "U3",
        "as it was when it was called",
        "1 deploy a; a1 up; 1 returned; 2 undeploy a; a1 undeploy began; 3 undeploy a; 3 returned",
    ),
    keeps("U4", "1 deploy a; a1 coming; 2 undeploy a; 1 raised; rest"),
    keeps("U4", "1 deploy a; a1 up; 2 undeploy a; 1 returned"),
    keeps("U4", f"1 deploy a; {FAILED}; 2 undeploy a; a1 undeploy began; rest"),
    breaks(
        "U4",
        "although a was undeployed while it was coming up",
        "1 deploy a; a1 coming; 2 undeploy a; a1 deploy ended; 1 returned",
    ),
    breaks(
        "U4", "deploy(a) by caller 1 waits, although a was undeployed", "1 deploy a; a1 coming; 2 undeploy_all; rest"
    ),
    keeps("U5", "1 deploy a; a1 up; 1 returned; 2 undeploy a; a1 undeploy began; 2 leaves; rest"),
    keeps("U5", "a1 up; a1 undeploy began; a1 undeploy cancelled", IMPATIENT),
    breaks("U5", "undeploy of a#1 was cancelled, though no limit", "a1 up; a1 undeploy began; a1 undeploy cancelled"),
    breaks("U5", "undeploy(a) by caller 2 was cancelled, and still waits", "2 undeploy a; 2 asked; rest"),
    keeps("U6", "1 deploy a; a1 up; 1 returned; 2 undeploy a; a1 stuck; 2 raised; 3 undeploy a; a1 down; 3 returned"),
    keeps("U6", "a1 up; b1 up; 1 close; b1 stuck; a1 undeploy began"),
    breaks("U6", "undeploy of a#1 began under b#1, which is stuck", "a1 up; b1 up; b1 stuck; a1 undeploy began"),
    breaks("U6", "returned, although the teardown had failed", "a1 up; 2 undeploy a; a1 stuck; 2 returned"),
    breaks("U6", "without its cause", "a1 up; 2 undeploy a; a1 stuck; 2 raised causeless"),
    breaks("U6", "without another try", "a1 up; a1 stuck; 2 undeploy a; 2 raised"),
    breaks("U6", "although no teardown had failed", "a1 up; 2 undeploy a; a1 down; 2 raised"),
    keeps("U6", "1 deploy b; a1 up; b1 up; 1 returned; 2 undeploy b; b1 down; a1 stuck; 2 raised a"),
    breaks(
        "U6", "does not name a", "1 deploy b; a1 up; b1 up; 1 returned; 2 undeploy b; b1 down; a1 stuck; 2 raised b"
    ),
    keeps(
        "U6",
        "1 deploy d; a1 up; c1 up; d1 up; 1 returned; 2 undeploy d; d1 down; c1 stuck; a1 stuck; 2 raised c a",
        A,
        ALONE,
        unit("d", "a", "c"),
    ),
    breaks(
        "U6",
        "whose notes do not name a, which failed too",
        "1 deploy d; a1 up; c1 up; d1 up; 1 returned; 2 undeploy d; d1 down; c1 stuck; a1 stuck; 2 raised c",
        A,
        ALONE,
        unit("d", "a", "c"),
    ),
    keeps("U7", "1 deploy b; a1 up; b1 up; 1 returned; 2 undeploy_all; b1 down; a1 down; 2 returned; rest"),
    keeps("U7", "a1 up; b1 up; 2 undeploy_all; b1 stuck; 2 raised group"),
    keeps("U7", "2 undeploy_all; 2 returned"),
    breaks(
        "U7",
        "undeploy_all() by caller 2 returned, but a#1 is live",
        "1 deploy a; a1 up; 1 returned; 2 undeploy_all; 2 returned",
    ),
    breaks("U7", "which is no group of errors", "a1 up; 2 undeploy_all; a1 stuck; 2 raised"),
    breaks("U7", "although no teardown had failed", "a1 up; 2 undeploy_all; a1 down; 2 raised group"),
    breaks("U7", "undeploy_all() by caller 2 waits for nothing: a#1 is live", "a1 up; 2 undeploy_all; rest", A),
    keeps("U8", "1 deploy a; a1 up; 1 returned; 2 close; a1 down; 2 returned; 3 deploy a; 3 raised; end"),
    keeps("U8", "a1 up; 2 close; a1 stuck; 2 raised group; end"),
    breaks("U8", "deploy of a#1 began after close() was called", "1 deploy a; a1 built; 2 close; a1 deploy began"),
    breaks("U8", "close() by caller 2 returned, but a#1 is live", "a1 up; 2 close; 2 returned"),
    breaks("U8", "was not tried a last time", "a1 up; a1 stuck; 2 close; 2 raised group"),
    breaks("U8", "deploy(a) by caller 3 returned, after close() was called", "2 close; 3 deploy a; 3 returned"),
    breaks("U8", "close() by caller 2 waits for nothing", "a1 up; 2 close; rest"),
    breaks("U8", "a#1 is left behind: it is live", "a1 up; end"),
    keeps("K1", "a1 up; c1 coming", A, ALONE, max_concurrent=1),
    keeps("K1", "a1 coming; c1 coming", A, ALONE),
    breaks(
        "K1",
        "deploy of c#1 began beside a#1, which is deploying; the limit is 1",
        "a1 coming; c1 coming",
        A,
        ALONE,
        max_concurrent=1,
    ),
    keeps("K3", f"1 deploy a; {FAILED}; a1 down; a2 coming", PATIENT),
    breaks("K3", "deploy of a#2 began, but nothing demands it", f"1 deploy a; {FAILED}; a1 down; a2 coming"),
    keeps(
        "L1", "1 deploy a; 1 returned; read a -1; 2 use a; a1 up; 2 returned; read a -1; 3 undeploy a; read a 0", LAZY
    ),
    keeps("L1", "1 deploy b; a1 up", LAZY, B),
    breaks("L1", "deploy of a#1 began, but it was not used", "1 deploy a; 1 returned; a1 coming", LAZY),
    breaks("L1", "gave None, but a was deployed, and a is absent", "1 deploy a; 1 returned; read a 0", LAZY),
    breaks("L1", "gave a stand-in, but a is not deployed, and a is absent", "read a -1", LAZY),
    keeps("E1", "a1 built; a1 deploy began external; a1 deploy ended; a1 undeploy began external", EXTERNAL),
    breaks("E1", "began with external=False, but a is defined with True", "a1 coming", EXTERNAL),
    breaks("E1", "began with external=True, but a is defined with False", "a1 up; a1 undeploy began external"),
]


def rule_of(number: str) -> type[Rule]:
    return next(rule for rule in RULES if rule.number == number)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.rule}: {case.told or 'kept'}: {case.story}")
def test_what_a_rule_finds(case: Case):
    history = Storyteller(rule_of(case.rule), *case.configs, **case.limits).tell(case.story)
    found = [violation.story for violation in history.violations]
    if case.told:
        assert any(case.told in story for story in found), found
        with pytest.raises((Violation, ExceptionGroup)):
            history.check()
    else:
        assert found == []
        history.check()


def test_every_rule_is_kept_once_and_broken_once():
    numbers = [rule.number for rule in RULES]
    assert len(set(numbers)) == len(numbers) == 26
    for told in (True, False):
        assert {case.rule for case in CASES if bool(case.told) is told} == set(numbers)
