"""Without streamflow, what needs it is not even imported. With it, it runs on asyncio and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

import pytest

if find_spec("streamflow") is None:
    collect_ignore = [
        "test_conformance.py",
        "test_defects.py",
        "test_hosted.py",
        "test_manager.py",
        "test_run.py",
        "test_signals.py",
    ]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def happened(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The types ``plain`` and ``wrapper``, and what happens to their connectors."""
    from streamflow.deployment.connector import connector_classes

    from . import recorded

    monkeypatch.setitem(connector_classes, "plain", recorded.Plain)
    monkeypatch.setitem(connector_classes, "wrapper", recorded.Wrapper)
    for each in (recorded.happened, recorded.scripts, recorded.built):
        each.clear()
    return recorded.happened
