"""Rewrite the import statements of a module, keeping everything else."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from targcc_gen.render.package import PACKAGE
from targcc_gen.sync.renames.import_names import Gone, Names, Place, Value

# A module's text, and positions of its statements.

Node = ast.stmt | ast.expr


class Source:
    """A parsed module.

    Args:
        text: Text of the module, with `\\n` line ends.

    Raises:
        SyntaxError, ValueError: The text is not valid Python.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.tree = ast.parse(text)
        self.lines: list[str] = re.findall(r"[^\n]*\n|[^\n]+", text)
        self.starts = [0]
        for line in self.lines:
            self.starts.append(self.starts[-1] + len(line))

    def span(self, node: Node) -> tuple[int, int]:
        """Return the index of the node's first character, and the index after the last character."""
        last = (node.end_lineno or node.lineno) - 1
        return (
            self.starts[node.lineno - 1] + self._column(node.lineno - 1, node.col_offset),
            self.starts[last] + self._column(last, node.end_col_offset or 0),
        )

    def segment(self, node: Node) -> str:
        """Return the node's text."""
        start, end = self.span(node)
        return self.text[start:end]

    def whole_lines(self, node: Node) -> tuple[int, int]:
        """Return the span of the node's lines."""
        return self.starts[node.lineno - 1], self.starts[node.end_lineno or node.lineno]

    def indent(self, node: Node) -> str:
        """Return the indentation of the node's line."""
        line = self.lines[node.lineno - 1]
        return line[: len(line) - len(line.lstrip())]

    def is_alone(self, node: Node) -> bool:
        """Return whether a statement can be removed: no comment belongs to it, and no other code shares its lines."""
        (start, end), (first, last) = self.span(node), self.whole_lines(node)
        above = self.lines[node.lineno - 2].strip() if node.lineno > 1 else ""
        around = self.text[first:start] + self.text[end:last]
        return not (around.strip() or above.startswith("#") or "#" in self.segment(node))

    def bodies(self) -> Iterator[list[ast.stmt]]:
        """Yield the blocks of statements."""
        for node in ast.walk(self.tree):
            for name in ("body", "orelse", "finalbody"):
                body = getattr(node, name, None)
                if isinstance(body, list):
                    yield body

    def attributes(self, name: str) -> set[str] | None:
        """Return the attributes of a name that the module uses; None where the module uses the name in any other way."""
        inner = {
            id(node.value): node.attr
            for node in ast.walk(self.tree)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        }
        uses = [
            node for node in ast.walk(self.tree) if isinstance(node, ast.Name) and node.id == name
        ]
        if any(id(node) not in inner or not isinstance(node.ctx, ast.Load) for node in uses):
            return None
        return {inner[id(node)] for node in uses}

    def _column(self, line: int, offset: int) -> int:
        """Convert a byte offset, as `ast` counts, to a character offset."""
        return len(self.lines[line].encode()[:offset].decode(errors="ignore"))


def run_of_imports(body: list[ast.stmt], node: ast.stmt) -> ast.stmt:
    """Return the last statement of the uninterrupted run of imports that starts at `node`."""
    last = node
    for statement in body[body.index(node) :]:
        if not isinstance(statement, ast.Import | ast.ImportFrom):
            break
        last = statement
    return last


# Import statements as text.

_LENGTH = 100


@dataclass(frozen=True)
class Bound:
    """A name that a statement imports.

    Attributes:
        name: Name in the source module.
        alias: Name in the importing module, where different.
    """

    name: str
    alias: str | None = None

    @classmethod
    def of(cls, alias: ast.alias, name: str) -> Bound:
        """Return a binding that keeps the local name and takes `name` from the source module."""
        here = alias.asname or alias.name
        explicit = alias.asname == name  # `x as x` marks a re-export
        return cls(name, here if here != name or explicit else None)

    @property
    def text(self) -> str:
        """The name as written in a statement."""
        return self.name if self.alias is None else f"{self.name} as {self.alias}"


def statement(module: str, names: Iterable[Bound], indent: str, *, long: bool = False) -> str:
    """Format `from module import …` as black and isort do.

    Args:
        module: Source module, with leading dots.
        names: Names to import.
        indent: Indentation of the statement; not part of the result's first line.
        long: Whether each name gets its own line, even if all fit on one line.
    """
    listed = [bound.text for bound in sorted(dict.fromkeys(names), key=_order)]
    line = f"from {module} import {', '.join(listed)}"
    if not long and len(indent) + len(line) <= _LENGTH:
        return line
    lines = "".join(f"{indent}    {text},\n" for text in listed)
    return f"from {module} import (\n{lines}{indent})"


def _order(bound: Bound) -> tuple[int, str]:
    """Sort constants first, then classes, then the rest, as isort does."""
    name = bound.name.lstrip("_")
    kind = 0 if name.isupper() and len(name) > 1 else 1 if name[:1].isupper() else 2
    return kind, bound.name.lower()


# Rewrite.


@dataclass(frozen=True)
class Left:
    """A statement or string that a user has to change.

    Attributes:
        first: Number of the first line.
        last: Number of the last line.
        text: Source of the statement or string.
        advice: Replacement to write.
    """

    first: int
    last: int
    text: str
    advice: str


@dataclass(frozen=True)
class Rewritten:
    """A module with rewritten imports.

    Attributes:
        text: Text of the module.
        left: Places that could not be rewritten.
    """

    text: str
    left: tuple[Left, ...]


@dataclass(frozen=True)
class Here:
    """The importing module.

    Attributes:
        module: Dotted name, such as `acme_jobs.jobs.report`; empty for a module outside of packages.
        scheduler: Name of the project's scheduler module, such as `acme_jobs.scheduler`; formerly the scheduler's package.
        is_package: Whether the module is an `__init__`.
        inside: Whether the module belongs to the scheduler.
        is_placed: Whether the module's relative imports are correct already.
    """

    module: str
    scheduler: str
    is_package: bool = False
    inside: bool = False
    is_placed: bool = False

    def absolute(self, node: ast.ImportFrom) -> str:
        """Return the absolute name of the module that a statement imports from."""
        if not node.level:
            return node.module or ""
        parts = self.module.split(".")
        parts = parts[: len(parts) - node.level + self.is_package]
        return ".".join([*parts, *filter(None, [node.module])])


@dataclass
class _Change:
    """The change of an import statement.

    Attributes:
        node: The statement.
        root: The scheduler's package as the statement writes its name.
        public: Names now imported from the package.
        deep: Names now imported from modules below the package, by module.
        same: Names that stay unchanged.
        values: Assignments that replace names.
        instead: A whole statement as replacement.
    """

    node: ast.ImportFrom | ast.Import
    root: str = ""
    public: list[Bound] = field(default_factory=list)
    deep: dict[str, list[Bound]] = field(default_factory=dict)
    same: list[Bound] = field(default_factory=list)
    values: list[str] = field(default_factory=list)
    instead: str = ""


def rewrite(source: str, here: Here, names: Names) -> Rewritten:
    """Rewrite a module's imports of the scheduler.

    Args:
        source: Text of the module, with `\\n` line ends. Invalid Python is returned unchanged.
        here: The importing module.
        names: The scheduler's names.
    """
    try:
        rewritten = _Rewriter(Source(source), here, names).rewritten()
        ast.parse(rewritten.text)
    except (SyntaxError, ValueError):
        return Rewritten(source, ())
    return rewritten


class _Rewriter:
    def __init__(self, source: Source, here: Here, names: Names) -> None:
        self.source, self.here, self.names = source, here, names
        self.left: list[Left] = []
        self.edits: list[tuple[int, int, str]] = []

    def rewritten(self) -> Rewritten:
        for body in self.source.bodies():
            self._body(body)
        self._strings()
        text = self.source.text
        for start, end, new in sorted(self.edits, reverse=True):
            text = text[:start] + new + text[end:]
        return Rewritten(text, tuple(sorted(self.left, key=lambda change: change.first)))

    def _body(self, body: list[ast.stmt]) -> None:
        """Rewrite the imports of a block; names from the scheduler's package are joined into one statement."""
        nodes = [node for node in body if isinstance(node, ast.Import | ast.ImportFrom)]
        changes = [change for node in nodes if (change := self._change(node)) is not None]
        anchor = next((node for node in nodes if self._is_root(node)), None)
        gathered: list[Bound] = []
        first = next((edit for edit in changes if edit.public), None)
        for change in changes:
            if (
                change.public
                and (anchor or change is not first)
                and self.source.is_alone(change.node)
            ):
                gathered += change.public
                change.public = []
        if gathered and anchor is not None:
            self._extend(anchor, gathered)
        elif gathered and first is not None:
            first.public += gathered
        for change in changes:
            self._write(change)
            if change.values:
                self._assign(change.values, run_of_imports(body, change.node))

    def _change(self, node: ast.Import | ast.ImportFrom) -> _Change | None:
        if isinstance(node, ast.Import):
            return self._import(node)
        if node.level and self.here.is_placed:
            return None
        absolute = self.here.absolute(node)
        if (
            node.level
            and self.here.inside
            and not f"{absolute}.".startswith(f"{self.here.scheduler}.")
        ):
            names = [Bound.of(imported, imported.name) for imported in node.names]
            return _Change(node, instead=statement(absolute, names, self.source.indent(node)))
        module = "" if absolute == self.here.scheduler else self._below(absolute)
        if module is None or (module and self.names.old_path(module) is None):
            return None
        written = "." * node.level + (node.module or "")
        change = _Change(node, root=written.removesuffix(f".{module}") if module else written)
        for alias in self._aliases(node, module):
            self._name(change, module, alias)
        is_same = not (change.deep or change.values or (module and change.public))
        return None if is_same else change

    def _aliases(self, node: ast.ImportFrom, module: str) -> list[ast.alias]:
        """Return the names that a statement imports; for `*`, the names that the module uses."""
        if node.names[0].name != "*" or not module:
            return node.names
        used = {inner.id for inner in ast.walk(self.source.tree) if isinstance(inner, ast.Name)}
        used_names = sorted(used & self.names.defined_in(module))
        if not used_names:
            self._leave(node, f"name what you use: from {self.here.scheduler} import …")
        return [ast.alias(name) for name in used_names]

    def _name(self, change: _Change, module: str, alias: ast.alias) -> None:
        inner = f"{module}.{alias.name}".strip(".")
        if not module and (alias.name in self.names.public or not self.names.old_path(inner)):
            change.public.append(Bound.of(alias, alias.name))
            return
        if self.names.old_path(inner) is not None:
            self._module_of(change, inner, alias)
            return
        place = self.names.find(module, alias.name)
        if isinstance(place, Value):
            change.values.append(f"{alias.asname or alias.name} = {place.literal}")
        elif isinstance(place, Gone):
            self._leave(change.node, place.advice or f"{alias.name} is no more")
            change.same.append(Bound.of(alias, alias.name))
        elif place.is_public and not self.here.inside:
            change.public.append(Bound.of(alias, place.name))
        else:
            module = f"{PACKAGE}.{place.module}"
            change.deep.setdefault(module, []).append(Bound.of(alias, place.name))

    def _module_of(self, change: _Change, module: str, alias: ast.alias) -> None:
        """Rewrite the import of a module, such as `from acme_jobs.scheduler import tables`, by the attributes used."""
        name = alias.asname or alias.name
        place = self._place_of_module(change.node, module, name)
        if place is None:
            change.same.append(Bound.of(alias, alias.name))
            return
        parent, _, new_name = change.root.rpartition(".")
        if place:
            below, _, new_name = place.rpartition(".")
            parent = ".".join(filter(None, [PACKAGE, below]))
        elif not parent.strip("."):
            parent = change.root[: len(change.root) - len(new_name)]  # `.scheduler` is below `.`
        change.deep.setdefault(parent, []).append(
            Bound(new_name, None if name == new_name else name)
        )

    def _import(self, node: ast.Import) -> _Change | None:
        """Rewrite `import acme_jobs.scheduler.tables as tables`."""
        moved = [alias for alias in node.names if self._moved(alias.name)]
        if not moved:
            return None
        if len(node.names) > 1 or moved[0].asname is None:
            return self._import_by_its_name(node, moved[0])
        place = self._place_of_module(node, self._below(moved[0].name) or "", moved[0].asname)
        if place is None:
            return None
        module = f"{PACKAGE}.{place}" if place else self.here.scheduler
        return _Change(node, instead=f"import {module} as {moved[0].asname}")

    def _import_by_its_name(self, node: ast.Import, alias: ast.alias) -> _Change | None:
        """Rewrite `import acme_jobs.scheduler.tables` and every use of the dotted name."""
        module = self._below(alias.name) or ""
        whole = self.names.whole(module)
        if len(node.names) > 1 or whole is None:
            self._leave(node, self._whereabouts(module))
            return None
        for use in ast.walk(self.source.tree):
            if isinstance(use, ast.Attribute) and ast.unparse(use) == alias.name:
                self.edits.append((*self.source.span(use), f"{PACKAGE}.{whole}"))
        return _Change(node, instead=f"import {PACKAGE}.{whole}")

    def _moved(self, name: str) -> bool:
        module = self._below(name)
        return module is not None and self.names.old_path(module) is not None

    def _place_of_module(
        self, node: ast.Import | ast.ImportFrom, module: str, alias: str
    ) -> str | None:
        """Return the only module that has every attribute used of an old module; empty for the scheduler itself, None without a match."""
        used = self.source.attributes(alias)
        places = [] if used is None else [self.names.find(module, name) for name in sorted(used)]
        real = [place for place in places if isinstance(place, Place)]
        if not places or len(real) < len(places) or {place.name for place in real} != used:
            if (whole := self.names.whole(module)) is not None:
                return whole
            gone = ", ".join(sorted((used or set()) - {place.name for place in real}))
            self._leave(node, f"{gone}: no more there" if gone else self._whereabouts(module))
            return None
        if all(place.is_public for place in real) and not self.here.inside:
            return ""
        modules = {place.module for place in real}
        if len(modules) > 1:
            listed = " and ".join(sorted(modules))
            self._leave(node, f"what you use of it is in {listed} now")
            return None
        return modules.pop()

    def _whereabouts(self, module: str) -> str:
        listed = " and ".join(self.names.places(module)) or "nothing"
        return f"what it had is in {listed} now: import the names that you use"

    def _below(self, module: str) -> str | None:
        prefix = f"{self.here.scheduler}."
        return module.removeprefix(prefix) if module.startswith(prefix) else None

    def _is_root(self, node: ast.Import | ast.ImportFrom) -> bool:
        """Return whether a statement imports names from the scheduler itself and can take more names."""
        return (
            isinstance(node, ast.ImportFrom)
            and self.here.absolute(node) == self.here.scheduler
            and node.names[0].name != "*"
            and "#" not in self.source.segment(node)
            and all(
                self.names.old_path(alias.name) is None or alias.name in self.names.public
                for alias in node.names
            )
        )

    def _extend(self, anchor: ast.Import | ast.ImportFrom, new: list[Bound]) -> None:
        assert isinstance(anchor, ast.ImportFrom)
        start, end = self.source.span(anchor)
        names = [Bound.of(alias, alias.name) for alias in anchor.names]
        module = "." * anchor.level + (anchor.module or "")
        is_long = anchor.lineno != anchor.end_lineno
        text = statement(module, [*names, *new], self.source.indent(anchor), long=is_long)
        self.edits.append((start, end, text))

    def _write(self, change: _Change) -> None:
        node, indent = change.node, self.source.indent(change.node)
        if self._redirect(change):
            return
        start, end = self.source.span(node)
        statements = [change.instead] if change.instead else []
        if change.public:
            statements.append(statement(change.root, change.public, indent))
        statements += [
            statement(module, change.deep[module], indent) for module in sorted(change.deep)
        ]
        if change.same:
            assert isinstance(node, ast.ImportFrom)
            statements.append(
                statement("." * node.level + (node.module or ""), change.same, indent)
            )
        if statements:
            self.edits.append((start, end, f"\n{indent}".join(statements)))
        elif self.source.is_alone(change.node):
            self.edits.append((*self.source.whole_lines(node), ""))
        else:
            self.edits.append((start, end, "pass"))

    def _redirect(self, change: _Change) -> bool:
        """Replace only the module of a statement with comments, where a single module now has all names."""
        node = change.node
        places = {**change.deep, **({change.root: change.public} if change.public else {})}
        is_whole = not (change.same or change.values or change.instead) and len(places) == 1
        if not is_whole or "#" not in self.source.segment(node):
            return False
        ((module, names),) = places.items()
        if [alias.text for alias in names] != [
            Bound.of(alias, alias.name).text for alias in node.names
        ]:
            return False
        start, _ = self.source.span(node)
        head = re.match(r"from\s+\S+\s", self.source.segment(node))
        assert head is not None  # not an `import x`: such a change has `instead`
        self.edits.append((start, start + head.end(), f"from {module} "))
        return True

    def _assign(self, values: list[str], last: ast.stmt) -> None:
        """Write the values after the last import of the block."""
        _, place = self.source.whole_lines(last)
        indent = self.source.indent(last)
        text = "".join(f"{indent}{line}\n" for line in dict.fromkeys(values))
        is_last_line = self.source.text[:place].endswith("\n")
        blank = "" if indent else "\n"
        self.edits.append((place, place, f"{'' if is_last_line else chr(10)}{blank}{text}"))

    def _strings(self) -> None:
        """Rewrite strings that name a module or its content, such as a patch target in a test."""
        for node in ast.walk(self.source.tree):
            if not (isinstance(node, ast.Constant) and isinstance(node.value, str)):
                continue
            below = self._below(node.value) or ""
            if below == "pytest_plugin":
                self._leave(
                    node, "take it out: pytest finds the plugin of targcc-scheduler by itself"
                )
                continue
            new, text = self._named(below), self.source.segment(node)
            if new and text.count(node.value) == 1:
                start, end = self.source.span(node)
                self.edits.append((start, end, text.replace(node.value, f"{PACKAGE}.{new}")))
            elif new:
                self._leave(node, f"{PACKAGE}.{new}")

    def _named(self, below: str) -> str:
        """Return today's dotted name for a text below the scheduler's name; empty for a text that was no name in the earlier release."""
        module, _, name = below.rpartition(".")
        if not below or not name.isidentifier():
            return ""
        if self.names.old_path(below) is not None:
            return self.names.whole(below) or ""
        place = self.names.find(module, name) if self.names.old_path(module) is not None else None
        return f"{place.module}.{place.name}" if isinstance(place, Place) else ""

    def _leave(self, node: Node, advice: str) -> None:
        text = self.source.segment(node)
        self.left.append(Left(node.lineno, node.end_lineno or node.lineno, text, advice))
