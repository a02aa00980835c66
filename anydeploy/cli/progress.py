"""The views of a command's progress: plain lines, and JSON objects, one per line. The live view is in ``live``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from anyio import current_time, sleep_forever
from attrs import define, field

from ..exceptions import describe
from ..lifecycle import DeploymentEvent, Step
from .output import Stream, clean, first_line, indented, seconds
from .tracker import TrackedDeployment, Tracker, attempt, enumerate_names

#: Steps that the line of another step implies: shown only on request.
_VERBOSE_ONLY = frozenset({Step.DEMANDED, Step.ABORTED, Step.RENEWED, Step.RESTARTED})

#: Steps whose error stands in the line of the deployment to blame.
_CULPRIT_SHOWS_ERROR = frozenset({Step.FAILED_BELOW, Step.LOST})

#: The text of each step; that of the others is the state alone.
_LINES: Mapping[Step, str] = {
    Step.DEMANDED: "waiting for {awaited}",
    Step.BEGUN: "{state}{number}",
    Step.ATTEMPT_FAILED: "{state}, {failed} after {worked}",
    Step.ABORTED: "{state}, given up",
    Step.DEPLOYED: "{state} after {worked}",
    Step.FAILED: "{state}, {failed} after {worked}",
    Step.FAILED_BELOW: "{state}, not started",
    Step.DROPPED: "{state}, not started",
    Step.GIVEN_UP: "{state}, given up after {worked}",
    Step.LOST: "{state} after {lived}",
    Step.RENEWED: "{state}, to be renewed",
    Step.RESTARTED: "{state}, to be restarted",
    Step.KEPT: "{state} still, not renewed",
    Step.RETRIED: "{state} once more",
}


@define(eq=False)
class Progress:
    """Plain lines on stderr, one for each step of a deployment.

    Notices and problems have a kind, a word for programs, and a text for people.

    :ivar quiet: show problems only
    :ivar verbose: show every step, all names that are waited for, and whole errors
    """

    tracker: Tracker
    stream: Stream
    quiet: bool = False
    verbose: bool = False

    def on_event(self, event: DeploymentEvent) -> None:
        """Take over an event and show it. Events of deployments outside the selection are skipped."""
        deployment = self.tracker.apply(event)
        if deployment is not None:
            self.show(deployment, event)

    def show(self, deployment: TrackedDeployment, event: DeploymentEvent) -> None:
        """Show the event that has just been applied to a deployment."""
        if not self.quiet and (self.verbose or event.step not in _VERBOSE_ONLY):
            self.put(f"{event.when - self.tracker.started_at:8.3f}  {self.describe(deployment, event)}")

    def describe(self, deployment: TrackedDeployment, event: DeploymentEvent) -> str:
        """Return the line on an event: the state of the deployment, what led to it, and the error if there is one."""
        names = self.tracker.waits_for(deployment.name)
        number = attempt(event)
        text = _LINES.get(event.step, "{state}").format(
            state=event.state,
            awaited=(", ".join(names) if self.verbose else enumerate_names(names)) or "its turn",
            number=f", {number}" if number else "",
            failed=f"{number} failed".lstrip(),
            worked=seconds(event.when - deployment.attempted_at),
            lived=seconds(event.when - deployment.live_at),
        )
        culprit = f" because of {event.because}" if event.because is not None else ""
        text = f"{deployment.label}: {text}{culprit}"
        told_by_culprit = event.because is not None and event.step in _CULPRIT_SHOWS_ERROR
        if event.error is None or (told_by_culprit and not self.verbose):
            return text
        error = describe(event.error)
        return f"{text}: {indented(error) if self.verbose else first_line(error)}"

    def notice(self, kind: str, text: str, **details: Any) -> None:  # noqa: ARG002 - for programs
        """Show something worth knowing."""
        if not self.quiet:
            self.put(text)

    def problem(self, kind: str, text: str, **details: Any) -> None:  # noqa: ARG002 - for programs
        """Show something that went wrong, even if told to be quiet."""
        self.put(f"error: {indented(text)}")

    def put(self, text: str) -> None:
        """Write a line, free of control characters."""
        self.stream.line(clean(text))

    @property
    def broken_pipe(self) -> bool:
        """Whether the program that was to read the output has gone."""
        return False

    # -- For the live view -------------------------------------------------------------------------------------------

    def resume(self) -> None:
        """Take note that deployments are in motion from now on."""

    def pause(self) -> None:
        """Take note that nothing is in motion, or that the terminal is another program's, until :meth:`resume`."""

    async def refresh(self) -> None:
        """Redraw from time to time, until cancelled."""
        await sleep_forever()


@define(eq=False)
class JsonProgress(Progress):
    """One JSON object per line on stdout for everything that happens. Problems are shown on stderr as well.

    :ivar data: stdout
    """

    data: Stream = field(kw_only=True)

    def show(self, deployment: TrackedDeployment, event: DeploymentEvent) -> None:
        self._write(
            "state",
            event.when,
            name=deployment.name,
            type=deployment.type,
            state=str(event.state),
            step=event.step.name.lower(),
            attempt=event.attempt,
            attempts=event.attempts,
            because=event.because,
            waiting_for=self.tracker.waits_for(deployment.name),
            error=None if event.error is None else describe(event.error),
        )

    def notice(self, kind: str, text: str, **details: Any) -> None:
        self._write(kind, current_time(), message=text, **details)

    def problem(self, kind: str, text: str, **details: Any) -> None:
        self._write(kind, current_time(), message=text, **details)
        super().problem(kind, text)

    @property
    def broken_pipe(self) -> bool:
        return self.data.broken

    def _write(self, kind: str, when: float, **details: Any) -> None:
        elapsed = round(when - self.tracker.started_at, 6)
        record = {"event": kind, "time": datetime.now(UTC).isoformat(), "elapsed": elapsed, **details}
        self.data.line(json.dumps(record))
