"""The spec's JSON Schema, for completion and checks in editors."""

from __future__ import annotations

from itertools import product
from typing import Any

from targcc_gen.spec.models import Spec
from targcc_gen.spec.values import WEBHOOK_PATTERN

_TITLE = "targcc-gen spec"
_TELL = ("AlertsSpec", "AlertingSpec", "DigestSpec", "StepSpec", "PersonSpec")
_SCHEDULES = ("cron", "every", "at", "type")

# Sections that may be empty.
_MAY_BE_EMPTY = (
    *("queues", "pools", "calendars", "defaults", "jobs", "environments", "moved", "flows"),
    *("alerts", "oncall"),
)


def spec_schema() -> dict[str, Any]:
    """Return a JSON Schema (draft 2020-12) that accepts every spec accepted by `load_spec`, and refuses unknown keys."""
    schema = _without_titles(Spec.model_json_schema())
    _name_shapes(schema)
    _one_schedule(schema["$defs"]["JobSpec"])
    for key in _MAY_BE_EMPTY:
        section = schema["properties"][key]
        description = section.pop("description", Spec.model_fields[key].description)
        section.pop("default", None)
        schema["properties"][key] = {
            "description": description,
            "anyOf": [section, {"type": "null"}],
        }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": _TITLE,
        **schema,
    }


def _without_titles(part: Any) -> Any:
    """Remove the titles that Pydantic makes from field names: editors would show titles instead of descriptions."""
    if isinstance(part, list):
        return [_without_titles(item) for item in part]
    if not isinstance(part, dict):
        return part
    kept = {
        key: value for key, value in part.items() if key != "title" or not isinstance(value, str)
    }
    return {key: _without_titles(_without_null(value)) for key, value in kept.items()}


def _without_null(part: Any) -> Any:
    """Remove null from the allowed values: in a file, `timeout:` with nothing after the colon is an error."""
    if not isinstance(part, dict) or {"type": "null"} not in part.get("anyOf", ()):
        return part
    kept = [option for option in part["anyOf"] if option != {"type": "null"}]
    rest = {key: value for key, value in part.items() if key not in {"anyOf", "default"}}
    return {**rest, **kept[0]} if len(kept) == 1 else {**rest, "anyOf": kept}


def _name_shapes(schema: dict[str, Any]) -> None:
    """Add patterns for texts that the models check in Python."""
    definitions = schema["$defs"]
    job = definitions["JobSpec"]["properties"]
    job["params"]["propertyNames"] = {"pattern": "^[a-z][a-z0-9_]*$"}
    for section in ("queues", "pools", "calendars"):
        schema["properties"][section]["propertyNames"] = {
            "pattern": "^[A-Za-z][A-Za-z0-9_-]{0,49}$"
        }
    places = schema["properties"]["environments"]
    places["propertyNames"] = {"pattern": "^[A-Za-z][A-Za-z0-9_-]{0,49}$"}
    places["additionalProperties"] = {"anyOf": [places["additionalProperties"], {"type": "null"}]}
    for section in ("jobs", "flows"):
        schema["properties"][section]["propertyNames"] = {
            "pattern": r"^[\s_\-]*[A-Za-z][A-Za-z0-9_\-\s]*$"
        }
    definitions["FlowSpec"]["properties"]["steps"]["propertyNames"] = {
        "pattern": "^[A-Za-z][A-Za-z0-9_]{0,49}$"
    }
    for name, alert in product(_TELL, ("slack", "teams", "webhook")):
        definitions[name]["properties"][alert]["pattern"] = WEBHOOK_PATTERN


def _one_schedule(job: dict[str, Any]) -> None:
    scheduled = [{"required": [key]} for key in _SCHEDULES]
    job["oneOf"] = [*scheduled, {"required": ["after"], "not": {"anyOf": scheduled}}]
