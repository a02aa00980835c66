"""The byte streams of running commands: feeding input and collecting output."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import cast

from anyio import BrokenResourceError, BusyResourceError, ClosedResourceError, Event, create_task_group, move_on_after
from anyio.abc import ByteReceiveStream, ByteSendStream, Process
from attrs import define, field, frozen

from .exceptions import WorkflowExecutionException

#: Seconds for which output is still read after a command has ended: programs that it left in the background may hold
#: the pipes open for ever.
DRAIN = 1.0

#: The statuses of a program that wrote to a pipe that nothing reads any more.
CUT_OFF = frozenset({-13, 128 + 13})

_LINES_SHOWN = 20


def last_lines(output: bytes | bytearray, count: int = _LINES_SHOWN) -> str:
    """Return the last lines of a command's output, for an error."""
    return "\n".join(output.decode(errors="replace").splitlines()[-count:])


@frozen
class Completed:
    """A command that has ended: its exit status and its output."""

    returncode: int
    stdout: bytes
    stderr: bytes


@define(eq=False)
class Collector:
    """Collects all bytes of a stream.

    :ivar data: what has arrived so far
    """

    data: bytearray = field(factory=bytearray)
    _ended: Event = field(factory=Event)

    async def collect(self, stream: ByteReceiveStream | None) -> None:
        """Read a stream until it ends or breaks. None is an empty one."""
        if stream is not None:
            try:
                async for chunk in stream:
                    self.data += chunk
            except (BrokenResourceError, ClosedResourceError):
                pass
        self._ended.set()

    async def ended(self) -> None:
        await self._ended.wait()


class ExactProcess(Process):
    """A process whose streams end with it, even if programs that it left in the background hold them open.

    Its output may still be on its way when it has ended, and is read to its end, however long that takes.
    """


async def communicate(process: Process, data: bytes | None) -> Completed:
    """Feed ``data`` to a process, wait until it ends, and return its exit status and output.

        completed = await communicate(process, b"input")
        print(completed.returncode, completed.stdout)

    If cancelled, the process is left alone.

    :raises WorkflowExecutionException: if its status is not known: a :class:`ConnectionLostError` where the way to its
        environment was lost
    """
    stdout, stderr = Collector(), Collector()
    lost: WorkflowExecutionException | None = None
    async with create_task_group() as tasks:
        tasks.start_soon(stdout.collect, process.stdout)
        tasks.start_soon(stderr.collect, process.stderr)
        if process.stdin is not None:
            tasks.start_soon(_feed, process.stdin, data or b"")
        try:
            await process.wait()
            with move_on_after(None if isinstance(process, ExactProcess) else DRAIN):
                await stdout.ended()
                await stderr.ended()
        except WorkflowExecutionException as exc:
            # Raised in here, it would come out of the task group as a group.
            lost = exc
        tasks.cancel_scope.cancel()
    if lost is not None:
        raise lost
    return Completed(await process.wait(), bytes(stdout.data), bytes(stderr.data))


async def communicate_all(processes: Sequence[Process]) -> Sequence[Completed]:
    """Wait until all of some processes have ended, reading their output at the same time.

    :raises WorkflowExecutionException: as :func:`communicate` does, when all have ended or are lost
    """
    outcomes: list[Completed | WorkflowExecutionException | None] = [None] * len(processes)

    async def follow(index: int) -> None:
        try:
            outcomes[index] = await communicate(processes[index], None)
        except WorkflowExecutionException as exc:
            outcomes[index] = exc

    async with create_task_group() as tasks:
        for index in range(len(processes)):
            tasks.start_soon(follow, index)
    for outcome in outcomes:
        if isinstance(outcome, WorkflowExecutionException):
            raise outcome
    return cast("Sequence[Completed]", outcomes)


async def discard(stream: ByteReceiveStream | None) -> None:
    """Read a stream to its end, for a program that must not hang because its output is not read any more."""
    if stream is not None:
        # RuntimeError is what asyncio raises when another task still reads it.
        with suppress(BrokenResourceError, ClosedResourceError, BusyResourceError, RuntimeError):
            async for _ in stream:
                pass


async def _feed(stream: ByteSendStream, data: bytes) -> None:
    # A command may end, or close its stdin, before it has read everything.
    try:
        await stream.send(data)
        await stream.aclose()
    except (BrokenResourceError, ClosedResourceError):
        pass
