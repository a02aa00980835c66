"""The backend matrix: every test marked ``anyio`` runs on asyncio, on uvloop and on trio."""

from __future__ import annotations

import pytest

# Not through its entry point: that would import anyio before coverage has begun to measure.
pytest_plugins = ["anyio.pytest_plugin"]


@pytest.fixture(
    params=[
        pytest.param(("asyncio", {"use_uvloop": False}), id="asyncio"),
        pytest.param(("asyncio", {"use_uvloop": True}), id="asyncio+uvloop"),
        pytest.param(("trio", {}), id="trio"),
    ]
)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, object]]:
    return request.param
