"""The kit itself: its public names, its clock, and how it waits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import pytest
from anyio.lowlevel import checkpoint

import anydeploy.testing
from anydeploy.testing import rest, run_virtual, settle, virtual


def test_every_public_name_of_the_kit_is_there():
    assert sorted(anydeploy.testing._MODULES) == sorted(anydeploy.testing.__all__)
    for name in anydeploy.testing.__all__:
        assert getattr(anydeploy.testing, name).__doc__
        assert name in dir(anydeploy.testing)
    with pytest.raises(AttributeError, match="no attribute 'Nobody'"):
        _ = anydeploy.testing.Nobody  # type: ignore[attr-defined]


async def spin() -> None:
    while True:
        await checkpoint()


async def wait() -> None:
    await anyio.Event().wait()


@pytest.mark.parametrize(
    ("function", "says"), [(anyio.sleep_forever, "deadlock"), (wait, "deadlock"), (spin, "livelock")]
)
def test_virtual_time_that_leads_nowhere_ends(
    function: Callable[[], Awaitable[None]], says: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(virtual, "_ENDLESS", 100)
    with pytest.raises(RuntimeError, match=says):
        run_virtual("asyncio", function)


@pytest.mark.parametrize("backend", virtual.BACKENDS)
def test_virtual_time_is_exact(backend: str):
    async def main() -> list[float]:
        begun, seen = anyio.current_time(), []
        for seconds in (0.1, 1e-6, 30 * 86_400, 3):
            await anyio.sleep(seconds)
            seen.append(anyio.current_time() - begun)
        return seen

    assert run_virtual(backend, main) == pytest.approx([0.1, 0.100001, 2_592_000.100001, 2_592_003.100001], abs=1e-7)


@pytest.mark.parametrize("backend", virtual.BACKENDS)
def test_what_is_never_at_rest_is_told(backend: str, monkeypatch: pytest.MonkeyPatch):
    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(spin)
            with pytest.raises(AssertionError, match="never idle"):
                await settle()
            tasks.cancel_scope.cancel()

    monkeypatch.setattr(rest, "_BUSY", 0.05)
    anyio.run(main, backend=backend)
