"""The docker-compose connector, with a real dockerd and Compose v2."""

from __future__ import annotations

import json
import os
import shutil
import signal
from contextlib import asynccontextmanager

import anyio
import pytest
from processes import processes_of, signal_all
from servers import lacks_podman
from test_docker import crash, lost

from anydeploy import Command, ConnectionLostError, DefaultDeploymentManager, DeploymentConfig
from anydeploy.checking import check_settings
from anydeploy.connectors._containers import ContainerError
from anydeploy.connectors.compose import ComposeConnector, missing_plugin
from anydeploy.connectors.local import LocalConnector

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]

PROJECT = """\
x-common: &common
  image: {image}
  network_mode: host
  init: true
  stdin_open: true
services:
  web:
    <<: *common
    environment: {{ASKED: "${{ASKED:-nothing}}"}}
    healthcheck: {{test: [CMD, "true"], interval: 1s, retries: 3}}
  worker:
    <<: *common
    depends_on: {{web: {{condition: service_healthy}}}}
    deploy: {{replicas: 2}}
  extra:
    <<: *common
    profiles: [more]
"""

ONE = """\
services:
  one:
    image: {image}
    network_mode: host
    command: {command}
"""


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param


@pytest.fixture
def make(compose, tmp_path):
    local = LocalConnector(deployment_name="l", config_dir=tmp_path)
    (tmp_path / "compose.yml").write_text(PROJECT.format(image=compose.image))

    def build(text=None, environment=None, name="c", **settings):
        if text is not None:
            (tmp_path / "compose.yml").write_text(text)
        variables = {**compose.variables, **(environment or {})}
        given = {"files": ["compose.yml"], "timeout": 2, "environment": variables, **settings}
        return ComposeConnector(deployment_name=name, config_dir=tmp_path, connector=local, **given)

    return build


@asynccontextmanager
async def deployed(connector, external=False):
    with anyio.CancelScope() as scope:
        await connector.deploy(external)
        try:
            yield connector
        finally:
            scope.shield = True
            await connector.undeploy(external)


def containers_of(compose, project):
    return compose.containers(f"label=com.docker.compose.project={project}")


async def fails(compose, connector):
    with anyio.fail_after(120), pytest.raises(ContainerError) as caught:
        await connector.deploy(False)
    await connector.undeploy(False)
    assert containers_of(compose, connector.traces()["project"]) == []
    return str(caught.value)


# -- Settings ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, "required"),
        ({"files": []}, "a list of files"),
        ({"files": "compose.yml"}, "a list of strings"),
        ({"files": ["-"]}, "a list of files"),
        ({"files": ["x"], "projectName": "Upper"}, "lower-case"),
        ({"files": ["x"], "profiles": [1]}, "a list of profiles"),
        ({"files": ["x"], "logLevel": "warn"}, "WARNING"),
        ({"files": ["x"], "noStart": True}, "not supported"),
        ({"files": ["x"], "skipHostnameCheck": True}, "not supported"),
        ({"files": ["x"], "timeout": "2"}, "a whole number"),
    ],
)
def test_wrong_settings_are_told(settings, expected):
    (problem,) = [text for _, text in check_settings(ComposeConnector, settings)]
    assert expected in problem


def test_all_options_are_those_of_the_program(compose, make):
    flags = dict.fromkeys(
        ["alwaysRecreateDeps", "build", "forceRecreate", "noBuild", "noDeps", "noRecreate", "renewAnonVolumes"], True
    )
    connector = make(
        **flags,
        removeOrphans=True,
        removeVolumes=True,
        compatibility=True,
        noAnsi=True,
        profiles=["p"],
        logLevel="WARNING",
        host="h",
        tls=True,
        tlscacert="a",
        tlscert="c",
        tlskey="k",
        tlsverify=True,
        projectDirectory="sub",
    )
    for options, help_of in (
        (connector.docker_options, ["--help"]),
        (connector.compose_options, ["compose", "--help"]),
        (connector.up_options, ["compose", "up", "--help"]),
        (connector.down_options, ["compose", "down", "--help"]),
    ):
        known = compose(*help_of)
        assert options
        assert [each for each in options if each.partition("=")[0] not in known] == []
    assert "--log-level=warn" in connector.docker_options
    assert f"--project-directory={connector.config_dir}/sub" in connector.compose_options


# -- Coming up and going down ------------------------------------------------------------------------------------------


async def test_services_are_locations(compose, make):
    async with deployed(make(environment={"ASKED": "for"}, profiles=["more"], name="c $HOME")) as connector:
        found = await connector.get_available_locations()
        assert [(name, each.service) for name, each in found.items()] == [
            ("extra-1", "extra"),
            ("web-1", "web"),
            ("worker-1", "worker"),
            ("worker-2", "worker"),
        ]
        assert list(await connector.get_available_locations("worker")) == ["worker-1", "worker-2"]
        done = await connector.at("web").run(["sh", "-c", "echo $ASKED; touch /here"])
        assert done.stdout == b"for\n"
        for place, there in (("web-1", True), ("worker-1", False), ("worker-2", False)):
            done = await connector.at(location=place).run(["test", "-e", "/here"], check=False)
            assert (done.returncode == 0) == there
        for view, problem in (
            (connector.at("wep"), "no service 'wep' that runs; did you mean 'web'"),
            (connector.at(location="web-2"), "no location 'web-2'"),
            (connector.at("web", location="worker-1"), "no location 'worker-1'"),
        ):
            with pytest.raises(Exception, match=problem):
                await view.run(["true"])
        project = connector.traces()["project"]
        assert connector.token in project
        labels = json.loads(compose("inspect", "--format", "{{json .Config.Labels}}", f"{project}-web-1"))
        assert (labels["anydeploy.run"], labels["anydeploy.deployment"]) == (connector.token, "c $HOME")
    assert containers_of(compose, project) == []


async def test_a_profile_that_is_not_asked_for_stays_down(make):
    async with deployed(make()) as connector:
        assert "extra-1" not in await connector.get_available_locations()


async def test_files_that_are_wrong_are_told(compose, make):
    assert "cannot be used" in await fails(compose, make("services: {one: {imagee: x}}"))
    assert "no-such-file.yml" in await fails(compose, make(files=["no-such-file.yml"]))


async def test_a_container_that_ends_at_once_is_told(compose, make):
    text = ONE.format(image=compose.image, command='[sh, -c, "echo why; exit 3"]')
    error = await fails(compose, make(text))
    assert "one-1: " in error
    assert "ended with status 3" in error
    assert "why" in error


async def test_an_unhealthy_container_is_told(compose, make):
    check = '    stdin_open: true\n    healthcheck: {test: "echo broken; false", interval: 1s, retries: 1}\n'
    error = await fails(compose, make(ONE.format(image=compose.image, command="[sh]") + check))
    assert "one-1 is unhealthy: broken" in error


async def test_a_service_without_a_shell_is_a_location_all_the_same(compose, make):
    image = compose.add_image("local/no-shell:1", programs=["sleep"])
    async with deployed(make(ONE.format(image=image, command='[sleep, "1000"]'))) as connector:
        assert list(await connector.get_available_locations()) == ["one-1"]
        with pytest.raises(ContainerError, match="its image has no `sh`"):
            await connector.run(["true"])


def test_version_1_is_told_apart():
    problem = "'compose' is not a docker command."
    assert missing_plugin(problem, "1.29.2\n").endswith("docker-compose 1.29.2 is v1, which is not supported")
    for standalone in ("", "v2.40.3\n"):
        assert missing_plugin(problem, standalone).endswith(f"`docker compose`: {problem}")


async def test_a_missing_plugin_is_told(compose, make, tmp_path):
    """Podman has the same options, and no Compose."""
    reason = lacks_podman()
    if reason is not None:
        pytest.skip(reason)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "docker").symlink_to(shutil.which("podman"))
    connector = make(environment={"PATH": f"{tmp_path}/bin{os.pathsep}{os.environ['PATH']}"})
    with pytest.raises(ContainerError, match="Docker Compose v2 is needed"):
        await connector.deploy(False)
    await connector.undeploy(False)


async def test_a_project_of_others_is_left_alone(compose, make):
    """It is external, or it is an error."""
    owner = make(projectName="theirs")
    async with deployed(owner):
        stranger = make(projectName="theirs")
        with pytest.raises(ContainerError, match="is there already, and was not made by this deployment"):
            await stranger.deploy(False)
        await stranger.undeploy(False)
        assert len(containers_of(compose, "theirs")) == 3
        async with deployed(make(projectName="theirs"), external=True) as guest:
            assert (await guest.run(["echo", "in"])).stdout == b"in\n"
        assert len(containers_of(compose, "theirs")) == 3
    assert containers_of(compose, "theirs") == []


async def test_files_that_are_gone_do_not_hinder_a_teardown(compose, make, tmp_path):
    async with deployed(make()) as connector:
        (tmp_path / "compose.yml").unlink()
    assert containers_of(compose, connector.traces()["project"]) == []


async def test_a_manager_takes_a_service_to_wrap(compose, tmp_path):
    (tmp_path / "compose.yml").write_text(PROJECT.format(image=compose.image))
    settings = {"files": ["compose.yml"], "timeout": 2, "environment": dict(compose.variables)}
    stack = [
        DeploymentConfig("all", "docker-compose", settings),
        DeploymentConfig("tool", "command", {}, wraps={"deployment": "all", "service": "worker"}),
    ]
    async with DefaultDeploymentManager(stack, config_dir=tmp_path) as manager:
        await manager.deploy("tool")
        await manager.get_connector("tool").run(["touch", "/here"])
        services = manager.get_connector("all")
        await services.at(location="worker-1").run(["test", "-e", "/here"])


# -- Loss and crashes --------------------------------------------------------------------------------------------------


async def test_a_container_that_ends_is_a_loss_of_the_environment(compose, make):
    async with deployed(make()) as connector:
        error = await lost(connector, lambda: compose("kill", f"{connector.traces()['project']}-worker-2"))
        assert not isinstance(error, ConnectionLostError)
        assert "ended with status 137" in str(error)


async def test_a_client_that_dies_is_a_loss_of_the_connection(make):
    async with deployed(make()) as connector:
        session = connector._sessions["web-1"]
        error = await lost(connector, lambda: signal_all(processes_of(f"anydeploy\0{session.name}"), signal.SIGKILL))
        assert isinstance(error, ConnectionLostError)
        await connector.reattach()
        async with connector._start(Command(["echo", "again"], service="web")) as process:
            assert await process.stdout.receive() == b"again\n"


async def test_after_a_crash_nothing_is_left(compose, make, tmp_path):
    settings = {"files": ["compose.yml"], "timeout": 2, "environment": dict(compose.variables)}
    make()
    traces, facts = crash("docker-compose", "feed1234", False, settings, tmp_path)
    assert len(containers_of(compose, traces["project"])) == 3
    connector = make()
    connector.token = "feed1234"
    assert connector.traces() == traces
    with anyio.CancelScope():
        await connector.reattach(facts)
        await connector.remove_left(traces, facts)
        await connector.undeploy(True)
    assert containers_of(compose, traces["project"]) == []
    again = make()
    again.token = "feed1234"
    await again.remove_left(traces, facts)


async def test_after_a_crash_what_others_have_made_is_left(compose, make, tmp_path):
    """A project whose name was given may be that of others by now."""
    async with deployed(make(projectName="theirs")):
        late = make(projectName="theirs")
        await late.remove_left(late.traces(), {})
        assert len(containers_of(compose, "theirs")) == 3
