"""Fingerprint of the jobs that a node knows: names, arguments and schedules."""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Iterable, Mapping
from importlib import metadata
from typing import Any

from ...schedules.calendars import calendars_text
from ..jobs.definition import JobDefinition

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_LENGTH = 16
_WIDTH = 300
_NAME = re.compile(r"[A-Za-z_]\w*")
_PLAIN = {"int", "float", "bool", "str", "bytes", "None", "list", "dict", "set", "tuple", "Any"} | {
    *("frozenset", "datetime", "date", "time", "timedelta", "decimal", "Decimal", "uuid", "UUID"),
    *("typing", "types", "Optional", "pydantic", "SecretStr"),
}
"""Type names that mean the same in every release."""


def described(definitions: Iterable[JobDefinition]) -> dict[str, tuple[str, str]]:
    """Return the arguments and the schedule of each job as in the code.

    The text is the same on every machine.
    """
    jobs = sorted(definitions, key=lambda job: job.name)
    return {job.name: (_arguments(job), schedule_of(job.coded)) for job in jobs}


def fingerprint_of(jobs: Mapping[str, tuple[str, str]]) -> str:
    """Return a short digest for the result from :func:`described`."""
    text = "\n".join("\t".join((name, *rest)) for name, rest in sorted(jobs.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:_LENGTH]


def schedule_of(job: JobDefinition) -> str:
    """Return the schedule with timezone and calendars, as stored in ``c_JobSchedule``; empty without a schedule."""
    if job.schedule is None:
        return ""
    calendars = calendars_text(job.schedule)
    return f"{job.schedule_text} {job.timezone}"[: _WIDTH - len(calendars)] + calendars


def version_of(project: str) -> str:
    """Return the version of an installed project, else ``0``."""
    try:
        return metadata.version(project)
    except metadata.PackageNotFoundError:
        return "0"


def _arguments(job: JobDefinition) -> str:
    """Return a job's arguments from its signature; add the JSON schema if an argument has a type that the project defines."""
    parameters = inspect.signature(job.function).parameters.values()
    wanted = [item for item in parameters if not _type_of(item).endswith("JobContext")]
    text = ", ".join(_shape(item) for item in wanted if item.name != "self")
    names = {name for item in wanted for name in _NAME.findall(_type_of(item))}
    if not names <= _PLAIN:
        text = f"{text} {_schema_of(job)}"
    return _ADDRESS.sub("", " ".join(text.split()))


def _shape(parameter: inspect.Parameter) -> str:
    """Return name and type of a parameter, and whether a default exists.

    The default itself is left out: the text of a set differs between processes.
    """
    mark = "" if parameter.default is parameter.empty else " = …"
    return f"{parameter.name}: {_type_of(parameter)}{mark}"


def _type_of(parameter: inspect.Parameter) -> str:
    if parameter.annotation is parameter.empty:
        return ""
    kind = parameter.annotation
    return kind if isinstance(kind, str) else inspect.formatannotation(kind)


def _schema_of(job: JobDefinition) -> str:
    """Return the JSON schema of a job's arguments without defaults. Slow: builds the pydantic model."""
    try:
        model = job.parameters
        return repr(_without_defaults(model.model_json_schema())) if model is not None else ""
    except Exception as error:  # noqa: BLE001 - not every type has a schema
        return type(error).__name__


def _without_defaults(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {key: _without_defaults(item) for key, item in schema.items() if key != "default"}
    return [_without_defaults(item) for item in schema] if isinstance(schema, list) else schema
