"""A command as a job of a queue, which StreamFlow's batch connectors run.

A job may run on another machine, and later. Its streams are files in the home directory of the user, which has to be
the same on all machines: its input is complete before it is submitted, and its output comes when it has ended. The job
itself looks for signals, once a second; one that does not end when it is killed is removed from the queue.
"""

from __future__ import annotations

import logging
from shlex import join
from typing import Any, ClassVar, Final, cast
from uuid import uuid4

from anyio import move_on_after
from attrs import define, field
from streamflow.deployment.connector.queue_manager import QueueManagerConnector

from ...exceptions import WorkflowExecutionException
from .command import RemoteCommand
from .pumps import OpenReader

#: Seconds until a running job has certainly looked for signals.
_LISTENING: Final = 2.0
#: The exit status of a job that was removed: that of a command that was ended by SIGKILL.
_REMOVED: Final = 137

_logger = logging.getLogger("anydeploy")


@define(eq=False)
class JobCommand(RemoteCommand):
    """One job from its submission to its end."""

    job: ClassVar[bool] = True
    #: StreamFlow asks every few seconds whether the job has ended, as its setting ``pollingInterval`` says.
    vanishing: ClassVar[float] = 20.0
    #: It was removed from the queue: what StreamFlow says of its status then means nothing.
    _removed: bool = field(init=False, default=False)

    def _new_path(self) -> str:
        return f".anydeploy-{uuid4().hex}"

    def _launch(self) -> None:
        self._started = True
        self._stream(self._submit())
        self._begun.set()

    async def _submit(self) -> None:
        try:
            if self._stdin is not None and self.command.stdin is not None:
                await self._feed(self._stdin)
            if not self._left:
                await self._run_job()
                for name, output in self._outputs.items():
                    await output.run(self._output_of(name))
        finally:
            self.process.ended.set()

    def _output_of(self, name: str) -> OpenReader:
        return lambda: self._directory.open_reader("read", name)

    async def _run_job(self) -> None:
        """Run the job to its end. That it cannot be submitted is a failure of the command, and has an output, too."""
        path = self._directory.path
        try:
            result = await self.connector.run(
                self.location, ["sh", f"{path}/do", "job"], stdout=f"{path}/log", job_name=path.rpartition(".")[2]
            )
        except Exception as exc:  # noqa: BLE001 - an outcome: raised where the command was started
            self._failure = WorkflowExecutionException(f"`{join(self.command.argv)}` could not be run: {exc}")
            self._failure.__cause__ = exc
        else:
            if result is not None and not self._removed:
                self.process.status = result[1]

    def _leave(self) -> None:
        super()._leave()
        # Input that is not complete by now will never be.
        self._feeding.cancel()

    def _deliver(self, name: str) -> None:
        self._directory.send(self._directory.do("signal", name))
        if name == "KILL":
            self._directory.send(self._remove())

    async def _remove(self) -> None:
        """Remove the job from the queue, unless it ends in time.

        StreamFlow does that only when the connector is undeployed, and fails then.
        """
        ended = self.process.ended
        with move_on_after(_LISTENING):
            await ended.wait()
        connector: Any = self.connector
        if not ended.is_set() and isinstance(connector, QueueManagerConnector):
            scheduled = cast("dict[str, object]", cast("Any", connector)._scheduled_jobs)  # noqa: SLF001
            # The location is the job's own: it was asked for when this began.
            jobs = [job for job, location in scheduled.items() if location is self.location]
            if jobs:
                self._removed = True
                self.process.status = _REMOVED
                await cast("Any", connector)._remove_jobs(self.location, jobs)  # noqa: SLF001

    async def wait_gone(self) -> None:
        """Wait until the job has ended; the queue ends all that it has started."""
        await self.process.ended.wait()

    def _give_up(self) -> None:
        _logger.warning("the job of `%s` has not ended, and may still be in the queue", join(self.command.argv))
