"""Test suites to subclass: for deployment managers, and for connectors.

Every test carries the number of the rule that it is about, and runs on every backend that the implementation claims.
No plugin for async tests is needed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import anyio
import pytest

from ..config import DeploymentConfig
from ..connector import Connector
from ..connectors.local import LocalConnector
from ..wrapping import can_wrap
from .commands import every_clause
from .contract import Clause, Tested
from .scenarios import Scenario, every_scenario, play
from .subject import BACKENDS, Subject
from .virtual import run_virtual


def run(backend: str, function: Callable[[], Awaitable[None]]) -> None:
    """Run an async function to its end: on asyncio and on trio in virtual time, on uvloop in real time."""
    if backend == "asyncio+uvloop":
        anyio.run(function, backend="asyncio", backend_options={"use_uvloop": True})
    else:
        run_virtual(backend, function)


class ManagerSuite:
    """Tests whether a deployment manager keeps the rules.

    Subclass it with a name that pytest collects::

        class TestMyManager(ManagerSuite):
            subject = MySubject()

    :cvar subject: the manager
    :cvar known_failures: scenarios, by their ``id``, that the manager does not pass, and why; when it does pass one the
        test fails, so that the list stays true
    """

    subject: ClassVar[Subject]
    known_failures: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def scenarios(cls) -> Sequence[Scenario]:
        """Return the scenarios that are played; a subclass may add its own."""
        return every_scenario()

    @classmethod
    def pytest_generate_tests(cls, metafunc: pytest.Metafunc) -> None:
        """Every scenario on every backend."""
        if "scenario" in metafunc.fixturenames:
            cases = [(backend, each) for each in cls.scenarios() for backend in BACKENDS if cls._runs(backend, each)]
            metafunc.parametrize(
                ("backend", "scenario"),
                [
                    pytest.param(backend, each, id=f"{each.id}-{backend}", marks=cls._marks(each))
                    for backend, each in cases
                ],
            )

    @classmethod
    def _runs(cls, backend: str, scenario: Scenario) -> bool:
        if backend == "asyncio+uvloop" and (find_spec("uvloop") is None or scenario.takes_time):
            return False
        return backend in cls.subject.backends

    @classmethod
    def _marks(cls, scenario: Scenario) -> list[pytest.MarkDecorator]:
        lacking = scenario.lacking(cls.subject)
        if lacking:
            return [pytest.mark.skip(reason=f"{cls.subject.name} does not claim to have {', '.join(lacking)}")]
        reason = cls.known_failures.get(scenario.id)
        # A manager that lets a SystemExit through (rule D7) ends the event loop of the test with it.
        raises = AssertionError, SystemExit
        return [pytest.mark.xfail(reason=reason, raises=raises, strict=True)] if reason is not None else []

    def test_rule(self, backend: str, scenario: Scenario) -> None:
        """The sentence of the scenario holds."""
        run(backend, partial(play, scenario, self.subject))

    def test_known_failures_are_scenarios(self) -> None:
        """The list of known failures names nothing that does not exist."""
        unknown = set(self.known_failures) - {each.id for each in self.scenarios()}
        assert not unknown, f"there are no scenarios {', '.join(sorted(unknown))}"  # noqa: S101 - it is a test


class ConnectorSuite:
    """Tests whether a connector type keeps the duties of a connector.

    Subclass it with a name that pytest collects::

        class TestMyConnector(ConnectorSuite):
            connector_type = MyConnector

            def settings(self, directory):
                return {"image": "alpine"}

    :cvar connector_type: the class
    :cvar runs_commands: commands can be run in the environment
    :cvar backends: the event loops that it runs on
    :cvar stride: an operation is interrupted at every await whose number is one more than a multiple of it; for an
        environment that takes long to come up, give more than 1
    :cvar known_failures: clauses, by their ``id``, that it does not keep, and why, as in :class:`ManagerSuite`
    """

    connector_type: ClassVar[type[Connector]]
    runs_commands: ClassVar[bool] = True
    backends: ClassVar[Sequence[str]] = BACKENDS
    stride: ClassVar[int] = 1
    known_failures: ClassVar[Mapping[str, str]] = {}

    def settings(self, directory: Path) -> Mapping[str, Any]:  # noqa: ARG002
        """Return the settings to test it with.

        :param directory: its ``config_dir``, which is empty and belongs to this test
        """
        return {}

    def exists(self, connector: Connector, directory: Path) -> bool | None:  # noqa: ARG002
        """Return whether there is anything of the environment; None where that cannot be told."""
        return None

    def inner(self, directory: Path) -> Connector:
        """Return the deployed connector that a wrapper is stacked on."""
        return LocalConnector(deployment_name="inner", config_dir=directory)

    @classmethod
    def pytest_generate_tests(cls, metafunc: pytest.Metafunc) -> None:
        """Every clause on every backend."""
        if "clause" in metafunc.fixturenames:
            backends = [each for each in cls.backends if each != "asyncio+uvloop" or find_spec("uvloop")]
            metafunc.parametrize(
                ("backend", "clause"),
                [
                    pytest.param(backend, clause, id=f"{clause.id}-{backend}", marks=cls._marks(clause))
                    for clause in every_clause()
                    for backend in backends
                ],
            )

    @classmethod
    def _marks(cls, clause: Clause) -> list[pytest.MarkDecorator]:
        if clause.runs and not cls.runs_commands:
            return [pytest.mark.skip(reason="no commands can be run in its environment")]
        reason = cls.known_failures.get(clause.id)
        return [pytest.mark.xfail(reason=reason, strict=True)] if reason is not None else []

    def test_clause(self, backend: str, clause: Clause, tmp_path: Path) -> None:
        """The sentence of the clause holds."""
        options = {"use_uvloop": True} if backend == "asyncio+uvloop" else {}
        anyio.run(clause.act, self._tested(tmp_path), backend=backend.partition("+")[0], backend_options=options)

    def _tested(self, directory: Path) -> Tested:
        settings = self.settings(directory)

        def make() -> Connector:
            wrapped = {"connector": self.inner(directory), "service": None} if can_wrap(self.connector_type) else {}
            return self.connector_type(deployment_name="tested", config_dir=directory, **wrapped, **settings)

        return Tested(
            directory,
            make,
            lambda connector: self.exists(connector, directory),
            DeploymentConfig("tested", "tested", settings),
            self.connector_type,
            self.stride,
        )
