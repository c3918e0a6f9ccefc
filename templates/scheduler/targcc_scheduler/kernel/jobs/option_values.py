"""Values of a job's options, as overrides store them and as people read them."""

from __future__ import annotations

import json
from typing import Any

from ...schedules.words import format_duration
from .definition import JobDefinition


def value_in(job: JobDefinition, field: str) -> Any:
    """Return an option's value in a definition, in the form of :func:`~.overrides.read_value`."""
    match field:
        case "schedule":
            return job.schedule_text
        case "arguments":
            return json.loads(job.arguments_json)
        case "timeout":
            return "none" if job.timeout is None else format_duration(job.timeout)
        case _:
            return getattr(job, field)


def shown(job: JobDefinition, field: str) -> str:
    """Return an option's value in a definition, as text for people."""
    value = value_in(job, field)
    if field == "arguments":
        return (
            ", ".join(
                f"{name}={json.dumps(argument, ensure_ascii=False)}"
                for name, argument in value.items()
            )
            or "defaults"
        )
    return str(value) if value != "" else "none"
