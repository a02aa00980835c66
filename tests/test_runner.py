"""The shell of the engine: what it says of connectors that no deadline can bound."""

from __future__ import annotations

import logging

import anyio
import pytest
from scripted import World

from anydeploy.testing import unit
from anydeploy.testing.virtual import run_virtual


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_what_no_deadline_can_bound_is_reported(backend: str, caplog: pytest.LogCaptureFixture) -> None:
    """M1: the block waits for a teardown behind a shield of its own, which succeeds late, and the log says so."""
    world = World()
    world.plan("undeploy a", deaf=True, delay=10.0)

    async def use() -> None:
        began = anyio.current_time()
        async with world.manager(unit("a"), shutdown_timeout=2) as manager:
            await manager.deploy("a")
        assert anyio.current_time() == began + 10

    with caplog.at_level(logging.WARNING, logger="anydeploy"):
        run_virtual(backend, use)
    said = [record.message for record in caplog.records if "beyond the shutdown timeout" in record.message]
    assert len(said) == 1
    assert "deployment 'a' is undeploying" in said[0]
