"""An app's file: what its names mean, and where things stand in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import libcst as cst
from libcst.metadata import (
    MetadataWrapper,
    ParentNodeProvider,
    PositionProvider,
    QualifiedNameSource,
    ScopeProvider,
)

from targcc_gen.patch.app.nodes import code_of, dotted, walk

if TYPE_CHECKING:
    from targcc_gen.patch.app.source import Source, SourceError

FASTAPI = frozenset({"fastapi.FastAPI", "fastapi.applications.FastAPI"})


class AppFile:
    """A source file with what its names mean and where its nodes are; positions are lines of the file.

    Args:
        source: The file.

    Raises:
        InputError: The file is not valid Python, or not in its declared encoding.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.module = source.module
        metadata = MetadataWrapper(self.module, unsafe_skip_copy=True)
        self.positions = metadata.resolve(PositionProvider)
        self.parents = metadata.resolve(ParentNodeProvider)
        self._scopes = metadata.resolve(ScopeProvider)
        self.nodes = tuple(walk(self.module))
        self._stars = frozenset(self._star_imports())
        self._classes = self._fastapi_classes()

    def makes_app(self, call: cst.Call) -> bool:
        """Whether the call is of FastAPI, or of a subclass that this file defines."""
        names = self.qualified_names(call.func)
        return bool(names & FASTAPI) or bool(names & self._classes)

    def qualified_names(self, node: cst.CSTNode) -> set[str]:
        """What a name or a dotted name may mean, imports resolved: `{"fastapi.FastAPI"}`."""
        scope = self._scopes.get(node)
        names = {
            name.name
            for name in (scope.get_qualified_names_for(node) if scope else ())
            if name.source is not QualifiedNameSource.BUILTIN
        }
        if not names and isinstance(node, cst.Name) and "fastapi" in self._stars:
            return {f"fastapi.{node.value}"}
        return names

    def line_of(self, node: cst.CSTNode) -> int:
        """The first line of a node, decorators included."""
        decorators = getattr(node, "decorators", ())
        return min(self.positions[part].start.line for part in (node, *decorators))

    def last_line_of(self, node: cst.CSTNode) -> int:
        """The last line of a node."""
        return self.positions[node].end.line

    def column_of(self, node: cst.CSTNode) -> int:
        """The column of a node's first character, from 1."""
        return self.start(node)[1] + 1

    def start(self, node: cst.CSTNode) -> tuple[int, int]:
        """Line (from 1) and column (from 0) of a node's first character."""
        place = self.positions[node].start
        return place.line, place.column

    def end(self, node: cst.CSTNode) -> tuple[int, int]:
        """Line (from 1) and column (from 0) after a node's last character."""
        place = self.positions[node].end
        return place.line, place.column

    def error(self, node: cst.CSTNode, message: str) -> SourceError:
        """An error at a node's place."""
        return self.source.error(self.line_of(node), self.column_of(node), message)

    def ancestors(self, node: cst.CSTNode) -> Iterator[tuple[cst.CSTNode, cst.CSTNode]]:
        """Each node around `node` from the inside out, with the child that leads to `node`."""
        while node in self.parents:
            parent = self.parents[node]
            yield parent, node
            node = parent

    def _star_imports(self) -> Iterator[str]:
        for node in self.nodes:
            if isinstance(node, cst.ImportFrom) and isinstance(node.names, cst.ImportStar):
                yield dotted(node.module) if node.module and not node.relative else "."

    def _fastapi_classes(self) -> frozenset[str]:
        """The classes of this file that inherit from FastAPI, also through one another."""
        definitions = [node for node in self.nodes if isinstance(node, cst.ClassDef)]
        known: set[str] = set()
        while True:
            more = {
                name
                for node in definitions
                if any(self.qualified_names(base.value) & (FASTAPI | known) for base in node.bases)
                for name in self.qualified_names(node)
            }
            if more <= known:
                return frozenset(known)
            known |= more

    def is_for_type_checkers(self, node: cst.CSTNode) -> bool:
        """Whether a node is in the body of `if TYPE_CHECKING`."""
        return any(
            isinstance(parent, cst.If)
            and child is parent.body
            and "TYPE_CHECKING" in code_of(parent.test)
            for parent, child in self.ancestors(node)
        )

    def scope_of(self, node: cst.CSTNode) -> tuple[str, ...]:
        """The functions and classes around a node, outermost first."""
        names = [
            parent.name.value
            for parent, child in self.ancestors(node)
            if isinstance(parent, cst.FunctionDef | cst.ClassDef) and child is parent.body
        ]
        return tuple(reversed(names))
