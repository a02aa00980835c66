"""The examples with containers come up and go down for real, with an image of busybox in place of theirs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from anydeploy import DefaultDeploymentManager, DeploymentState
from anydeploy.file import load_file

pytestmark = pytest.mark.timeout(300)

EXAMPLES = Path(__file__).parents[2] / "examples"
IMAGES = {"dockerd": "debian:12", "compose": "debian:12", "podman": "docker.io/library/debian:12"}


@pytest.mark.servers
@pytest.mark.anyio
@pytest.mark.parametrize(
    ("name", "server", "on", "shown"),
    [
        ("docker.yml", "dockerd", "box", "hello /examples"),
        ("podman.yml", "podman", "box", "hello /"),
        ("services.yml", "compose", "client", "hello /"),
    ],
)
async def test_file_up_and_down(name, server, on, shown, request, monkeypatch):
    engine = request.getfixturevalue(server)
    await anyio.to_thread.run_sync(lambda: engine("tag", engine.image, IMAGES[server]))
    for variable, value in engine.variables.items():
        monkeypatch.setenv(variable, value)
    before = engine.containers()
    async with DefaultDeploymentManager(load_file(EXAMPLES / name).values(), config_dir=EXAMPLES) as manager:
        await manager.deploy_all()
        assert {status.state for status in manager.status().values()} == {DeploymentState.LIVE}
        done = await manager.get_connector(on).run(["sh", "-c", "echo $GREETING $PWD"])
        assert done.stdout.decode().strip() == shown
    assert engine.containers() == before


def test_a_command_runs_in_an_example(dockerd, monkeypatch):
    dockerd("tag", dockerd.image, "debian:12")
    for variable, value in dockerd.variables.items():
        monkeypatch.setenv(variable, value)
    before = dockerd.containers()
    command = [sys.executable, "-m", "anydeploy", "run", str(EXAMPLES / "docker.yml"), "--on", "box", "--"]
    done = subprocess.run([*command, "sh", "-c", "ls; exit 3"], capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    assert "docker.yml" in done.stdout.split()
    assert dockerd.containers() == before


@pytest.mark.parametrize(
    ("service", "status", "told"),
    [("web", 3, ""), ("wbe", 1, "error: deployment 'services' has no service 'wbe' that runs; did you mean 'web'?\n")],
)
def test_a_command_runs_in_a_service_of_an_example(service, status, told, compose, monkeypatch):
    compose("tag", compose.image, IMAGES["compose"])
    for variable, value in compose.variables.items():
        monkeypatch.setenv(variable, value)
    before = compose.containers()
    run = [sys.executable, "-m", "anydeploy", "run", "-q", str(EXAMPLES / "services.yml"), "services"]
    command = [*run, "--on", f"services/{service}", "--", "sh", "-c", "echo $GREETING; exit 3"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (status, told)
    assert done.stdout == ("hello\n" if service == "web" else "")
    assert compose.containers() == before
