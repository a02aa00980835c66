"""A connector of anydeploy that StreamFlow's wrappers wrap: what a cancelled caller leaves behind, which is nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from anyio.abc import Process
from streamflow.core.deployment import ExecutionLocation

from anydeploy.connector import Command
from anydeploy.connectors.local import LocalConnector
from anydeploy.streamflow.bridge.inner import InnerConnector

pytestmark = pytest.mark.anyio

HERE = ExecutionLocation("here", "local")


class Gated(LocalConnector):
    """Starts nothing until it may."""

    gate: anyio.Event
    reached: anyio.Event

    @asynccontextmanager
    async def _start(self, command: Command) -> AsyncGenerator[Process, None]:
        self.reached.set()
        await self.gate.wait()
        async with super()._start(command) as process:
            yield process


@pytest.fixture
def gated(tmp_path: Path) -> Gated:
    connector = Gated(deployment_name="l", config_dir=tmp_path)
    connector.gate, connector.reached = anyio.Event(), anyio.Event()
    return connector


async def test_a_process_whose_caller_is_cancelled_before_it_has_started_is_ended(gated: Gated):
    inner = InnerConnector(gated)

    async def use() -> None:
        async with await inner.get_stream_reader(["sleep", "300"], HERE):
            pass

    with anyio.fail_after(20):
        task = asyncio.get_running_loop().create_task(use())
        await gated.reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gated.gate.set()
        await inner.undeploy(False)


@pytest.mark.parametrize("what", ["reader", "shell"])
async def test_a_process_whose_caller_is_cancelled_while_it_waits_for_its_end_is_ended(gated: Gated, what: str):
    inner = InnerConnector(gated)
    gated.gate.set()
    waiting = anyio.Event()

    async def use() -> None:
        if what == "reader":
            async with await inner.get_stream_reader(["sleep", "300"], HERE):
                waiting.set()
        else:
            shell = await inner._create_shell(["sleep", "300"], HERE)
            waiting.set()
            await shell._close()

    with anyio.fail_after(20):
        task = asyncio.get_running_loop().create_task(use())
        await waiting.wait()
        await anyio.wait_all_tasks_blocked()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await inner.undeploy(False)


async def test_what_cannot_be_started_says_so(gated: Gated):
    inner = InnerConnector(gated)
    gated.gate.set()
    with pytest.raises(OSError, match="no-such: there is no such program"):
        await inner._create_shell(["no-such"], HERE)
    await inner.undeploy(False)
