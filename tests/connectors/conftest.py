"""Servers that live as long as the tests, or are skipped with the reason."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from servers import Sshd, lacks_sshd, running_sshd


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    reason = lacks_sshd()
    if reason is not None:
        pytest.skip(reason)
    with running_sshd(tmp_path_factory.mktemp("sshd")) as server:
        yield server
