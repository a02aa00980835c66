"""The lines and JSON objects that events become."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest

from anydeploy import DeploymentEvent
from anydeploy.cli.output import Stream
from anydeploy.cli.progress import JsonProgress, Progress
from anydeploy.cli.tracker import Tracker
from anydeploy.lifecycle import Step

from .events import STATES, event, selection

ERROR = ValueError("no\nspace left")


def _lines(*events: DeploymentEvent, **options: Any) -> list[str]:
    """The lines on events of ``db``, of ``web``, which wraps it, and of ``job``, which depends on it."""
    out = StringIO()
    progress = Progress(Tracker(selection(db="", web=">db", job="db"), 0.0), Stream(out), **options)
    for each in events:
        progress.on_event(each)
    return out.getvalue().splitlines()


def test_a_life() -> None:
    steps = [Step.DEMANDED, Step.BEGUN, Step.DEPLOYED, Step.RELEASED, Step.UNDEPLOYED]
    assert _lines(*(event("db", step, when) for when, step in enumerate(steps))) == [
        "   1.000  db (t): deploying",
        "   2.000  db (t): live after 1.0 s",
        "   3.000  db (t): undeploying",
        "   4.000  db (t): absent",
    ]


def test_attempts() -> None:
    first, second = {"attempt": 1, "attempts": 2}, {"attempt": 2, "attempts": 2}
    assert _lines(
        event("db", Step.DEMANDED, 0, **first),
        event("db", Step.BEGUN, 1, **first),
        event("db", Step.ATTEMPT_FAILED, 1.5, error=ERROR, **first),
        event("db", Step.BEGUN, 3, **second),
        event("db", Step.FAILED, 5, error=ERROR, **second),
        event("web", Step.FAILED_BELOW, 5, error=ERROR, because="db"),
        event("job", Step.DROPPED, 5),
        event("db", Step.UNDEPLOYED, 6),
    ) == [
        "   1.000  db (t): deploying, attempt 1 of 2",
        "   1.500  db (t): deploying, attempt 1 of 2 failed after 0.5 s: ValueError: no",
        "   3.000  db (t): deploying, attempt 2 of 2",
        "   5.000  db (t): undeploying, attempt 2 of 2 failed after 2.0 s: ValueError: no",
        "   5.000  web (t): absent, not started because of db",
        "   5.000  job (t): absent, not started",
        "   6.000  db (t): absent",
    ]


def test_a_failure_without_retries() -> None:
    events = event("db", Step.BEGUN, 1), event("db", Step.FAILED, 2, error=ERROR)
    assert _lines(*events)[1] == "   2.000  db (t): undeploying, failed after 1.0 s: ValueError: no"


def test_a_loss() -> None:
    assert _lines(
        event("db", Step.DEPLOYED, 1),
        event("web", Step.DEPLOYED, 2),
        event("db", Step.LOST, 5, error=ERROR),
        event("web", Step.LOST, 5, error=ERROR, because="db"),
        event("db", Step.RENEWED, 6),
        event("web", Step.RELEASED, 6),
        event("web", Step.UNDEPLOY_FAILED, 7, error=ERROR),
        event("web", Step.RETRIED, 8),
    )[2:] == [
        "   5.000  db (t): lost after 4.0 s: ValueError: no",
        "   5.000  web (t): lost after 3.0 s because of db",
        "   6.000  web (t): undeploying",
        "   7.000  web (t): stuck: ValueError: no",
        "   8.000  web (t): undeploying once more",
    ]


def test_verbose_lines_show_names_and_whole_errors() -> None:
    assert _lines(
        event("web", Step.DEMANDED),
        event("web", Step.BEGUN),
        event("web", Step.ABORTED, 1, error=ERROR, because="db"),
        verbose=True,
    ) == [
        "   0.000  web (t): waiting for db",
        "   0.000  web (t): deploying",
        "   1.000  web (t): deploying, given up because of db: ValueError: no",
        "  space left",
    ]


@pytest.mark.parametrize("verbose", [False, True])
@pytest.mark.parametrize("attempts", [1, 2])
def test_no_two_steps_have_the_same_line(attempts: int, *, verbose: bool) -> None:
    """Not even those that lead to the same state; only a step with an error, or a reason, has one."""
    blamed = {Step.FAILED_BELOW, Step.LOST}
    failed = {Step.ATTEMPT_FAILED, Step.FAILED, Step.UNDEPLOY_FAILED} | blamed
    lines = [
        line
        for step in STATES
        for line in _lines(
            event(
                "db",
                step,
                attempts=attempts,
                error=ERROR if step in failed else None,
                because="x" if step in blamed else None,
            ),
            verbose=verbose,
        )
        if "db" in line
    ]
    assert len(lines) == (len(STATES) if verbose else len(STATES) - 4)
    assert len(set(lines)) == len(lines)


def test_quiet() -> None:
    assert not _lines(event("db", Step.FAILED, error=ERROR), quiet=True)


def test_json() -> None:
    out, problems = StringIO(), StringIO()
    tracker = Tracker(selection(db="", web=">db"), 10.0)
    progress = JsonProgress(tracker, Stream(problems), quiet=True, data=Stream(out))
    progress.on_event(event("web", Step.DEMANDED, 10, attempt=0, attempts=2))
    progress.on_event(event("web", Step.ATTEMPT_FAILED, 12.5, attempt=1, attempts=2, error=ERROR, because="db"))
    records = [json.loads(line) for line in out.getvalue().splitlines()]
    for record in records:
        del record["time"]
    shared = {"event": "state", "name": "web", "type": "t", "state": "deploying", "attempts": 2, "waiting_for": ["db"]}
    assert records == [
        shared | {"elapsed": 0.0, "step": "demanded", "attempt": 0, "because": None, "error": None},
        shared
        | {
            "elapsed": 2.5,
            "step": "attempt_failed",
            "attempt": 1,
            "because": "db",
            "error": "ValueError: no\nspace left",
        },
    ]
    assert not problems.getvalue()
