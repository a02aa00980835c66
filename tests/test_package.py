"""The package as a whole: its public names, what importing it costs, and which module may import which."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import anydeploy

PACKAGE = Path(anydeploy.__file__).parent
#: Each module, and each package, imports only from those above it in this list, and a package from itself.
ROOMS = (
    "exceptions",
    "typecheck",
    "duration",
    "frozen",
    "config",
    "graph",
    "quoting",
    "streams",
    "command",
    "copying",
    "shells",
    "operations",
    "recoverable",
    "location",
    "lifecycle",
    "connector",
    "connectors",
    "checking",
    "wrapping",
    "definitions",
    "engine.*",
    "reporting",
    "runner",
    "shell",
    "lazy",
    "manager",
    "stack",
    "",
    "journal.*",
    "connectors.*",
    "file.*",
    "streamflow.*",
    "testing.*",
    "cli.*",
    "__main__",
)
#: Imports that go up, or round in a cycle, and are yet to be removed. Nothing is added here.
ALLOWED: set[tuple[str, str]] = set()
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").removesuffix("."): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


@pytest.mark.parametrize("name", anydeploy.__all__)
def test_public_names_are_documented(name: str):
    value = getattr(anydeploy, name)
    assert name == "__version__" or inspect.getdoc(value)


def test_every_public_name_is_exported():
    declared = {
        alias.name
        for node in ast.walk(ast.parse(MODULES[""].read_text()))
        if isinstance(node, ast.ImportFrom) and node.level
        for alias in node.names
    }
    assert declared | {"__version__"} == set(anydeploy.__all__) == set(anydeploy.__all__) & set(dir(anydeploy))
    assert list(anydeploy.__all__) == sorted(anydeploy.__all__)
    exceptions = importlib.import_module("anydeploy.exceptions")
    raised = {
        name for name, value in vars(exceptions).items() if inspect.isclass(value) and issubclass(value, Exception)
    }
    assert raised <= set(anydeploy.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Fleet'"):
        _ = anydeploy.Fleet  # type: ignore[attr-defined]


def test_importing_it_imports_nothing_else():
    program = "import sys; import anydeploy; print('attrs' in sys.modules, 'anyio' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert found == "False False\n"


@pytest.mark.parametrize("module", MODULES)
def test_every_module_says_what_it_is(module: str):
    assert ast.get_docstring(ast.parse(MODULES[module].read_text())), f"anydeploy.{module} has no docstring"


def test_the_version_is_that_of_the_distribution():
    assert importlib.metadata.version("anydeploy") == anydeploy.__version__


def test_the_package_is_typed():
    assert (PACKAGE / "py.typed").exists()


def test_importing_needs_anyio_and_attrs_only():
    program = "import sys; before = set(sys.modules); from anydeploy import *; print(*(set(sys.modules) - before))"
    command = [sys.executable, "-c", program]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    roots = {name.partition(".")[0] for name in found}
    allowed = {"anydeploy", "anyio", "attr", "attrs", "idna", "sniffio", "typing_extensions"}
    assert roots - sys.stdlib_module_names - allowed == set()


def test_imports_go_one_way():
    """DESIGN 4: no module names one above it, and no modules name each other, those for type checkers included."""
    edges = {(module, target) for module in MODULES for target in imported(module)}
    reached = {module: reach(module, edges) for module in MODULES}
    wrong = {(module, target) for module, target in edges if room(target) > room(module) or module in reached[target]}
    assert sorted(wrong - ALLOWED) == [], "these imports go up, or round in a cycle"
    assert sorted(ALLOWED - wrong) == [], "these imports are right now, or gone: delete them from the list"


def room(module: str) -> int:
    found = module if module in ROOMS else f"{module.partition('.')[0]}.*"
    assert found in ROOMS, f"anydeploy.{module} has no place in the layout"
    return ROOMS.index(found)


def reach(module: str, edges: set[tuple[str, str]]) -> set[str]:
    """All that a module imports, and what that imports, and so on."""
    found, pending = set[str](), [module]
    while pending:
        current = pending.pop()
        new = {target for source, target in edges if source == current} - found
        found |= new
        pending += new
    return found


def imported(module: str) -> set[str]:
    package = module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]
    nodes = ast.walk(ast.parse(MODULES[module].read_text()))
    found = {t for node in nodes if isinstance(node, ast.Import | ast.ImportFrom) for t in targets(node, package)}
    return found - {module}


def targets(node: ast.Import | ast.ImportFrom, package: str) -> Iterator[str]:
    """The modules of anydeploy that a statement imports, without the prefix."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names if alias.name.split(".")[0] == "anydeploy"]
        yield from (name.partition(".")[2] for name in names)
        return
    if node.level == 0:
        if node.module is None or node.module.split(".")[0] != "anydeploy":
            return
        base = node.module.partition(".")[2]
    else:
        parts = package.split(".") if package else []
        parts = parts[: len(parts) - (node.level - 1)]
        base = ".".join([*parts, *([node.module] if node.module else [])])
    for alias in node.names:
        inner = f"{base}.{alias.name}".removeprefix(".")
        yield inner if inner in MODULES else base
