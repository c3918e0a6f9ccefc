"""Splice changes into a spec's text where the parsed tree places them, keeping every other character."""

from __future__ import annotations

import re

from targcc_gen.errors import InputError
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
    """The text, if it means what it should.

    Raises:
        InputError: It means something else.
    """
    try:
        if parse_spec(text) == expected:
            return text
    except SpecErrors:
        pass
    raise InputError(f"{problem} without changing something else", hint="edit the file by hand")


def into_braces(text: str, mapping: Node, entry: str) -> str:
    """The text with an entry more at the end of a mapping in braces, on a line of its own if the last one is."""
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
    """The text with lines more at its end, before the mark that ends a YAML document."""
    lines = LINES.findall(text)
    ends = [number for number, line in enumerate(lines) if line.startswith("...")]
    position = ends[0] if ends else len(lines)
    blank = [""] if position and lines[position - 1].strip() else []
    return spliced(lines, position, [*blank, *added])


def spliced(lines: list[str], position: int, added: list[str]) -> str:
    """The text with lines added; a file without a newline at its end stays one."""
    newline = newline_of("".join(lines))
    before, after = lines[:position], lines[position:]
    inserted = newline.join(added)
    if before and before[-1].rstrip("\r\n") == before[-1]:
        return "".join(before) + newline + inserted
    return "".join(before) + inserted + newline + "".join(after)


def newline_of(text: str) -> str:
    """The line ending that a file uses."""
    windows = text.count("\r\n")
    if windows * 2 > text.count("\n"):
        return "\r\n"
    return "\r" if "\n" not in text and "\r" in text else "\n"


def step_of(root: Node) -> int:
    """By how many spaces the file indents."""
    for name, value in root.entries.values():
        if value.kind == "mapping" and value.style == "" and value.entries and not value.alias:
            return next(iter(value.entries.values()))[0].start.column - name.start.column
    return _INDENT


def first_line(lines: list[str], name: Node) -> int:
    """The line of an entry's first comment, or of its key."""
    line = name.start.line
    while line > 0 and _comment_column(lines[line - 1]) == name.start.column:
        line -= 1
    return line


def last_line(lines: list[str], name: Node, value: Node) -> int:
    """The line of an entry's last text or comment."""
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
    """The last line of an indented text; blank lines after it belong to it only with `|+` or `>+`."""
    line = end if text.end.column else end - 1
    keeps_blank_lines = "+" in lines[text.start.line][text.start.column :].partition("#")[0]
    while not keeps_blank_lines and line > text.start.line and not lines[line].strip():
        line -= 1
    return line


def past_comments(lines: list[str], line: int, column: int) -> int:
    """The line of the last comment below `line` that is indented by more than `column`, or `line`."""
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
