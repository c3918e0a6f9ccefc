"""Apply overrides to a definition, and show the code that makes them permanent."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...core.errors import OverrideError
from ...kernel.jobs.declaration import isolation_of, schedule_from
from ...kernel.jobs.definition import JobDefinition, with_calendars
from ...project import Project
from ...schedules.words import format_duration, parse_duration
from ...schedules.zones import parse_zone
from .model import FIELDS, Override, options_of

# The definition of a job with what people have changed: the one place where an override takes effect.


def effective(
    code: JobDefinition, overrides: Sequence[Override], project: Project
) -> JobDefinition:
    """The definition that holds.

    An override that does not fit the code any more does not hold, and says so in its ``problem``.

    Args:
        code: The job as its code has it.
        overrides: What people have changed of it.
        project: The project.
    """
    found, kept = code, []
    for one in sorted(overrides, key=_order):
        try:
            found = _APPLY[one.field](found, one.value, project)
            kept.append(one)
        except (ValueError, LookupError) as error:
            kept.append(one.with_problem(str(error)))
    kept.sort(key=lambda one: FIELDS.index(one.field))
    found = with_calendars(found, project)  # of the queue that holds now
    return replace(found, overrides=tuple(kept), code=code)


def _order(one: Override) -> int:
    """The zone goes before the schedule, whose instants are read in it."""
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
    parse_zone(value)
    return replace(job, timezone=value)


def _arguments(job: JobDefinition, value: dict[str, Any], _: Project) -> JobDefinition:
    checked = checked_arguments(job, value)
    changed = replace(job, arguments_json=json.dumps(checked, ensure_ascii=False))
    if job.schedule is not None:
        changed.check({})
    return changed


def _queue(job: JobDefinition, value: str, project: Project) -> JobDefinition:
    """Its runs are in a process of their own where the queue says so, unless the job says something else."""
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
    """Some arguments of a job, as JSON holds them.

    Raises:
        OverrideError: one of them is secret.
        ArgumentsError: they do not fit the job.
    """
    if secret := sorted(value.keys() & job.signature.secrets):
        raise OverrideError(f"{', '.join(secret)} is secret: it is not kept among the overrides")
    found: dict[str, Any] = json.loads(job.signature.only(value).check(value) or "{}")
    return found


def value_in(job: JobDefinition, field: str) -> Any:
    """The value of an option in a definition, in the form of :func:`~.values.read_value`."""
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
    """The value of an option in a definition, for people."""
    value = value_in(job, field)
    if field == "arguments":
        return (
            ", ".join(
                f"{name}={json.dumps(one, ensure_ascii=False)}" for name, one in value.items()
            )
            or "defaults"
        )
    return str(value) if value != "" else "none"


# What to write so that the code says what people have changed: lines of targcc.yaml, of ``@job`` and of ``execute``.

_CRON = "cron"


@dataclass(frozen=True, slots=True)
class CodeLines:
    """What to write where.

    Args:
        spec: Lines of targcc.yaml.
        decorator: Arguments of ``@job(…)``, one a line.
        signature: Parameters of ``execute``, one a line.
    """

    spec: tuple[str, ...]
    decorator: tuple[str, ...]
    signature: tuple[str, ...]


def code_lines(job: JobDefinition) -> CodeLines:
    """The lines that make the code say what holds; none for what does not fit the code."""
    held = [one for one in job.overrides if not one.problem]
    options = {name: value for one in held for name, value in _options(one).items()}
    parameters = dict(_parameters(job)) if any(one.field == "arguments" for one in held) else {}
    return CodeLines(
        tuple(_spec(job, options, parameters)),
        tuple(_argument(name, value) for name, value in options.items()),
        tuple(f"{name}: {kind} = {value!r}" for name, (kind, value, _) in parameters.items()),
    )


def _options(one: Override) -> dict[str, Any]:
    """Options as the spec names them; only the decorator has the cron expression without a name."""
    if one.field == "arguments":
        return {}
    if one.field != "schedule":
        return {one.field: one.value}
    found = options_of(one.value)
    return {_CRON if name == "schedule" else name: value for name, value in found.items()}


def _parameters(job: JobDefinition) -> Iterator[tuple[str, tuple[str, Any, Any]]]:
    """The changed parameters: their type as it is written, and their value, also as JSON has it."""
    kept: dict[str, Any] = json.loads(job.arguments_json)
    values = job.signature.only(kept).load(job.arguments_json)
    written = inspect.signature(job.function).parameters
    for name, value in values.items():
        yield name, (_type(written[name].annotation), value, kept[name])


def _type(annotation: Any) -> str:
    """As the spec names it, and a module that imports it: ``date``, not ``datetime.date``."""
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
