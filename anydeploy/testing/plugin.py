"""The pytest plugin: the fixture ``script``.

Pytest loads it at every start, so it imports nothing that a test may not need.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .scripted import Script


@pytest.fixture
def script() -> Iterator[Script]:
    """A :class:`~anydeploy.testing.Script`; a rule that was broken in the test fails it."""
    from .scripted import Script  # noqa: PLC0415 - coverage has to begin to measure before all this is imported

    script = Script()
    yield script
    script.history.check()
