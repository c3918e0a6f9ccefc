"""Small questions about libcst nodes."""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst


def walk(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    """A node and all nodes inside it, in the order of the source."""
    yield node
    for child in node.children:
        yield from walk(child)


def names_in(node: cst.CSTNode) -> set[str]:
    """Every plain name in a node; what stands after a dot or before a keyword's `=` is none."""
    if isinstance(node, cst.Name):
        return {node.value}
    if isinstance(node, cst.Attribute):
        return names_in(node.value)
    children = node.children
    if isinstance(node, cst.Arg) and node.keyword is not None:
        children = [child for child in children if child is not node.keyword]
    return {name for child in children for name in names_in(child)}


def dotted(node: cst.BaseExpression) -> str:
    """`a.b.c` of a dotted name."""
    return code_of(node).replace(" ", "")


def code_of(node: cst.CSTNode) -> str:
    """The source text of a node."""
    return cst.Module([]).code_for_node(node)


def targets_of(node: cst.Assign | cst.AnnAssign) -> list[str]:
    """The plain names an assignment binds."""
    if isinstance(node, cst.AnnAssign):
        targets: list[cst.BaseExpression] = [node.target]
    else:
        targets = [target.target for target in node.targets]
    return [target.value for target in targets if isinstance(target, cst.Name)]
