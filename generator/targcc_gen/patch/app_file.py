"""Parse an app's file: its bytes, syntax tree, names and positions."""

from __future__ import annotations

import ast
import codecs
import io
import re
import tokenize
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from targcc_gen.errors import InputError

# The bytes of a Python file: edits replace whole lines, in the file's own encoding and line ends.


class SourceError(InputError):
    """A source file that cannot be read or edited; the message begins with the place in the file."""

    code = "TG603"
    kind = "source"

    prefix = ""


class RefusalError(SourceError):
    """An app that a patch cannot wire safely; the hint has the lines that a person can add."""

    code = "TG604"


@dataclass(frozen=True)
class Replacement:
    """Put `lines` (without line ends) in place of the lines `first` to `last` (from 1, both included).

    `last = first - 1` inserts before `first` and removes nothing.
    """

    first: int
    last: int
    lines: tuple[str, ...]


def insertion(before: int, *lines: str) -> Replacement:
    """Insert `lines` before line `before`; the number after the last line appends."""
    return Replacement(before, before - 1, lines)


@dataclass(frozen=True)
class Source:
    """A Python source file.

    Args:
        name: The file's name in messages.
        data: The bytes on disk.
    """

    name: str
    data: bytes

    @cached_property
    def encoding(self) -> str:
        """The codec that the byte order mark or the coding comment declares; `utf-8` without either.

        Raises:
            SourceError: Python does not know the declared encoding, or mark and comment disagree.
        """
        try:
            return tokenize.detect_encoding(io.BytesIO(self.data).readline)[0]
        except SyntaxError as error:
            raise SourceError(f"{self.name}:1: error: {error.msg}") from error

    @cached_property
    def text(self) -> str:
        """The decoded text, line ends as they are.

        Raises:
            SourceError: The bytes do not fit the declared encoding.
        """
        try:
            return self.data.decode(self.encoding)
        except UnicodeDecodeError as error:
            line = self.data.count(b"\n", 0, error.start) + 1
            raise SourceError(
                f"{self.name}:{line}: error: not valid {self.encoding} (byte 0x{self.data[error.start]:02x})",
                hint="Save the file as UTF-8, or declare its encoding in the first line: # -*- coding: NAME -*-",
            ) from error

    @cached_property
    def byte_lines(self) -> tuple[bytes, ...]:
        """The lines with their ends, without a byte order mark; CR, LF and CR LF end a line, as for Python."""
        return tuple(self.data.removeprefix(codecs.BOM_UTF8).splitlines(keepends=True))

    @cached_property
    def lines(self) -> tuple[str, ...]:
        """The decoded lines with their ends; each matches a line of `byte_lines`.

        Raises:
            SourceError: The encoding has line ends that are not separate bytes.
        """
        lines = tuple(re.findall(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+", self.text))
        if len(lines) != len(self.byte_lines):
            raise SourceError(f"{self.name}: error: cannot edit {self.encoding} line by line")
        return lines

    @cached_property
    def module(self) -> ast.Module:
        """The file's syntax tree.

        Raises:
            SourceError: The file is not valid Python; the message shows the place and the line.
        """
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SyntaxWarning)  # about the app's own literals
                return ast.parse(self.text)
        except SyntaxError as error:
            raise self.error(error.lineno or 1, error.offset or 1, error.msg) from error
        except (ValueError, RecursionError, MemoryError) as error:
            raise SourceError(f"{self.name}: error: {error or type(error).__name__}") from error

    def error(self, line: int, column: int, message: str) -> SourceError:
        """Build an error with the place and a frame that shows the line; line and column count from 1."""
        shown = self.lines[line - 1].rstrip() if line <= len(self.lines) else ""
        frame = f"\n  {line:>4} | {shown}\n       | {' ' * (column - 1)}^" if shown else ""
        return SourceError(f"{self.name}:{line}:{column}: error: {message}{frame}")

    def indent_of(self, line: int) -> str:
        """Return a line's indentation, without form feeds."""
        text = self.lines[line - 1]
        return text[: len(text) - len(text.lstrip(" \t\f"))].replace("\f", "")

    def edited(self, replacements: Iterable[Replacement]) -> bytes:
        """Apply the replacements and return the new bytes; all other lines stay byte for byte.

        A new line gets the line end of the line before. A file whose last line has no line end keeps that form: appending
        ends the old last line, and removing the appended line removes that line end again.
        """
        lines = list(self.byte_lines)
        for change in sorted(replacements, key=lambda change: change.first, reverse=True):
            _replace(lines, change, encoding=self.encoding, default_end=self._line_end)
        mark = codecs.BOM_UTF8 if self.data.startswith(codecs.BOM_UTF8) else b""
        return mark + b"".join(lines)

    @property
    def _line_end(self) -> bytes:
        return next((_end(line) for line in self.byte_lines if _end(line)), b"\n")


def _replace(lines: list[bytes], change: Replacement, *, encoding: str, default_end: bytes) -> None:
    start, stop = change.first - 1, change.last
    before = lines[start - 1] if start else b""
    end = _end(before) or default_end
    codec = "utf-8" if encoding == "utf-8-sig" else encoding
    new = [line.encode(codec) + end for line in change.lines]
    unended = bool(lines) and stop == len(lines) and not _end(lines[-1])
    lines[start:stop] = new
    if start and new and not _end(lines[start - 1]):
        lines[start - 1] += end
    if unended and lines:
        lines[-1] = lines[-1].removesuffix(_end(lines[-1]))


def _end(line: bytes) -> bytes:
    return line[len(line.rstrip(b"\r\n")) :]


# Helpers for syntax trees.

Function = ast.FunctionDef | ast.AsyncFunctionDef
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def walk(node: ast.AST) -> Iterator[ast.AST]:
    """Yield a node and its descendants in the order of the source."""
    left = [node]
    while left:
        inner = left.pop()
        yield inner
        left += reversed(list(ast.iter_child_nodes(inner)))


def family(root: ast.AST) -> tuple[tuple[ast.AST, ...], dict[ast.AST, ast.AST]]:
    """Return a node with its descendants in the order of the source, and a map from each descendant to its parent.

    `ast.expr_context` (a name is read or written) is left out: Python shares one instance between all names.
    """
    nodes: list[ast.AST] = []
    parents: dict[ast.AST, ast.AST] = {}
    left = [root]
    while left:
        node = left.pop()
        nodes.append(node)
        inner: list[ast.AST] = []
        for name in node._fields:
            value = getattr(node, name, None)
            if isinstance(value, list):
                inner += [item for item in value if isinstance(item, ast.AST)]
            elif isinstance(value, ast.AST) and not isinstance(value, ast.expr_context):
                inner.append(value)
        parents.update(dict.fromkeys(inner, node))
        left += reversed(inner)
    return tuple(nodes), parents


def names_in(node: ast.AST) -> set[str]:
    """Return the plain names in a node; attributes and the names of keyword arguments do not count."""
    return {name for inner in ast.walk(node) for name in _names(inner)}


def _names(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Name):
        yield node.id
    elif isinstance(node, ast.arg):
        yield node.arg
    elif isinstance(node, ast.alias):
        yield node.asname or node.name.partition(".")[0]
    elif isinstance(node, ast.Global | ast.Nonlocal):
        yield from node.names
    elif name := getattr(node, "name", None):  # functions, classes, `except … as` and patterns
        yield str(name)


def dotted(node: ast.AST) -> str:
    """Return a dotted name as text, `a.b.c`; empty for any other node."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def code_of(node: ast.AST) -> str:
    """Return the source text of a node on one line."""
    return " ".join(ast.unparse(node).split())


def targets_of(node: ast.Assign | ast.AnnAssign) -> list[str]:
    """Return the plain names that an assignment binds."""
    targets = [node.target] if isinstance(node, ast.AnnAssign) else node.targets
    return [target.id for target in targets if isinstance(target, ast.Name)]


def blocks_of(node: ast.AST) -> Iterator[list[ast.stmt]]:
    """Yield each list of statements inside a statement."""
    for _, value in ast.iter_fields(node):
        if isinstance(value, list) and value and isinstance(value[0], ast.stmt):
            yield value


# Names by the scope that binds them: imports and definitions.

_SCOPES = (ast.Module, ast.ClassDef, ast.Lambda, *FUNCTIONS)


class Scopes:
    """Resolve names by the bindings of each scope of a file.

    Args:
        nodes: Every node of the file.
        parents: The parent of each node.
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
        """Return the qualified name of a class or function of the file."""
        return f"{self._prefix(self._around(node))}{getattr(node, 'name', '')}"

    def meanings(self, node: ast.AST, name: str) -> set[str]:
        """Return the qualified names that a dotted name may mean at `node`."""
        first, dot, rest = name.partition(".")
        scope, inner = self._around(node), True
        while True:
            bindings = self._bindings.get(scope, {}).get(first)
            # A method does not see the names that its class binds.
            if bindings and (inner or not isinstance(scope, ast.ClassDef)):
                return {f"{binding}{dot}{rest}" for binding in bindings}
            if scope is self._module:
                return set()
            scope, inner = self._around(scope), False

    def _around(self, node: ast.AST) -> ast.AST:
        """Return the scope of a node; decorators, bases and annotations belong to the outer scope."""
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
        """Yield each name that a node binds, with the imported qualified name; empty for a local definition."""
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


# An app's file with resolved names and positions.

FASTAPI = frozenset({"fastapi.FastAPI", "fastapi.applications.FastAPI"})


class AppFile:
    """A parsed source file: resolve names, locate nodes and statements.

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
        self.blocks = {
            statement: block
            for node in self.nodes
            for block in blocks_of(node)
            for statement in block
        }
        self._stars = frozenset(self._star_imports())
        self.classes = self._fastapi_classes(FASTAPI | subclasses)

    def makes_app(self, call: ast.Call) -> bool:
        """Whether a call makes a FastAPI app: FastAPI, a subclass in this file, or a subclass given to the constructor."""
        return bool(self.qualified_names(call.func) & self.classes)

    def qualified_names(self, node: ast.AST) -> set[str]:
        """Return the qualified names that a name or dotted name may mean, imports resolved: `{"fastapi.FastAPI"}`."""
        name = dotted(node)
        if not name:
            return set()
        meanings = self._scopes.meanings(node, name)
        if not meanings and isinstance(node, ast.Name) and "fastapi" in self._stars:
            return {f"fastapi.{node.id}"}
        return meanings

    def exported(self, name: str) -> set[str]:
        """Return the qualified names that a dotted name may mean at module level."""
        return self._scopes.meanings(self.module, name)

    def line_of(self, node: ast.AST) -> int:
        """Return the first line of a node, decorators included."""
        decorators = getattr(node, "decorator_list", ())
        return min(_line(part) for part in (node, *decorators))

    def last_line_of(self, node: ast.AST) -> int:
        """Return the last line of a node."""
        return getattr(node, "end_lineno", None) or _line(node)

    def column_of(self, node: ast.AST) -> int:
        """Return the column of a node's first character, from 1."""
        return self.start(node)[1] + 1

    def start(self, node: ast.AST) -> tuple[int, int]:
        """Return line (from 1) and column (from 0) of a node's first character."""
        return self._place(_line(node), getattr(node, "col_offset", 0))

    def end(self, node: ast.AST) -> tuple[int, int]:
        """Return line (from 1) and column (from 0) after a node's last character."""
        return self._place(self.last_line_of(node), getattr(node, "end_col_offset", None) or 0)

    def _place(self, line: int, column: int) -> tuple[int, int]:
        """Convert the parser's column, in bytes of UTF-8, to characters."""
        text = self.source.lines[line - 1] if line <= len(self.source.lines) else ""
        return line, len(text.encode()[:column].decode(errors="replace"))

    def error(self, node: ast.AST, message: str) -> SourceError:
        """Build an error at a node's place."""
        return self.source.error(self.line_of(node), self.column_of(node), message)

    def ancestors(self, node: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
        """Yield each ancestor of `node`, innermost first, with the child that leads to `node`."""
        while node in self.parents:
            parent = self.parents[node]
            yield parent, node
            node = parent

    def statement_of(self, node: ast.AST) -> ast.stmt:
        """Return the innermost statement that holds a node."""
        while not isinstance(node, ast.stmt):
            node = self.parents[node]
        return node

    def block_of(self, statement: ast.stmt) -> list[ast.stmt]:
        """Return the block that a statement belongs to."""
        return self.blocks[statement]

    def is_inline(self, statement: ast.stmt) -> bool:
        """Whether a statement shares the line of its compound statement: `if x: app = FastAPI()`."""
        line, column = self.start(self.block_of(statement)[0])
        return bool(self.source.lines[line - 1][:column].strip(" \t\f"))

    def line_mates(self, statement: ast.stmt) -> list[ast.stmt]:
        """Return the statements that share a logical line with a statement, separated by semicolons."""
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
        """Return `bases` and the file's classes that inherit from a base, directly or not."""
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
        """Return the names of the functions and classes around a node, outermost first."""
        names = [
            parent.name
            for parent, child in self.ancestors(node)
            if isinstance(parent, (*FUNCTIONS, ast.ClassDef)) and child in parent.body
        ]
        return tuple(reversed(names))


def _line(node: ast.AST) -> int:
    return int(getattr(node, "lineno", 1))
