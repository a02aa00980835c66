"""Servers that live as long as the tests, or are skipped with the reason."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from servers import Sshd, lacks_sshd, running_sshd
from slurm_server import Slurm, lacks_slurm, running_slurm


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    reason = lacks_sshd()
    if reason is not None:
        pytest.skip(reason)
    with running_sshd(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """A Slurm, to which programs that find their configuration by the environment belong."""
    reason = lacks_slurm()
    if reason is not None:
        pytest.skip(reason)
    with running_slurm(tmp_path_factory.mktemp("slurm")) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(server.configuration))
        yield server


@pytest.fixture(scope="session")
def login(slurm: Slurm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """A host from which that Slurm is reached."""
    reason = lacks_sshd()
    if reason is not None:
        pytest.skip(reason)
    with running_sshd(tmp_path_factory.mktemp("login"), environment=f"SLURM_CONF={slurm.configuration}") as server:
        yield server
