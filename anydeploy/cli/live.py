"""The live view: a table on the terminal of everything that is in motion, and what it waits for."""

from __future__ import annotations

from typing import IO, Any, cast

from anyio import current_time, sleep
from attrs import define, field
from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ..lifecycle import DeploymentEvent, DeploymentState
from .board import Board, Entry, enumerate_names
from .output import Stream, clean, first_line, seconds
from .progress import Progress

_PAUSE = 0.25
_STYLES = {
    "live": "green",
    "deploying": "yellow",
    "undeploying": "cyan",
    "stuck": "bold red",
    "lost": "bold red",
    "failed": "red",
}


@define(eq=False)
class LiveProgress(Progress):
    """A table that is redrawn four times a second, while something is in motion; what is said stands above it."""

    console: Console = field(kw_only=True)
    _live: Live | None = field(init=False, default=None)

    def changed(self, entry: Entry, event: DeploymentEvent) -> None:
        if self.verbose or (self._live is None and event.state is DeploymentState.LOST):
            super().changed(entry, event)

    def put(self, text: str) -> None:
        if self._live is None:
            super().put(text)
        else:
            self.console.print(Text(clean(text)), soft_wrap=True)

    def resume(self) -> None:
        if self._live is None:
            live = Live(
                console=self.console,
                auto_refresh=False,
                get_renderable=self._render,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            live.start()
            self._live = live

    def pause(self) -> None:
        live, self._live = self._live, None
        if live is not None:
            live.stop()

    async def keep_fresh(self) -> None:
        try:
            while True:
                await sleep(_PAUSE)
                if self._live is not None:
                    self._live.refresh()
        finally:
            self.pause()

    def _render(self) -> RenderableType:
        now = current_time()
        rows = sorted(self.board.entries.values(), key=self._rank)
        room = max(self.console.height - 4, 1)
        shown = rows if len(rows) <= room else rows[:room]
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        for title in ("deployment", "type", "state", "for", "waiting for"):
            table.add_column(title, no_wrap=True, overflow="ellipsis")
        for entry in shown:
            table.add_row(*self._row(entry, now))
        counts = self.board.counts()
        rest = f"{len(rows) - len(shown)} more not shown; " if len(shown) < len(rows) else ""
        return Group(table, Text(f"{rest}{counts}", style="dim"))

    def _rank(self, entry: Entry) -> int:
        """What is in motion comes first when there is not room for all."""
        if len(self.board.entries) <= self.console.height - 4:
            return 0
        if entry.state is DeploymentState.STUCK or entry.failure is not None or entry.lost:
            return 0
        waits = bool(self.board.waits_for(entry.name))
        if entry.state in {DeploymentState.DEPLOYING, DeploymentState.UNDEPLOYING}:
            return 2 if waits else 1
        return 3 if entry.state is DeploymentState.LIVE else 4

    def _row(self, entry: Entry, now: float) -> list[Any]:
        state = entry.shown_state
        waiting = self.board.waits_for(entry.name)
        detail = enumerate_names(waiting) if waiting else first_line(entry.problem)
        age = "" if entry.state is DeploymentState.ABSENT else seconds(now - entry.since)
        state_cell = Text(state, style=_STYLES.get(state, "dim"))
        return [Text(entry.name), Text(clean(entry.type)), state_cell, Text(age), Text(clean(detail))]


def live_progress(board: Board, stream: Stream, *, verbose: bool) -> Progress:
    """The live view, or plain lines on a terminal that cannot show it."""
    console = Console(file=cast("IO[str]", stream), highlight=False)
    if not console.is_terminal or console.is_dumb_terminal:
        return Progress(board, stream, verbose=verbose)
    return LiveProgress(board, stream, verbose=verbose, console=console)
