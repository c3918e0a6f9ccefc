"""Where a file makes FastAPI apps, and why a line cannot follow one of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, groupby

import libcst as cst

from targcc_gen.patch.app.file import AppFile
from targcc_gen.patch.app.nodes import code_of, names_in, targets_of, walk

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


def apps_of(file: AppFile) -> tuple[App, ...]:
    """Every app a file makes, in the order of their lines."""
    return _Apps(file).found()


class _Apps:
    """Looks for the apps of one file."""

    def __init__(self, file: AppFile) -> None:
        self._file = file

    def found(self) -> tuple[App, ...]:
        found = [
            self._construction(node)
            for node in self._file.nodes
            if isinstance(node, cst.Call)
            and self._file.makes_app(node)
            and not self._file.is_for_type_checkers(node)
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
        for node in self._file.nodes:
            if not isinstance(node, cst.Assign | cst.AnnAssign) or not isinstance(
                node.value, cst.Call
            ):
                continue
            if (
                len(scope) == 1
                and self._file.qualified_names(node.value.func) == {scope[0]}
                and not self._file.scope_of(node)
            ):
                yield from targets_of(node)

    def _mounting(self, target: str, scope: tuple[str, ...]) -> int | None:
        """The line where the app is mounted in another one, if it is."""
        for node in self._file.nodes:
            if not isinstance(node, cst.Call) or not code_of(node.func).endswith(
                (".mount", "Mount")
            ):
                continue
            values = {code_of(argument.value) for argument in node.args}
            made = {f"{'.'.join(scope)}()", *self._results_of(scope)}
            inside = self._file.scope_of(node)[: len(scope)] == scope
            if values & made or (inside and target in values):
                return self._file.line_of(node)
        return None

    def _construction(self, call: cst.Call) -> Construction:
        scope = self._file.scope_of(call)
        parent = self._file.parents[call]
        statement = self._statement(call)
        target, problem = _binding(parent, call)
        line, last_line = self._file.line_of(statement), self._file.last_line_of(statement)
        problem = problem or self._no_room(statement, parent, target) or self._surroundings(call)
        problem = problem or _routes_first(call)
        return Construction(
            target,
            scope,
            line,
            last_line,
            self._file.positions[call].start.column + 1,
            problem,
            tuple(reversed([*self._branches(call)])),
            self._returned(call, target),
        )

    def _statement(self, node: cst.CSTNode) -> cst.CSTNode:
        """The logical line or block that holds a node: what a new line can follow."""
        return next(
            parent
            for parent, _ in self._file.ancestors(node)
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
        for parent, _ in self._file.ancestors(call):
            if isinstance(parent, cst.For | cst.While):
                return f"it is made in a loop (line {self._file.line_of(parent)})"
            if isinstance(parent, cst.FunctionDef):
                return None
            if isinstance(parent, cst.ClassDef):
                return f"it is an attribute of class {parent.name.value}"
        return None

    def _branches(self, call: cst.Call) -> Iterator[Branch]:
        for parent, child in self._file.ancestors(call):
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
            (p for p, _ in self._file.ancestors(call) if isinstance(p, cst.FunctionDef)), None
        )
        if function is None:
            return True
        return any(
            isinstance(node, cst.Return | cst.Yield)
            and node.value is not None
            and target in names_in(node.value)
            for node in walk(function.body)
        )


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
