"""The byte streams of a running command: feed, collect, hand over. Built once, for every connector."""

from __future__ import annotations

from anyio import BrokenResourceError, ClosedResourceError, Event, create_task_group, move_on_after
from anyio.abc import ByteReceiveStream, ByteSendStream, Process
from attrs import define, field, frozen

#: Seconds for which output is still read after a command has ended. What it started in the background may hold the
#: pipes open for ever, and is not waited for.
DRAIN = 1.0

_LINES_SHOWN = 20

#: An archive ends with a mark that tar pads to a record of 10 KiB.
_ARCHIVE_END = 20 * 1024


def last_lines(output: bytes | bytearray, count: int = _LINES_SHOWN) -> str:
    """The end of what a command printed, to be shown in an error."""
    return "\n".join(output.decode(errors="replace").splitlines()[-count:])


@frozen
class Completed:
    """A command that has ended: its exit status and its output."""

    returncode: int
    stdout: bytes
    stderr: bytes


@define(eq=False)
class Collector:
    """Everything that comes out of a stream."""

    data: bytearray = field(factory=bytearray)
    _ended: Event = field(factory=Event)

    async def collect(self, stream: ByteReceiveStream | None) -> None:
        if stream is not None:
            try:
                async for chunk in stream:
                    self.data += chunk
            except (BrokenResourceError, ClosedResourceError):
                pass
        self._ended.set()

    async def ended(self) -> None:
        await self._ended.wait()


async def communicate(process: Process, data: bytes | None) -> Completed:
    """Feed ``data`` to a process, and return what became of it when it has ended."""
    stdout, stderr = Collector(), Collector()
    async with create_task_group() as tasks:
        tasks.start_soon(stdout.collect, process.stdout)
        tasks.start_soon(stderr.collect, process.stderr)
        if process.stdin is not None:
            tasks.start_soon(_feed, process.stdin, data or b"")
        await process.wait()
        with move_on_after(DRAIN):
            await stdout.ended()
            await stderr.ended()
        tasks.cancel_scope.cancel()
    return Completed(await process.wait(), bytes(stdout.data), bytes(stderr.data))


async def _feed(stream: ByteSendStream, data: bytes) -> None:
    # A command may end, or close its stdin, without having read everything.
    try:
        await stream.send(data)
        await stream.aclose()
    except (BrokenResourceError, ClosedResourceError):
        pass


async def hand_over(packer: Process, unpacker: Process) -> None:
    """Feed the archive that one process writes to another one that unpacks it.

    The end of it, without which no archive is complete, is kept back until the packer has ended well; otherwise the
    unpacker is told to stop.
    """
    if packer.stdout is None or unpacker.stdin is None:
        raise ValueError("the packer needs a pipe for its output, the unpacker one for its input")
    held = bytearray()
    try:
        async for chunk in packer.stdout:
            held += chunk
            await unpacker.stdin.send(bytes(held[:-_ARCHIVE_END]))
            del held[:-_ARCHIVE_END]
        if await packer.wait() == 0:
            await unpacker.stdin.send(bytes(held))
            await unpacker.stdin.aclose()
        else:
            await _insist(unpacker)
    except (BrokenResourceError, ClosedResourceError):
        # The unpacker has ended early: its exit status says why. The packer must not wait for it.
        packer.terminate()


async def _insist(process: Process) -> None:
    """Ask a process to end until it does.

    A shell that is asked while it starts a program waits for that first, and the program may have missed it.
    """
    while True:
        process.terminate()
        with move_on_after(DRAIN):
            await process.wait()
            return
