"""Apply overrides to a definition, and show the code that makes the overrides permanent."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...core.errors import OverrideError
from ...kernel.jobs.declaration import isolation_of, schedule_from
from ...kernel.jobs.definition import JobDefinition, with_calendars
from ...kernel.jobs.overrides import FIELDS, Override, options_of
from ...project import Project
from ...schedules.words import parse_duration
from ...schedules.zones import parse_zone

# Apply overrides to a job's definition. Overrides take effect only here.


def effective(
    code: JobDefinition, overrides: Sequence[Override], project: Project
) -> JobDefinition:
    """Apply overrides to a job's definition.

    An override that does not fit the code any more is skipped; its ``problem`` states the reason.

    Args:
        code: The definition in the code.
        overrides: Overrides of this job.
        project: The project.
    """
    definition, kept = code, []
    for one in sorted(overrides, key=_order):
        try:
            definition = _APPLY[one.field](definition, one.value, project)
            kept.append(one)
        except (ValueError, LookupError) as error:
            kept.append(one.with_problem(str(error)))
    kept.sort(key=lambda one: FIELDS.index(one.field))
    definition = with_calendars(definition, project)  # calendars depend on the queue
    return replace(definition, overrides=tuple(kept), code=code)


def _order(one: Override) -> int:
    """Return the order of application: the time zone first, because the schedule's times depend on the zone."""
    return -1 if one.field == "timezone" else FIELDS.index(one.field)


def _schedule(job: JobDefinition, value: str, _: Project) -> JobDefinition:
    if job.schedule is None:
        raise OverrideError(
            f"{job.name} runs only when asked: a schedule is given to it in the code"
        )
    options: dict[str, Any] = {"schedule": None, "every": None, "anchor": None, "after": None}
    options |= {"at": None, **options_of(value)}
    schedule, text = schedule_from(zone=job.timezone, **options)
    return replace(job, schedule=schedule, schedule_text=text)


def _zone(job: JobDefinition, value: str, _: Project) -> JobDefinition:
    return replace(job, timezone=parse_zone(value).key)


def _arguments(job: JobDefinition, value: dict[str, Any], _: Project) -> JobDefinition:
    checked = checked_arguments(job, value)
    changed = replace(job, arguments_json=json.dumps(checked, ensure_ascii=False))
    if job.schedule is not None:
        changed.check({})
    return changed


def _queue(job: JobDefinition, value: str, project: Project) -> JobDefinition:
    """Change the queue. The isolation follows the new queue, unless the job sets its own isolation or a memory limit."""
    isolation = job.isolation
    if isolation == isolation_of(job.target, job.queue, project) and job.memory_limit is None:
        isolation = isolation_of(job.target, value, project)
    return replace(job, queue=value, isolation=isolation)


def _priority(job: JobDefinition, value: int, _: Project) -> JobDefinition:
    return replace(job, priority=value)


def _retries(job: JobDefinition, value: int, _: Project) -> JobDefinition:
    return replace(job, retries=value)


def _timeout(job: JobDefinition, value: str, _: Project) -> JobDefinition:
    return replace(job, timeout=None if value == "none" else parse_duration(value))


_APPLY: dict[str, Callable[[JobDefinition, Any, Project], JobDefinition]] = {
    "schedule": _schedule,
    "timezone": _zone,
    "arguments": _arguments,
    "queue": _queue,
    "priority": _priority,
    "retries": _retries,
    "timeout": _timeout,
}


def checked_arguments(job: JobDefinition, value: dict[str, Any]) -> dict[str, Any]:
    """Check a subset of a job's arguments, and return their JSON values.

    Raises:
        OverrideError: an argument is secret.
        ArgumentsError: an argument does not fit the job.
    """
    if secret := sorted(value.keys() & job.signature.secrets):
        raise OverrideError(f"{', '.join(secret)} is secret: it is not kept among the overrides")
    arguments: dict[str, Any] = json.loads(job.signature.only(value).check(value) or "{}")
    return arguments


# Code lines that make overrides permanent: in targcc.yaml, ``@job`` and ``execute``.

_CRON = "cron"


@dataclass(frozen=True, slots=True)
class CodeLines:
    """Code lines that make the overrides of a job permanent.

    Args:
        spec: Lines for targcc.yaml.
        decorator: Arguments for ``@job(…)``, one per line.
        signature: Parameters for ``execute``, one per line.
    """

    spec: tuple[str, ...]
    decorator: tuple[str, ...]
    signature: tuple[str, ...]


def code_lines(job: JobDefinition) -> CodeLines:
    """Return the code lines of a job's effective overrides. Overrides with a problem are left out."""
    held = [override for override in job.overrides if not override.problem]
    options = {name: value for override in held for name, value in _options(override).items()}
    parameters = (
        dict(_parameters(job)) if any(override.field == "arguments" for override in held) else {}
    )
    return CodeLines(
        tuple(_spec(job, options, parameters)),
        tuple(_argument(name, value) for name, value in options.items()),
        tuple(f"{name}: {kind} = {value!r}" for name, (kind, value, _) in parameters.items()),
    )


def _options(one: Override) -> dict[str, Any]:
    """Return an override as options for targcc.yaml. A cron expression is named ``cron`` there and has no name in the decorator."""
    if one.field == "arguments":
        return {}
    if one.field != "schedule":
        return {one.field: one.value}
    options = options_of(one.value)
    return {_CRON if name == "schedule" else name: value for name, value in options.items()}


def _parameters(job: JobDefinition) -> Iterator[tuple[str, tuple[str, Any, Any]]]:
    """Yield the overridden parameters: name, and type as written, value, JSON value."""
    kept: dict[str, Any] = json.loads(job.arguments_json)
    values = job.signature.only(kept).load(job.arguments_json)
    written = inspect.signature(job.function).parameters
    for name, value in values.items():
        yield name, (_type(written[name].annotation), value, kept[name])


def _type(annotation: Any) -> str:
    """Return a type's name without its module, as in targcc.yaml: ``date``, not ``datetime.date``."""
    if isinstance(annotation, str):
        return annotation
    plain = isinstance(annotation, type)
    return annotation.__name__ if plain else inspect.formatannotation(annotation)


def _spec(
    job: JobDefinition, options: dict[str, Any], parameters: dict[str, tuple[str, Any, Any]]
) -> Iterator[str]:
    if not options and not parameters:
        return
    yield "jobs:"
    yield f"  {job.key}:"
    for name, value in options.items():
        yield f"    {name}: {json.dumps(value, ensure_ascii=False)}"
    if parameters:
        yield "    params:"
    for name, (kind, _, value) in parameters.items():
        default = json.dumps(value, ensure_ascii=False)
        plain = isinstance(value, str) and not kind.startswith("str")  # a date, say
        text = f"{kind} = {value if plain else default}"
        yield f"      {name}: {json.dumps(text, ensure_ascii=False)}"


def _argument(name: str, value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return f"{text}," if name == _CRON else f"{name}={text},"
