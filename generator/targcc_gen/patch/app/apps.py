"""Where a file makes FastAPI apps, and why a line cannot follow one of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, groupby
from typing import TYPE_CHECKING

import libcst as cst
from libcst.metadata import (
    MetadataWrapper,
    ParentNodeProvider,
    PositionProvider,
    QualifiedNameSource,
    ScopeProvider,
)

if TYPE_CHECKING:
    from targcc_gen.patch.app.source import Source, SourceError

FASTAPI = frozenset({"fastapi.FastAPI", "fastapi.applications.FastAPI"})

Branch = tuple[int, str]
"""A compound statement (by identity) and which of its parts: two branches of one statement never both run."""


@dataclass(frozen=True)
class Construction:
    """One place where a FastAPI app is made.

    Args:
        target: The name it is bound to; empty when it is bound to none.
        scope: The functions and classes around it, outermost first: `("create_app",)`; `()` at module level.
        line: The first line of its statement, from 1.
        last_line: The last line of its statement.
        column: Of the call, from 1.
        problem: Why no line can follow it, or `None`.
        branches: The compound statements around it inside its scope, outermost first.
        returned: Whether the function around it hands the app out.
    """

    target: str
    scope: tuple[str, ...]
    line: int
    last_line: int
    column: int
    problem: str | None
    branches: tuple[Branch, ...] = ()
    returned: bool = False


@dataclass(frozen=True)
class App:
    """A name that holds a FastAPI app: made in one place, or in each branch of an `if` or `try`.

    Args:
        target: The name inside its scope: `app`.
        scope: The functions and classes around it.
        places: Where it is made.
        problem: Why it cannot be wired, or `None`.
        aliases: The module-level names that a call of its factory is bound to.
        mounted: Whether it is mounted in another app.
    """

    target: str
    scope: tuple[str, ...]
    places: tuple[Construction, ...]
    problem: str | None
    aliases: tuple[str, ...] = ()
    mounted: bool = False

    @property
    def label(self) -> str:
        """What a person calls it: `app`, or its factory, `create_app`."""
        return ".".join(self.scope) or self.target or "FastAPI()"

    @property
    def line(self) -> int:
        """The line of its first place."""
        return self.places[0].line

    def answers_to(self, name: str) -> bool:
        """Whether `--app` may mean it: its own name, its factory's, both, or what the factory's result is bound to."""
        return name in {
            self.target,
            ".".join(self.scope),
            ".".join((*self.scope, self.target)),
            *self.aliases,
        }


class AppFile:
    """What a source file says about its apps; positions are lines of the file.

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
        self.nodes = tuple(_walk(self.module))
        self._stars = frozenset(self._star_imports())
        self._classes = self._fastapi_classes()

    def apps(self) -> tuple[App, ...]:
        """Every app the file makes, in the order of their lines."""
        found = [
            self._construction(node)
            for node in self.nodes
            if isinstance(node, cst.Call) and self.makes_app(node) and not self._type_checking(node)
        ]
        found.sort(key=lambda place: (bool(place.target), place.scope, place.target, place.line))
        apps: list[App] = []
        for (scope, target), group in groupby(found, key=lambda place: (place.scope, place.target)):
            places = tuple(group)
            if target:
                apps.append(self._app(scope, target, places))
            else:
                apps += [App("", scope, (place,), place.problem) for place in places]
        return tuple(sorted(apps, key=lambda app: app.line))

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

    def _type_checking(self, node: cst.CSTNode) -> bool:
        return any(
            isinstance(parent, cst.If)
            and child is parent.body
            and "TYPE_CHECKING" in code_of(parent.test)
            for parent, child in self.ancestors(node)
        )

    def _app(self, scope: tuple[str, ...], target: str, places: tuple[Construction, ...]) -> App:
        mounted = self._mounting(target, scope)
        problem = next((place.problem for place in places if place.problem), None) or _made_twice(
            places
        )
        if problem is None and scope and not any(place.returned for place in places):
            problem = f"{'.'.join(scope)} does not return it"
        if problem is None and mounted:
            problem = (
                f"it is mounted in another app (line {mounted}), and a mounted app's lifespan never runs:"
                " wire the outer app"
            )
        return App(
            target, scope, places, problem, tuple(self._results_of(scope)), mounted is not None
        )

    def _results_of(self, scope: tuple[str, ...]) -> Iterator[str]:
        """The module-level names bound to a call of the factory: `app` in `app = create_app()`."""
        for node in self.nodes:
            if not isinstance(node, cst.Assign | cst.AnnAssign) or not isinstance(
                node.value, cst.Call
            ):
                continue
            if (
                len(scope) == 1
                and self.qualified_names(node.value.func) == {scope[0]}
                and not self.scope_of(node)
            ):
                yield from targets_of(node)

    def _mounting(self, target: str, scope: tuple[str, ...]) -> int | None:
        """The line where the app is mounted in another one, if it is."""
        for node in self.nodes:
            if not isinstance(node, cst.Call) or not code_of(node.func).endswith(
                (".mount", "Mount")
            ):
                continue
            values = {code_of(argument.value) for argument in node.args}
            made = {f"{'.'.join(scope)}()", *self._results_of(scope)}
            inside = self.scope_of(node)[: len(scope)] == scope
            if values & made or (inside and target in values):
                return self.line_of(node)
        return None

    def scope_of(self, node: cst.CSTNode) -> tuple[str, ...]:
        """The functions and classes around a node, outermost first."""
        names = [
            parent.name.value
            for parent, child in self.ancestors(node)
            if isinstance(parent, cst.FunctionDef | cst.ClassDef) and child is parent.body
        ]
        return tuple(reversed(names))

    def _construction(self, call: cst.Call) -> Construction:
        scope = self.scope_of(call)
        parent = self.parents[call]
        statement = self._statement(call)
        target, problem = _binding(parent, call)
        line, last_line = self.line_of(statement), self.last_line_of(statement)
        problem = problem or self._no_room(statement, parent, target) or self._surroundings(call)
        problem = problem or _routes_first(call)
        return Construction(
            target,
            scope,
            line,
            last_line,
            self.positions[call].start.column + 1,
            problem,
            tuple(reversed([*self._branches(call)])),
            self._returned(call, target),
        )

    def _statement(self, node: cst.CSTNode) -> cst.CSTNode:
        """The logical line or block that holds a node: what a new line can follow."""
        return next(
            parent
            for parent, _ in self.ancestors(node)
            if isinstance(
                parent, cst.SimpleStatementLine | cst.BaseSuite | cst.BaseCompoundStatement
            )
        )

    def _no_room(self, statement: cst.CSTNode, assignment: cst.CSTNode, target: str) -> str | None:
        if not isinstance(statement, cst.SimpleStatementLine):
            return "it is made on the line of the block around it, so no line can follow"
        position = next(index for index, part in enumerate(statement.body) if part is assignment)
        following = [name for part in statement.body[position + 1 :] for name in names_in(part)]
        if target in following:
            return f"the same line goes on to use {target}"
        return None

    def _surroundings(self, call: cst.Call) -> str | None:
        for parent, _ in self.ancestors(call):
            if isinstance(parent, cst.For | cst.While):
                return f"it is made in a loop (line {self.line_of(parent)})"
            if isinstance(parent, cst.FunctionDef):
                return None
            if isinstance(parent, cst.ClassDef):
                return f"it is an attribute of class {parent.name.value}"
        return None

    def _branches(self, call: cst.Call) -> Iterator[Branch]:
        for parent, child in self.ancestors(call):
            if isinstance(parent, cst.FunctionDef | cst.ClassDef):
                return
            if isinstance(parent, cst.If):
                yield id(parent), "body" if child is parent.body else "else"
            elif isinstance(parent, cst.Try | cst.TryStar):
                yield id(parent), (
                    "body" if child in (parent.body, parent.orelse) else f"{id(child)}"
                )
            elif isinstance(parent, cst.Match):
                yield id(parent), f"{id(child)}"

    def _returned(self, call: cst.Call, target: str) -> bool:
        function = next(
            (p for p, _ in self.ancestors(call) if isinstance(p, cst.FunctionDef)), None
        )
        if function is None:
            return True
        return any(
            isinstance(node, cst.Return | cst.Yield)
            and node.value is not None
            and target in names_in(node.value)
            for node in _walk(function.body)
        )


def _walk(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    yield node
    for child in node.children:
        yield from _walk(child)


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


def _binding(parent: cst.CSTNode, call: cst.Call) -> tuple[str, str | None]:
    """The name an app is bound to, and why none that a line could use."""
    if isinstance(parent, cst.Assign | cst.AnnAssign) and parent.value is call:
        names = targets_of(parent)
        if names:
            return names[0], None
        return "", f"it is bound to {code_of(parent).split('=')[0].strip()}, not to a plain name"
    if isinstance(parent, cst.Return):
        return "", "it is returned as it is made"
    if isinstance(parent, cst.NamedExpr):
        return "", f"it is named within an expression {_short(parent)}"
    if isinstance(parent, cst.Arg):
        return "", "it is wrapped as it is made"
    return "", "it is not bound to a name"


def _short(node: cst.CSTNode) -> str:
    text = " ".join(code_of(node).split())
    return text if len(text) <= 60 else f"{text[:57]}..."  # noqa: PLR2004 - what fits in a message


def _routes_first(call: cst.Call) -> str | None:
    """Routes handed to the constructor stand before every included router."""
    for argument in call.args:
        if argument.keyword and argument.keyword.value == "routes":
            return "it is made with routes=, which come before every router: a catch-all there would hide the jobs"
    return None


def _made_twice(places: Sequence[Construction]) -> str | None:
    for one, other in combinations(places, 2):
        if not _exclusive(one.branches, other.branches):
            return f"{one.target} is made more than once (lines {one.line} and {other.line})"
    return None


def _exclusive(one: Sequence[Branch], other: Sequence[Branch]) -> bool:
    parts = dict(one)
    return any(statement in parts and parts[statement] != part for statement, part in other)
