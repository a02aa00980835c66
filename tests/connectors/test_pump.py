"""Output that is brought into files: whatever these are, and whether they are read or not."""

from __future__ import annotations

import os
from select import POLLOUT, poll

import anyio
import pytest
from anyio import EndOfStream
from anyio.lowlevel import checkpoint

from anydeploy.connectors._pump import OutputPump

pytestmark = pytest.mark.anyio

#: More than fits into a pipe.
MUCH = bytes(range(256)) * 1024


class Output:
    """A stream that gives some bytes so many times."""

    def __init__(self, data: bytes, times: int = 1) -> None:
        self.data = data
        self.times = times

    def __aiter__(self) -> Output:
        return self

    async def __anext__(self) -> bytes:
        await checkpoint()
        if self.times == 0:
            raise StopAsyncIteration
        self.times -= 1
        return self.data

    async def receive(self, max_bytes: int = 65536) -> bytes:
        raise EndOfStream


@pytest.fixture
def pipe():
    reader, writer = os.pipe()
    ends = [os.fdopen(reader, "rb", buffering=0), os.fdopen(writer, "wb", buffering=0)]
    yield ends
    for end in ends:
        end.close()


async def filled(writer) -> None:
    """Wait until no byte fits into a pipe any more."""
    room = poll()
    room.register(writer, POLLOUT)
    with anyio.fail_after(20):
        while room.poll(0):  # noqa: ASYNC110
            await anyio.sleep(0.001)


def unbroken() -> None:
    raise AssertionError("the pipe is not broken")


async def test_it_can_be_cancelled_while_nothing_reads_what_it_writes(pipe):
    """Even two that write to one pipe; and those who have it as well do not notice that theirs never blocks."""
    _, writer = pipe
    pumps = [OutputPump.to(writer), OutputPump.to(writer.fileno())]
    async with anyio.create_task_group() as tasks:
        for pump in pumps:
            tasks.start_soon(pump.run, Output(b"x" * 1000, times=-1), unbroken)
        await filled(writer)
        tasks.cancel_scope.cancel()
    assert all(pump.ended.is_set() for pump in pumps)
    assert os.get_blocking(writer.fileno())


async def test_a_slow_reader_gets_every_byte(pipe):
    reader, writer = pipe
    pump = OutputPump.to(writer)
    found = b""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(pump.run, Output(MUCH, times=3), unbroken)
        await filled(writer)
        writer.close()
        while data := await anyio.to_thread.run_sync(reader.read, 50_000):
            found += data
    assert found == MUCH * 3


async def test_a_reader_that_goes_while_it_is_waited_for_breaks_the_pipe(pipe):
    reader, writer = pipe
    pump = OutputPump.to(writer)
    broken = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(pump.run, Output(MUCH, times=3), broken.set)
        await filled(writer)
        reader.close()
        with anyio.fail_after(20):
            await broken.wait()
            await pump.ended.wait()


async def test_a_file_goes_on_where_its_owner_was(tmp_path):
    with (tmp_path / "log").open("wb", buffering=0) as file:
        file.write(b"before ")
        await OutputPump.to(file).run(Output(MUCH), unbroken)
        file.write(b" after")
    assert (tmp_path / "log").read_bytes() == b"before " + MUCH + b" after"
