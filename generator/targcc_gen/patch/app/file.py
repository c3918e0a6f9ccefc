"""An app's file: what its names mean, and where things stand in it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from targcc_gen.patch.app.nodes import FUNCTIONS, blocks_of, code_of, dotted, family
from targcc_gen.patch.app.scopes import Scopes

if TYPE_CHECKING:
    from targcc_gen.patch.app.source import Source, SourceError

FASTAPI = frozenset({"fastapi.FastAPI", "fastapi.applications.FastAPI"})


class AppFile:
    """A source file with what its names mean and where its nodes are; positions are lines of the file.

    Args:
        source: The file.
        subclasses: Classes of other files that inherit from FastAPI, by qualified name.

    Raises:
        InputError: The file is not valid Python, or not in its declared encoding.
    """

    def __init__(self, source: Source, subclasses: frozenset[str] = frozenset()) -> None:
        self.source = source
        self.module = source.module
        self.nodes, self.parents = family(self.module)
        self._scopes = Scopes(self.nodes, self.parents)
        self._blocks = {
            statement: block
            for node in self.nodes
            for block in blocks_of(node)
            for statement in block
        }
        self._stars = frozenset(self._star_imports())
        self.classes = self._fastapi_classes(FASTAPI | subclasses)

    def makes_app(self, call: ast.Call) -> bool:
        """Whether the call is of FastAPI, or of a subclass that this file defines or that was followed to another."""
        return bool(self.qualified_names(call.func) & self.classes)

    def qualified_names(self, node: ast.AST) -> set[str]:
        """What a name or a dotted name may mean, imports resolved: `{"fastapi.FastAPI"}`."""
        name = dotted(node)
        if not name:
            return set()
        found = self._scopes.meanings(node, name)
        if not found and isinstance(node, ast.Name) and "fastapi" in self._stars:
            return {f"fastapi.{node.id}"}
        return found

    def exported(self, name: str) -> set[str]:
        """What a dotted name means at the file's own level."""
        return self._scopes.meanings(self.module, name)

    def line_of(self, node: ast.AST) -> int:
        """The first line of a node, decorators included."""
        decorators = getattr(node, "decorator_list", ())
        return min(_line(part) for part in (node, *decorators))

    def last_line_of(self, node: ast.AST) -> int:
        """The last line of a node."""
        return getattr(node, "end_lineno", None) or _line(node)

    def column_of(self, node: ast.AST) -> int:
        """The column of a node's first character, from 1."""
        return self.start(node)[1] + 1

    def start(self, node: ast.AST) -> tuple[int, int]:
        """Line (from 1) and column (from 0) of a node's first character."""
        return self._place(_line(node), getattr(node, "col_offset", 0))

    def end(self, node: ast.AST) -> tuple[int, int]:
        """Line (from 1) and column (from 0) after a node's last character."""
        return self._place(self.last_line_of(node), getattr(node, "end_col_offset", None) or 0)

    def _place(self, line: int, column: int) -> tuple[int, int]:
        """The parser counts bytes of UTF-8, an editor counts characters."""
        text = self.source.lines[line - 1] if line <= len(self.source.lines) else ""
        return line, len(text.encode()[:column].decode(errors="replace"))

    def error(self, node: ast.AST, message: str) -> SourceError:
        """An error at a node's place."""
        return self.source.error(self.line_of(node), self.column_of(node), message)

    def ancestors(self, node: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
        """Each node around `node` from the inside out, with the child that leads to `node`."""
        while node in self.parents:
            parent = self.parents[node]
            yield parent, node
            node = parent

    def statement_of(self, node: ast.AST) -> ast.stmt:
        """The innermost statement that holds a node."""
        while not isinstance(node, ast.stmt):
            node = self.parents[node]
        return node

    def block_of(self, statement: ast.stmt) -> list[ast.stmt]:
        """The statements that a statement stands among."""
        return self._blocks[statement]

    def is_inline(self, statement: ast.stmt) -> bool:
        """Whether a statement stands on the line of the block around it: `if x: app = FastAPI()`."""
        line, column = self.start(self.block_of(statement)[0])
        return bool(self.source.lines[line - 1][:column].strip(" \t\f"))

    def line_mates(self, statement: ast.stmt) -> list[ast.stmt]:
        """The statements of one logical line, between its semicolons."""
        block = self.block_of(statement)
        first = last = next(i for i, other in enumerate(block) if other is statement)
        while first and block[first - 1].end_lineno == block[first].lineno:
            first -= 1
        while last + 1 < len(block) and block[last + 1].lineno == block[last].end_lineno:
            last += 1
        return block[first : last + 1]

    def _star_imports(self) -> Iterator[str]:
        for node in self.nodes:
            if isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
                yield node.module if node.module and not node.level else "."

    def _fastapi_classes(self, bases: frozenset[str]) -> frozenset[str]:
        """FastAPI and the classes of this file that inherit from it, also through one another."""
        definitions = [node for node in self.nodes if isinstance(node, ast.ClassDef)]
        known = set(bases)
        while True:
            more = {
                self._scopes.defined(node)
                for node in definitions
                if any(self.qualified_names(base) & known for base in node.bases)
            }
            if more <= known:
                return frozenset(known)
            known |= more

    def is_for_type_checkers(self, node: ast.AST) -> bool:
        """Whether a node is in the body of `if TYPE_CHECKING`."""
        return any(
            isinstance(parent, ast.If)
            and child in parent.body
            and "TYPE_CHECKING" in code_of(parent.test)
            for parent, child in self.ancestors(node)
        )

    def scope_of(self, node: ast.AST) -> tuple[str, ...]:
        """The functions and classes around a node, outermost first."""
        names = [
            parent.name
            for parent, child in self.ancestors(node)
            if isinstance(parent, (*FUNCTIONS, ast.ClassDef)) and child in parent.body
        ]
        return tuple(reversed(names))


def _line(node: ast.AST) -> int:
    return int(getattr(node, "lineno", 1))
