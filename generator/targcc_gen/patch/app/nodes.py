"""Small questions about syntax trees."""

from __future__ import annotations

import ast
from collections.abc import Iterator

Function = ast.FunctionDef | ast.AsyncFunctionDef
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def walk(node: ast.AST) -> Iterator[ast.AST]:
    """A node and all nodes inside it, in the order of the source."""
    left = [node]
    while left:
        found = left.pop()
        yield found
        left += reversed(list(ast.iter_child_nodes(found)))


def family(root: ast.AST) -> tuple[tuple[ast.AST, ...], dict[ast.AST, ast.AST]]:
    """A node with all nodes inside it, in the order of the source, and the node around each.

    Whether a name is read or written (`ast.expr_context`) is no node here: Python has one for all names.
    """
    nodes: list[ast.AST] = []
    parents: dict[ast.AST, ast.AST] = {}
    left = [root]
    while left:
        found = left.pop()
        nodes.append(found)
        inner: list[ast.AST] = []
        for name in found._fields:
            value = getattr(found, name, None)
            if isinstance(value, list):
                inner += [one for one in value if isinstance(one, ast.AST)]
            elif isinstance(value, ast.AST) and not isinstance(value, ast.expr_context):
                inner.append(value)
        parents.update(dict.fromkeys(inner, found))
        left += reversed(inner)
    return tuple(nodes), parents


def names_in(node: ast.AST) -> set[str]:
    """Every plain name in a node; what stands after a dot or before a keyword's `=` is none."""
    return {name for one in ast.walk(node) for name in _names(one)}


def _names(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Name):
        yield node.id
    elif isinstance(node, ast.arg):
        yield node.arg
    elif isinstance(node, ast.alias):
        yield node.asname or node.name.partition(".")[0]
    elif isinstance(node, ast.Global | ast.Nonlocal):
        yield from node.names
    elif name := getattr(node, "name", None):  # of functions, classes, `except … as` and patterns
        yield str(name)


def dotted(node: ast.AST) -> str:
    """`a.b.c` of a dotted name; empty for anything else."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def code_of(node: ast.AST) -> str:
    """The source text of a node, in one line."""
    return " ".join(ast.unparse(node).split())


def targets_of(node: ast.Assign | ast.AnnAssign) -> list[str]:
    """The plain names an assignment binds."""
    targets = [node.target] if isinstance(node, ast.AnnAssign) else node.targets
    return [target.id for target in targets if isinstance(target, ast.Name)]


def blocks_of(node: ast.AST) -> Iterator[list[ast.stmt]]:
    """The lists of statements that a statement holds."""
    for _, value in ast.iter_fields(node):
        if isinstance(value, list) and value and isinstance(value[0], ast.stmt):
            yield value
