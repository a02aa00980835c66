"""The rules about what comes up, what fails to, and the callers who wait for it: D1 to D6, R1, K3, U4."""

from __future__ import annotations

from itertools import pairwise

from anydeploy.engine.deployment import Claim
from anydeploy.exceptions import UndeployError
from anydeploy.lifecycle import Phase, Step

from .facts import COMING, targets_of
from .moves import Kind
from .passage import Passage
from .violation import Violation, require
from .world import FAULTS, numbered

#: The moves that are about demand.
WITH_DEMAND = frozenset({Kind.DEPLOY, Kind.UNDEPLOY, Kind.UNDEPLOY_ALL, Kind.CLOSE, Kind.LEAVE})


def comes_up_after_its_dependencies(move: Passage) -> None:
    """D1: each member of a closure is deployed after all its dependencies are live."""
    for below in move.graph.below[move.number]:
        require(move.before.phases[below] is Phase.LIVE, "D1", "an attempt begins before a dependency is live")


def comes_up_once(move: Passage) -> None:
    """D2, D3, K3: an attempt begins when nothing is left of the last one."""
    require(not move.before.world.exists[move.number], "D2", "an attempt begins while an environment exists")


def attempts_are_numbered(move: Passage) -> None:
    """K3: each attempt is visible, with its number."""
    record = move.after.record(move.number)
    expected = move.before.record(move.number).attempt % record.attempts + 1
    require([event.attempt for event in move.told] == [expected], "K3", "an attempt is told with a wrong number")


def what_returns_is_live(move: Passage) -> None:
    """D1: an attempt that returns makes a deployment live, unless it was given up, or has lost its environment."""
    if move.before.phases[move.number] is Phase.ATTEMPTING:
        require(move.after.phases[move.number] is Phase.LIVE, "D1", "an attempt has returned, and nothing is live")
    else:
        is_tried_as_often_as_allowed(move)


def is_tried_as_often_as_allowed(move: Passage) -> None:
    """K3, D6, X4: a failed attempt is cleaned up and repeated unless it was the last; one given up is undeployed."""
    was = move.before.record(move.number)
    now = move.after.phases[move.number]
    if was.phase is Phase.GIVING_UP:
        require(now is Phase.UNDEPLOYING, "D6", "an attempt that was given up is not undeployed")
        return
    closing = move.before.world.engine.closing
    # A wrapper that was coming up when its inner environment was lost has failed for good (X1).
    repeated = was.failure is None and was.attempt < was.attempts
    renewed = was.failure is None and was.renewal and was.restarts < was.definition.restarts and not closing
    expected = Phase.CLEANING if repeated or renewed else Phase.UNDEPLOYING
    if now is not expected:
        raise Violation("K3", f"after a failed attempt it is {now}, not {expected}")
    failed = move.number in move.did(Step.FAILED)
    require(failed is (expected is Phase.UNDEPLOYING), "D5", "it is not told that a deploy has failed for good")


def is_live_when_granted(move: Passage) -> None:
    """D1, X2: `deploy` returns when all that was asked for is live, and all that it stands on."""
    for claim in move.woken:
        if isinstance(claim, Claim) and claim.failure is None:
            live = all(move.after.is_live_with_closure(target) for target in targets_of(claim))
            require(live, "X2", "a caller is told that something is live that is not, or stands on what is not")


def failure_says_why(move: Passage) -> None:
    """D5, U4: an error names the deployment that was asked for, the path to the culprit, and the cause."""
    for claim in move.failed:
        failure = claim.failure
        assert failure is not None
        path = [numbered(name) for name in failure.path]
        require(path[0] in targets_of(claim), "D5", "the error does not name what was asked for")
        for one, other in pairwise(path):
            related = one in move.graph.closure[other] or other in move.graph.closure[one]
            require(related, "D5", "the path leads to something unrelated")
        cause = failure.cause
        if cause is None:
            withdrawn = move.kind in (Kind.UNDEPLOY, Kind.UNDEPLOY_ALL, Kind.CLOSE)
            require(withdrawn, "D5", "a caller fails for no reason")
        else:
            original = cause.__cause__ if isinstance(cause, UndeployError) else cause
            require(FAULTS.get(original) == path[-1], "D5", "the cause is not the culprit's")  # type: ignore[call-overload]


def failure_reaches_all(move: Passage) -> None:
    """D5: with what failed, or got stuck, all fail that wait for it: its callers, and dependents still to come."""
    reached = [*move.did(Step.FAILED), *move.did(Step.UNDEPLOY_FAILED)]
    for each in reached:
        for above in move.graph.above[each]:
            if above not in reached and move.before.phases[above] in COMING:
                require(move.after.phases[above] is Phase.ABSENT, "D5", "a dependent waits for what has failed")
                reached.append(above)
    for claim in move.after.claims:
        hit = claim in move.after.world.claims[: len(move.before.world.claims)] and not claim.settled
        failed = hit and any(target in reached for target in targets_of(claim))
        require(not failed, "D5", "a caller waits for what has failed")


def demand_is_explicit(move: Passage) -> None:
    """Terms: demand is explicit once granted, and until it is withdrawn, or what was demanded fails or gets stuck."""
    kind = move.kind
    if kind not in WITH_DEMAND and not move.steps:
        require(move.after.explicit == move.before.explicit, "Terms", "explicit demand has changed for no reason")
        return
    explicit = list(move.before.explicit)
    if kind is Kind.LEAVE:
        claim = move.before.world.claims[move.number]
        for target in targets_of(claim) if claim.grants else ():
            explicit[target] = True
    elif kind is Kind.UNDEPLOY:
        explicit[move.number] = False
    elif kind is Kind.UNDEPLOY_ALL or kind is Kind.CLOSE:
        explicit = [False] * len(explicit)
    for step in (Step.FAILED, Step.FAILED_BELOW, Step.UNDEPLOY_FAILED):
        for number in move.steps.get(step, ()):
            explicit[number] = False
    if move.after.explicit != explicit:
        raise Violation("Terms", f"explicit demand is {move.after.explicit}, not {explicit}")


def is_hidden_since_undeploy(move: Passage) -> None:
    """R1: from `undeploy` on a connector is not given out, until the next `deploy` or the end of all demand."""
    kind = move.kind
    if kind not in WITH_DEMAND and move.after.withdrawn == move.before.withdrawn:
        return
    withdrawn = list(move.before.withdrawn)
    if kind is Kind.DEPLOY or kind is Kind.UNDEPLOY:
        withdrawn[move.number] = kind is Kind.UNDEPLOY
    elif kind is Kind.UNDEPLOY_ALL or kind is Kind.CLOSE:
        withdrawn = [True] * len(withdrawn)
    for number, record in enumerate(move.after.records):
        if record is not None and record.withdrawn is not withdrawn[number]:
            forgotten = withdrawn[number] and not move.after.demanded[number]
            require(forgotten, "R1", f"{record.name} is {'' if record.withdrawn else 'not '}hidden")


def callers_are_counted(move: Passage) -> None:
    """D6: a claim knows how many callers it has: the last one who leaves takes the demand along."""
    expected = [claim.waiters for claim in move.before.world.claims]
    counted = [claim.waiters for claim in move.after.world.claims]
    if move.kind is Kind.CANCEL or move.kind is Kind.LEAVE:
        expected[move.number] -= 1
    new = sum(counted) - sum(expected)
    came = 1 if move.kind is Kind.DEPLOY else len(counted) - len(expected)
    require(new == came and (new > 0 or counted == expected), "D6", "callers are not counted")


def others_notice_nothing(move: Passage) -> None:
    """D6, U5: a caller who is cancelled takes its own demand along, and nothing else."""
    require(not move.failed and not move.woken, "D6", "the cancellation of a caller is noticed by another one")
    for number in move.moved:
        # A slot may have become free for another one.
        granted = move.before.phases[number] in (Phase.READY, Phase.LEAVING)
        require(
            granted or not move.after.demanded[number], "D6", "the cancellation of a caller moves what others demand"
        )


def only_the_interruptible_is_cancelled(move: Passage) -> None:
    """D6: what must not be interrupted is allowed to finish."""
    for number in move.cancelled:
        require(move.graph.nodes[number].interruptible, "D6", "what must not be interrupted is cancelled")
