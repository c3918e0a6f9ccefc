"""What the names of a file may mean: imports and definitions, by the scope that binds them."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence

from targcc_gen.patch.app.nodes import FUNCTIONS

_SCOPES = (ast.Module, ast.ClassDef, ast.Lambda, *FUNCTIONS)


class Scopes:
    """The bindings of each scope of a file.

    Args:
        nodes: Every node of the file.
        parents: The node around each.
    """

    def __init__(self, nodes: Sequence[ast.AST], parents: Mapping[ast.AST, ast.AST]) -> None:
        self._parents = parents
        self._bindings: dict[ast.AST, dict[str, set[str]]] = {}
        self._module = nodes[0]
        outer = {
            (self._around(node), name)
            for node in nodes
            if isinstance(node, ast.Global)
            for name in node.names
        }
        for node in nodes:
            for name, meaning in self._bound(node):
                scope = self._around(node)
                scope = self._module if (scope, name) in outer else scope
                full = meaning or f"{self._prefix(scope)}{name}"
                self._bindings.setdefault(scope, {}).setdefault(name, set()).add(full)

    def defined(self, node: ast.AST) -> str:
        """The qualified name of a class or function of the file."""
        return f"{self._prefix(self._around(node))}{getattr(node, 'name', '')}"

    def meanings(self, node: ast.AST, name: str) -> set[str]:
        """What a dotted name may mean where `node` stands."""
        first, dot, rest = name.partition(".")
        scope, inner = self._around(node), True
        while True:
            found = self._bindings.get(scope, {}).get(first)
            # What a class binds is not seen from inside its functions.
            if found and (inner or not isinstance(scope, ast.ClassDef)):
                return {f"{one}{dot}{rest}" for one in found}
            if scope is self._module:
                return set()
            scope, inner = self._around(scope), False

    def _around(self, node: ast.AST) -> ast.AST:
        """The scope a node is in; what stands in a function's or class's head is in the one outside."""
        while (parent := self._parents.get(node)) is not None:
            inside = isinstance(parent, _SCOPES) and (
                isinstance(parent, ast.Module | ast.Lambda)
                or node in parent.body
                or (isinstance(node, ast.arguments) and isinstance(parent, FUNCTIONS))
            )
            if inside:
                return parent
            node = parent
        return node

    def _prefix(self, scope: ast.AST) -> str:
        if isinstance(scope, ast.Module):
            return ""
        name = getattr(scope, "name", "<lambda>")
        local = "" if isinstance(scope, ast.ClassDef) else "<locals>."
        return f"{self._prefix(self._around(scope))}{name}.{local}"

    def _bound(self, node: ast.AST) -> Iterator[tuple[str, str]]:
        """The names a node binds, each with what an import says it means; empty for what is defined here."""
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, ""
        elif isinstance(node, ast.arg):
            yield node.arg, ""
        elif isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            yield node.name, ""
        elif isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                yield alias.asname or top, alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            for alias in node.names:
                dot = "." if node.module else ""
                yield alias.asname or alias.name, f"{module}{dot}{alias.name}"
