"""The JSON Schemas of what `--json` prints. What is in one stays: a release may add keys, and a test validates real outputs."""

from __future__ import annotations

from typing import Any

from targcc_gen.cli.output.programs import SCHEMA_VERSION

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
"""The kinds of errors: a release may add some."""

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


_PLACE = _object(
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
        "collisions": _array(_PLACE),
        "left_behind": _array(_PLACE),
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
                        }
                    )
                ),
                "exit_status": {"type": "integer"},
                "written": _TRUTH,
            }
        ),
    ),
}  # fmt: skip


def schema_of(name: str) -> dict[str, Any]:
    """The schema of the spec, or of what a command prints."""
    if name == "spec":
        from targcc_gen.spec.docs.schema import spec_schema

        return spec_schema()
    title, schema = _SCHEMAS[name]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **schema}
