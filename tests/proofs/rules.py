"""Which tests carry the number of which rule, as a page of Markdown."""

from __future__ import annotations

import ast
import re
import warnings
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from .report import write

if TYPE_CHECKING:
    from argparse import _SubParsersAction  # pyright: ignore[reportPrivateUsage] - it has no public name

ROOT = Path(__file__).parents[2]
RULES = ROOT / "docs" / "rules.md"
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def rules() -> list[str]:
    """Return the numbers of the rules, in the order of the page that tells them."""
    return re.findall(r"^\*\*([A-Z]\d)\.\*\*", RULES.read_text(), re.MULTILINE)


def files_by_rule() -> dict[str, list[str]]:
    """Return for each rule the test files in which a docstring names it."""
    found: dict[str, set[str]] = {rule: set() for rule in rules()}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for rule in _named_in(path) & found.keys():
            found[rule].add(path.relative_to(ROOT).as_posix())
    return {rule: sorted(paths) for rule, paths in found.items()}


def _named_in(path: Path) -> set[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        tree = ast.parse(path.read_text())
    texts = [ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, _DOCUMENTED)]
    return set[str]().union(*map(_named, texts))


def _named(text: str) -> set[str]:
    """Return the rules that a text names, with those in a range such as D1 to D6."""
    ranges = re.findall(r"\b([A-Z])(\d) ?(?:to|-) ?\1(\d)\b", text)
    between = {f"{letter}{number}" for letter, first, last in ranges for number in range(int(first), int(last) + 1)}
    return between | set(re.findall(r"\b[A-Z]\d\b", text))


# -- The command -------------------------------------------------------------------------------------------------------


def add_command(commands: _SubParsersAction[ArgumentParser]) -> None:
    """Add the command ``rules`` to a command line."""
    summary = "list the tests that carry the number of each rule, as Markdown"
    parser = commands.add_parser("rules", help=summary, description=f"{summary.capitalize()}.")
    parser.set_defaults(run=_run)


def _run(options: Namespace) -> int:
    rows = (f"| {rule} | {', '.join(f'`{path}`' for path in paths)} |\n" for rule, paths in files_by_rule().items())
    write("# The tests of each rule\n\n| rule | tests |\n|---|---|\n" + "".join(rows), options.output)
    return 0
