"""The manager through StreamFlow's interface: what StreamFlow expects of one, and where its own is wrong."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from streamflow.core.deployment import DeploymentConfig, LocalTarget, WrapsConfig
from streamflow.core.exception import WorkflowDefinitionException, WorkflowExecutionException
from streamflow.core.workflow import Status
from streamflow.deployment.connector import connector_classes
from streamflow.deployment.connector.local import LocalConnector
from streamflow.deployment.wrapper import ConnectorWrapper

import anydeploy
from anydeploy.streamflow import AnydeployDeploymentManager
from anydeploy.testing.virtual import VirtualLoop

from .recorded import Plain, Wrapper, built, config, fail, manager, scripts, settled, stay

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("happened")]

#: Where it is a question of time: none passes but the one that is waited for.
VIRTUAL = ("asyncio", {"loop_factory": VirtualLoop})
in_virtual_time = pytest.mark.parametrize("anyio_backend", [VIRTUAL], ids=["virtual"])


# -- The interface ---------------------------------------------------------------------------------------------------


async def test_deploy_is_idempotent_for_what_comes_out_of_the_database(happened: list[str]):
    """D2, R2: recovery deploys again, with objects that have numbers where the file has true and false."""
    sut = manager()
    await sut.deploy(config("a", size=[1, {"b": 2}], lazy=False))
    connector = sut.get_connector("a")
    loaded = DeploymentConfig("a", "plain", {"size": [1, {"b": 2}]}, external=0, lazy=0)  # type: ignore[arg-type]
    await sut.deploy(loaded)
    assert sut.get_connector("a") is connector
    await sut.close()
    assert happened == ["deploy a", "deployed a", "undeploy a", "undeployed a"]


async def test_unknown_names_have_no_connector():
    """R1: StreamFlow asks for whatever stands in a token, which may be a status."""
    sut = manager()
    assert sut.get_connector("a") is None
    await sut.undeploy("a")
    await sut.undeploy_all()
    await sut.deploy(config("a"))
    assert sut.get_connector("b") is None
    assert sut.get_connector(Status.CANCELLED) is None  # type: ignore[arg-type]
    await sut.close()
    assert sut.get_connector("a") is None


async def test_a_live_deployment_is_kept_when_another_definition_comes(caplog: pytest.LogCaptureFixture):
    """D4, as StreamFlow needs it: a warning says so, where its own manager says nothing."""
    sut = manager()
    await sut.deploy(config("a", size=1))
    connector = sut.get_connector("a")
    await sut.deploy(config("a", size=2))
    assert sut.get_connector("a") is connector
    assert "'a' is in use with a different definition" in caplog.text
    await sut.undeploy("a")
    definition = config("a", size=2)
    await sut.deploy(definition)
    caplog.clear()
    definition.config["size"] = 3
    await sut.deploy(definition)
    assert "'a' is in use with a different definition" in caplog.text
    assert [each.settings for each in built["a"]] == [{"size": 1}, {"size": 2}]
    await sut.close()


@pytest.mark.parametrize(
    "other",
    [
        config("b", WrapsConfig("a", "web")),
        config("b"),
        config("b", "a", type="another"),
        config("b", "a", external=True),
        config("b", "a", lazy=True),
        config("b", "a", size=1),
    ],
    ids=["service", "wraps", "type", "external", "lazy", "settings"],
)
async def test_a_definition_may_differ_in_any_field(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, other: DeploymentConfig
):
    """D4"""
    monkeypatch.setitem(connector_classes, "another", Wrapper)
    sut = manager()
    await sut.deploy(config("a"))
    await sut.deploy(config("b", "a"))
    await sut.deploy(config("b", "a"))
    assert "different definition" not in caplog.text
    await sut.deploy(other)
    assert "'b' is in use with a different definition; undeploy it first. It is kept as it is." in caplog.text
    assert len(built["b"]) == 1
    await sut.close()


async def test_a_refused_definition_leaves_no_trace(caplog: pytest.LogCaptureFixture):
    """D4: what is kept has the settings of its own definition, and is spoken of as that says."""
    caplog.set_level(logging.INFO, "streamflow")
    sut = manager()
    await sut.deploy(config("a", lazy=True, transferBufferSize=7))
    refused = [config("a", lazy=True, transferBufferSize=size) for size in (8, 9)]
    await asyncio.gather(*map(sut.deploy, refused))
    assert sut.get_connector("a").transferBufferSize == 7
    await sut.deploy(config("b", lazy=False))
    await sut.deploy(config("b", lazy=False, external=True))
    await sut.undeploy("b")
    assert "COMPLETED undeployment of b" in caplog.text
    await sut.close()


async def test_what_was_brought_up_for_others_is_the_same_when_it_is_deployed_itself(caplog: pytest.LogCaptureFixture):
    """D2, D4: StreamFlow's object has the workdir of what it wraps, and the file has not."""
    sut = manager({"a": {"type": "plain", "config": {"b": 1}}, "b": {"type": "wrapper", "config": None, "wraps": "a"}})
    await sut.deploy(config("c", "b", lazy=True))
    await sut.get_connector("c").get_available_locations()
    for each in (config("a", lazy=True, b=1), config("b", "a", lazy=True)):
        each.workdir = "/somewhere"
        await sut.deploy(each)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [len(connectors) for connectors in built.values()] == [1, 1, 1]
    await sut.close()


async def test_definitions_are_never_changed():
    """They are saved to the database after the deploy; not even a connector that changes its settings changes them."""
    definition = config("a", list=[1], mapping={"b": {"c": 1}})

    def change() -> None:
        built["a"][-1].settings["list"].append(2)
        built["a"][-1].settings["mapping"]["b"].clear()

    scripts["a"] = change
    sut = manager()
    await sut.deploy(definition)
    assert definition.config == {"list": [1], "mapping": {"b": {"c": 1}}}
    await sut.undeploy("a")
    await sut.deploy(definition)
    assert built["a"][-1].settings == built["a"][0].settings == {"list": [1, 2], "mapping": {"b": {}}}
    await sut.close()


async def test_external_and_local_environments():
    """E1"""
    sut = manager()
    await sut.deploy(LocalTarget().deployment)
    connector = sut.get_connector("__LOCAL__")
    assert isinstance(connector, LocalConnector)
    location = (await connector.get_available_locations())["__LOCAL__"].location
    assert await connector.run(location, ["echo", "hello"], capture_output=True) == ("hello", 0)
    await sut.deploy(config("a", external=True))
    assert built["a"][0].external is True
    await sut.close()


@pytest.mark.parametrize("key", ["deployments", "models"])
async def test_inner_deployments_come_from_the_file(happened: list[str], key: str):
    """D1, after StreamFlow's ``WorkflowConfig`` has put names and policies into it."""
    inner = {"type": "plain", "config": {}, "name": "a", "scheduling_policy": SimpleNamespace(), "lazy": True}
    middle = {"type": "wrapper", "config": {"size": 1}, "name": "b", "wraps": {"deployment": "a", "service": "web"}}
    sut = AnydeployDeploymentManager(SimpleNamespace(config={"path": "/x/y.yml", key: {"a": inner, "b": middle}}))
    await sut.deploy(config("c", "b"))
    assert happened == ["deploy a", "deployed a", "deploy b", "deployed b", "deploy c", "deployed c"]
    ((a,), (b,), (c,)) = built["a"], built["b"], built["c"]
    assert (b.connector, b.service, c.connector, c.service) == (a, "web", b, None)
    await sut.undeploy("c")
    await sut.undeploy_all()
    assert happened[6:] == [f"{what} {name}" for name in "cba" for what in ("undeploy", "undeployed")]
    await sut.close()


async def test_what_is_in_no_file_may_wrap_what_is_deployed(happened: list[str]):
    """CWL's DockerRequirement makes such deployments."""
    sut = manager()
    await sut.deploy(config("a", lazy=True))
    await sut.deploy(config("5b1f", WrapsConfig("a", "web")))
    assert happened == ["deploy a", "deployed a", "deploy 5b1f", "deployed 5b1f"]
    assert built["5b1f"][0].service == "web"
    await sut.close()


async def test_a_wrapper_without_wraps_wraps_the_local_machine():
    sut = manager()
    await sut.deploy(config("a", type="wrapper"))
    assert isinstance(built["a"][0].connector, LocalConnector)
    await sut.deploy(config("b", "__LOCAL__"))
    assert built["b"][0].connector is built["a"][0].connector
    await sut.close()


async def test_the_local_machine_can_be_wrapped_by_name():
    sut = manager()
    await sut.deploy(config("a", "__LOCAL__"))
    assert isinstance(sut.get_connector("__LOCAL__"), LocalConnector)
    await sut.close()


async def test_what_is_done_is_logged_as_streamflow_does(caplog: pytest.LogCaptureFixture):
    """Of what is external, nothing."""
    caplog.set_level(logging.INFO, "streamflow")
    scripts.update({"b": fail(1), "undeploy a": fail(1)})
    sut = manager()
    await sut.deploy(config("x", external=True))
    await sut.deploy(config("a"))
    with pytest.raises(WorkflowExecutionException):
        await sut.deploy(config("b", "a"))
    await sut.close()
    assert [record.getMessage() for record in caplog.records if record.name == "streamflow"] == [
        f"Environments are brought up and taken down by anydeploy {anydeploy.__version__}",
        "DEPLOYING a",
        "COMPLETED deployment of a",
        "DEPLOYING b",
        "FAILED deployment of b: ZeroDivisionError: made to fail",
        "COMPLETED undeployment of b",
        "UNDEPLOYING a",
        "FAILED undeployment of a: ZeroDivisionError: made to fail",
        "UNDEPLOYING a",
        "COMPLETED undeployment of a",
    ]


async def test_wraps_on_what_cannot_wrap_is_warned_of(caplog: pytest.LogCaptureFixture):
    """As StreamFlow does; but not of a lazy deployment that can."""
    sut = manager({"b": {"type": "plain", "config": {}, "wraps": "a"}})
    await sut.deploy(config("a", lazy=True))
    await sut.deploy(config("b", "a", type="plain"))
    await sut.deploy(config("c", "a", lazy=True))
    await sut.get_connector("c").get_available_locations()
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "`wraps` directive has no effect on deployment b, as the `plain` connector" in record.getMessage()
    await sut.close()


@pytest.mark.parametrize("lazy", [True, False])
async def test_settings_are_passed_as_they_are(tmp_path: Path, lazy: bool):
    """The directory is that of the file, and the default of a connector's transferBufferSize its own."""
    sut = manager(path=str(tmp_path / "streamflow.yml"))
    await sut.deploy(config("a", lazy=lazy))
    await sut.deploy(config("b", lazy=lazy, transferBufferSize=7))
    for name, size in (("a", 2**10), ("b", 7)):
        connector = sut.get_connector(name)
        assert connector.transferBufferSize == size
        await connector.get_available_locations()
        assert (connector.transferBufferSize, built[name][0].transferBufferSize) == (size, size)
        built[name][0].transferBufferSize = 1
        assert connector.transferBufferSize == 1
        assert built[name][0].config_dir == connector.config_dir == str(tmp_path)
    await sut.close()


async def test_without_a_file_paths_are_relative_to_the_directory(tmp_path: Path):
    sut = manager(path=str(tmp_path))
    await sut.deploy(config("a"))
    assert built["a"][0].config_dir == str(tmp_path)
    await sut.close()


async def test_what_is_shown_again_is_the_same():
    """R2: between undeploy and deploy it was hidden, but never down."""
    sut = manager()
    for each in (config("a"), config("b", "a")):
        await sut.deploy(each)
    connector = sut.get_connector("a")
    await sut.undeploy("a")
    assert sut.get_connector("a") is None
    await sut.deploy(config("a"))
    assert sut.get_connector("a") is connector
    await sut.close()


async def test_nothing_is_kept_of_what_is_gone():
    sut = manager()
    await sut.deploy(config("a"))
    await sut.get_connector("a").get_available_locations()
    await sut.undeploy("a")
    await settled()
    real = weakref.ref(built["a"].pop())
    gc.collect()
    assert real() is None
    await sut.close()


# -- Lazy connectors -------------------------------------------------------------------------------------------------


async def test_a_lazy_connector_is_taken_for_the_real_one(happened: list[str]):
    """L1, L2"""
    sut = manager()
    await sut.deploy(config("a", lazy=True))
    await sut.deploy(config("b", "a", lazy=True))
    a, b = sut.get_connector("a"), sut.get_connector("b")
    assert isinstance(b, ConnectorWrapper) and isinstance(b, Wrapper) and not isinstance(b, Plain)
    assert isinstance(a, Plain) and not isinstance(a, ConnectorWrapper)
    with pytest.raises(WorkflowExecutionException, match="'b' wraps is not known"):
        _ = b.connector
    with pytest.raises(AttributeError):
        _ = b.size
    assert happened == []
    locations = await asyncio.gather(*(b.get_available_locations() for _ in range(3)))
    assert [list(found) for found in locations] == [["here"]] * 3
    assert happened == ["deploy a", "deployed a", "deploy b", "deployed b"]
    assert b.connector is built["a"][0] and b.size == 0
    assert sut.get_connector("b") is b and sut.get_connector("a") is a
    with pytest.raises(AttributeError):
        _ = sut.get_connector("a").connector
    await sut.close()


@pytest.mark.parametrize("lazy", [True, False])
async def test_the_source_of_a_copy_is_the_real_connector(lazy: bool):
    sut = manager()
    await sut.deploy(config("a", lazy=lazy))
    await sut.deploy(config("b", lazy=lazy))
    a, b = sut.get_connector("a"), sut.get_connector("b")
    for source, real in ((a, "a"), (b, "b")):
        await b.copy_remote_to_remote("x", "y", [], None, source_connector=source)
        assert built["b"][0].copied_from is built[real][0]
    await b.copy_remote_to_remote("x", "y", [], None)
    assert built["b"][0].copied_from is None
    await sut.close()


async def test_every_user_of_a_failing_lazy_deployment_is_told_and_the_next_use_tries_again(happened: list[str]):
    """L1, D5: each gets an exception of its own."""
    sut = manager()
    scripts["a"] = fail(1)
    await sut.deploy(config("a", lazy=True))
    connector = sut.get_connector("a")
    first, second = await asyncio.gather(*(connector.run(None, ["x"]) for _ in range(2)), return_exceptions=True)
    for error in (first, second):
        assert isinstance(error, WorkflowExecutionException) and isinstance(error, anydeploy.DeployError)
        assert isinstance(error.__cause__, ZeroDivisionError)
        assert "deployment 'a' failed to deploy" in str(error)
    assert first is not second
    assert await connector.run(None, ["x"]) == ("a: x", 0)
    assert happened == ["deploy a", "undeploy a", "undeployed a", "deploy a", "deployed a"]
    await sut.close()


async def test_a_failed_deployment_is_known_by_the_text_of_streamflow_and_says_why():
    """D5: StreamFlow's own tests compare the first argument."""
    sut = manager()
    scripts["a"] = fail(1)
    both = await asyncio.gather(*(sut.deploy(config("a")) for _ in range(2)), return_exceptions=True)
    for error in both:
        assert isinstance(error, WorkflowExecutionException)
        assert error.args == ("FAILED deployment of a",)
        assert str(error).startswith("deployment 'a' failed to deploy: ZeroDivisionError")
        assert isinstance(error.__cause__, ZeroDivisionError)
    await sut.close()


@pytest.mark.parametrize("lazy", [True, False])
async def test_a_connector_is_not_used_after_its_end(lazy: bool):
    """R4"""
    sut = manager()
    await sut.deploy(config("a", lazy=lazy))
    connector = sut.get_connector("a")
    await connector.run(None, ["x"])
    with pytest.raises(WorkflowExecutionException, match="manager's undeploy"):
        await connector.undeploy(False)
    await connector.deploy(False)
    await sut.undeploy("a")
    for use in (connector.run(None, ["x"]), connector.get_available_locations(), connector.deploy(False)):
        with pytest.raises(WorkflowExecutionException, match="'a' can no longer be used"):
            await use
    await sut.deploy(config("a", lazy=lazy))
    assert sut.get_connector("a") is not connector
    await sut.close()


# -- Errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("deployments", "wrong", "problem"),
    [
        ({}, config("a", "b"), "depends on 'b', which is not defined"),
        ({}, config("a", "a"), "a -> a"),
        ({"b": {"type": "wrapper", "config": {}, "wraps": "a"}}, config("a", "b"), "a -> b -> a"),
        ({}, config("a", type="plane"), "deployment 'a': unknown type 'plane'; did you mean 'plain'?"),
        ({}, config("a", type="process"), "deployment 'a': unknown type 'process'"),
        ({}, config("a", type="wrapper", siz=1), "setting 'siz': unknown setting; did you mean 'size'?"),
        ({"a": {"type": "plain", "config": {}, "retries": "one"}}, config("a"), "deployment 'a': 'retries': expected"),
        ({"a": {"type": "plain", "config": {}, "dependsOn": 1}}, config("a"), "deployment 'a': 'dependsOn': expected"),
    ],
)
@pytest.mark.parametrize("lazy", [True, False])
async def test_misspecifications(
    happened: list[str], deployments: dict[str, Any], wrong: DeploymentConfig, problem: str, lazy: bool
):
    """D4: each time, whether it is lazy or not, and as StreamFlow's exception."""
    wrong.lazy = lazy
    sut = manager(deployments)
    for _ in range(2):
        with pytest.raises(WorkflowDefinitionException) as caught:
            await sut.deploy(wrong)
        assert problem in str(caught.value)
        assert isinstance(caught.value, anydeploy.WorkflowDefinitionException)
    assert happened == []
    await sut.close()


async def test_a_failed_deploy_and_a_failed_undeploy(happened: list[str]):
    """D5, U6, U7: with the deployment, the way to it, and the original error."""
    sut = manager({"a": {"type": "plain", "config": {}}})
    scripts["a"] = fail(1)
    with pytest.raises(WorkflowExecutionException) as caught:
        await sut.deploy(config("b", "a"))
    assert str(caught.value) == "deployment 'a' (needed by b) failed to deploy: ZeroDivisionError: made to fail"
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert caught.value.path == ("b", "a")
    await sut.deploy(config("b", "a"))
    scripts["undeploy b"] = fail(2)
    with pytest.raises(WorkflowExecutionException, match="'b' could not be undeployed"):
        await sut.undeploy("b")
    with pytest.raises(ExceptionGroup) as group:
        await sut.undeploy_all()
    assert group.group_contains(WorkflowExecutionException, match="'b' could not be undeployed")
    assert isinstance(group.value.exceptions[0].__cause__, ZeroDivisionError)
    await sut.close()
    assert happened[-6:] == ["undeploy b"] * 3 + ["undeployed b", "undeploy a", "undeployed a"]


async def test_what_may_be_left_is_reported_by_close():
    """U8"""
    sut = manager()
    scripts["undeploy a"] = fail(9)
    await sut.deploy(config("a"))
    for _ in range(2):
        with pytest.raises(ExceptionGroup) as group:
            await sut.close()
        assert group.group_contains(WorkflowExecutionException, match="'a' could not be undeployed")


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"maxConcurrent": 0}, "'maxConcurrent': expected a whole number, 1 or more, found the number 0"),
        ({"maxConcurrent": True}, "'maxConcurrent': expected a whole number"),
        ({"retries": -1}, "'retries': expected a whole number, 0 or more"),
        ({"deployTimeout": 0}, "'deployTimeout': expected a duration"),
        ({"undeployTimeout": "soon"}, "'undeployTimeout': expected a duration"),
    ],
)
async def test_wrong_settings_of_the_manager(settings: dict[str, Any], problem: str):
    with pytest.raises(WorkflowDefinitionException) as caught:
        manager(**settings)
    assert problem in str(caught.value)


# -- Settings --------------------------------------------------------------------------------------------------------


async def test_retries(happened: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    """K3: those of the manager, and those of a deployment in the file before them."""
    monkeypatch.setattr("anydeploy.engine.deploying.FIRST_PAUSE", 0.001)
    scripts.update(a=fail(1), b=fail(1))
    sut = manager({"b": {"type": "plain", "config": {}, "retries": 0}}, retries=1)
    await sut.deploy(config("a"))
    with pytest.raises(WorkflowExecutionException, match="'b' failed to deploy"):
        await sut.deploy(config("b"))
    assert happened[:5] == ["deploy a", "undeploy a", "undeployed a", "deploy a", "deployed a"]
    assert "FAILED deployment of a, which is tried again: ZeroDivisionError: made to fail" in caplog.text
    await sut.close()


async def test_depends_on(happened: list[str]):
    """D1: what else is needed is said in the file, which StreamFlow ignores."""
    deployments = {name: {"type": "plain", "config": {}, "dependsOn": ["b"] * (name == "a")} for name in "ab"}
    sut = manager(deployments)
    await sut.deploy(config("a"))
    await sut.close()
    assert happened[::2] == ["deploy b", "deploy a", "undeploy a", "undeploy b"]


@in_virtual_time
async def test_timeouts_and_the_bound_on_how_many_are_at_work():
    """K1, K2"""
    sut = manager({"b": {"type": "plain", "config": {}, "deployTimeout": "1h"}}, deployTimeout="1ms", maxConcurrent=1)
    gate = asyncio.Event()
    scripts.update(a=gate.wait, b=gate.wait)
    doomed, waiting = asyncio.create_task(sut.deploy(config("a"))), asyncio.create_task(sut.deploy(config("b")))
    await asyncio.sleep(0.05)
    assert set(built) == {"a"}
    gate.set()
    with pytest.raises(WorkflowExecutionException, match=r"'a' .* within 0.001 s \(deploy_timeout\)"):
        await doomed
    await waiting
    await sut.close()


@pytest.mark.parametrize(
    "answer",
    [
        "Error response from daemon: No such container: 4f2a",
        "FATAL: no instance found with name a",
        "Error: uninstall: Release not loaded: a: release: not found",
    ],
)
async def test_an_environment_that_is_not_there_is_taken_down(answer: str, happened: list[str]):
    """U6: that is success, not failure."""

    def refuse() -> None:
        raise WorkflowExecutionException(f"FAILED Undeployment of a environment [1]:\n\t{answer}")

    sut = manager()
    scripts["undeploy a"] = refuse
    await sut.deploy(config("a"))
    await sut.undeploy("a")
    assert sut.get_connector("a") is None
    assert happened == ["deploy a", "deployed a", "undeploy a"]
    await sut.close()


@pytest.mark.parametrize("limit", [None, "1h"])
async def test_a_deploy_is_cut_short_in_a_hurry(limit: str | None, happened: list[str]):
    """D6: otherwise it would be allowed to finish."""
    sut = manager(deployTimeout=limit)
    scripts["a"] = stay
    coming = asyncio.create_task(sut.deploy(config("a")))
    await settled()
    background: Any = vars(sut)["_background"]
    background.manager.hurry()
    with pytest.raises(WorkflowExecutionException, match=r"'a' failed to deploy: .*its deploy was cut short"):
        await coming
    assert happened == ["deploy a", "undeploy a", "undeployed a"]
    await sut.close()


async def test_a_deploy_is_cut_short_before_it_has_begun():
    """D6: it has a task of its own, because it has a limit."""
    sut = manager(deployTimeout="1h")
    coming = asyncio.create_task(sut.deploy(config("a")))
    while "a" not in built:  # noqa: ASYNC110 - to the step
        await asyncio.sleep(0)
    background: Any = vars(sut)["_background"]
    background.manager.hurry()
    with pytest.raises(WorkflowExecutionException, match=r"'a' failed to deploy: .*its deploy was cut short"):
        await coming
    await sut.close()


async def test_a_name_that_is_none_is_refused_when_something_is_up():
    """D4"""
    sut = manager()
    await sut.deploy(config("a"))
    wrong: Any = ["a"]
    with pytest.raises(WorkflowDefinitionException, match="expected the name of a deployment, found a list"):
        await sut.deploy(config(wrong))
    await sut.close()


async def test_wraps_that_is_changed_in_place_is_noticed(caplog: pytest.LogCaptureFixture):
    """D4"""
    sut = manager()
    for name in "ab":
        await sut.deploy(config(name))
    definition = config("w", "a")
    await sut.deploy(definition)
    definition.wraps.deployment = "b"
    await sut.deploy(definition)
    assert "'w' is in use with a different definition" in caplog.text
    await sut.close()


# -- Callers that go away, and ends ----------------------------------------------------------------------------------


@pytest.mark.parametrize("everything", [True, False])
async def test_an_undeploy_before_the_first_deploy_has_begun_counts(happened: list[str], everything: bool):
    """U4: although nothing of the manager runs yet. A deploy after it counts as well."""
    sut = manager()
    first = asyncio.create_task(sut.deploy(config("a")))
    last = asyncio.create_task(sut.undeploy_all() if everything else sut.undeploy("a"))
    again = asyncio.create_task(sut.deploy(config("a")))
    with pytest.raises(WorkflowExecutionException, match="'a' was undeployed before it was up"):
        await first
    await last
    await again
    assert happened == ["deploy a", "deployed a"]
    await sut.close()


@pytest.mark.parametrize("turns", range(1, 7))
@pytest.mark.parametrize("everything", [True, False])
async def test_an_undeploy_counts_however_soon_after_the_first_deploy(everything: bool, turns: int):
    """U4: in whichever turn of the event loop."""
    sut = manager()
    first = asyncio.create_task(sut.deploy(config("a")))
    for _ in range(turns):
        await asyncio.sleep(0)
    await (sut.undeploy_all() if everything else sut.undeploy("a"))
    await asyncio.gather(first, return_exceptions=True)
    assert sut.get_connector("a") is None
    await sut.close()


async def test_an_undeploy_that_is_cancelled_in_its_first_moment_counts(happened: list[str]):
    sut = manager()
    first = asyncio.create_task(sut.deploy(config("a")))
    last = asyncio.create_task(sut.undeploy("a"))
    asyncio.get_running_loop().call_soon(last.cancel)
    with pytest.raises(WorkflowExecutionException, match="'a' was undeployed before it was up"):
        await first
    assert happened == []
    await sut.close()


@pytest.mark.parametrize("lazy", [True, False])
async def test_close_in_the_moment_of_the_first_deploy(happened: list[str], lazy: bool):
    """U8: neither hangs, and nothing comes up."""
    sut = manager()
    first = asyncio.create_task(sut.deploy(config("a", lazy=lazy)))
    closing = [asyncio.create_task(sut.close()) for _ in range(2)]
    with pytest.raises(WorkflowExecutionException, match="closed"):
        await first
    await asyncio.gather(*closing)
    with pytest.raises(WorkflowExecutionException, match="closed"):
        await sut.deploy(config("a"))
    assert happened == []


async def test_the_end_of_the_loop_in_the_moment_of_the_first_deploy(happened: list[str]):
    """Asyncio cancels every task then, even one that has not begun: who still waits must not hang."""
    sut = manager()
    deploying = asyncio.create_task(sut.deploy(config("a")))
    asyncio.get_running_loop().call_soon(
        lambda: [task.cancel() for task in asyncio.all_tasks() if task.get_name() == "anydeploy"]
    )
    with pytest.raises(WorkflowExecutionException, match="outside its `async with` block"):
        await deploying
    await sut.close()
    assert happened == []


def test_a_manager_in_use_on_one_event_loop_is_refused_on_another():
    sut = manager()
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(sut.deploy(config("a")))
        for use in (lambda: sut.deploy(config("b")), lambda: sut.undeploy("a"), sut.undeploy_all, sut.close):
            with pytest.raises(WorkflowExecutionException, match="in use on another event loop"):
                asyncio.run(use())
        loop.run_until_complete(sut.close())
    finally:
        loop.close()
    asyncio.run(sut.close())


async def test_close_without_a_deploy():
    sut = manager()
    await sut.close()
    await sut.close()
    with pytest.raises(WorkflowExecutionException, match="closed"):
        await sut.deploy(config("a"))


async def test_a_cancelled_caller_leaves_at_once_and_disturbs_nobody(happened: list[str]):
    """D6, M3"""
    sut = manager()
    gate = asyncio.Event()
    scripts["a"] = gate.wait
    callers = [asyncio.create_task(sut.deploy(config("a"))) for _ in range(3)]
    callers[0].cancel()
    await settled()
    callers[1].cancel()
    assert [type(end) for end in await asyncio.gather(*callers[:2], return_exceptions=True)] == [
        asyncio.CancelledError
    ] * 2
    gate.set()
    await callers[2]
    assert sut.get_connector("a") is not None
    await sut.close()
    assert happened == ["deploy a", "deployed a", "undeploy a", "undeployed a"]


async def test_what_nobody_waits_for_any_more_is_let_finish_and_undone(happened: list[str]):
    """D6: StreamFlow's connectors cannot be interrupted. Who comes meanwhile gets a fresh one."""
    sut = manager()
    gate = asyncio.Event()
    scripts["a"] = gate.wait
    caller = asyncio.create_task(sut.deploy(config("a")))
    await settled()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    newcomer = asyncio.create_task(sut.deploy(config("a")))
    await settled()
    assert happened == ["deploy a"]
    gate.set()
    await newcomer
    assert happened == ["deploy a", "deployed a", "undeploy a", "undeployed a", "deploy a", "deployed a"]
    await sut.close()


async def test_a_cancelled_close_goes_on(happened: list[str]):
    """U5"""
    sut = manager()
    gate = asyncio.Event()
    scripts["undeploy a"] = gate.wait
    await sut.deploy(config("a"))
    closing = asyncio.create_task(sut.close())
    await settled()
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    gate.set()
    await sut.close()
    assert happened == ["deploy a", "deployed a", "undeploy a", "undeployed a"]


async def test_close_lets_what_is_coming_up_finish(happened: list[str]):
    """U8"""
    sut = manager()
    gate = asyncio.Event()
    scripts["b"] = gate.wait
    await sut.deploy(config("a"))
    coming = asyncio.create_task(sut.deploy(config("b", "a")))
    await settled()
    closing = asyncio.create_task(sut.close())
    await settled()
    assert happened == ["deploy a", "deployed a", "deploy b"]
    gate.set()
    await closing
    with pytest.raises(WorkflowExecutionException, match="'b'"):
        await coming
    assert happened[2:] == ["deploy b", "deployed b", "undeploy b", "undeployed b", "undeploy a", "undeployed a"]


@in_virtual_time
async def test_a_deploy_beyond_its_timeout_has_half_of_the_time_for_the_teardown(happened: list[str]):
    """K2: it is cancelled then. What it may have made is undeployed."""
    sut = manager(deployTimeout=0.01, undeployTimeout=0.02)
    scripts["a"] = stay
    with pytest.raises(WorkflowExecutionException, match=r"'a' .* within 0.01 s \(deploy_timeout\)"):
        await sut.deploy(config("a"))
    assert happened == ["deploy a", "undeploy a", "undeployed a"]
    await sut.close()
