"""Messages are built from typed attributes."""

from __future__ import annotations

from anydeploy import CommandError, DependencyCycleError, DeployError, UndeployError, UnknownDeploymentError


def test_messages() -> None:
    """D4, D5, U6: each names the deployment and shows the path."""
    assert "a -> b -> a" in str(DependencyCycleError(["a", "b", "a"]))
    assert "depends on itself" in str(DependencyCycleError(["a", "a"]))
    error = DeployError("a", "broke", path=["a", "b", "c"])
    assert (error.deployment_name, error.path) == ("a", ("a", "b", "c"))
    assert str(error) == "deployment 'c' (needed by a -> b) broke"
    assert DeployError("a", "broke").path == ("a",)
    assert "(12 more)" in str(DependencyCycleError([str(i) for i in range(20)]))
    assert "'a'" in str(UndeployError("a", "no"))
    assert "did you mean 'gate'?" in str(UnknownDeploymentError("gat", required_by="a", known=["gate"]))
    assert "signal 9" in str(CommandError(["x"], -9, ""))
