"""The picture of the deployments that their events give, without an event loop."""

from __future__ import annotations

from anydeploy import DeploymentState
from anydeploy.cli.output import clean, seconds
from anydeploy.cli.tracker import Tracker, enumerate_names
from anydeploy.lifecycle import Step

from .events import event, selection


def _tracker(**depends_on: str) -> Tracker:
    return Tracker(selection(**depends_on), 0.0)


def _apply(tracker: Tracker, when: float, **steps: Step) -> None:
    for name, step in steps.items():
        tracker.apply(event(name, step, when))


def test_waiting_for() -> None:
    tracker = _tracker(db="", web="db", top="web db")
    _apply(tracker, 0, db=Step.DEMANDED, web=Step.DEMANDED, top=Step.DEMANDED)
    assert [tracker.waits_for(name) for name in ("db", "web", "top")] == [[], ["db"], ["web", "db"]]
    _apply(tracker, 1, db=Step.DEPLOYED, web=Step.DEPLOYED, top=Step.DEPLOYED)
    assert not tracker.waits_for("top")
    assert not tracker.waits_for("db")
    tracker.stopping = True
    assert tracker.waits_for("db") == ["web", "top"]
    _apply(tracker, 2, top=Step.RELEASED)
    _apply(tracker, 3, top=Step.UNDEPLOYED)
    assert tracker.waits_for("db") == ["web"]


def test_waiting_for_the_wrappers_of_what_is_renewed() -> None:
    tracker = _tracker(db="", web=">db", job="db")
    _apply(tracker, 1, db=Step.DEPLOYED, web=Step.DEPLOYED, job=Step.DEPLOYED)
    _apply(tracker, 2, db=Step.LOST, web=Step.LOST)
    assert not tracker.waits_for("db")
    _apply(tracker, 3, db=Step.RENEWED, web=Step.RENEWED)
    assert tracker.waits_for("db") == ["web"]
    _apply(tracker, 4, web=Step.UNDEPLOYED)
    _apply(tracker, 4, web=Step.DEMANDED)
    assert not tracker.waits_for("db")
    assert tracker.waits_for("web") == ["db"]


def test_waiting_for_the_dependents_of_what_is_restarted() -> None:
    tracker = _tracker(db="", web=">db", job="db")
    _apply(tracker, 1, db=Step.DEPLOYED, web=Step.DEPLOYED, job=Step.DEPLOYED)
    _apply(tracker, 2, db=Step.RESTARTED, web=Step.RELEASED, job=Step.RELEASED)
    assert tracker.waits_for("db") == ["web", "job"]
    assert tracker.deployments["db"].phase == "restarting"


def test_waiting_is_told_from_working() -> None:
    tracker = _tracker(db="", web="db")
    _apply(tracker, 0, db=Step.DEMANDED, web=Step.DEMANDED)
    assert tracker.describe("db", 1) == "db (t): waiting for its turn, 1.0 s"
    assert tracker.describe("web", 1) == "web (t): waiting for db, 1.0 s"
    _apply(tracker, 2, db=Step.BEGUN)
    assert tracker.describe("db", 2.5) == "db (t): deploying, 0.5 s"
    assert tracker.counts() == "1 deploying, 1 waiting"
    assert [each.name for each in tracker.present()] == ["db", "web"]
    assert [each.name for each in tracker.present() if each.exists] == ["db"]


def test_an_attempt_that_is_repeated() -> None:
    tracker = _tracker(db="")
    error = ValueError("no")
    tracker.apply(event("db", Step.DEMANDED, 0, attempt=0, attempts=3))
    tracker.apply(event("db", Step.BEGUN, 1, attempts=3))
    assert tracker.describe("db", 3) == "db (t): deploying, attempt 1 of 3, 2.0 s"
    tracker.apply(event("db", Step.ATTEMPT_FAILED, 4, attempts=3, error=error))
    assert tracker.describe("db", 5) == "db (t): retrying, attempt 1 of 3, 1.0 s: ValueError: no"
    tracker.apply(event("db", Step.BEGUN, 6, attempt=2, attempts=3))
    assert tracker.describe("db", 6) == "db (t): deploying, attempt 2 of 3, 0.0 s: ValueError: no"
    tracker.apply(event("db", Step.DEPLOYED, 7, attempt=2, attempts=3))
    assert tracker.describe("db", 8) == "db (t): live, 1.0 s"


def test_the_tree_shows_what_is_shared_once() -> None:
    tracker = _tracker(db="", net="db", web="net", api="net", up="")
    _apply(tracker, 0, **dict.fromkeys(("up", "db", "net", "web", "api"), Step.DEMANDED))
    _apply(tracker, 1, up=Step.DEPLOYED, db=Step.BEGUN)
    assert tracker.starting_tree(2).splitlines() == [
        "web (t): waiting for net, 2.0 s",
        "  net (t): waiting for db, 2.0 s",
        "    db (t): deploying, 1.0 s",
        "api (t): waiting for net, 2.0 s",
        "  net (t): waiting for db, 2.0 s (see above)",
    ]


def test_the_tree_of_a_long_chain_is_cut() -> None:
    chain = {f"d{number}": f"d{number - 1}" if number else "" for number in range(5000)}
    tracker = _tracker(**chain)
    _apply(tracker, 0, **dict.fromkeys(chain, Step.DEMANDED))
    lines = tracker.starting_tree(1).splitlines()
    assert len(lines) == 201
    assert max(map(len, lines)) < 200


def test_failed_and_not_started() -> None:
    tracker = _tracker(db="", web="db", job="")
    error = ValueError("no")
    _apply(tracker, 0, db=Step.DEMANDED, web=Step.DEMANDED, job=Step.DEMANDED)
    tracker.apply(event("db", Step.FAILED, 1, error=error))
    tracker.apply(event("web", Step.FAILED_BELOW, 1, because="db", error=error))
    _apply(tracker, 2, db=Step.UNDEPLOYED, job=Step.DROPPED)
    assert [each.name for each in tracker.failed()] == ["db"]
    assert tracker.not_started("db") == ["web"]
    assert not tracker.not_started("job")
    assert [each.phase for each in tracker.deployments.values()] == ["failed", "not started", "absent"]
    assert tracker.describe("db", 3) == "db (t): failed, 1.0 s: ValueError: no"
    assert not tracker.present()
    tracker.apply(event("job", Step.FAILED, 3, because="db", error=error))
    assert tracker.not_started("db") == ["web"]
    _apply(tracker, 4, db=Step.DEMANDED)
    tracker.apply(event("job", Step.UNDEPLOYED, 4))
    assert [each.phase for each in tracker.deployments.values()] == ["waiting", "not started", "failed"]
    assert [each.name for each in tracker.failed()] == ["job"]
    assert not tracker.deployments["db"].problem


def test_a_loss() -> None:
    tracker = _tracker(db="")
    _apply(tracker, 1, db=Step.DEPLOYED)
    tracker.apply(event("db", Step.LOST, 2, error=ValueError("gone")))
    assert tracker.describe("db", 3) == "db (t): lost, 1.0 s: ValueError: gone"
    _apply(tracker, 3, db=Step.RENEWED)
    assert tracker.deployments["db"].phase == "renewing"
    _apply(tracker, 4, db=Step.RELEASED)
    assert tracker.deployments["db"].phase == "undeploying"


def test_implicit_deployments_are_skipped() -> None:
    tracker = _tracker(db="")
    assert tracker.apply(event("__LOCAL__", Step.DEMANDED)) is None
    assert list(tracker.deployments) == ["db"]
    assert tracker.deployments["db"].state is DeploymentState.ABSENT


def test_texts() -> None:
    assert enumerate_names("abcdefg") == "a, b, c, d, e and 2 more"
    assert [seconds(s) for s in (0.04, 9.94, 12.7, 125, 3720)] == ["0.0 s", "9.9 s", "12 s", "2 m 05 s", "1 h 02 m"]
    assert clean("a\x1b[31m\tb\n\x07") == "a\\x1b[31m\tb\n\\x07"
