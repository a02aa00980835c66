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
#: A module may import those in the lines above its own: the line that names it, or else the last one that matches.
LAYERS = (
    ("exceptions", "duration"),
    ("config",),
    ("graph",),
    ("lifecycle",),
    ("streams",),
    ("connector",),
    ("checking",),
    ("connectors",),
    ("definitions",),
    ("slots", "deployment", "fleet"),
    ("lazy",),
    ("manager",),
    ("",),
    ("connectors.*",),
    ("_*", "file"),
    ("streamflow", "streamflow.*"),
    ("testing.entries", "testing.premises", "testing.rest", "testing.virtual"),
    ("testing.picture",),
    ("testing.history",),
    ("testing.rules_deploy", "testing.rules_undeploy"),
    ("testing.invariants",),
    ("testing.scripted",),
    ("testing.subject",),
    ("testing.callers",),
    ("testing.scenarios.stage",),
    ("testing.scenarios.*",),
    ("testing.scenarios",),
    ("testing.contract", "testing.machine"),
    ("testing.conformance",),
    ("testing.plugin",),
    ("testing",),
    ("streamflow.adapter",),
    ("cli", "cli.*"),
    ("__main__",),
)
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").removesuffix("."): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


def layer(module: str) -> int:
    found = -1
    for number, patterns in enumerate(LAYERS):
        for pattern in patterns:
            if module == pattern:
                return number
            if pattern.endswith("*") and module.startswith(pattern[:-1]):
                found = number
    assert found >= 0, f"anydeploy.{module} has no place in the layout"
    return found


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


@pytest.mark.parametrize("module", MODULES)
def test_modules_import_only_from_those_above(module: str):
    package = module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]
    tree = ast.parse(MODULES[module].read_text())
    # Those for type checkers are counted in the kit.
    nodes = ast.walk(tree) if package.partition(".")[0] == "testing" else imports(tree)
    found = [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
    imported = {target for node in found for target in targets(node, package)} - {module}
    own = package_of(module)
    assert [target for target in sorted(imported) if layer(target) > layer(module)] == []
    # Side by side stand only the parts of one thing.
    beside = [target for target in imported if layer(target) == layer(module)]
    assert all(package_of(target) == own for target in beside)


def package_of(module: str) -> str:
    return module.partition(".")[0] if "." in module or module in {"cli", "testing", "streamflow"} else ""


def imports(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """All imports but those for type checkers."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)):
            yield from imports(node)


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
