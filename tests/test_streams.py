from __future__ import annotations

import anyio
import pytest

from anydeploy.connectors.local import LocalConnector
from anydeploy.streams import Collector, communicate, last_lines

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
