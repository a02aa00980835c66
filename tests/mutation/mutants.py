"""The mutants: each is one module of the core with one small thing changed."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attrs import frozen
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names
from parso.python.tree import Keyword, Name

PACKAGE = Path(__file__).parents[2] / "anydeploy"
#: The core, from the bottom up.
MODULES = (
    *("lifecycle", "graph", "checking", "wrapping", "definitions"),
    *(f"engine/{name}" for name in ("deployment", "slots", "state", "waiting", "deploying", "losing", "undeploying")),
    *("engine/engine", "runner", "shell", "manager"),
)
#: Two need arguments that say which variable; the third fails on handlers whose exception is the result of a call.
_LEFT_OUT = ("core/VariableInserter", "core/VariableReplacer", "core/ExceptionReplacer")
#: Objects compared by identity have no order, and would be equal in the same cases; of numbers identity says nothing.
_IDENTITY = ("Is", "IsNot")


@frozen
class Mutant:
    """One change.

    :ivar file: the module's file in ``anydeploy/``
    :ivar where: the function or class in which the change is, as ``Class.method``; "" for the module itself
    :ivar was: the lines that are changed, without their indentation
    :ivar becomes: what stands in their place
    :ivar source: the whole of the changed module
    :ivar in_function: whether only what a function does when it is called is changed
    """

    file: str
    where: str
    was: str
    becomes: str
    source: str
    in_function: bool

    @property
    def key(self) -> tuple[str, str, str, str]:
        """Its name; a change that can be made twice in one function has the same key both times."""
        return self.file, self.where, self.was, self.becomes


def unchanged(*, in_function: bool) -> Mutant:
    """A change that is none, for which no test may fail."""
    path = PACKAGE / f"{MODULES[-1]}.py"
    return Mutant(f"{MODULES[-1]}.py", "", "", "", path.read_text(), in_function)


@frozen
class Site:
    """One place of a module at which one operator can change something."""

    module: str
    operator: Any
    occurrence: int

    def mutant(self, seen: set[int]) -> Mutant | None:
        """The mutant; None if it reads as one that was ``seen``, or as the module itself, or is no Python at all."""
        path = PACKAGE / f"{self.module}.py"
        source = path.read_text()
        mutated = mutate_code(source, self.operator, self.occurrence)
        seen.add(_meaning(source))
        try:
            meaning = _meaning(mutated)
        except SyntaxError:
            return None
        if meaning in seen:
            return None
        seen.add(meaning)
        return Mutant(f"{self.module}.py", *_change(source, mutated))


def sites(module: str) -> Iterator[Site]:
    nodes = list(ast_nodes(get_ast((PACKAGE / f"{module}.py").read_text())))
    for operator in _operators():
        for occurrence in range(sum(len(list(operator.mutation_positions(node))) for node in nodes)):
            yield Site(module, operator, occurrence)


def _operators() -> Iterator[Any]:
    yield RemoveStatement()
    yield ReplaceException()
    for name in sorted(operator_names()):
        old, _, new = name.partition("ReplaceComparisonOperator_")[2].partition("_")
        if (old in _IDENTITY) == (new in _IDENTITY) and name not in _LEFT_OUT:
            yield get_operator(name)()


class RemoveStatement:
    """Puts ``pass`` in place of a statement that does something; an ``assert`` is for the type checker."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:
        if node.type == "simple_stmt":
            statement = node.children[0]
            if statement.type not in ("string", "keyword", "import_name", "import_from", "assert_stmt"):
                yield statement.start_pos, statement.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        statement = node.children[0]
        node.children[0] = Keyword("pass", statement.start_pos, prefix=statement.get_first_leaf().prefix)
        return node


class ReplaceException:
    """Lets a handler wait for what never comes."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:
        if node.type == "except_clause":
            yield node.children[1].start_pos, node.children[1].end_pos

    def mutate(self, node: Any, index: int) -> Any:
        node.children[1] = Name("ZeroDivisionError", node.children[1].start_pos, prefix=" ")
        return node


def _meaning(source: str) -> int:
    """Return a hash of all that is executed, which annotations are not."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, (ast.arg, ast.AnnAssign)):
            node.annotation = ast.Constant(None)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            node.returns = None
    return hash(ast.dump(tree))


def _change(source: str, mutated: str) -> tuple[str, str, str, str, bool]:
    old, new = source.splitlines(), mutated.splitlines()
    start = _common(old, new)
    same = min(_common(old[::-1], new[::-1]), len(old) - start, len(new) - start)
    was, becomes = (_stripped(lines[start : len(lines) - same]) for lines in (old, new))
    line = len(old) - same
    path = list(_enclosing(ast.parse(source), line))
    in_function = any(not isinstance(node, ast.ClassDef) and line >= node.body[0].lineno for node in path)
    # The members of an enumeration are constructed when its module is.
    in_function = in_function and not any(ast.unparse(base) == "Enum" for node in path for base in _bases(node))
    where = ".".join(node.name for node in path)
    return where, was, becomes, mutated, in_function


def _common(one: list[str], other: list[str]) -> int:
    """The number of lines that are the same from the beginning on."""
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _enclosing(scope: ast.AST, line: int) -> Iterator[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    """The classes and functions around a line, decorators included, from the outermost in."""
    for node in ast.iter_child_nodes(scope):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            if first <= line <= (node.end_lineno or first):
                yield node
                yield from _enclosing(node, line)


def _bases(node: ast.AST) -> list[ast.expr]:
    return node.bases if isinstance(node, ast.ClassDef) else []


def _stripped(lines: list[str]) -> str:
    return "\n".join(line.strip() for line in lines).strip()
