"""The picture that is made of events, without an event loop."""

from __future__ import annotations

from anydeploy.cli.board import Board, enumerate_names

from anydeploy import DeploymentConfig, DeploymentEvent, DeploymentState
from anydeploy.cli.loading import select
from anydeploy.cli.output import clean, seconds

DEPLOYING, LIVE = DeploymentState.DEPLOYING, DeploymentState.LIVE
UNDEPLOYING, ABSENT, LOST = DeploymentState.UNDEPLOYING, DeploymentState.ABSENT, DeploymentState.LOST


def _board(**depends_on: str) -> Board:
    configs = {name: DeploymentConfig(name, "t", depends_on=on.split()) for name, on in depends_on.items()}
    return Board(select(configs, ()), 0.0)


def _apply(board: Board, when: float, error: Exception | None = None, **states: DeploymentState) -> None:
    for name, state in states.items():
        board.apply(DeploymentEvent(name, state, when, error))


def test_who_waits_for_whom() -> None:
    board = _board(db="", web="db", top="web db")
    _apply(board, 0, db=DEPLOYING, web=DEPLOYING, top=DEPLOYING)
    assert [board.waits_for(name) for name in ("db", "web", "top")] == [[], ["db"], ["web", "db"]]
    _apply(board, 1, db=LIVE, web=LIVE, top=LIVE)
    assert not board.waits_for("top")
    assert not board.waits_for("db")
    board.stopping = True
    assert board.waits_for("db") == ["web", "top"]
    _apply(board, 2, top=UNDEPLOYING)
    _apply(board, 3, top=ABSENT)
    assert board.waits_for("db") == ["web"]


def test_the_tree_shows_what_is_shared_once() -> None:
    board = _board(db="", net="db", web="net", api="net", up="")
    _apply(board, 0, up=DEPLOYING, db=DEPLOYING, net=DEPLOYING, web=DEPLOYING, api=DEPLOYING)
    _apply(board, 1, up=LIVE)
    assert board.starting_tree(2).splitlines() == [
        "web (t): waiting for net, 2.0 s",
        "  net (t): waiting for db, 2.0 s",
        "    db (t): deploying, 2.0 s",
        "api (t): waiting for net, 2.0 s",
        "  net (t): waiting for db, 2.0 s (see above)",
    ]


def test_the_tree_of_a_long_chain_is_cut() -> None:
    chain = {f"d{number}": f"d{number - 1}" if number else "" for number in range(5000)}
    board = _board(**chain)
    _apply(board, 0, **dict.fromkeys(chain, DEPLOYING))
    lines = board.starting_tree(1).splitlines()
    assert len(lines) == 201
    assert max(map(len, lines)) < 200


def test_who_failed_and_who_was_not_started() -> None:
    board = _board(db="", web="db")
    error = ValueError("no")
    _apply(board, 0, db=DEPLOYING, web=DEPLOYING)
    _apply(board, 1, error, db=UNDEPLOYING, web=ABSENT)
    _apply(board, 2, db=ABSENT)
    assert [entry.name for entry in board.failed()] == ["db"]
    assert [entry.shown_state for entry in board.entries.values()] == ["failed", "not started"]
    assert board.counts() == "1 failed, 1 not started"
    assert board.describe("db", 3) == "db (t): failed, 1.0 s: ValueError: no"
    assert not board.present()


def test_a_loss_is_shown_until_the_teardown() -> None:
    board = _board(db="")
    _apply(board, 0, db=DEPLOYING)
    _apply(board, 1, db=LIVE)
    _apply(board, 2, ValueError("gone"), db=LOST)
    assert board.entries["db"].shown_state == "lost"
    _apply(board, 3, db=UNDEPLOYING)
    assert board.entries["db"].shown_state == "undeploying"


def test_what_is_implicit_is_not_shown() -> None:
    board = _board(db="")
    assert board.apply(DeploymentEvent("__LOCAL__", DEPLOYING, 0)) is None
    assert list(board.entries) == ["db"]


def test_texts() -> None:
    assert enumerate_names("abcdefg") == "a, b, c, d, e and 2 more"
    assert [seconds(s) for s in (0.04, 9.94, 12.7, 125, 3720)] == ["0.0 s", "9.9 s", "12 s", "2 m 05 s", "1 h 02 m"]
    assert clean("a\x1b[31m\tb\n\x07") == "a\\x1b[31m\tb\n\\x07"
