"""The pytest plugin: the fixture ``anydeploy_script``.

Pytest loads it at every start, so it imports nothing that a test may not need.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .scripted import Script


@pytest.fixture
def anydeploy_script() -> Iterator[Script]:
    """A :class:`~anydeploy.testing.Script` without definitions; the test fails if a rule was broken in it."""
    from .scripted import Script  # noqa: PLC0415 - coverage has to begin to measure before all this is imported

    script = Script()
    yield script
    script.history.check()
