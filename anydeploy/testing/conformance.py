"""Test suites to subclass: for deployment managers, and for connectors.

Every test carries the number of the rule that it is about, and runs on every backend that the implementation claims.
No plugin for async tests is needed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from typing import ClassVar

import anyio
import pytest

from .scenarios import Scenario, every_scenario, play
from .subject import Subject
from .virtual import run_virtual

#: What the suites run on: the two backends in virtual time, and uvloop in real time.
BACKENDS = ("asyncio", "asyncio+uvloop", "trio")


def run(backend: str, function: Callable[[], Awaitable[None]]) -> None:
    """Run an async function to its end on one of the :data:`BACKENDS`."""
    if backend == "asyncio+uvloop":
        anyio.run(function, backend="asyncio", backend_options={"use_uvloop": True})
    else:
        run_virtual(backend, function)


class ManagerSuite:
    """Whether a deployment manager keeps the rules.

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
        """What is played; a subclass may add its own."""
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
        return backend.partition("+")[0] in cls.subject.backends

    @classmethod
    def _marks(cls, scenario: Scenario) -> list[pytest.MarkDecorator]:
        lacking = scenario.lacking(cls.subject)
        if lacking:
            return [pytest.mark.skip(reason=f"{cls.subject.name} does not claim to have {', '.join(lacking)}")]
        reason = cls.known_failures.get(scenario.id)
        return [pytest.mark.xfail(reason=reason, raises=AssertionError, strict=True)] if reason is not None else []

    def test_rule(self, backend: str, scenario: Scenario) -> None:
        """What the docstring of the scenario says."""
        run(backend, partial(play, scenario, self.subject))

    def test_known_failures_are_scenarios(self) -> None:
        """The list of known failures names nothing that does not exist."""
        unknown = set(self.known_failures) - {each.id for each in self.scenarios()}
        assert not unknown, f"there are no scenarios {', '.join(sorted(unknown))}"  # noqa: S101 - it is a test
