"""The YAML parser's complaints, said so that they help."""

from __future__ import annotations

import yaml

from targcc_gen.spec.quoting import quoted
from targcc_gen.spec.reading.problems import Problem, split_lines

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
    """The problem behind a parser's error, at the place where a person would look."""
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
        )  # one of the two parsers points behind it
    for part, message, hint in _PROBLEMS:
        if error.problem and part in error.problem:
            return Problem(line, column, 1, message, hint)
    return Problem(line, column, 1, f"this is no YAML: {error.problem}", None)


def _tab_in_indentation(lines: list[str], line: int) -> int | None:
    """The column of the first tab before any text in a line, None if there is none."""
    content = lines[line] if line < len(lines) else ""
    indentation = content[: len(content) - len(content.lstrip(" \t"))]
    column = indentation.find("\t")
    return column if column >= 0 else None


def _at_context(error: yaml.MarkedYAMLError, message: str, hint: str) -> Problem:
    mark = error.context_mark
    assert mark is not None
    return Problem(mark.line, mark.column, 1, message, hint)


def _needs_quotes(lines: list[str], line: int, column: int) -> Problem:
    """A plain value that begins with an indicator; often a cron expression that begins with `*`."""
    value = lines[line][column:].partition(" #")[0].rstrip() if line < len(lines) else ""
    message = f"text that begins with {value[:1]} needs quotes"
    return Problem(line, column, max(1, len(value)), message, f"write {quoted(value[:60])}")
