"""Mutants of a module: its syntax tree with one small fault each, named so that a name survives moved lines.

``judging.py`` runs tests against them.
"""

import ast
import copy
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.Pow: ast.Mult,
}
_NAMES = {"min": "max", "max": "min", "any": "all", "all": "any", "and_": "or_", "or_": "and_"}
_UNORDERED = {"min", "max", "and_", "or_", "select", "where", "isinstance", "issubclass"}
"""Calls whose arguments are not swapped: nothing changes, or any call fails."""


@dataclass(frozen=True)
class Mutant:
    """A module with one fault.

    Args:
        file: Path of the module below the root of the repository.
        scope: Qualified name of the function or class; ``<module>`` outside of both.
        change: The change in Python: ``before -> after``.
        number: Number among equal changes of the same scope, from 1.
        lines: First and last line of the changed node.
        index: Position in the list of all mutants of the module.
        is_in_function: Whether the changed node runs when a function is called, not when the module is imported.
    """

    file: str
    scope: str
    change: str
    number: int
    lines: tuple[int, int]
    index: int
    is_in_function: bool

    @property
    def lines_of_code(self) -> range:
        """The lines of the changed node."""
        return range(self.lines[0], self.lines[1] + 1)

    @property
    def name(self) -> str:
        """The name, as ``tests/data/equivalent_mutants.toml`` has it."""
        again = f" #{self.number}" if self.number > 1 else ""
        return f"{self.file}::{self.scope}: {self.change}{again}"


def mutants_of(file: str, source: str) -> list[Mutant]:
    """List all mutants of a module, in the order of its lines."""
    mutants: list[Mutant] = []
    seen: Counter[tuple[str, str]] = Counter()
    for index, (scope, is_in_function, node, fault) in enumerate(_faults(ast.parse(source))):
        change = f"{_text(node)} -> {_text(fault)}"
        seen[scope, change] += 1
        lines = (node.lineno, node.end_lineno or node.lineno)
        number = seen[scope, change]
        mutants.append(Mutant(file, scope, change, number, lines, index, is_in_function))
    return mutants


def mutated(source: str, index: int) -> ast.Module:
    """Return the syntax tree of a module with the fault of one mutant."""
    tree = ast.parse(source)
    for position, (_, _, node, fault) in enumerate(_faults(tree)):
        if position == index:
            ast.copy_location(fault, node)
            return ast.fix_missing_locations(_Replace(node, fault).visit(tree))
    raise IndexError(index)


class _Replace(ast.NodeTransformer):
    def __init__(self, node: ast.AST, fault: ast.AST) -> None:
        self.node, self.fault = node, fault

    def visit(self, node: ast.AST) -> ast.AST:
        return self.fault if node is self.node else self.generic_visit(node)


def _text(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 90 else f"{text[:60]} … {text[-27:]}"


_Fault = tuple[str, bool, ast.expr | ast.stmt, ast.AST]
"""A node that can be changed, with its fault: scope, whether the node runs in a function, node, fault."""

_NOT_RUN = {"decorator_list", "annotation", "returns", "type_params", "bases", "keywords"}
"""Fields of functions and classes that decide nothing in the rules."""


def _faults(
    node: ast.AST, scope: str = "<module>", *, is_in_function: bool = False
) -> Iterator[_Fault]:
    is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    inner = scope
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        inner = node.name if scope == "<module>" else f"{scope}.{node.name}"
    if isinstance(node, ast.expr | ast.stmt):
        for make in _OPERATORS:
            for fault in make(node):
                yield inner, is_in_function, node, fault
    for field, value in ast.iter_fields(node):
        if field in _NOT_RUN and not isinstance(node, ast.Call):
            continue
        runs_later = is_in_function or (is_function and field == "body")
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not _is_for_checkers(child):
                yield from _faults(child, inner, is_in_function=runs_later)


def _is_for_checkers(node: ast.AST) -> bool:
    """Return whether a node is for type checkers and readers alone: TYPE_CHECKING, aliases, assertions, texts in f-strings."""
    if isinstance(node, ast.If):
        return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    if isinstance(node, ast.AnnAssign):
        return isinstance(node.annotation, ast.Name) and node.annotation.id == "TypeAlias"
    return isinstance(node, ast.Assert | ast.JoinedStr)


def _comparisons(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Compare):
        for position, operator in enumerate(node.ops):
            for other in _COMPARISONS[type(operator)]:
                fault = copy.copy(node)
                fault.ops = [*node.ops[:position], other(), *node.ops[position + 1 :]]
                yield fault


def _booleans(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.BoolOp):
        other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield ast.BoolOp(other, node.values)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node.operand


def _conditions(node: ast.AST) -> Iterator[ast.AST]:
    """Negate conditions without an operator; the other operators change the rest."""
    if isinstance(node, ast.If | ast.IfExp | ast.While) and isinstance(
        node.test, ast.Name | ast.Attribute | ast.Call | ast.Await
    ):
        fault = copy.copy(node)
        fault.test = ast.UnaryOp(ast.Not(), node.test)
        yield fault


def _arithmetic(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC and not _is_text(node):
        yield ast.BinOp(node.left, _ARITHMETIC[type(node.op)](), node.right)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield node.operand


def _is_text(node: ast.expr) -> bool:
    if isinstance(node, ast.BinOp):
        return _is_text(node.left) or _is_text(node.right)
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def _constants(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Constant):
        if isinstance(node.value, bool):
            yield ast.Constant(not node.value)
        elif isinstance(node.value, int | float):
            yield ast.Constant(node.value + 1)


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Return) and not (node.value is None or _is_none(node.value)):
        yield ast.Return(ast.Constant(None))
    deleted = isinstance(node, ast.Raise | ast.AugAssign | ast.Delete | ast.Continue | ast.Break)
    if isinstance(node, ast.Expr):
        deleted = isinstance(node.value, ast.Call | ast.Await)
    if isinstance(node, ast.Assign):
        deleted = isinstance(node.targets[0], ast.Subscript | ast.Attribute)
    if deleted:
        yield ast.Pass()


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _calls(node: ast.AST) -> Iterator[ast.AST]:
    if not isinstance(node, ast.Call):
        return
    first, second, *rest = [*node.args, None, None][: max(2, len(node.args))]
    name = getattr(node.func, "id", getattr(node.func, "attr", ""))
    if name not in _UNORDERED and first is not None and second is not None:
        starred = any(isinstance(word, ast.Starred) for word in (first, second))
        if not starred and ast.dump(first) != ast.dump(second):
            yield ast.Call(node.func, [second, first, *rest], node.keywords)
    if name in _NAMES:
        fault = copy.copy(node.func)
        setattr(fault, "id" if isinstance(fault, ast.Name) else "attr", _NAMES[name])
        yield ast.Call(fault, node.args, node.keywords)


_OPERATORS: tuple[Callable[[ast.AST], Iterator[ast.AST]], ...] = (
    _comparisons,
    _booleans,
    _conditions,
    _arithmetic,
    _constants,
    _statements,
    _calls,
)
