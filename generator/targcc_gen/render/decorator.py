"""A job's `@job(...)` as Python source, with only the values that differ from the defaults."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from targcc_gen.render.literals import pyliteral
from targcc_gen.render.python_source import broken, fits

if TYPE_CHECKING:
    from targcc_gen.spec import AlertsSpec, JobSpec

_TYPES = {"manual": "MANUAL", "fire-and-forget": "FIRE_AND_FORGET", "delayed": "DELAYED"}


def decorator(
    job: JobSpec,
    *,
    described: bool,
    aliases: tuple[str, ...] = (),
    parents: tuple[str, ...] = (),
) -> str:
    """Return the decorator of a job in black's style, unless a text is too long for a line.

    Args:
        job: The job.
        described: Whether the class's docstring holds the description, so that the decorator omits it.
        aliases: Former names of the job.
        parents: Names of the jobs that the job runs after. The names are texts, so the job needs no import of a module that may import the
            job's module in turn.
    """
    arguments = [*_schedule(job, parents), *_options(job, described=described)]
    if (
        aliases and job.name is None
    ):  # with a `name` in the spec, the history keeps that name through renames
        arguments.append(f"aliases={pyliteral(aliases)}")
    together = ", ".join(arguments)
    if fits(f"@job({together})"):
        return f"@job({together})"
    if fits(f"    {together}"):
        return f"@job(\n    {together}\n)"
    return "\n".join(["@job(", *(_line(argument, job.alerts) for argument in arguments), ")"])


def _line(argument: str, alerts: AlertsSpec | None) -> str:
    line = f"    {argument},"
    if fits(line) or alerts is None or not argument.startswith("alerts="):
        return line
    return broken("    alerts=Alerts(", _alert_arguments(alerts), "),")


def decorator_names(job: JobSpec) -> list[str]:
    """Return the names that the decorator uses from the scheduler package, besides `job`."""
    names = {"Alerts": job.alerts is not None, "JobType": job.type is not None}
    return [name for name, used in names.items() if used]


def instant(value: datetime) -> str:
    """Format a date and time as in a spec and a decorator, without needless zeros."""
    precise = value.second or value.microsecond
    return value.isoformat() if precise else value.isoformat(timespec="minutes")


def _schedule(job: JobSpec, parents: tuple[str, ...]) -> Iterator[str]:
    from targcc_gen.spec import format_duration

    if job.type is not None:
        yield f"JobType.{_TYPES[job.type]}"
    elif job.cron is not None:
        yield pyliteral(job.cron)
    elif job.at is not None:
        yield f"at={pyliteral(instant(job.at))}"
    elif job.every is not None:
        yield f"every={pyliteral(format_duration(job.every))}"
        if job.anchor is not None:
            yield f"anchor={pyliteral(instant(job.anchor))}"
        if job.after is not None:
            yield f"after={pyliteral(job.after)}"
    if parents:
        yield f"after={pyliteral([*parents])}"


def _options(job: JobSpec, *, described: bool) -> Iterator[str]:
    for name, value in _values(job, described=described).items():
        if value is not None:
            yield f"{name}={pyliteral(value)}"
        if name == "memory_limit" and job.alerts is not None:
            yield f"alerts=Alerts({', '.join(_alert_arguments(job.alerts))})"


def _values(job: JobSpec, *, described: bool) -> dict[str, Any]:
    """Map options to values in the decorator's order; None omits an option."""
    from targcc_gen.spec import format_duration

    misfire, within = job.misfire, job.must_start_within
    return {
        "timezone": job.timezone,
        "display_name": job.display_name,
        "description": None if described else job.description or None,
        "name": job.name,
        "queue": job.queue,
        "priority": job.priority or None,
        "retries": job.retries,
        "backoff": None if job.backoff is None else format_duration(job.backoff),
        "timeout": None if job.timeout is None else format_duration(job.timeout),
        "overlap": _overlap(job),
        "misfire": misfire.policy if misfire and misfire.policy != "run_once" else None,
        "misfire_grace": format_duration(misfire.grace) if misfire and misfire.grace else None,
        "concurrency": job.concurrency,
        "limit": job.limit and job.limit.model_dump(exclude_defaults=True),
        "isolation": job.isolation,
        "memory_limit": job.memory_limit,
        "calendar": _names(job.calendar),
        "on_holiday": job.on_holiday,
        "unique": job.unique if job.unique is True else _names(job.unique),
        "unique_scope": job.unique_scope and format_duration(job.unique_scope),
        "on_duplicate": job.on_duplicate,
        "expires_in": job.expires_in and format_duration(job.expires_in),
        "must_finish_by": job.must_finish_by,
        "must_start_within": within and format_duration(within),
        "at_least": job.at_least,
        "ping": job.ping,
        "paused": job.paused or None,
    }


def _names(names: tuple[str, ...] | None) -> str | tuple[str, ...] | None:
    return names[0] if names is not None and len(names) == 1 else names


def _overlap(job: JobSpec) -> str | None:
    """Return the overlap policy if it differs from the default: "skip" for scheduled jobs, "allow" for other jobs."""
    default = "skip" if job.has_schedule else "allow"
    is_set = "overlap" in job.model_fields_set
    return job.overlap if is_set and job.overlap != default else None


def _alert_arguments(alerts: AlertsSpec) -> list[str]:
    arguments = {
        "on": alerts.on if alerts.on != ("failure",) else None,
        "email": alerts.email or None,
        "slack": alerts.slack,
        "teams": alerts.teams,
        "webhook": alerts.webhook,
        "max_per_hour": alerts.max_per_hour,
        "other": alerts.other or None,
        "oncall": alerts.oncall or None,
        "urgent": alerts.urgent,
    }
    return [f"{name}={pyliteral(value)}" for name, value in arguments.items() if value is not None]
