"""Messages are built from typed attributes, and survive what Python does with exceptions."""

from __future__ import annotations

import copy
import importlib
import inspect
import pickle
import pkgutil
from collections.abc import Callable

import pytest

import anydeploy
from anydeploy import (
    CommandError,
    ConnectionLostError,
    DependencyCycleError,
    DeployError,
    DifferentDefinitionError,
    InvalidConfigError,
    InvalidConnectorError,
    InvalidParameterError,
    ManagerClosedError,
    UndeployError,
    UnknownDeploymentError,
    WorkflowDefinitionException,
    WorkflowException,
    WorkflowExecutionException,
)
from anydeploy.cli.loading import Misuse
from anydeploy.connectors import UnknownConnectorTypeError
from anydeploy.connectors._containers import ContainerError, NoShellError
from anydeploy.connectors._ready import NotReadyError
from anydeploy.connectors._remote_process import NotBegunError
from anydeploy.connectors._slurm_job import JobError
from anydeploy.connectors.local import StartError
from anydeploy.connectors.process import PortInUseError, ProgramEndedError
from anydeploy.connectors.session import SessionError, UnstoppableError
from anydeploy.exceptions import describe, did_you_mean
from anydeploy.file import FileError, FileWarning, Position, Problem
from anydeploy.testing.history import Violation
from anydeploy.testing.scripted import ScriptedError

EXAMPLES: list[BaseException] = [
    WorkflowException("text"),
    WorkflowDefinitionException("text"),
    WorkflowExecutionException("text", 2),
    ManagerClosedError("closed"),
    ConnectionLostError("the connection to host 'login' was closed"),
    DependencyCycleError(["a", "b", "a"]),
    UnknownDeploymentError("gat", required_by="a", known=["gate"]),
    UnknownDeploymentError("x"),
    InvalidConfigError("a", "is wrong"),
    InvalidConfigError("a", "is wrong", setting="port"),
    InvalidConfigError("", "is wrong", field="name"),
    InvalidParameterError("max_concurrent", "is wrong"),
    DifferentDefinitionError("a"),
    DifferentDefinitionError("a", "is defined twice"),
    DeployError("a", "broke", path=["a", "b", "c"]),
    UndeployError("a", "no"),
    InvalidConnectorError("a", "gone"),
    CommandError(["x", "y"], -9, "output"),
    ContainerError("image 'x' could not be pulled: refused"),
    NoShellError("its image has no `sh`"),
    UnknownConnectorTypeError("sssh", of_families={"other": ["ssh"]}, problems=["a problem"]),
    StartError(("x", "y"), "no such file"),
    UnstoppableError(("x", "y"), 123),
    SessionError("host 'login': Connection refused", "ssh: Connection refused"),
    JobError("job 7 for `x` was cancelled", "7", "CANCELLED"),
    NotBegunError(("x", "y"), "Session open refused by peer"),
    ProgramEndedError(["x", "y"], 1, "output", when="while it was up"),
    PortInUseError("in use"),
    NotReadyError("not ready", "output"),
    FileError("f.yml", [Problem("f.yml", Position(1, 2), "a", "wrong"), Problem("f.yml", None, None, "wrong")]),
    FileWarning("f.yml:1:1: ignored"),
    Misuse(["one", "two"]),
    Violation("D1", "a story", "told"),
    ScriptedError("deploy a: as told"),
]
COPIES: list[Callable[[BaseException], BaseException]] = [
    copy.copy,
    copy.deepcopy,
    *(
        lambda error, protocol=protocol: pickle.loads(pickle.dumps(error, protocol))  # type: ignore[misc]
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    ),
]


def test_messages() -> None:
    """D4, D5, U6: each names the deployment and shows the path."""
    assert "in a cycle: a -> b -> a" in str(DependencyCycleError(["a", "b", "a"]))
    assert "depends on itself" in str(DependencyCycleError(["a", "a"]))
    error = DeployError("a", "broke", path=["a", "b", "c"])
    assert (error.deployment_name, error.path) == ("a", ("a", "b", "c"))
    assert str(error) == "deployment 'c' (needed by a -> b) broke"
    assert DeployError("a", "broke").path == ("a",)
    assert "(12 more)" in str(DependencyCycleError([str(i) for i in range(20)]))
    assert "'a'" in str(UndeployError("a", "no"))
    assert "did you mean 'gate'?" in str(UnknownDeploymentError("gat", required_by="a", known=["gate"]))
    assert "signal 9" in str(CommandError(["x"], -9, ""))
    assert str(InvalidConfigError("a", "no")) == "deployment 'a': no"
    assert str(InvalidConfigError("a", "no", setting="b")) == "deployment 'a', setting 'b': no"
    assert str(InvalidConfigError("", "no", field="name")) == "a deployment, field 'name': no"
    assert str(InvalidParameterError("on_event", "no")) == "deployment manager, parameter 'on_event': no"


@pytest.mark.parametrize("copied", COPIES)
@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_exceptions_come_back_as_they_were(
    error: BaseException, copied: Callable[[BaseException], BaseException]
) -> None:
    """D4: they cross the border of a process, as the results of pools and the errors of pytest-xdist do."""
    error = copy.deepcopy(error)
    error.add_note("a note")
    error.__cause__ = error.__context__ = OSError("the cause")
    found = copied(error)
    assert type(found) is type(error)
    assert vars(found) == vars(error)
    assert (found.args, str(found), repr(found)) == (error.args, str(error), repr(error))
    assert found.__notes__ == ["a note"]
    assert found is not error


def test_an_exception_of_a_user_comes_back_as_it_was() -> None:
    class Mine(DeployError):
        def __init__(self, *, host: str) -> None:
            self.host = host
            super().__init__("a", f"is not on {host}")

    found = copy.deepcopy(Mine(host="login"))
    assert (found.host, found.path, str(found)) == ("login", ("a",), "deployment 'a' is not on login")


def test_no_exception_is_left_out() -> None:
    modules = [
        importlib.import_module(module.name)
        for module in pkgutil.walk_packages(anydeploy.__path__, "anydeploy.")
        if not module.name.startswith(("anydeploy.streamflow", "anydeploy.testing.explorer"))
        and not module.name.endswith(("__main__", "testing.plugin"))
    ]
    defined = {
        value
        for module in modules
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, BaseException) and value.__module__ == module.__name__
        if not name.startswith("_")
    }
    assert defined - set(map(type, EXAMPLES)) == set()


@pytest.mark.parametrize("raised", [ValueError("no"), KeyboardInterrupt(), SystemExit(1), GeneratorExit()])
def test_an_error_that_cannot_be_printed_is_described_by_its_type(raised: BaseException) -> None:
    """D7: an error of a connector is foreign code, too."""

    class Unprintable(Exception):
        def __str__(self) -> str:
            raise raised

    class Numeric(Exception):
        def __str__(self) -> str:
            return 5  # type: ignore[return-value]  # noqa: PLE0307

    assert describe(Unprintable()) == "Unprintable"
    assert describe(Numeric()) == "Numeric"
    assert describe(ValueError("x")) == "ValueError: x"
    assert describe(DeployError("a", "broke")) == "deployment 'a' broke"


def test_a_suggestion() -> None:
    assert did_you_mean("prot", ["port", "host"]) == "; did you mean 'port'?"
    assert did_you_mean("x", ["port", "host"]) == ""
    assert did_you_mean("p" * 61, ["p" * 60]) == ""
