"""The live view: a table on the terminal of all deployments, what they are doing, and for how long."""

from __future__ import annotations

from typing import IO, Any, cast

from anyio import current_time, sleep
from attrs import define, field
from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ..lifecycle import DeploymentEvent, DeploymentState, Step
from .output import Stream, clean, first_line, seconds
from .progress import Progress
from .tracker import TrackedDeployment, Tracker

REFRESH_INTERVAL = 0.25

#: Lines that the table takes beside its rows.
_TABLE_FRAME = 4

#: By phase; the others are dim.
_STYLES = {
    "live": "green",
    "deploying": "yellow",
    "retrying": "yellow",
    "undeploying": "cyan",
    "stuck": "bold red",
    "lost": "bold red",
    "renewing": "bold red",
    "failed": "red",
}


@define(eq=False)
class LiveProgress(Progress):
    """A table that is redrawn four times a second while deployments are in motion, with messages above it."""

    console: Console = field(kw_only=True)
    _live: Live | None = field(init=False, default=None)

    def show(self, deployment: TrackedDeployment, event: DeploymentEvent) -> None:
        # The table shows every step but the error of an attempt, which the next attempt replaces.
        if self.verbose or self._live is None or event.step is Step.ATTEMPT_FAILED:
            super().show(deployment, event)

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

    async def refresh(self) -> None:
        try:
            while True:
                await sleep(REFRESH_INTERVAL)
                if self._live is not None:
                    self._live.refresh()
        finally:
            self.pause()

    def _render(self) -> RenderableType:
        now = current_time()
        rows = list(self.tracker.deployments.values())
        room = max(self.console.height - _TABLE_FRAME, 1)
        if len(rows) > room:
            rows.sort(key=self._rank)
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        for title in ("deployment", "type", "state", "for", ""):
            table.add_column(title, no_wrap=True, overflow="ellipsis")
        for deployment in rows[:room]:
            table.add_row(*self._row(deployment, now))
        hidden = f"{len(rows) - room} more not shown; " if len(rows) > room else ""
        return Group(table, Text(f"{hidden}{self.tracker.counts()}", style="dim"))

    def _rank(self, deployment: TrackedDeployment) -> int:
        """Order the rows when there is no room for all: trouble first, then what is in motion."""
        if deployment.state in {DeploymentState.STUCK, DeploymentState.LOST} or deployment.failure is not None:
            return 0
        if deployment.step is Step.DEMANDED:
            return 2
        if deployment.state in {DeploymentState.DEPLOYING, DeploymentState.UNDEPLOYING}:
            return 1
        return 3 if deployment.state is DeploymentState.LIVE else 4

    def _row(self, deployment: TrackedDeployment, now: float) -> list[Any]:
        phase = deployment.phase
        details = "; ".join(filter(None, [self.tracker.details(deployment.name), first_line(deployment.problem)]))
        age = "" if deployment.state is DeploymentState.ABSENT else seconds(now - deployment.since)
        phase_cell = Text(phase, style=_STYLES.get(phase, "dim"))
        return [Text(deployment.name), Text(clean(deployment.type)), phase_cell, Text(age), Text(clean(details))]


def live_progress(tracker: Tracker, stream: Stream, *, verbose: bool) -> Progress:
    """Return the live view, or plain lines on a terminal that cannot show it."""
    console = Console(file=cast("IO[str]", stream), highlight=False)
    if not console.is_terminal or console.is_dumb_terminal:
        return Progress(tracker, stream, verbose=verbose)
    return LiveProgress(tracker, stream, verbose=verbose, console=console)
