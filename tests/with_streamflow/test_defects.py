"""Where StreamFlow's own deployment manager is wrong, and anydeploy's is right: the same test for both.

The failure of StreamFlow's own is expected. A call that hangs there is given up after a moment. The defects that the
suite of scenarios shows are listed in ``test_reference.py``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from streamflow.core.deployment import DeploymentManager
from streamflow.deployment.manager import DefaultDeploymentManager

from anydeploy.streamflow import AnydeployDeploymentManager

from .recorded import Wrapper, built, config, manager, scripts, settled

Make = Callable[..., DeploymentManager]

#: Seconds after which a call counts as one that hangs.
PATIENCE = 1.0


def managers(reason: str) -> Callable[[Any], Any]:
    """Run a test with both managers, and expect StreamFlow's own to fail for a reason."""
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
