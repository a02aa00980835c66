"""The trial of one mutant: the tests, up to the first that fails.

The tests are collected once; each trial is a fork of that, with the mutant put in place. They run on asyncio in virtual
time, where nothing takes long and what would wait for ever fails at once: first those that have found most of the
mutants of the same module, and the slow ones last.
"""

from __future__ import annotations

import gc
import logging
import os
import resource
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from types import CodeType, FunctionType
from typing import Any

import hypothesis
import pytest
from _pytest.main import pytest_runtestloop

from mutation.mutants import PACKAGE, Mutant, unchanged

_TESTS = PACKAGE.parent / "tests"
_FILES = (
    "test_lifecycle", "test_graph", "test_status", "testing/test_conformance", "test_deploy", "test_undeploy",
    "test_reading", "test_context", "test_limits", "test_lazy", "test_makespan", "test_duration", "test_frozen",
    "test_typecheck", "test_config", "test_checking", "test_wrapping", "test_definitions", "test_foreign",
    "test_engine", "test_manager_stateful", "test_runner", "test_cost", "search/test_search", "search/test_found",
)  # fmt: skip
#: The tests that take longest, in this order after the others; the very slow ones however many mutants they find.
_SLOW = ("test_long_chain", "test_graph.py")
_VERY_SLOW = ("test_manager_stateful.py", "test_cost.py", "test_search.py")
#: Seconds of the processor for one test, which do not depend on what else runs; and of the clock for all of them.
_TEST_TIMEOUT, _TIMEOUT = 20, 1800
#: Bytes for all of them: a search whose states have no end is a failure.
_MEMORY = 4 << 30
_OPTIONS = (
    "-x", "-q", "-s", "-m", "", "--assert=plain", "-p", "no:cacheprovider", "-W", "ignore:Module already imported",
    "--timeout=0", f"--rootdir={PACKAGE.parent}",
    *(str(_TESTS / f"{name}.py") for name in _FILES),
)  # fmt: skip


def hold_trials(what: Callable[[Trials], None]) -> None:
    """Collect the tests, and then do something that needs trials."""
    # The same examples for each, and none made smaller: that one fails is all that is asked.
    phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
    hypothesis.settings.register_profile("mutation", derandomize=True, database=None, phases=phases)
    os.environ["HYPOTHESIS_PROFILE"] = "mutation"
    pytest.main([*_OPTIONS], plugins=[Trials(what)])


class _Selection:
    """Of the tests those on asyncio, in virtual time, the slow ones last."""

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        from anydeploy.testing.virtual import VirtualLoop

        items[:] = [item for item in items if "trio" not in item.name and "uvloop" not in item.name]
        items.sort(key=lambda item: _slowness(item.nodeid))
        for item in items:
            if "anyio_backend" in item.fixturenames:
                item.callspec.params["anyio_backend"] = ("asyncio", {"loop_factory": VirtualLoop})


class Trials(_Selection):
    """Holds them in place of running the tests, and remembers which tests find what."""

    def __init__(self, what: Callable[[Trials], None]) -> None:
        self._what = what
        self._found: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self._session = session
        self._functions = [each for each in gc.get_objects() if isinstance(each, FunctionType)]
        gc.freeze()
        for in_function in (True, False):
            failing = self.killer(unchanged(in_function=in_function))
            assert failing is None, f"fails without any change: {failing}"
        self._what(self)
        return True

    def killer(self, mutant: Mutant) -> str | None:
        """The test that fails, if one does; "" if the mutant cannot even be imported."""
        with tempfile.TemporaryFile() as note:
            pid = os.fork()
            if pid == 0:
                try:
                    os._exit(self._try(mutant, note.fileno()))
                finally:
                    os._exit(1)
            if _status(pid) == 0:
                return None
            note.seek(0)
            test = note.read().decode()
        if not any(name in test for name in _VERY_SLOW):
            self._found[mutant.file][test] += 1
        return test

    def _try(self, mutant: Mutant, note: int) -> int:
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        if not mutant.in_function:
            return _try_afresh(mutant, note)
        _swap(self._functions, mutant)
        found = self._found[mutant.file]
        self._session.items.sort(key=lambda item: -found[item.nodeid])
        self._session.config.pluginmanager.register(_Note(note))
        try:
            pytest_runtestloop(self._session)
        except pytest.Session.Failed:
            return 1
        return 0


def _slowness(test: str) -> int:
    return next((rank for rank, name in enumerate((*_SLOW, *_VERY_SLOW), 1) if name in test), 0)


def _swap(functions: list[FunctionType], mutant: Mutant) -> None:
    path = str(PACKAGE / mutant.file)
    codes = {code.co_qualname: code for code in _codes(compile(mutant.source, path, "exec", dont_inherit=True))}
    for function in functions:
        if function.__code__.co_filename == path and function.__code__.co_qualname in codes:
            function.__code__ = codes[function.__code__.co_qualname]


def _codes(code: CodeType) -> Iterator[CodeType]:
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield inner
            yield from _codes(inner)


def _try_afresh(mutant: Mutant, note: int) -> int:
    """Import and collect everything anew: what a module or a class does when it is made is done already."""
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None) or ""
        if file.startswith((f"{PACKAGE}{os.sep}", f"{_TESTS}{os.sep}")) and not name.startswith("mutation"):
            del sys.modules[name]
    logging.getLogger("anydeploy").handlers.clear()
    sys.meta_path.insert(0, _Loader(mutant))  # type: ignore[arg-type]
    return pytest.main([*_OPTIONS], plugins=[_Selection(), _Note(note)])


class _Loader(SourceFileLoader):
    """Loads the mutant in place of the module."""

    def __init__(self, mutant: Mutant) -> None:
        super().__init__(f"anydeploy.{mutant.file.removesuffix('.py').replace('/', '.')}", str(PACKAGE / mutant.file))
        self._source = mutant.source

    def find_spec(self, name: str, path: object, target: object = None) -> ModuleSpec | None:
        return spec_from_file_location(name, self.path, loader=self) if name == self.name else None

    def get_code(self, fullname: str) -> CodeType:
        return compile(self._source, self.path, "exec", dont_inherit=True)


class _Note:
    """Notes which test runs, and ends the process if it runs for too long."""

    def __init__(self, file: int) -> None:
        self._file = file

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, nodeid.encode(), 0)
        signal.setitimer(signal.ITIMER_PROF, _TEST_TIMEOUT)


def _status(pid: int) -> int:
    """How a process has ended; it is killed when its time is up."""
    deadline = time.monotonic() + _TIMEOUT
    while time.monotonic() < deadline:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[1]
