"""What the scripted world asks of an exploration, if one is under way.

Whatever can happen in more than one way is asked for here. Outside an exploration the first way is taken, nobody is
cancelled, and a broken rule is only written down.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from anyio import current_time


class Player(Protocol):
    """An exploration, as seen from within the run that it plays."""

    def choose(self, ways: int, what: str) -> int:
        """Which of several ways something goes: a number below ``ways``. Way 0 is the ordinary one."""
        ...

    def cancellable(self, what: str, cancel: Callable[[], object]) -> Callable[[], None]:
        """From now on ``cancel`` may be called between any two steps. Returns what takes that back."""
        ...

    def watch(self, between_steps: Callable[[], object], at_rest: Callable[[], object] | None) -> None:
        """Call a function after every step from now on, and another one whenever nothing can run."""
        ...

    def violated(self, violation: Exception) -> None:
        """A rule has been broken: this run ends after the step that it is at."""
        ...

    def now(self) -> float:
        """Seconds on the clock of the event loop."""
        ...


_player: Player | None = None


def play(player: Player | None) -> None:
    """Let ``player`` decide from now on, or nobody."""
    global _player  # noqa: PLW0603 - one event loop is explored at a time, and code deep inside it has to ask
    _player = player


def exploring() -> bool:
    """Whether an exploration is under way."""
    return _player is not None


def choose(ways: int, what: str) -> int:
    """Which of several ways something goes: a number below ``ways``; 0, the ordinary way, outside an exploration."""
    return 0 if _player is None else _player.choose(ways, what)


def cancellable(what: str, cancel: Callable[[], object]) -> Callable[[], None]:
    """Offer something to be cancelled between any two steps, until the function that is returned is called."""
    return _nothing if _player is None else _player.cancellable(what, cancel)


def watch(between_steps: Callable[[], object], at_rest: Callable[[], object] | None = None) -> None:
    """Have ``between_steps`` called after every step of the event loop, and ``at_rest`` whenever nothing can run.

    They are not coroutines, and must change nothing. What they raise is what was found. Outside an exploration nothing
    is watched.
    """
    if _player is not None:
        _player.watch(between_steps, at_rest)


def violated(violation: Exception) -> None:
    """Say that a rule has been broken."""
    if _player is not None:
        _player.violated(violation)


def now() -> float:
    """Seconds on the clock of the event loop; an exploration knows which one is running without having to look."""
    return current_time() if _player is None else _player.now()


def _nothing() -> None:
    pass
