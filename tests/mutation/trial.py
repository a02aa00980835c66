"""The trial of one mutant: the tests, up to the first that fails.

It is held in a fork of this process, which has everything imported but anydeploy and its tests; so a mutant costs the
import of these, and then a few tests. They run on asyncio in virtual time, where nothing takes long and what would wait
for ever fails at once: first those that have found most of the mutants of the same module, and the slow ones last.
"""

from __future__ import annotations

import gc
import importlib
import os
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from types import CodeType
from typing import Any

import hypothesis
import pytest

from mutation.mutants import PACKAGE, Mutant

#: What the tests import of others.
_PRELOADED = (
    "anyio._backends._asyncio", "anyio._backends._trio", "anyio.from_thread", "anyio.pytest_plugin", "attrs", "cattrs",
    "hypothesis.stateful", "ruamel.yaml", "trio.testing", "uvloop",
)  # fmt: skip
_QUICK = (
    "lifecycle", "graph", "deploy", "undeploy", "reading", "context", "limits", "lazy", "makespan", "definitions",
)  # fmt: skip
_SLOW = ("manager_stateful", "cost", "storm")
#: Seconds for one test, and for all of them.
_TEST_TIMEOUT, _TIMEOUT = 10, 300
_OPTIONS = (
    "-x", "-q", "--assert=plain", "-p", "no:cacheprovider", "-W", "ignore:Module already imported",
    f"--timeout={_TEST_TIMEOUT}",
)  # fmt: skip


class Trials:
    """Prepares this process for trials, and remembers which tests find what."""

    def __init__(self) -> None:
        for name in _PRELOADED:
            importlib.import_module(name)
        # The same examples for each, and none made smaller: that one fails is all that is asked.
        phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
        hypothesis.settings.register_profile("mutation", derandomize=True, database=None, phases=phases)
        os.environ["HYPOTHESIS_PROFILE"] = "mutation"
        gc.freeze()
        self._found: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def killer(self, mutant: Mutant | None) -> str | None:
        """The test that fails for a mutant, or for the core as it is; "" if that cannot even be imported; or None."""
        found = self._found[mutant.file if mutant is not None else ""]
        with tempfile.TemporaryFile() as note:
            pid = os.fork()
            if pid == 0:
                try:
                    os._exit(_try(mutant, [test for test, _ in found.most_common()], note.fileno()))
                finally:
                    os._exit(1)
            if _status(pid) == 0:
                return None
            note.seek(0)
            test = note.read().decode()
        if not any(f"/test_{name}.py" in test for name in _SLOW):
            found[test] += 1
        return test


def _try(mutant: Mutant | None, likely: list[str], note: int) -> int:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    if mutant is not None:
        sys.meta_path.insert(0, _Loader(mutant))  # type: ignore[arg-type]
    tests = PACKAGE.parent / "tests"
    files = [str(tests / f"test_{name}.py") for name in (*_QUICK, *_SLOW)]
    return pytest.main([*_OPTIONS, f"--rootdir={tests.parent}", *files], plugins=[_Selection(likely, note)])


class _Loader(SourceFileLoader):
    """Loads the mutant in place of the module."""

    def __init__(self, mutant: Mutant) -> None:
        super().__init__(f"anydeploy.{mutant.file.removesuffix('.py')}", str(PACKAGE / mutant.file))
        self._source = mutant.source

    def find_spec(self, name: str, path: object, target: object = None) -> ModuleSpec | None:
        return spec_from_file_location(name, self.path, loader=self) if name == self.name else None

    def get_code(self, fullname: str) -> CodeType:
        return compile(self._source, self.path, "exec", dont_inherit=True)


class _Selection:
    """Of the tests those on asyncio, in virtual time, the likely ones first; notes which one runs."""

    def __init__(self, likely: list[str], note: int) -> None:
        self._ranks = {test: rank for rank, test in enumerate(likely)}
        self._note = note

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        from virtual import VirtualLoop

        items[:] = [item for item in items if "trio" not in item.name and "uvloop" not in item.name]
        items.sort(key=lambda item: self._ranks.get(item.nodeid, len(self._ranks)))
        for item in items:
            if "anyio_backend" in getattr(item, "fixturenames", ()):
                item.callspec.params["anyio_backend"] = ("asyncio", {"loop_factory": VirtualLoop})

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        os.ftruncate(self._note, 0)
        os.pwrite(self._note, nodeid.encode(), 0)


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
