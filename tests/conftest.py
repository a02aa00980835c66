"""The backend matrix: every test marked ``anyio`` runs on asyncio, on uvloop and on trio."""

from __future__ import annotations

import fcntl
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

# Not through its entry point: that would import anyio before coverage has begun to measure.
pytest_plugins = ["anyio.pytest_plugin"]

# A script's background job ignores SIGINT, and so would every program that the tests start, however it is told to stop.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# So does what was started with nohup with SIGHUP.
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(
    params=[
        pytest.param(("asyncio", {"use_uvloop": False}), id="asyncio"),
        pytest.param(("asyncio", {"use_uvloop": True}), id="asyncio+uvloop"),
        pytest.param(("trio", {}), id="trio"),
    ]
)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, object]]:
    return request.param


@pytest.fixture
def alone() -> Iterator[None]:
    """Only one test on this machine at a time: the ports in the documentation are what they are."""
    with (Path(tempfile.gettempdir()) / "anydeploy-tests.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


#: Files and directories whose tests `nox -s thorough` runs, and no other session.
THOROUGH = ("explorer", "proofs", "search", "test_benchmarks.py", "test_cost.py", "test_storm.py")
#: Fixtures of `tests/connectors` that start servers; `nox -s servers` runs the tests that have one.
SERVERS = {"sshd", "slurm", "dockerd", "compose", "podman", "engine"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that take long."""
    here = Path(__file__).parent
    for item in items:
        part = item.path.relative_to(here).parts[0]
        if part in THOROUGH:
            item.add_marker("thorough")
        if part == "connectors":
            if not SERVERS.isdisjoint(getattr(item, "fixturenames", ())):
                item.add_marker("servers")
            elif "uvloop" in item.name:
                # They start programs, so that each takes long; on asyncio and trio they run at once.
                item.add_marker("thorough")


# A run that has passed once passes always: only the profile `property` draws seeds, and none looks at the time.
for _name, _options in {
    "default": {"derandomize": True, "max_examples": 50},
    "ci": {"derandomize": True, "max_examples": 300},
    "property": {"derandomize": False, "max_examples": 5_000},
}.items():
    _options |= {"deadline": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow]}
    hypothesis.settings.register_profile(_name, **_options)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
