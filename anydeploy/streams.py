"""The byte streams of running commands: feeding input, collecting output, piping archives."""

from __future__ import annotations

from anyio import BrokenResourceError, ClosedResourceError, Event, create_task_group, move_on_after
from anyio.abc import ByteReceiveStream, ByteSendStream, Process
from attrs import define, field, frozen

#: Seconds for which output is still read after a command has ended: programs that it left in the background may hold
#: the pipes open for ever.
DRAIN = 1.0

_LINES_SHOWN = 20

#: The end-of-archive mark of tar, padded to a record of 10 KiB, is within the last bytes.
_ARCHIVE_END = 20 * 1024


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


async def communicate(process: Process, data: bytes | None) -> Completed:
    """Feed ``data`` to a process, wait until it ends, and return its exit status and output.

        completed = await communicate(process, b"input")
        print(completed.returncode, completed.stdout)

    If cancelled, the process is left alone.
    """
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
    # A command may end, or close its stdin, before it has read everything.
    try:
        await stream.send(data)
        await stream.aclose()
    except (BrokenResourceError, ClosedResourceError):
        pass


async def pipe_archive(packer: Process, unpacker: Process) -> None:
    """Feed the tar archive that one process writes to another one that unpacks it.

    The end of the archive, without which it is incomplete, is held back until the packer has ended with status 0;
    otherwise the unpacker is asked to end.

    :raises ValueError: if the packer's output or the unpacker's input is not a pipe
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
            await _terminate(unpacker)
    except (BrokenResourceError, ClosedResourceError):
        # The unpacker has ended early, and its exit status says why. The packer must not go on waiting for it.
        packer.terminate()


async def _terminate(process: Process) -> None:
    """Ask a process to end, again and again until it does.

    A shell that gets the signal while it starts a program waits for the program first, which may have missed it.
    """
    while True:
        process.terminate()
        with move_on_after(DRAIN):
            await process.wait()
            return
