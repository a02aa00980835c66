from __future__ import annotations

import anyio
import pytest

from anydeploy.connectors.local import LocalConnector
from anydeploy.streams import Collector, communicate, last_lines, pipe_archive

pytestmark = pytest.mark.anyio


@pytest.fixture
def local(tmp_path) -> LocalConnector:
    return LocalConnector(deployment_name="l", config_dir=tmp_path)


def test_last_lines():
    assert last_lines(b"a\nb\nc\n", 2) == "b\nc"
    assert last_lines(b"\xff") == "\ufffd"
    assert last_lines(b"") == ""
    assert len(last_lines(b"x\n" * 99).splitlines()) == 20


async def test_communicate(local):
    async with local.start(["sh", "-c", "cat; echo e >&2; exit 3"]) as process:
        completed = await communicate(process, b"data" * 50_000)
    assert (completed.returncode, completed.stdout, completed.stderr) == (3, b"data" * 50_000, b"e\n")


async def test_communicate_with_one_that_reads_nothing(local):
    async with local.start(["true"]) as process:
        assert (await communicate(process, b"x" * 1_000_000)).returncode == 0


async def test_collecting_nothing_has_ended(local):
    collector = Collector()
    await collector.collect(None)
    with anyio.fail_after(5):
        await collector.ended()
    assert collector.data == b""


async def test_pipe_archive_from_process_to_process(local):
    async with local.start(["head", "-c", "500000", "/dev/zero"]) as source, local.start(["wc", "-c"]) as target:
        await pipe_archive(source, target)
        assert target.stdout is not None
        assert int(await target.stdout.receive()) == 500_000


async def test_pipe_archive_to_one_that_has_ended(local):
    async with local.start(["cat", "/dev/zero"], grace=60) as source, local.start(["true"]) as target:
        await target.wait()
        with anyio.fail_after(20):
            await pipe_archive(source, target)
            assert await source.wait() != 0


@pytest.mark.parametrize("size", [10, 100_000])
async def test_pipe_archive_keeps_back_the_end_of_what_failed(local, size):
    pack = ["sh", "-c", f"head -c {size} /dev/zero; exit 1"]
    async with local.start(pack) as source, local.start(["sh", "-c", "wc -c; sleep 300"]) as target:
        with anyio.fail_after(20):
            await pipe_archive(source, target)
            assert await target.wait() != 0
        assert target.stdout is not None
        with pytest.raises(anyio.EndOfStream):
            await target.stdout.receive()


async def test_pipe_archive_terminates_an_unpacker_that_missed_the_signal(local):
    deaf = "trap 'trap - TERM' TERM; echo ready; while :; do sleep 0.05; done"
    async with local.start(["false"]) as source, local.start(["sh", "-c", deaf], grace=60) as target:
        assert target.stdout is not None
        await target.stdout.receive()
        with anyio.fail_after(20):
            await pipe_archive(source, target)
        assert target.returncode != 0
