"""What is checked of definitions before anything is deployed."""

from __future__ import annotations

from pathlib import Path

import pytest
from scripted import World

from anydeploy import (
    DefaultDeploymentManager,
    DeploymentConfig,
    UnknownDeploymentError,
    WorkflowDefinitionException,
)
from anydeploy.definitions import Definitions
from anydeploy.testing import unit


def test_closure_leaves_out_what_is_met() -> None:
    """D2: what is up or coming up already is not built again, nor is what lies under it."""
    definitions = Definitions(World().types, Path(), 5, None)
    for config in (unit("a"), unit("b", "a"), unit("c", "b", deploy_timeout=1), unit("w", type="wrapper")):
        definitions.add(config, in_use=False)
    names = [b.config.name for b in definitions.closure(["c"], is_met=lambda name: name == "b")]
    assert names == ["c"]
    assert definitions.blueprint("c").deploy_timeout == 1
    assert definitions.blueprint("a").deploy_timeout == 5
    assert definitions.blueprint("w").dependencies == ("__LOCAL__",)
    assert definitions.names == ["a", "b", "c", "w"]
    with pytest.raises(UnknownDeploymentError):
        definitions["nothing"]


@pytest.mark.anyio
async def test_a_refused_definition_leaves_the_one_that_was_there():
    """D4: nothing is changed by a definition that is wrong."""
    async with DefaultDeploymentManager([DeploymentConfig("a", "local")]) as manager:
        with pytest.raises(WorkflowDefinitionException):
            await manager.deploy(DeploymentConfig("a", "nonesuch"))
        with pytest.raises(WorkflowDefinitionException):
            await manager.deploy(DeploymentConfig("b", "nonesuch"))
        await manager.deploy_all()
        assert manager.get_connector("a") is not None
        with pytest.raises(WorkflowDefinitionException):
            await manager.deploy("b")
