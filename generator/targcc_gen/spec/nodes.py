"""Parse YAML with positions into a tree of nodes.

Plain values follow YAML 1.2 (`on` and `yes` are words, `1:30` is text). A text is one document without tags and merge keys.
The parser's events are walked with an explicit stack, so that neither depth nor aliases can exhaust the machine.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import yaml
from yaml.events import (
    AliasEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
)

from targcc_gen.spec.errors import Problem, split_lines

# Quote text as a YAML scalar that every reader, of YAML 1.1 too, reads back unchanged.

_PLAIN = re.compile(r"[A-Za-z](?:[A-Za-z0-9 _.,'()/@+;!-]*[A-Za-z0-9_.)!])?")

# Words that YAML 1.1 or 1.2 reads as a value other than text.
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})

_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\0": "\\0"}

_BASIC_PLANE = 0xFFFF


def scalar(text: str, *, in_brackets: bool = False) -> str:
    """Return `text` without quotes where that is safe, otherwise in double quotes.

    Args:
        text: Any text without lone surrogates.
        in_brackets: Whether the text stands in a list or mapping in brackets: texts with a comma or a space are quoted.
    """
    if (
        not _PLAIN.fullmatch(text)
        or text.lower() in _WORDS
        or (in_brackets and re.search("[, ]", text))
    ):
        return quoted(text)
    return text


def quoted(text: str) -> str:
    """Return `text` in double quotes, on one line."""
    return '"' + "".join(_ESCAPES.get(c) or _shown(c) for c in text) + '"'


def _shown(character: str) -> str:
    """Return a printable character unchanged; escape invisible characters and characters that turn the writing direction."""
    if character.isprintable():
        return character
    number = ord(character)
    return f"\\u{number:04X}" if number <= _BASIC_PLANE else f"\\U{number:08X}"


# Messages for errors of the YAML parser.

_OPENED = {
    "while parsing a flow mapping": ("a { is not closed", "add the } or the comma that is missing"),
    "while parsing a flow sequence": (
        "a [ is not closed",
        "add the ] or the comma that is missing",
    ),
    "while scanning a quoted scalar": ("a quote is not closed", "add the second quote"),
}

_INDICATORS = {"while scanning an alias": "*", "while scanning an anchor": "&"}

_PROBLEMS = (
    (
        "mapping values are not allowed",
        'a second ": " in one value',
        "put the text in quotes, or check the indentation",
    ),
    ("nesting depth", "nested too deep", "a spec needs five levels"),
    ("could not find expected ':'", "a key without a colon", 'write "key: value"'),
    (
        "unknown escape character",
        "this escape does not exist",
        r"write \\ for a back-slash, or use single quotes",
    ),
    ("expected key", "this does not fit the lines above", "check the indentation and the quotes"),
    (
        "expected <block end>",
        "this does not fit the lines above",
        "check the indentation and the quotes",
    ),
    (
        "expected '-' indicator",
        "this does not fit the lines above",
        "check the indentation and the quotes",
    ),
)


def syntax_problem(error: yaml.MarkedYAMLError, text: str) -> Problem:
    """Translate a parser's error into a problem, at the place where a person would look."""
    lines = split_lines(text)
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line, mark.column) if mark else (0, 0)
    tab = _tab_in_indentation(lines, line)
    if tab is not None:
        return Problem(line, tab, 1, "a tab in the indentation", "YAML is indented with spaces")
    if error.context in _OPENED and error.context_mark:
        return _at_context(error, *_OPENED[error.context])
    if error.context in _INDICATORS and error.context_mark:
        return _needs_quotes(lines, error.context_mark.line, error.context_mark.column)
    if error.problem and "cannot start any token" in error.problem:
        return _needs_quotes(lines, line, column)
    if error.problem and "unknown escape" in error.problem:
        column = max(
            0, lines[line].rfind("\\", 0, column + 1)
        )  # one of the two parsers points behind the back-slash
    for part, message, hint in _PROBLEMS:
        if error.problem and part in error.problem:
            return Problem(line, column, 1, message, hint)
    return Problem(line, column, 1, f"this is no YAML: {error.problem}", None)


def _tab_in_indentation(lines: list[str], line: int) -> int | None:
    """Return the column of the first tab in a line's indentation; None without a tab."""
    content = lines[line] if line < len(lines) else ""
    indentation = content[: len(content) - len(content.lstrip(" \t"))]
    column = indentation.find("\t")
    return column if column >= 0 else None


def _at_context(error: yaml.MarkedYAMLError, message: str, hint: str) -> Problem:
    mark = error.context_mark
    assert mark is not None
    return Problem(mark.line, mark.column, 1, message, hint)


def _needs_quotes(lines: list[str], line: int, column: int) -> Problem:
    """Report a plain value that begins with an indicator, often a cron expression that begins with `*`."""
    value = lines[line][column:].partition(" #")[0].rstrip() if line < len(lines) else ""
    message = f"text that begins with {value[:1]} needs quotes"
    return Problem(line, column, max(1, len(value)), message, f"write {quoted(value[:60])}")


# Nodes.

MAX_DEPTH = 32
MAX_NODES = 500_000
"""The most nodes of a text; an alias counts as many nodes as its anchor."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_NO_TEXT = frozenset("-+.0123456789~nNtTfF")
"""First characters of plain scalars that may be a number, a truth value or null. Other plain scalars are text."""
_NULL = re.compile(r"|~|null|Null|NULL")
_TRUE = re.compile(r"true|True|TRUE")
_FALSE = re.compile(r"false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,3})?")


class Mark(Protocol):
    """A place in the text, made by the parser: line and column from 0, and the index of the character."""

    @property
    def line(self) -> int: ...  # noqa: D102 - the class says it
    @property
    def column(self) -> int: ...  # noqa: D102 - the class says it
    @property
    def index(self) -> int: ...  # noqa: D102 - the class says it


@dataclass(slots=True)
class Node:
    """A value and its place in the file.

    Attributes:
        kind: The kind of value. `text` and `style` are of a scalar, `entries` of a mapping, `items` of a sequence.
        start: The first character.
        end: The character after the last. For an indented mapping or sequence, the next token.
        text: A scalar's text.
        style: A scalar's quoting: `""` for none, a quote, `|` or `>`; `"{"` for a mapping or sequence in braces.
        entries: A mapping's key and value nodes, by key text.
        items: A sequence's nodes.
        alias: Whether the file has an alias here; the node's content is written elsewhere.
        size: The number of nodes in the tree below, including this node.
        height: The number of levels below.
    """

    kind: Literal["scalar", "mapping", "sequence"]
    start: Mark
    end: Mark
    text: str = ""
    style: str = ""
    entries: dict[str, tuple[Node, Node]] = field(default_factory=dict)
    items: list[Node] = field(default_factory=list)
    alias: bool = False
    size: int = 1
    height: int = 0

    def data(self) -> Any:
        """Return the plain value: dict, list, str, int, float, bool or None."""
        if self.kind == "mapping":
            return {key: value.data() for key, (_, value) in self.entries.items()}
        if self.kind == "sequence":
            return [item.data() for item in self.items]
        return _plain_value(self.text) if self.style == "" else self.text

    def is_null(self) -> bool:
        """Whether the value is empty or a plain `null`."""
        return self.kind == "scalar" and self.style == "" and bool(_NULL.fullmatch(self.text))


def _plain_value(text: str) -> str | int | float | bool | None:
    """Read a scalar without quotes by YAML 1.2's core schema, limited to short decimal numbers."""
    if text and text[0] not in _NO_TEXT:
        return text
    if _NULL.fullmatch(text):
        return None
    if _TRUE.fullmatch(text) or _FALSE.fullmatch(text):
        return text[0] in "tT"
    if _INT.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


_NODES = (ScalarEvent, CollectionStartEvent, AliasEvent)
_ENDS = (MappingEndEvent, SequenceEndEvent)


class Unreadable(Exception):  # noqa: N818 - carries a problem, which has the name
    """The text cannot be read to the end."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def read(text: str) -> tuple[Node | None, list[Problem]]:
    """Parse a YAML text.

    Returns:
        The root node, None for an empty text; and the problems that did not stop the parser.

    Raises:
        Unreadable: The text is not YAML, or uses YAML that a spec does not allow.
    """
    tree = _Tree()
    try:
        for event in _events(text):
            tree.take(event)
    except yaml.MarkedYAMLError as error:
        raise Unreadable(syntax_problem(error, text)) from error
    return tree.root, tree.problems


def _events(text: str) -> Iterator[Event]:
    loader = _LOADER(text)
    try:
        while loader.check_event():
            yield loader.get_event()
    finally:
        loader.dispose()


class _Tree:
    """Build nodes from the parser's events."""

    def __init__(self) -> None:
        self.root: Node | None = None
        self.problems: list[Problem] = []
        self._open: list[tuple[Node, str | None]] = []
        self._key: list[Node | None] = []
        self._anchors: dict[str, Node] = {}
        self._documents = 0
        self._nodes = 0

    def take(self, event: Event) -> None:
        if isinstance(event, _NODES):
            self._node(event)
        elif isinstance(event, _ENDS):
            self._close(event)
        elif isinstance(event, DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise _unreadable(event, "a spec is one document", "remove this and what follows")

    def _node(self, event: AliasEvent | ScalarEvent | CollectionStartEvent) -> None:
        if not isinstance(event, AliasEvent) and event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            raise _unreadable(event, f"a spec has no tags such as {tag}", "write the value plainly")
        if isinstance(event, AliasEvent):
            self._alias(event)
        elif isinstance(event, ScalarEvent):
            style = event.style or ""
            node = Node("scalar", *_marks(event), text=event.value, style=style.strip())
            self._anchor(event.anchor, node)
            self._put(node, event)
        else:
            self._start(event)

    def _alias(self, event: AliasEvent) -> None:
        node = self._anchors.get(event.anchor or "")
        if node is None:
            hint = f'text that begins with * needs quotes: "*{event.anchor}"'
            raise _unreadable(event, f"no anchor &{event.anchor} before this", hint)
        start, end = _marks(event)
        self._put(replace(node, start=start, end=end, alias=True), event)

    def _start(self, event: CollectionStartEvent) -> None:
        if len(self._open) >= MAX_DEPTH:
            raise _too_deep(event)
        if self._expects_key():
            raise _unreadable(
                event,
                "a key is a word, not a list or a mapping",
                "check the brackets; text with brackets needs quotes",
            )
        kind: Literal["mapping", "sequence"] = (
            "mapping" if isinstance(event, MappingStartEvent) else "sequence"
        )
        node = Node(kind, *_marks(event), style="{" if event.flow_style else "")
        self._open.append((node, event.anchor))
        self._key.append(None)

    def _close(self, event: Event) -> None:
        node, anchor = self._open.pop()
        self._key.pop()
        node.end = _marks(event)[1]
        self._anchor(anchor, node)
        self._put(node, event)

    def _anchor(self, name: str | None, node: Node) -> None:
        """Register a finished node by its anchor. An alias inside its own anchor stays unknown, so no node contains itself."""
        if name is not None:
            self._anchors[name] = node

    def _expects_key(self) -> bool:
        return bool(self._open) and self._open[-1][0].kind == "mapping" and self._key[-1] is None

    def _put(self, node: Node, event: Event) -> None:
        self._count(node, event)
        if not self._open:
            self.root = node
            return
        parent = self._open[-1][0]
        parent.size += node.size
        parent.height = max(parent.height, node.height + 1)
        if parent.kind == "sequence":
            parent.items.append(node)
        elif self._key[-1] is None:
            self._key[-1] = self._checked_key(node, event)
        else:
            self._entry(parent, self._key[-1], node)
            self._key[-1] = None

    def _count(self, node: Node, event: Event) -> None:
        if len(self._open) + node.height > MAX_DEPTH:
            raise _too_deep(event)
        self._nodes += node.size if isinstance(event, AliasEvent) else 1
        if self._nodes > MAX_NODES:
            raise _unreadable(
                event, f"more than {MAX_NODES:,} values, aliases counted in full", None
            )

    def _checked_key(self, node: Node, event: Event) -> Node:
        if isinstance(event, AliasEvent) or node.kind != "scalar":
            raise _unreadable(event, "a key is a word", "write it out")
        if node.text == "<<" and node.style == "":
            raise _unreadable(
                event, "a spec has no merge keys (<<)", "what jobs share goes into defaults"
            )
        return node

    def _entry(self, parent: Node, key: Node, value: Node) -> None:
        first = parent.entries.setdefault(key.text, (key, value))[0]
        if first is not key:
            hint = f"it is on line {first.start.line + 1} too: keep one of them"
            length = max(1, key.end.column - key.start.column)
            message = f'key "{key.text}" is given twice'
            self.problems.append(Problem(key.start.line, key.start.column, length, message, hint))


def _marks(event: Event) -> tuple[Mark, Mark]:
    start, end = event.start_mark, event.end_mark
    assert start is not None  # only events built by hand have no marks
    assert end is not None
    return start, end


def _too_deep(event: Event) -> Unreadable:
    return _unreadable(event, f"nested more than {MAX_DEPTH} levels deep", "a spec needs five")


def _unreadable(event: Event, message: str, hint: str | None) -> Unreadable:
    start, end = _marks(event)
    length = end.column - start.column if end.line == start.line else 1
    return Unreadable(Problem(start.line, start.column, max(1, length), message, hint))
