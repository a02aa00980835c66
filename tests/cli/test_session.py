"""The decision whether a loss ends a session, without an event loop."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import pytest

from anydeploy import DeploymentEvent, DeploymentState, DeploymentStatus
from anydeploy.cli.output import Stream
from anydeploy.cli.progress import Progress
from anydeploy.cli.session import Session
from anydeploy.cli.tracker import Tracker
from anydeploy.lifecycle import Step

from .events import event, selection


class Losses:
    """A session with ``db``, and ``web`` that wraps it. The manager's status is what the test says."""

    def __init__(self) -> None:
        chosen = selection(db="", web=">db")
        tracker = Tracker(chosen, 0.0)
        self.out = StringIO()
        self.status = {name: DeploymentStatus(name, DeploymentState.LIVE) for name in chosen.order}
        self.session = Session(chosen, tracker, Progress(tracker, Stream(self.out), quiet=True), Path())
        self.session._manager = SimpleNamespace(status=lambda: self.status)
        self.ended = False
        self.session._body = SimpleNamespace(cancel=self._end)

    def tell(self, *events: DeploymentEvent) -> None:
        for each in events:
            self.session._on_event(each)

    def lose(self, name: str, **due: float) -> None:
        """Lose a deployment and what wraps it; some are renewed by themselves at the times in ``due``."""
        lost = ("db", "web") if name == "db" else ("web",)
        for each in lost:
            because = None if each == name else name
            self.status[each] = DeploymentStatus(each, DeploymentState.LOST, because=because, due=due.get(each))
        for each in lost:
            self.tell(event(each, Step.LOST, 1, because=None if each == name else name, error=ValueError("gone")))

    def _end(self) -> None:
        self.ended = True


def test_a_loss_without_restarts_ends_it() -> None:
    losses = Losses()
    losses.lose("db")
    assert losses.ended
    assert losses.out.getvalue() == (
        "error: deployment 'db' (t) was lost: ValueError: gone\nerror: deployment 'web' (t) was lost because of 'db'\n"
    )


@pytest.mark.parametrize("renewed", ["db", "web"])
def test_it_goes_on_while_the_lost_one_or_a_wrapper_of_it_is_renewed(renewed: str) -> None:
    losses = Losses()
    losses.lose("db", **{renewed: 2.0})
    assert not losses.ended


def test_the_renewal_of_another_deployment_does_not_count() -> None:
    losses = Losses()
    losses.status["db"] = DeploymentStatus("db", DeploymentState.LOST, due=2.0)
    losses.lose("web")
    assert losses.ended
