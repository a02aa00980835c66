"""The queue of Slurm, as one script beside ``sbatch`` sees it: a session whose commands are jobs.

The script takes these orders on its stdin, a line each, beside ``signal``, ``end`` and ``done`` of every session::

    command T DATA     the shell text that becomes the command; likewise ``options`` (``set -- ...``) and ``script``
    held T             it is an allocation: at the end of the orders, its steps may end before it
    submit T           submit it, once; an answer that is lost is looked up by the comment of the job
    conclude T HOW     the job is over, and should have told a status: look for it, and end its streams

Reports are those of a session, and ``submitted T ID``, ``failed T PROBLEM``, ``ended T STATUS [asked]`` (``asked``: the
job was told to end), ``silent T STATE LAST`` (the job is over without a status; the last line of its log). ``looking``,
``state T STATE REASON`` ..., ``looked`` is one answer of ``squeue`` about all jobs; ``same`` stands for the states of
the answer before, and ``unreachable - PROBLEM`` is no answer.

Each job tells by two files, which are made whole under another name, that it has begun, and how it has ended. So the
queue is asked only about jobs that cannot tell. At the end of the orders the script cancels all jobs.
"""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from subprocess import DEVNULL, PIPE
from typing import Final

from anyio import CancelScope, create_task_group, move_on_after
from anyio.abc import Process
from attrs import define, field

from ..command import Command
from ..exceptions import ConnectionLostError
from ..quoting import escape, join
from ..streams import discard
from ._remote_process import begin
from ._slurm_job import JobError, JobProcess, JobSpec
from .session import Session, read_script

logger = logging.getLogger("anydeploy.connectors")

_SCRIPT: Final = read_script("slurm_queue.sh")
#: The script looks for news of jobs so many times a second.
_TICKS: Final = 10
#: Seconds for the output of a job to arrive in a file, after its end.
_DELIVERY: Final = 10.0
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9]+")


def job_label(deployment: str, token: str) -> str:
    """Return the beginning of the names of all jobs and directories of a deployment."""
    return f"anydeploy-{_UNSAFE.sub('-', deployment).strip('-')}-{token}"


def queue_script(directory: str | None, interval: float) -> str:
    """Return the script of a queue.

    :param directory: the one for its files, which the nodes share; None: the home directory
    :param interval: seconds between two questions about all jobs
    """
    return f'set -- "$@" {join([directory or "", str(max(1, round(interval * _TICKS)))])}\n{_SCRIPT}'


@define(eq=False)
class JobQueue(Session):
    """The queue; it is opened and closed as other sessions are.

    :ivar label: the name of its jobs, unless they have another one
    """

    label: str = field(default="", kw_only=True)
    #: The jobs that Slurm knew before it was asked.
    _asked: set[str] = field(init=False, factory=set[str])
    #: Those of the last answer.
    _present: set[str] = field(init=False, factory=set[str])
    #: Those of the answer that is being given; None: it is the same again.
    _answered: set[str] | None = field(init=False, factory=set[str])
    #: The last problem with asking, until there is an answer again.
    _silence: str | None = field(init=False, default=None)

    @asynccontextmanager
    async def start(self, command: Command) -> AsyncGenerator[Process, None]:
        """Run a command as a job that is not specified any further."""
        async with self.start_job(command, JobSpec()) as process:
            yield process

    @asynccontextmanager
    async def start_job(
        self, command: Command, spec: JobSpec, on_fact: Callable[[str, str], None] | None = None
    ) -> AsyncGenerator[JobProcess, None]:
        """Run a command as a job; the block is entered when it has begun.

        Leaving the block ends the job, wherever it stands: none is left in the queue, or a JobError says so.

        :param on_fact: told the id of the job, and its node
        :raises StartError: if there is no such program or workdir
        :raises JobError: if the job is refused, or has ended before the command began, or cannot be ended
        :raises ConnectionLostError: if the queue is lost
        """
        if self.problem is not None:
            raise ConnectionLostError(self.problem)
        token = f"t{next(self._numbers)}"
        process = JobProcess(command, token, self.name, self.order, on_fact=on_fact)
        self.order("command", token, escape(begin(command, "")))
        self.order("options", token, escape(f"set -- {join(self._options(process, spec))}\n"))
        words = join(["sh", f"{self.facts['dir']}/job", token, process.streams])
        self.order("script", token, escape(spec.script.replace("\0", words)))
        if spec.held:
            self.order("held", token)
        self.order("submit", token)
        self.commands[token] = process
        try:
            try:
                await process.begun.wait()
                await process.check_begun()
                async with self._joined(process):
                    yield process
            finally:
                with CancelScope(shield=True):
                    await self._end_job(process)
        finally:
            process.give_up()
            del self.commands[token]
            self._present.discard(token)
            self.order("done", token)

    def _options(self, process: JobProcess, spec: JobSpec) -> list[str]:
        return [
            f"--job-name={self.label}",
            *spec.options,
            "--no-requeue",
            f"--comment={self.name}.{process.token}",
            f"--output={self.facts['dir']}/{process.token}.log",
        ]

    @asynccontextmanager
    async def _joined(self, process: JobProcess) -> AsyncGenerator[None, None]:
        """Open a block in which the streams of a job are those of its process."""
        if process.streams == "-":
            yield
            return
        argv = ("sh", f"{self.facts['dir']}/streams", process.token, process.streams)
        process.pump_files()
        # A stream that is not joined has no end to wait for.
        stdout, stderr = (PIPE if each in process.streams else DEVNULL for each in "oe")
        client = Command(argv, stdin=process.command.stdin, stdout=stdout, stderr=stderr, grace=0)
        async with self.beside(client) as streams:
            process.attach(streams)
            if self._tasks is not None:
                self._tasks.start_soon(process.deliver)
            try:
                yield
            finally:
                with CancelScope(shield=True):
                    await self._leave_job(process)

    async def _leave_job(self, process: JobProcess) -> None:
        """End a job whose output is not read any more, or wait until that has arrived in files."""
        async with create_task_group() as tasks:
            for stream in (process.stdout, process.stderr):
                tasks.start_soon(discard, stream)
            if process.has_to_be_ended:
                await self.terminator.end(process, process.command.grace)
            with move_on_after(_DELIVERY):
                await process.delivered()
            tasks.cancel_scope.cancel()

    async def _end_job(self, process: JobProcess) -> None:
        if process.has_to_be_ended and not await self.terminator.end(process, process.command.grace):
            problem = f"job {process.job} for `{process.command.argv[0]}` could not be cancelled"
            raise JobError(f"{problem}: {self._silence or 'it is still in the queue'}", process.job, process.state)

    # -- Answers of the queue ----------------------------------------------------------------------------------------

    def _report(self, line: str) -> None:
        kind, _, rest = line.partition(" ")
        match kind if self.opened.is_set() else "":
            case "looking":
                self._asked = {token for token, process in self._jobs() if process.job is not None}
                self._answered = set()
            case "same":
                self._answered = None
            case "looked":
                self._look_for_absent()
            case "unreachable":
                problem = rest.removeprefix("- ")
                if self._silence is None:
                    logger.warning("Slurm does not answer: %s; jobs go on, and are asked for again", problem)
                self._silence = problem
            case _:
                if kind == "state" and self._answered is not None:
                    self._answered.add(rest.partition(" ")[0])
                super()._report(line)

    def _look_for_absent(self) -> None:
        """Take note of the jobs that an answer should have contained."""
        self._silence = None
        if self._answered is not None:
            self._present = self._answered
        for token, process in self._jobs():
            if token in self._asked and token not in self._present:
                process.vanished()

    def _jobs(self) -> list[tuple[str, JobProcess]]:
        return [(token, each) for token, each in self.commands.items() if isinstance(each, JobProcess)]
