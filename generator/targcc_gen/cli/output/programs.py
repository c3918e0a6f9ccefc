"""What programs read with `--json`: one JSON text on the standard output, also when the command fails.

An object says the version of its schema, `schema_version`. What is in a schema of a version stays; a release may add keys.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from targcc_gen.errors import TargccError

SCHEMA_VERSION = 1
"""Of everything that `--json` prints; another one may lack a key, or give it another meaning."""

_PLACE = re.compile(
    r"(?P<file>(?:[A-Za-z]:[\\/])?[^\s:][^:\n]*):(?P<line>\d+)(?::(?P<column>\d+))?: (?:error: )?(?P<message>.*)"
)
_ERROR = "error: "


class _Printed:
    """Whether this call has printed its JSON: an error after that has its words on the standard error stream alone."""

    is_done = False


def begin() -> None:
    """Begin a call: nothing is printed yet."""
    _Printed.is_done = False


def print_json(data: dict[str, Any] | list[Any]) -> None:
    """Print what a command has to say to a program."""
    versioned = {"schema_version": SCHEMA_VERSION, **data} if isinstance(data, dict) else data
    _Printed.is_done = True
    click.echo(json.dumps(versioned, indent=2, ensure_ascii=False))


def print_errors(errors: list[dict[str, Any]], status: int) -> None:
    """Print why a command has failed, unless it has printed its JSON before."""
    if not _Printed.is_done:
        print_json({"errors": errors, "exit_status": status, "written": False})


def of_error(error: TargccError) -> list[dict[str, Any]]:
    """The errors in an error: each with its code and, where that is known, its file, line and column."""
    problems = getattr(error, "problems", None)
    if problems is not None:
        name = getattr(error, "filename", "")
        return [
            _entry(error.code, one.message, one.hint, (name, one.line + 1, one.column + 1))
            for one in problems
        ]
    return [of_text(error.code, error.message, error.hint)]


def of_text(code: str, text: str, hint: str | None = None) -> dict[str, Any]:
    """An error of a text, which may begin with its place: `jobs.sql:12:5: error: …`."""
    match = _PLACE.match(text)
    if match is None:
        return _entry(code, text.removeprefix(_ERROR), hint, None)
    rest = text[match.end() :]
    column = int(match["column"]) if match["column"] else None
    return _entry(code, match["message"] + rest, hint, (match["file"], int(match["line"]), column))


def _entry(
    code: str, message: str, hint: str | None, place: tuple[str, int, int | None] | None
) -> dict[str, Any]:
    file, line, column = place or (None, None, None)
    return {
        "code": code,
        "message": message,
        "file": file,
        "line": line,
        "column": column,
        "hint": hint,
    }
