"""The byte streams of a running command: feed, collect, pump. Built once, for every connector."""

from __future__ import annotations

from anyio import BrokenResourceError, ClosedResourceError, Event, create_task_group, move_on_after
from anyio.abc import ByteReceiveStream, ByteSendStream, Process
from attrs import define, field, frozen

#: Seconds for which output is still read after a command has ended. What it started in the background may hold the
#: pipes open for ever, and is not waited for.
DRAIN = 1.0

_LINES_SHOWN = 20


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


async def pump(source: ByteReceiveStream | None, target: ByteSendStream | None) -> None:
    """Send everything that comes out of one stream into another, then close the latter."""
    if source is None or target is None:
        return
    try:
        async for chunk in source:
            await target.send(chunk)
    except (BrokenResourceError, ClosedResourceError):
        pass
    await target.aclose()
