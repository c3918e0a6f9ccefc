"""Print the output of `--json`: one JSON text on standard output, also after an error.

An object has the version of its schema in `schema_version`. Within a version a release may add keys, but removes and changes none.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from targcc_gen.errors import TargccError


# JSON output and errors.

SCHEMA_VERSION = 1
"""The version of all `--json` outputs; only a new version may remove a key or change its meaning."""

_PLACE = re.compile(
    r"(?P<file>(?:[A-Za-z]:[\\/])?[^\s:][^:\n]*):(?P<line>\d+)(?::(?P<column>\d+))?: (?:error: )?(?P<message>.*)"
)
_ERROR = "error: "


class _Printed:
    """Whether this call has printed its JSON. A later error is printed on standard error alone."""

    is_done = False


def begin() -> None:
    """Start a call with no JSON printed."""
    _Printed.is_done = False


def print_json(data: dict[str, Any] | list[Any]) -> None:
    """Print a command's result as JSON; an object gets `schema_version`."""
    versioned = {"schema_version": SCHEMA_VERSION, **data} if isinstance(data, dict) else data
    _Printed.is_done = True
    click.echo(json.dumps(versioned, indent=2, ensure_ascii=False))


def print_errors(errors: list[dict[str, Any]], status: int) -> None:
    """Print a command's errors as JSON, unless the command has already printed its result."""
    if not _Printed.is_done:
        print_json({"errors": errors, "exit_status": status, "written": False})


def of_error(error: TargccError) -> list[dict[str, Any]]:
    """Return the entries of an error: each with its code and, if known, file, line and column."""
    problems = getattr(error, "problems", None)
    if problems is not None:
        name = getattr(error, "filename", "")
        return [
            _entry(
                error.kind,
                problem.code,
                problem.message,
                problem.hint,
                (name, problem.line + 1, problem.column + 1),
            )
            for problem in problems
        ]
    return [of_text(error.kind, error.code, error.message, error.hint)]


def of_text(kind: str, code: str, text: str, hint: str | None = None) -> dict[str, Any]:
    """Return the entry of a text; a place at the start, as in `jobs.sql:12:5: error: …`, fills file, line and column."""
    match = _PLACE.match(text)
    if match is None:
        return _entry(kind, code, text.removeprefix(_ERROR), hint, None)
    rest = text[match.end() :]
    column = int(match["column"]) if match["column"] else None
    place = (match["file"], int(match["line"]), column)
    return _entry(kind, code, match["message"] + rest, hint, place)


def _entry(
    kind: str,
    code: str,
    message: str,
    hint: str | None,
    place: tuple[str, int, int | None] | None,
) -> dict[str, Any]:
    from targcc_scheduler.core.error_codes import address

    file, line, column = place or (None, None, None)
    return {
        "code": kind,
        "error_code": code,
        "manual": address(code),
        "message": message,
        "file": file,
        "line": line,
        "column": column,
        "hint": hint,
    }


# JSON Schemas of the outputs. A release may add keys; a test validates real outputs.

_TEXT = {"type": "string"}
_COUNT = {"type": "integer", "minimum": 0}
_TRUTH = {"type": "boolean"}
_MAYBE = {"type": ["string", "null"]}
_NUMBER = {"type": ["integer", "null"]}
_VERSION = {"type": "integer", "const": SCHEMA_VERSION}
_TEXTS = {"type": "array", "items": _TEXT}

CODES = (
    *(
        "usage",
        "input",
        "spec",
        "source",
        "truncated",
        "difference",
        "conflict",
        "unfinished",
        "rejected",
        "write",
    ),
    *("demo", "error", "internal"),
)
"""The kinds of errors; a release may add kinds."""

ACTIONS = ("create", "update", "merge", "conflict", "delete", "keep", "unchanged")
OWNERS = ("managed", "scaffold", "patched")


def _object(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "type": "object",
        "required": list(required),
        "properties": {**required, **(optional or {})},
    }


def _array(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


_POSITION_SCHEMA = _object(
    {"first": {"type": "integer"}, "last": {"type": "integer"}, "mine": _TEXT, "generated": _TEXT}
)
_CHANGE = _object(
    {
        "path": _TEXT,
        "action": {"enum": list(ACTIONS)},
        "owner": {"enum": list(OWNERS)},
        "reason": _TEXT,
        "lines_added": _COUNT,
        "lines_removed": _COUNT,
    },
    {
        "moved_to": _TEXTS,
        "moved_from": _TEXTS,
        "collisions": _array(_POSITION_SCHEMA),
        "left_behind": _array(_POSITION_SCHEMA),
        "note": _TEXT,
        "not_in_spec": _TEXT,
    },
)
_RUN = _object({"local": _TEXT, "utc": _TEXT})
_JOB = _object(
    {"name": _TEXT, "schedule": _TEXT, "timezone": _MAYBE, "next": _array(_RUN), "notes": _TEXTS}
)

_SCHEMAS: dict[str, tuple[str, dict[str, Any]]] = {
    "plan": (
        "What new, job, pull, regenerate, restore, eject, scheduler and blueprints fetch print with --json",
        _object(
            {
                "schema_version": _VERSION,
                "project": _TEXT,
                "changes": _array(_CHANGE),
                "counts": _object(dict.fromkeys(ACTIONS, _COUNT)),
                "lock_changes": _TRUTH,
                "written": _TRUTH,
            },
            {"new_templates": _TEXTS, "changed_templates": _TEXTS, "job": _JOB, "commits": {"type": "object", "additionalProperties": _TEXT}, "for_existing_projects": {"type": "object", "additionalProperties": _TEXT}, "update_environment": _TEXT},
        ),
    ),
    "status": (
        "What status prints with --json",
        _object(
            {
                "schema_version": _VERSION,
                "project": _TEXT,
                "made_by": _MAYBE,
                "generator": _TEXT,
                "files": _array(_object({"path": _TEXT, "state": _TEXT, "note": _TEXT})),
                "due": _array(_CHANGE),
                "up_to_date": _TRUTH,
            }
        ),
    ),
    "doctor": (
        "What doctor prints with --json",
        _array(
            _object({"level": {"enum": ["ok", "warn", "fail"]}, "what": _TEXT, "advice": _TEXT})
        ),
    ),
    "blueprints": (
        "What blueprints list prints with --json",
        _array(_object({"name": _TEXT, "summary": _TEXT, "defaults": {"type": "object"}}, {"origin": _TEXT})),
    ),
    "explain": (
        "What explain prints with --json",
        _object({"schema_version": _VERSION, "path": _TEXT, "value": {}, "origin": _TEXT, "overrides": _array(_object({"value": {}, "origin": _TEXT}))}, {"environment": _MAYBE}),
    ),
    "codes": (
        "What explain prints with --json for codes of errors",
        _object(
            {
                "schema_version": _VERSION,
                "codes": _array(
                    _object(
                        dict.fromkeys(
                            ("code", "title", "meaning", "example", "action", "manual"), _TEXT
                        )
                    )
                ),
            }
        ),
    ),
    "errors": (
        "What every command prints with --json when it fails before it has printed anything else",
        _object(
            {
                "schema_version": _VERSION,
                "errors": _array(
                    _object(
                        {
                            "code": {"type": "string", "enum": list(CODES)},
                            "message": _TEXT,
                            "file": _MAYBE,
                            "line": _NUMBER,
                            "column": _NUMBER,
                            "hint": _MAYBE,
                        },
                        {
                            "error_code": {"type": "string", "pattern": "^TG[0-9]{3}$"},
                            "manual": _TEXT,
                        },
                    )
                ),
                "exit_status": {"type": "integer"},
                "written": _TRUTH,
            }
        ),
    ),
}  # fmt: skip


def schema_of(name: str) -> dict[str, Any]:
    """Return the JSON Schema of the spec, or of a command's output."""
    if name == "spec":
        from targcc_gen.spec.json_schema import spec_schema

        return spec_schema()
    title, schema = _SCHEMAS[name]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **schema}
