"""Splice changes into a spec's text at positions from the parsed tree, keeping every other character."""

from __future__ import annotations

import re

from targcc_gen.errors import SpecEditError
from targcc_gen.spec.errors import SpecErrors
from targcc_gen.spec.loader import parse_spec
from targcc_gen.spec.models import Spec
from targcc_gen.spec.nodes import Node

BOM = "\ufeff"
LINES = re.compile(
    "[^\n\r\x85\u2028\u2029]*(?:\r\n|[\n\r\x85\u2028\u2029])|[^\n\r\x85\u2028\u2029]+"
)
_INDENT = 2


def verified(text: str, expected: Spec, problem: str) -> str:
    """Return the text if it parses to the expected spec.

    Raises:
        InputError: The text parses to another spec, or does not parse.
    """
    try:
        if parse_spec(text) == expected:
            return text
    except SpecErrors:
        pass
    raise SpecEditError(f"{problem} without changing something else", hint="edit the file by hand")


def into_braces(text: str, mapping: Node, entry: str) -> str:
    """Return the text with an entry appended to a mapping in braces, on a line of its own if the last entry has a line."""
    if not mapping.entries:
        start = mapping.start.index + 1
        return f"{text[:start]}{entry}{text[mapping.end.index - 1 :]}"
    name, value = list(mapping.entries.values())[-1]
    line_start = name.start.index - name.start.column
    margin = text[line_start : name.start.index]
    gap = newline_of(text) + margin if not margin.strip() else " "
    end = max(name.end.index, value.end.index)
    return f"{text[:end]},{gap}{entry}{text[end:]}"


def has_quoted_keys(mapping: Node) -> bool:
    """Whether all keys of a mapping are in quotes, as in JSON."""
    return all(name.style == '"' for name, _ in mapping.entries.values())


def at_end(text: str, added: list[str]) -> str:
    """Return the text with lines appended, before the mark that ends a YAML document."""
    lines = LINES.findall(text)
    ends = [number for number, line in enumerate(lines) if line.startswith("...")]
    position = ends[0] if ends else len(lines)
    blank = [""] if position and lines[position - 1].strip() else []
    return spliced(lines, position, [*blank, *added])


def spliced(lines: list[str], position: int, added: list[str]) -> str:
    """Return the text with lines inserted at a position; a file without a final newline stays without."""
    newline = newline_of("".join(lines))
    before, after = lines[:position], lines[position:]
    inserted = newline.join(added)
    if before and before[-1].rstrip("\r\n") == before[-1]:
        return "".join(before) + newline + inserted
    return "".join(before) + inserted + newline + "".join(after)


def newline_of(text: str) -> str:
    """Return the line ending that most lines of a file use."""
    windows = text.count("\r\n")
    if windows * 2 > text.count("\n"):
        return "\r\n"
    return "\r" if "\n" not in text and "\r" in text else "\n"


def step_of(root: Node) -> int:
    """Return the number of spaces by which the file indents."""
    for name, value in root.entries.values():
        if value.kind == "mapping" and value.style == "" and value.entries and not value.alias:
            return next(iter(value.entries.values()))[0].start.column - name.start.column
    return _INDENT


def first_line(lines: list[str], name: Node) -> int:
    """Return the line number of the first comment directly above an entry, or of the entry's key."""
    line = name.start.line
    while line > 0 and _comment_column(lines[line - 1]) == name.start.column:
        line -= 1
    return line


def last_line(lines: list[str], name: Node, value: Node) -> int:
    """Return the line number of an entry's last text or comment."""
    last_name, last = name, value
    while last.style == "" and not last.alias and (last.entries or last.items):
        if last.entries:
            last_name, last = list(last.entries.values())[-1]
        else:
            last_name = last = last.items[-1]
    line = max(last_name.end.line, last.end.line)
    if last.style in {"|", ">"} and line > last.start.line:
        line = _end_of_text(lines, last, line)
    return past_comments(lines, line, name.start.column)


def _end_of_text(lines: list[str], text: Node, end: int) -> int:
    """Return the last line of a block scalar; trailing blank lines belong to the scalar only with `|+` or `>+`."""
    line = end if text.end.column else end - 1
    keeps_blank_lines = "+" in lines[text.start.line][text.start.column :].partition("#")[0]
    while not keeps_blank_lines and line > text.start.line and not lines[line].strip():
        line -= 1
    return line


def past_comments(lines: list[str], line: int, column: int) -> int:
    """Return the line of the last comment below `line` indented by more than `column`; `line` without such a comment."""
    for number in range(line + 1, len(lines)):
        comment = _comment_column(lines[number])
        if comment is not None and comment > column:
            line = number
        elif lines[number].strip():
            break
    return line


def _comment_column(line: str) -> int | None:
    stripped = line.lstrip(" ")
    return len(line) - len(stripped) if stripped.startswith("#") else None
