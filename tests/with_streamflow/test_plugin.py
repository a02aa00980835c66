"""anydeploy as StreamFlow sees it before it builds a deployment manager, and without StreamFlow."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from anydeploy.file.manager import SETTINGS, check_manager

needs_streamflow = pytest.mark.skipif(find_spec("streamflow") is None, reason="streamflow is not installed")


def run(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


def test_without_streamflow_the_package_can_be_imported():
    """And what needs it says what to install."""
    program = """
import sys
sys.modules["streamflow"] = None
import anydeploy.streamflow
try:
    anydeploy.streamflow.AnydeployDeploymentManager
except ImportError as error:
    print(error)
print(hasattr(anydeploy.streamflow, "nothing"))
"""
    assert run(program) == "streamflow is not installed: pip install 'anydeploy[streamflow]'\nFalse\n"


@needs_streamflow
def test_it_is_found_by_its_entry_point():
    from streamflow.deployment import deployment_manager_classes
    from streamflow.ext.plugin import StreamFlowPlugin

    from anydeploy.streamflow import AnydeployDeploymentManager

    (entry,) = [entry for entry in entry_points(group="unito.streamflow.plugin") if entry.name == "anydeploy"]
    plugin = entry.load()()
    assert isinstance(plugin, StreamFlowPlugin)
    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(deployment_manager_classes, "anydeploy", raising=False)
        plugin.register()
        assert deployment_manager_classes["anydeploy"] is AnydeployDeploymentManager


@needs_streamflow
@pytest.mark.parametrize("broken", ["anydeploy.streamflow.plugin.manager", "anydeploy.manager", "anydeploy.file"])
def test_a_broken_installation_does_not_break_streamflow(broken: str):
    program = f"""
import sys
sys.modules[{broken!r}] = None
from streamflow.ext.utils import load_extensions
load_extensions()
from streamflow.deployment import deployment_manager_classes
print(*deployment_manager_classes)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "default\n"
    assert "The deployment manager `anydeploy` cannot be used: " in done.stderr


@needs_streamflow
def test_streamflow_is_not_slowed_down_by_what_it_does_not_use():
    """trio, click and rich are the command line's."""
    program = """
import sys
from streamflow.ext.utils import load_extensions
before = set(sys.modules)
load_extensions()
print(*{name.partition(".")[0] for name in set(sys.modules) - before} & {"trio", "click", "rich", "uvloop"})
"""
    assert run(program) == "\n"


def file(**settings: Any) -> dict[str, Any]:
    return {"version": "v1.0", "workflows": {}, "deploymentManager": {"type": "anydeploy", "config": settings}}


@needs_streamflow
class TestSchema:
    @pytest.fixture(autouse=True)
    def _registered(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from streamflow.deployment import deployment_manager_classes

        from anydeploy.streamflow import AnydeployDeploymentManager

        monkeypatch.setitem(deployment_manager_classes, "anydeploy", AnydeployDeploymentManager)

    def test_every_setting_is_described(self):
        from anydeploy.streamflow import AnydeployDeploymentManager

        schema = json.loads(AnydeployDeploymentManager.get_schema())
        assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
        assert schema["$id"]
        assert set(schema["properties"]) == set(SETTINGS)
        assert all(setting["title"] and setting["description"] for setting in schema["properties"].values())

    @pytest.mark.parametrize(
        "settings",
        [{}, {"maxConcurrent": 4, "deployTimeout": 1.5, "undeployTimeout": "5m", "retries": 2}, {"retries": 0}],
    )
    def test_right_settings(self, settings: dict[str, Any]):
        from types import SimpleNamespace

        from streamflow.config.validator import SfValidator

        from anydeploy.streamflow import AnydeployDeploymentManager

        SfValidator().validate(file(**settings))
        AnydeployDeploymentManager(context=SimpleNamespace(config={}), **settings)
        assert list(check_manager({"config": settings})) == []

    @pytest.mark.parametrize(
        "settings",
        [
            {"maxConcurent": 1},
            {"maxConcurrent": 0},
            {"maxConcurrent": "many"},
            {"deployTimeout": 0},
            {"deployTimeout": "soon"},
            {"undeployTimeout": None},
            {"retries": -1},
            {"retries": 1.5},
        ],
    )
    def test_wrong_settings(self, settings: dict[str, Any]):
        from streamflow.config.validator import SfValidator
        from streamflow.core.exception import WorkflowDefinitionException

        with pytest.raises(WorkflowDefinitionException):
            SfValidator().validate(file(**settings))
        assert [path for path, _ in check_manager({"config": settings})] == [("config", *settings)]


def test_the_schema_is_part_of_the_package():
    import anydeploy.streamflow

    assert (Path(anydeploy.streamflow.__file__).parent / "plugin" / "schema.json").exists()
