"""Which module of anydeploy/streamflow imports which. Imports for type checkers count as well."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter

import pytest
from test_package import MODULES, targets

OURS = [module for module in MODULES if module == "streamflow" or module.startswith("streamflow.")]


def imported(module: str) -> set[str]:
    package = module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]
    return {target for node in nodes(module) for target in targets(node, package)} - {module}


def nodes(module: str) -> Iterator[ast.Import | ast.ImportFrom]:
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node


def part(module: str) -> str:
    return module.split(".")[1] if module.count(".") else ""


def test_there_is_no_cycle():
    TopologicalSorter({module: imported(module) & set(OURS) for module in OURS}).prepare()


@pytest.mark.parametrize("module", OURS)
def test_the_plugin_and_the_bridge_share_one_module(module: str):
    """The package itself only leads to the plugin."""
    allowed = {"": {"plugin"}, "hosting": set[str]()}.get(part(module), {part(module), "hosting"})
    assert {part(target) for target in imported(module) if target in OURS} <= allowed


@pytest.mark.parametrize("module", [module for module in MODULES if module not in OURS])
def test_nothing_else_imports_streamflow(module: str):
    assert "streamflow" not in {name.partition(".")[0] for node in nodes(module) for name in absolute(node)}
    assert not imported(module) & set(OURS)


def absolute(node: ast.Import | ast.ImportFrom) -> list[str]:
    """The names of modules in a statement that is not relative."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if node.level == 0 else []
