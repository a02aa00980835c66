"""How a type is found, and what is said where it cannot be: with streamflow and without."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from pathlib import Path

import pytest

from anydeploy import Connector, WorkflowDefinitionException, connectors
from anydeploy.connectors import UnknownConnectorTypeError, connector_type
from anydeploy.connectors.local import LocalConnector

FILE = """\
version: v1.0
deployments:
  box:
    type: {}
    config: {{}}
"""
WITHOUT = "import sys; sys.modules['streamflow'] = None; from anydeploy.cli import main; sys.exit(main())"
CHECKED = "from anydeploy.cli import main; import sys; status = main(); assert 'streamflow' not in sys.modules"


class Family:
    """A family of one type."""

    def types(self) -> list[str]:
        return ["boat", "local"]

    def connector_type(self, type_: str) -> type[Connector]:
        return type(f"{type_.title()}", (LocalConnector,), {})


class Broken:
    def types(self) -> list[str]:
        raise WorkflowDefinitionException("the fleet is not installed")


@pytest.fixture
def families(monkeypatch: pytest.MonkeyPatch):
    """Registers two families, and forgets what was looked up before."""
    entries = {
        name: EntryPoint(name, f"{__name__}:{attribute}", "g")
        for name, attribute in {"broken": "_broken", "fleet": "_family"}.items()
    }
    monkeypatch.setattr(connectors, "_families", lambda: entries)
    connector_type.cache_clear()
    yield
    connector_type.cache_clear()


_family, _broken = Family(), Broken()


@pytest.mark.usefixtures("families")
def test_a_type_of_a_family_comes_behind_anydeploys_own():
    assert connector_type("boat").__name__ == "Boat"
    assert connector_type("local") is LocalConnector
    assert connector_type("fleet:local").__name__ == "Local"


@pytest.mark.usefixtures("families")
def test_an_unknown_type_lists_the_families_and_what_is_wrong_with_them():
    with pytest.raises(UnknownConnectorTypeError) as caught:
        connector_type("boar")
    assert str(caught.value) == (
        "unknown type 'boar'; did you mean 'boat'? (known types: command, docker, docker-compose, local, podman, "
        "process, slurm, ssh; of fleet: boat, local); "
        "the fleet is not installed"
    )
    with pytest.raises(UnknownConnectorTypeError, match=r"unknown type 'broken:boat' .*the fleet is not installed"):
        connector_type("broken:boat")


@pytest.mark.parametrize("type_", ["singularity", "streamflow:local"])
def test_without_streamflow_the_extra_is_named(tmp_path: Path, type_: str):
    """Rule D4."""
    path = tmp_path / "streamflow.yml"
    path.write_text(FILE.format(type_))
    done = subprocess.run([sys.executable, "-c", WITHOUT, "up", path], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {path}:4:11: deployment 'box': unknown type '{type_}'")
    assert line.endswith("streamflow, which is not installed: pip install 'anydeploy[streamflow]'")


def test_streamflow_is_imported_only_when_needed(tmp_path: Path):
    path = tmp_path / "streamflow.yml"
    path.write_text(FILE.format("local"))
    done = subprocess.run([sys.executable, "-c", CHECKED, "validate", path], check=False)
    assert done.returncode == 0


@pytest.mark.skipif(find_spec("streamflow") is None, reason="streamflow is not installed")
def test_streamflows_types():
    from streamflow.deployment.connector import connector_classes

    for type_, class_ in connector_classes.items():
        assert connector_type(f"streamflow:{type_}").real_type is class_
    assert connector_type("singularity") is connector_type("streamflow:singularity")
    with pytest.raises(UnknownConnectorTypeError, match=r"'streamflow:dockr'; did you mean 'streamflow:docker'\?"):
        connector_type("streamflow:dockr")
