"""What a scenario can come to, found by merging equal states and without merging them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import Any

from .exploration import undisturbed
from .play import Limits
from .search import Search
from .state import StateReader

#: Outside of all states: it may grow without making a difference.
_recorded: set[object] = set()


def record(outcome: object) -> None:
    """Called by a scenario at its end: what it came to."""
    _recorded.add(outcome)


def outcomes(
    scenario: Callable[[], Awaitable[object]],
    backend: str,
    *,
    merge: bool,
    bound: int | None = None,
    cancellations: int = 0,
    failures: int = 0,
    callbacks: bool = False,
    most: int = 100_000,
) -> tuple[set[object], int]:
    """What the scenario recorded and how it failed, in all its runs, and their number."""
    module: Any = import_module(f"explorer.{'trio_hook' if backend == 'trio' else 'asyncio_loop'}")
    reader = _reader(module, ordered=bound is not None) if merge else None
    search = Search(Limits(cancellations, failures, bound, callbacks=callbacks), reader)
    _recorded.clear()
    with undisturbed(backend):
        while not search.complete and search.schedules < most:
            failed = search.run(scenario, module.run, most)
            if failed is not None:
                record(type(failed.failure).__name__)
    assert search.complete, f"more than {most} runs"
    return set(_recorded), search.schedules


def _reader(module: Any, *, ordered: bool) -> StateReader:
    return StateReader(module.readings(ordered=ordered), module.left_out(ordered=ordered))
