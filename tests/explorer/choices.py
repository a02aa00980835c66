"""The questions that a scenario asks of the exploration that plays it.

Outside an exploration every choice goes the ordinary way, nothing is cancelled, and nothing is watched.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Player(Protocol):
    """An exploration, as seen from within the run that it plays."""

    def choose(self, ways: int, what: str) -> int: ...

    def cancellable(self, what: str, cancel: Callable[[], object]) -> Callable[[], None]: ...

    def watch(self, between_steps: Callable[[], object], at_rest: Callable[[], object] | None) -> None: ...


_player: Player | None = None


def play(player: Player | None) -> None:
    """Let ``player`` decide from now on; None ends that."""
    global _player  # noqa: PLW0603 - one event loop is explored at a time, and code deep inside it has to ask
    _player = player


def exploring() -> bool:
    """Return whether an exploration is under way."""
    return _player is not None


def choose(ways: int, what: str) -> int:
    """Choose one of several ways, and return its number, below ``ways``; 0 is the ordinary one."""
    return 0 if _player is None else _player.choose(ways, what)


def cancellable(what: str, cancel: Callable[[], object]) -> Callable[[], None]:
    """Offer ``cancel`` to be called between any two steps, until the function that is returned is called."""
    return _nothing if _player is None else _player.cancellable(what, cancel)


def watch(between_steps: Callable[[], object], at_rest: Callable[[], object] | None = None) -> None:
    """Have ``between_steps`` called after every step of the event loop, and ``at_rest`` whenever nothing can run.

    They are not coroutines, and must change nothing. The run fails with the exception that one of them raises.
    """
    if _player is not None:
        _player.watch(between_steps, at_rest)


def _nothing() -> None:
    pass
