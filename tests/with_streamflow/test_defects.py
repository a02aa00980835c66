"""Where StreamFlow's own deployment manager is wrong, and anydeploy's is right: the same test for both.

The failure of StreamFlow's own is expected. Whatever hangs there is given up after a moment.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from streamflow.core.deployment import DeploymentManager
from streamflow.core.exception import WorkflowDefinitionException, WorkflowExecutionException
from streamflow.deployment.manager import DefaultDeploymentManager

from anydeploy.streamflow import AnydeployDeploymentManager

from .recorded import Wrapper, built, config, fail, manager, scripts, settled

Make = Callable[..., DeploymentManager]

#: Seconds after which a call counts as one that hangs.
PATIENCE = 1.0


def managers(reason: str) -> Callable[[Any], Any]:
    """Both managers, and why the test fails with StreamFlow's own."""
    marks = [pytest.mark.reference, pytest.mark.xfail(reason=reason)]
    reference = pytest.param(DefaultDeploymentManager, marks=marks, id="default")
    types = pytest.mark.parametrize(
        "make", [pytest.param(AnydeployDeploymentManager, id="anydeploy"), reference], indirect=True
    )
    return lambda test: types(pytest.mark.anyio(pytest.mark.usefixtures("happened")(test)))


@pytest.fixture
def make(request: pytest.FixtureRequest) -> Make:
    def make(*args: Any, **kwargs: Any) -> DeploymentManager:
        return manager(*args, type=request.param, **kwargs)

    return make


@managers("it hands out connectors that are not deployed yet")
async def test_a_connector_is_not_given_out_before_it_is_deployed(make: Make):
    """R1"""
    sut = make()
    gate = asyncio.Event()
    scripts["a"] = gate.wait
    deploying = asyncio.create_task(sut.deploy(config("a")))
    await settled()
    early = sut.get_connector("a")
    gate.set()
    await deploying
    assert early is None and sut.get_connector("a") is not None
    await sut.close()


@managers("whoever waits hangs when the first caller is cancelled")
async def test_a_cancelled_caller_does_not_make_others_hang(make: Make):
    """D6"""
    sut = make()
    gate = asyncio.Event()
    scripts["a"] = gate.wait
    first, second = (asyncio.create_task(sut.deploy(config("a"))) for _ in range(2))
    await settled()
    first.cancel()
    await settled()
    gate.set()
    await asyncio.wait_for(second, PATIENCE)
    assert sut.get_connector("a") is not None
    await sut.close()


@pytest.mark.parametrize("wrapped", ["b", "a"], ids=["unknown", "circular"])
@managers("the second call for a misspecified deployment hangs; a cycle hangs at once")
async def test_a_misspecification_never_hangs(make: Make, wrapped: str):
    """D4"""
    sut = make({"a": {"type": "wrapper", "config": {}, "wraps": wrapped, "scheduling_policy": None}})
    for _ in range(2):
        with pytest.raises(WorkflowDefinitionException):
            await asyncio.wait_for(sut.deploy(config("a", wrapped)), PATIENCE)
    await sut.close()


@managers("it can never deploy a name again after one failure")
async def test_a_name_can_be_deployed_again_after_a_failure(make: Make):
    """D5"""
    sut = make()
    scripts["a"] = fail(1)
    with pytest.raises((WorkflowExecutionException, ZeroDivisionError)):
        await sut.deploy(config("a"))
    await asyncio.wait_for(sut.deploy(config("a")), PATIENCE)
    assert sut.get_connector("a") is not None
    await sut.close()


@managers("a lazy deployment that has failed once is never deployed again")
async def test_a_lazy_deployment_can_be_used_after_a_failure(make: Make):
    """L1"""
    sut = make()
    scripts["a"] = fail(1)
    await sut.deploy(config("a", lazy=True))
    connector = sut.get_connector("a")
    assert connector is not None
    with pytest.raises((WorkflowExecutionException, ZeroDivisionError)):
        await connector.get_available_locations()
    assert await asyncio.wait_for(connector.get_available_locations(), PATIENCE)
    await sut.close()


@managers("what a failed deploy has half made is left behind")
async def test_a_failed_deploy_is_cleaned_up(make: Make, happened: list[str]):
    """D5: and so is what it stands on, if it was up for its sake."""
    sut = make({"a": {"type": "plain", "config": {}, "lazy": False, "scheduling_policy": None}})
    scripts["b"] = fail(1)
    with pytest.raises((WorkflowExecutionException, ZeroDivisionError)):
        await sut.deploy(config("b", "a"))
    await sut.close()
    assert happened[2:] == ["deploy b", "undeploy b", "undeployed b", "undeploy a", "undeployed a"]


@managers("close() hangs after a deploy was cancelled, and what that has made is left behind")
async def test_closing_leaves_nothing_behind(make: Make, happened: list[str]):
    """U8"""
    sut = make()
    gate = asyncio.Event()
    scripts["a"] = gate.wait
    deploying = asyncio.create_task(sut.deploy(config("a")))
    await settled()
    deploying.cancel()
    await settled()
    closing = asyncio.create_task(sut.close())
    await settled()
    gate.set()
    await asyncio.wait_for(closing, PATIENCE)
    assert happened == ["deploy a", "deployed a", "undeploy a", "undeployed a"]


@managers("in a stack of three it tears the innermost down under a live wrapper")
async def test_nothing_is_torn_down_under_what_stands_on_it(make: Make, happened: list[str]):
    """R3, U2"""
    sut = make()
    for each in (config("a"), config("b", "a"), config("c", "b")):
        await sut.deploy(each)
    await sut.undeploy("a")
    await sut.undeploy("b")
    assert happened[6:] == []
    await sut.undeploy("c")
    await sut.close()
    assert happened[6:] == [f"{what} {name}" for name in "cba" for what in ("undeploy", "undeployed")]


@managers("it starts a new deploy while the old undeploy is still running")
async def test_two_of_one_name_never_overlap(make: Make, happened: list[str]):
    """D3"""
    sut = make()
    gate = asyncio.Event()
    scripts["undeploy a"] = gate.wait
    await sut.deploy(config("a"))
    undeploying = asyncio.create_task(sut.undeploy("a"))
    await settled()
    deploying = asyncio.create_task(sut.deploy(config("a")))
    await settled()
    before = list(happened)
    gate.set()
    await asyncio.wait_for(asyncio.gather(undeploying, deploying), PATIENCE)
    assert before == ["deploy a", "deployed a", "undeploy a"]
    await sut.close()


@managers("what it could not undeploy is forgotten")
async def test_a_failed_undeploy_is_not_forgotten(make: Make, happened: list[str]):
    """U6"""
    sut = make()
    scripts["undeploy a"] = fail(1)
    await sut.deploy(config("a"))
    with pytest.raises((WorkflowExecutionException, ZeroDivisionError)):
        await sut.undeploy("a")
    await sut.undeploy("a")
    assert happened[2:] == ["undeploy a", "undeploy a", "undeployed a"]
    await sut.close()


@managers("it ignores without a word that a definition differs from that of the live deployment")
async def test_another_definition_is_warned_of(make: Make, caplog: pytest.LogCaptureFixture):
    """D4"""
    sut = make()
    await sut.deploy(config("a", size=1))
    await sut.deploy(config("a", size=2))
    assert [record.levelno for record in caplog.records if "different definition" in record.getMessage()]
    assert len(built["a"]) == 1
    await sut.close()


@managers("it gives an eager connector the path of the file in place of its directory")
async def test_the_directory_of_the_file_is_given_to_connectors(make: Make):
    sut = make(path="/nowhere/streamflow.yml")
    await sut.deploy(config("a"))
    assert built["a"][0].config_dir == "/nowhere"
    await sut.close()


@managers("it sets the buffer size of lazy connectors to its own default")
async def test_a_lazy_connector_keeps_its_own_buffer_size(make: Make):
    sut = make()
    await sut.deploy(config("a", lazy=True))
    connector = sut.get_connector("a")
    assert connector is not None
    await connector.get_available_locations()
    assert built["a"][0].transferBufferSize == 2**10
    await sut.close()


@managers("it warns that `wraps` has no effect where what is wrapped is lazy and wraps something itself")
async def test_no_warning_where_wraps_has_an_effect(make: Make, caplog: pytest.LogCaptureFixture):
    sut = make()
    for each in (config("a", lazy=True), config("b", "a", lazy=True), config("c", "b", lazy=True)):
        await sut.deploy(each)
    connector = sut.get_connector("c")
    assert isinstance(connector, Wrapper)
    await connector.get_available_locations()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    await sut.close()
