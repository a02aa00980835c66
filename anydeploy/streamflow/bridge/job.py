"""A command as a job of a queue: what StreamFlow's batch connectors run.

It may run on another machine, and later. Its streams are files in the home directory of the user, which has to be the
same on all machines: its input is complete before it is submitted, and its output comes when it has ended. The job
itself looks for signals, once a second; one that does not end when it is to be killed is removed from the queue.
"""

from __future__ import annotations

import logging
import signal
from shlex import join
from typing import Any, ClassVar, cast
from uuid import uuid4

from anyio import move_on_after
from attrs import define, field
from streamflow.deployment.connector.queue_manager import QueueManagerConnector

from ...exceptions import WorkflowExecutionException
from .command import Keeper

#: Seconds until a running job has certainly looked for signals.
_LISTENING = 2.0

_logger = logging.getLogger("anydeploy")


@define(eq=False)
class JobKeeper(Keeper):
    """One job from its submission to its end."""

    job: ClassVar[bool] = True
    #: It is asked for every few seconds whether the job has ended, as StreamFlow's setting ``pollingInterval`` says.
    vanishing: ClassVar[float] = 20.0
    _directory: str = field(init=False, factory=lambda: f".anydeploy-{uuid4().hex}")
    _removed: bool = field(init=False, default=False)

    def _launch(self) -> None:
        self._target = "the job"
        self._stream(self._submit())
        self._begun.set()

    async def _submit(self) -> None:
        try:
            if self.stdin is not None and self.command.stdin is not None:
                await self._feed(self.stdin)
            if not self._left.is_set():
                try:
                    await self._run_job()
                except Exception as exc:  # noqa: BLE001 - an outcome: raised where the command was started
                    self._failure = WorkflowExecutionException(f"`{join(self.command.argv)}` could not be run: {exc}")
                    self._failure.__cause__ = exc
                for name, outlet in self._outlets():
                    await outlet.follow(self._reader("read", name))
        finally:
            self.over.set()

    async def _run_job(self) -> None:
        result = await self.connector.run(
            self.location,
            ["sh", f"{self._directory}/do", "job"],
            stdout=f"{self._directory}/log",
            job_name=self._directory.rpartition(".")[2],
        )
        if result is not None and not self._removed:
            self.status = result[1]

    def _leave(self) -> None:
        super()._leave()
        # What is not complete by now will never be.
        if self._feeding is not None:
            self._feeding.cancel()

    def _signal(self, number: int) -> None:
        super()._signal(number)
        if number == signal.SIGKILL:
            self._send(self._remove())

    def _words(self, name: str) -> list[str]:
        return [*self._do, "signal", name]

    async def _remove(self) -> None:
        """Remove it, waiting or running. StreamFlow does that only when the connector is undeployed, and then fails."""
        with move_on_after(_LISTENING):
            await self.over.wait()
        connector: Any = self.connector
        if not self.over.is_set() and isinstance(connector, QueueManagerConnector):
            scheduled = cast("dict[str, object]", cast("Any", connector)._scheduled_jobs)  # noqa: SLF001
            # The location is the job's own: it was asked for when this began.
            jobs = [job for job, location in scheduled.items() if location is self.location]
            if jobs:
                self._removed, self.status = True, 128 + signal.SIGKILL
                await cast("Any", connector)._remove_jobs(self.location, jobs)  # noqa: SLF001

    async def _gone(self) -> None:
        await self.over.wait()

    def _give_up(self) -> None:
        _logger.warning("the job of `%s` has not ended, and may still be in the queue", join(self.command.argv))
