"""Listeners that show what happens: as lines, and as JSON objects, one per line. The live view is in ``live``."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from anyio import current_time, sleep_forever
from attrs import define, field

from ..exceptions import describe
from ..lifecycle import DeploymentEvent, DeploymentState
from .board import Board, Entry, Failure, enumerate_names
from .output import Stream, clean, first_line, indented, seconds


@define(eq=False)
class Progress:
    """Plain lines on stderr, one per change of state.

    What it is told has a kind, which is a word for programs, and a text, which is for people.

    :ivar quiet: say only what is wrong
    :ivar verbose: say what is waited for, and show whole errors
    """

    board: Board
    stream: Stream
    quiet: bool = False
    verbose: bool = False

    def on_event(self, event: DeploymentEvent) -> None:
        entry = self.board.apply(event)
        if entry is not None:
            self.changed(entry, event)

    def changed(self, entry: Entry, event: DeploymentEvent) -> None:
        if not self.quiet:
            self.put(f"{event.when - self.board.began:8.3f}  {self.describe(entry, event)}")

    def describe(self, entry: Entry, event: DeploymentEvent) -> str:
        text = f"{entry.label}: {event.state}"
        waiting = self.board.waits_for(entry.name)
        if event.state is DeploymentState.LIVE and entry.took is not None:
            text += f" after {seconds(entry.took)}"
        elif waiting:
            text += f", waiting for {', '.join(waiting) if self.verbose else enumerate_names(waiting)}"
        if event.error is None:
            return text
        if entry.failure is Failure.BELOW:
            text += ", not started"
        error = describe(event.error)
        return f"{text}: {indented(error) if self.verbose else first_line(error)}"

    def notice(self, kind: str, text: str, **details: Any) -> None:  # noqa: ARG002 - for programs
        """Something worth knowing."""
        if not self.quiet:
            self.put(text)

    def problem(self, kind: str, text: str, **details: Any) -> None:  # noqa: ARG002 - for programs
        """Something that went wrong: said in any case."""
        self.put(f"error: {indented(text)}")

    def put(self, text: str) -> None:
        self.stream.line(clean(text))

    @property
    def unread(self) -> bool:
        """Whether a program was to read this, and has gone."""
        return False

    # -- For the live view -------------------------------------------------------------------------------------------

    def resume(self) -> None:
        """There is something in motion from now on."""

    def pause(self) -> None:
        """There is nothing in motion, or the terminal is somebody else's, until :meth:`resume`."""

    async def keep_fresh(self) -> None:
        """A task that runs as long as the command does."""
        await sleep_forever()


@define(eq=False)
class JsonProgress(Progress):
    """One JSON object per line on stdout, for everything; problems are on stderr as well.

    :ivar data: stdout
    """

    data: Stream = field(kw_only=True)

    def changed(self, entry: Entry, event: DeploymentEvent) -> None:
        self._write(
            "state",
            event.when,
            name=entry.name,
            type=entry.type,
            state=str(event.state),
            waiting_for=self.board.waits_for(entry.name),
            error=None if event.error is None else describe(event.error),
        )

    def notice(self, kind: str, text: str, **details: Any) -> None:
        self._write(kind, current_time(), message=text, **details)

    def problem(self, kind: str, text: str, **details: Any) -> None:
        self._write(kind, current_time(), message=text, **details)
        super().problem(kind, text)

    @property
    def unread(self) -> bool:
        return self.data.broken

    def _write(self, kind: str, when: float, **details: Any) -> None:
        elapsed = round(when - self.board.began, 6)
        record = {"event": kind, "time": datetime.now(UTC).isoformat(), "elapsed": elapsed, **details}
        self.data.line(json.dumps(record))
