"""The decision whether a loss ends a session, without an event loop."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
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

    def __init__(self, **restarts: int) -> None:
        chosen = selection(db="", web=">db")
        configs = {
            name: attrs.evolve(config, restarts=restarts.get(name, 0)) for name, config in chosen.configs.items()
        }
        chosen = attrs.evolve(chosen, configs=configs)
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

    def lose(self, when: float, name: str, **restarts: int) -> None:
        """Lose a deployment and what wraps it; the restarts are those used up since the last long life."""
        for each in ("db", "web") if name == "db" else ("web",):
            because = None if each == name else name
            used = restarts.get(each, self.status[each].restarts)
            self.status[each] = DeploymentStatus(each, DeploymentState.LOST, because=because, restarts=used)
        for each in ("db", "web") if name == "db" else ("web",):
            self.tell(event(each, Step.LOST, when, because=None if each == name else name, error=ValueError("gone")))

    def renew(self, when: float, **restarts: Any) -> None:
        for each in ("db", "web"):
            used = restarts.get(each, self.status[each].restarts)
            self.status[each] = DeploymentStatus(each, DeploymentState.LIVE, restarts=used)
            self.tell(event(each, Step.DEPLOYED, when))

    def _end(self) -> None:
        self.ended = True


def test_a_loss_without_restarts_ends_it() -> None:
    losses = Losses()
    losses.renew(0)
    losses.lose(1, "db")
    assert losses.ended
    assert losses.out.getvalue() == (
        "error: deployment 'db' (t) was lost: ValueError: gone\nerror: deployment 'web' (t) was lost because of 'db'\n"
    )


def test_it_goes_on_until_the_restarts_are_used_up() -> None:
    losses = Losses(db=2)
    losses.renew(0)
    losses.lose(1, "db", db=1)
    losses.renew(2)
    losses.lose(3, "db", db=2)
    assert not losses.ended
    losses.renew(4)
    losses.lose(5, "db")
    assert losses.ended


def test_restarts_of_a_wrapper_count_when_what_it_wraps_is_lost() -> None:
    losses = Losses(web=1)
    losses.renew(0)
    losses.lose(1, "db", web=1)
    assert not losses.ended
    losses.renew(2)
    losses.lose(3, "db")
    assert losses.ended


def test_restarts_of_what_it_wraps_do_not_count_when_a_wrapper_is_lost_alone() -> None:
    losses = Losses(db=1)
    losses.renew(0)
    losses.lose(1, "web")
    assert losses.ended


@pytest.mark.parametrize("life", [59, 60])
def test_restarts_are_counted_again_after_a_minute(life: int) -> None:
    losses = Losses(db=1)
    losses.renew(0)
    losses.lose(1, "db", db=1)
    losses.renew(2)
    losses.lose(2 + life, "db", db=1)
    assert losses.ended == (life < 60)


def test_a_restart_that_a_failed_renewal_used_up_is_not_one_for_the_next_loss() -> None:
    losses = Losses(db=2)
    losses.renew(0)
    losses.lose(1, "db", db=1)
    losses.renew(9, db=2)
    losses.lose(10, "db", db=2)
    assert losses.ended
