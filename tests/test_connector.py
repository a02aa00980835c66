"""The parts of the contract of connectors that need no environment: views, places, traces and facts."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest

from anydeploy import (
    Command,
    Connector,
    ConnectorWrapper,
    DefaultDeploymentManager,
    DeploymentConfig,
    InvalidConnectorError,
    Location,
    Port,
)

pytestmark = pytest.mark.anyio


@attrs.define(kw_only=True, eq=False, slots=False)
class Farm(Connector):
    """Two places, and nothing but a list of what was asked for there."""

    asked: list[object] = attrs.field(init=False, factory=list)

    async def deploy(self, external: bool) -> None: ...

    async def undeploy(self, external: bool) -> None: ...

    async def get_available_locations(self, service=None):
        return {name: Location(name, self.deployment_name, service) for name in ("n1", "n2")}

    @asynccontextmanager
    async def _start(self, command):
        self.asked.append((command.service, command.location))
        yield None

    @asynccontextmanager
    async def _forward(self, port):
        self.asked.append(port)
        yield None


class Nothing(ConnectorWrapper):
    """Adds nothing to the environment that it wraps."""


@pytest.fixture
def farm() -> Farm:
    return Farm(deployment_name="farm", config_dir=Path())


async def start(connector: Connector, **fields: str) -> None:
    async with connector.start_command(Command(["x"], **fields)):
        pass


async def test_a_view_says_where(farm):
    assert farm.at() is farm
    assert farm.at("db").token == farm.token
    await start(farm.at("db"))
    await start(farm.at(location="n2"))
    await start(farm.at("db").at(location="n2"))
    await start(farm.at("db", location="n1"), location="n2")
    assert farm.asked == [("db", None), (None, "n2"), ("db", "n2"), ("db", "n2")]
    async with farm.at("db", location="n2").forward("h", 1):
        assert farm.asked[-1] == Port("h", 1, "db", "n2")
    assert list(await farm.at(location="n2").get_available_locations()) == ["n2"]
    assert (await farm.at("db").get_available_locations())["n1"].service == "db"


async def test_a_view_is_as_invalid_as_what_it_shows(farm):
    view = farm.at(location="n1")
    view.invalidate("it is over")
    for connector in (farm, view):
        with pytest.raises(InvalidConnectorError, match="'farm' can no longer be used: it is over"):
            await start(connector)
        with pytest.raises(InvalidConnectorError):
            async with connector.forward("h", 1):
                pass


async def test_a_wrapper_has_the_places_of_what_it_wraps(farm):
    """Its own service means nothing there; that of its definition does."""
    wrapper = Nothing(deployment_name="w", config_dir=Path(), connector=farm.at("db"), service="db")
    found = await wrapper.get_available_locations("own")
    assert [(each.name, each.deployment, each.service, each.wraps.service) for each in found.values()] == [
        ("n1", "w", "own", "db"),
        ("n2", "w", "own", "db"),
    ]
    await start(wrapper.at("own", location="n2"))
    async with wrapper.at("own", location="n2").forward("h", 1):
        pass
    assert farm.asked == [("db", "n2"), Port("h", 1, "db", "n2")]


async def test_a_place_of_a_lazy_deployment(farm):
    class Lazy(Farm):
        pass

    definition = DeploymentConfig("farm", "lazy", lazy=True)
    async with DefaultDeploymentManager([definition], connector_types={"lazy": Lazy}) as manager:
        await manager.deploy("farm")
        connector = manager.get_connector("farm")
        await start(connector.at(location="n2"))
        assert list(await connector.get_available_locations()) == ["n1", "n2"]
        async with connector.forward("h", 1):
            pass
        assert connector.asked == [(None, "n2"), Port("h", 1)]


async def test_by_default_there_is_one_place():
    local = Nothing(deployment_name="l", config_dir=Path(), connector=Farm(deployment_name="f", config_dir=Path()))
    assert await Connector.get_available_locations(local) == {"l": Location("l", "l")}


def test_a_token_is_decided_once(farm):
    other = Farm(deployment_name="farm", config_dir=Path())
    assert farm.token == farm.token != other.token
    assert farm.token.isalnum()
    other.token = farm.token
    assert other.token == farm.token


def test_facts_are_recorded_for_a_listener_too(farm):
    heard = []
    assert farm.facts == {}
    farm.record("job", "7")
    farm.on_record = lambda key, value: heard.append((key, value))
    farm.record("node", "n1")
    assert farm.facts == {"job": "7", "node": "n1"}
    assert heard == [("node", "n1")]


async def test_by_default_there_are_no_traces(farm):
    assert farm.traces() == {}
    await farm.remove_left({}, {})
    await farm.reattach({"a": "b"})
