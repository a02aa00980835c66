"""A command that runs as a job of Slurm."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Mapping
from subprocess import DEVNULL, PIPE
from typing import Final

from anyio.abc import ByteReceiveStream
from attrs import define, field, frozen

from ..exceptions import WorkflowExecutionException
from ._remote_process import RemoteProcess, is_special

logger = logging.getLogger("anydeploy.connectors")

#: The states of jobs that are over and will not come back. Others wait, run, or are about to end.
OVER: Final = frozenset(
    {
        *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "LAUNCH_FAILED", "NODE_FAIL", "OUT_OF_MEMORY"),
        *("PREEMPTED", "RECONFIG_FAIL", "REVOKED", "TIMEOUT"),
    }
)
#: The ends of jobs that Slurm has stopped, whatever their commands have made of it.
_STOPPED: Final[Mapping[str, str]] = {
    "BOOT_FAIL": "could not run, because its node did not start",
    "CANCELLED": "was cancelled",
    "DEADLINE": "was stopped at its deadline",
    "LAUNCH_FAILED": "could not be launched",
    "NODE_FAIL": "has lost its node",
    "OUT_OF_MEMORY": "ran out of memory",
    "PREEMPTED": "was preempted",
    "RECONFIG_FAIL": "could not run, because its node could not be configured",
    "REVOKED": "was revoked",
    "TIMEOUT": "has reached its time limit",
}
#: The cause if the job says none.
_SHARED: Final = "; its nodes have to share the setting `directory` with the host of sbatch"
_WAITING: Final = frozenset({"PENDING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT", "CONFIGURING"})


class JobError(WorkflowExecutionException):
    """A job was refused, or has ended without a status of its command.

    :ivar job: its id; None if it has none
    :ivar state: its last state, as Slurm calls it; empty if it is not known
    """

    def __init__(self, problem: str, job: str | None = None, state: str = "") -> None:
        self.job = job
        self.state = state
        super().__init__(problem)


def stopped(state: str) -> str | None:
    """Return what has become of a job that Slurm has stopped; None of one that ended by itself."""
    return _STOPPED.get(state)


def explain_silence(state: str, last: str = "") -> str:
    """Return what has become of a job that has not told the status of its command.

    :param last: the last line of its log, which is likely to be the cause
    """
    said = f": {last}" if last else ""
    if state == "COMPLETED":
        return f"has ended without a word{said}{_SHARED}"
    if state == "FAILED":
        return f"was killed, or could not run its script{said}{_SHARED}"
    unknown = f"is not known to Slurm any more, and has not told its status (state: {state or 'none'})"
    return _STOPPED.get(state, unknown) + said


@frozen
class JobSpec:
    """The things that are said about a job beside its command.

    :ivar options: arguments of ``sbatch``
    :ivar script: the batch script, in which a null character stands for the command
    :ivar held: it is an allocation: at the end of everything, its other steps may end before it
    """

    options: tuple[str, ...] = ()
    script: str = "#!/bin/sh\ntrap : HUP INT QUIT TERM USR1 USR2\n\0\n"
    held: bool = False


@define(eq=False)
class JobProcess(RemoteProcess):
    """A command in a job.

    ``wait`` raises a :class:`JobError` where the job has ended without a status of its command.

    :ivar job: the id; None until it is known
    :ivar node: the node on which it has begun
    :ivar state: the last that is known of it, as Slurm calls it
    """

    #: Called when the id or the node is known.
    on_fact: Callable[[str, str], None] | None = None
    job: str | None = field(init=False, default=None)
    node: str | None = field(init=False, default=None)
    state: str = field(init=False, default="")
    #: A status that may come from Slurm's having stopped the job: its last state decides.
    _doubtful: int | None = field(init=False, default=None)
    _failure: JobError | None = field(init=False, default=None)
    _raw_stderr: ByteReceiveStream | None = field(init=False, default=None)

    # -- Its streams -------------------------------------------------------------------------------------------------

    @property
    def streams(self) -> str:
        """The streams that have to be joined with those of the job, for the script; ``-`` if there are none."""
        command = self.command
        stdin = "i" if command.stdin != DEVNULL else ""
        stdout = "o" if command.stdout == PIPE or not is_special(command.stdout) else ""
        stderr = "e" if command.stderr == PIPE or not is_special(command.stderr) else ""
        return stdin + stdout + stderr or "-"

    # -- Reports of the queue ----------------------------------------------------------------------------------------

    def told(self, kind: str, details: str) -> None:
        match kind:
            case "submitted":
                self.job = details
                self._fact("job", details)
                logger.info("job %s was submitted for `%s`", details, self.command.argv[0])
            case "failed":
                self.fail(JobError(f"the job for `{self.command.argv[0]}` was not submitted: {details}"))
            case "begun":
                pid, _, node = details.partition(" ")
                self.node = node
                self._fact("node", node)
                super().told(kind, pid)
            case "ended":
                status, _, asked = details.partition(" ")
                if (asked or int(status) >= 128) and not self.requests.made and self.state not in OVER:
                    self._doubtful = int(status)
                elif self.state in OVER and not self.requests.made and stopped(self.state):
                    self._fail_as(stopped(self.state) or "")
                else:
                    self._end(int(status))
            case "state":
                state, _, reason = details.partition(" ")
                self._note(state, reason)
            case "silent":
                state, _, last = details.partition(" ")
                self.state = state if state != "-" else self.state
                self._conclude_silent(last)
            case _:
                super().told(kind, details)

    def _note(self, state: str, reason: str) -> None:
        if state == self.state:
            return
        if state in _WAITING:
            logger.info("job %s for `%s` is %s (%s)", self.job, self.command.argv[0], state.lower(), reason)
        self.state = state
        if state not in OVER:
            return
        if self._doubtful is not None:
            problem = stopped(state)
            if problem is not None and not self.requests.made:
                self._fail_as(problem)
            else:
                self._end(self._doubtful)
        if self.ended.is_set():
            self.gone.set()
        else:
            # Its last words may be a little behind.
            self._order("conclude", self.token, "known")

    def vanished(self) -> None:
        """Take note that Slurm has forgotten the job."""
        if self.state not in OVER and not self.gone.is_set():
            self.state = "COMPLETED"
            if self.ended.is_set():
                self.gone.set()
            else:
                self._order("conclude", self.token, "absent")

    def _conclude_silent(self, last: str) -> None:
        if not self.ended.is_set():
            if self.requests.made:
                self._end(128 + (signal.SIGKILL if self.requests.killed else signal.SIGTERM))
            else:
                self._fail_as(explain_silence(self.state, last))
        self.gone.set()

    def _fail_as(self, problem: str) -> None:
        self.fail(JobError(f"job {self.job} for `{self.command.argv[0]}` {problem}", self.job, self.state))

    def fail(self, error: JobError) -> None:
        """Take note that there will be no status."""
        self._failure = self._failure or error
        self.begun.set()
        self.ended.set()
        self.gone.set()

    def _end(self, status: int) -> None:
        super()._end(status)
        if self.state in OVER:
            self.gone.set()

    def _fact(self, key: str, value: str) -> None:
        if self.on_fact is not None:
            self.on_fact(key, value)

    # -- What its caller is given ------------------------------------------------------------------------------------

    async def check_begun(self) -> None:
        if self._failure is not None and self._pid == 0:
            raise JobError(str(self._failure), self._failure.job, self._failure.state)
        await super().check_begun()

    @property
    def is_settled(self) -> bool:
        return True

    async def wait_gone(self) -> None:
        await self.gone.wait()

    async def wait(self) -> int:
        await self.ended.wait()
        if self._failure is not None:
            raise JobError(str(self._failure), self._failure.job, self._failure.state)
        return await super().wait()
