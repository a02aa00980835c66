"""Definitions as data."""

from __future__ import annotations

import pytest
from attrs.exceptions import FrozenInstanceError

from anydeploy import DeploymentConfig, WrapsConfig


def test_dependencies() -> None:
    """D1: `wraps` first, then `depends_on`, each once; a plain name will do for either."""
    config = DeploymentConfig("a", "t", wraps="b", depends_on=["c", "b", "c"])
    assert config.wraps == WrapsConfig("b")
    assert config.dependencies == ("b", "c")
    assert DeploymentConfig("a", "t", depends_on="bcd").dependencies == ("bcd",)
    with pytest.raises(FrozenInstanceError):
        config.name = "b"  # type: ignore[misc]


@pytest.mark.parametrize("wrong", [{"retries": -1}, {"deploy_timeout": 0}, {"undeploy_timeout": -1}, {"workdir": 1}])
def test_wrong_values(wrong: dict[str, int]) -> None:
    """K2, K3: limits that make no sense are refused."""
    with pytest.raises((TypeError, ValueError)):
        DeploymentConfig("a", "t", **wrong)  # type: ignore[arg-type]
