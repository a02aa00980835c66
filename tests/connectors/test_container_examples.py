"""The examples with containers come up and go down for real, with an image of busybox in place of theirs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from anydeploy import DefaultDeploymentManager, DeploymentState
from anydeploy.checking import settings_of
from anydeploy.connectors.compose import ComposeConnector
from anydeploy.connectors.docker import DockerConnector
from anydeploy.file import load_file

pytestmark = pytest.mark.timeout(300)

EXAMPLES = Path(__file__).parents[2] / "examples"
IMAGES = {"dockerd": "debian:12", "compose": "debian:12", "podman": "docker.io/library/debian:12"}


@pytest.mark.parametrize("class_", [DockerConnector, ComposeConnector])
def test_the_documentation_names_every_setting(class_):
    words = re.findall(r"`(\w+)`", (EXAMPLES.parent / "docs" / "connectors.md").read_text())
    assert set(settings_of(class_)) - set(words) == set()


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
