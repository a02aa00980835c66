"""Servers that live as long as the tests, or are skipped with the reason."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from processes import until
from servers import (
    Engine,
    Sshd,
    lacks_compose,
    lacks_docker,
    lacks_podman,
    lacks_sshd,
    podman_store,
    running_dockerd,
    running_sshd,
)
from slurm_server import Slurm, lacks_slurm, running_slurm

from anydeploy.connectors.remote import RemoteConnector


@pytest.fixture(autouse=True)
def no_session_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Sessions on this machine leave neither a directory nor a socket. One whose connection is lost takes a while."""
    names: list[str] = []
    new_name = RemoteConnector.new_name

    def recorded(connector: RemoteConnector) -> str:
        names.append(new_name(connector))
        return names[-1]

    monkeypatch.setattr(RemoteConnector, "new_name", recorded)
    yield
    until(lambda: not [path for name in names for path in Path("/tmp").glob(f"{name}*")])


@pytest.fixture
def program_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Puts a script before a program, which is REAL in there."""
    directory = tmp_path / "before"
    directory.mkdir()
    path = os.environ["PATH"]
    monkeypatch.setenv("PATH", f"{directory}{os.pathsep}{path}")

    def write(name: str, script: str) -> None:
        program = directory / name
        program.write_text(f"#!/bin/sh\nREAL={shutil.which(name, path=path)}\n{script}")
        program.chmod(0o755)

    return write


@pytest.fixture
def rm_with_company(program_before: Callable[[str, str], None], tmp_path: Path) -> Path:
    """An ``rm`` during which somebody makes a file in the first directory. It returns what says that it was so."""
    done = tmp_path / "accompanied"
    program_before(
        "rm",
        f"""
        for last; do :; done
        if [ "$1" = -rf ] && [ -d "$last" ] && mkdir {done} 2>/dev/null; then
            "$REAL" -rf "$last"/*
            : >"$last/meanwhile"
            echo "rm: cannot remove '$last': Directory not empty" >&2
            exit 1
        fi
        exec "$REAL" "$@"
        """,
    )
    return done


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    skip_for(lacks_sshd())
    with running_sshd(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """A Slurm, to which programs that find their configuration by the environment belong."""
    skip_for(lacks_slurm())
    with running_slurm(tmp_path_factory.mktemp("slurm")) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(server.configuration))
        yield server


@pytest.fixture(scope="session")
def login(slurm: Slurm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """A host from which that Slurm is reached."""
    skip_for(lacks_sshd())
    with running_sshd(tmp_path_factory.mktemp("login"), environment=f"SLURM_CONF={slurm.configuration}") as server:
        yield server


@pytest.fixture(scope="session")
def short_path() -> Iterator[Path]:
    """A directory for sockets, whose paths have to be short."""
    with TemporaryDirectory(prefix="ad-") as directory:
        yield Path(directory)


@pytest.fixture(scope="session")
def dockerd(short_path: Path) -> Iterator[Engine]:
    skip_for(lacks_docker())
    (short_path / "d").mkdir()
    with running_dockerd(short_path / "d") as engine:
        yield engine


@pytest.fixture(scope="session")
def podman(short_path: Path) -> Iterator[Engine]:
    skip_for(lacks_podman())
    (short_path / "p").mkdir()
    with podman_store(short_path / "p") as engine:
        yield engine


@pytest.fixture(scope="session")
def compose(request: pytest.FixtureRequest) -> Engine:
    skip_for(lacks_compose())
    return request.getfixturevalue("dockerd")


def skip_for(reason: str | None) -> None:
    if reason is not None:
        pytest.skip(reason)
