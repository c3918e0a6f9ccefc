"""The commands about jobs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import click

from ...core import humanize
from ...jobs.definition import JobDefinition
from ...jobs.overrides.values import Override
from ...project import current
from ...queries import history, jobs, statistics, upcoming
from ...queries.jobs import JobOverview
from ...queries.models import Attempt
from ...queries.needs.calendars import calendars_of, changes, moved_there
from ...scheduler import Scheduler
from ...schedules import format_duration, parse_zone
from ...web.api.schemas.jobs import JobOut, job_detail_out, job_values
from ..common import opened, run
from ..group import Commands
from ..output import as_shown, json_option, limit_option, print_json, print_pairs, print_table, when
from .runs import cancel_run, retry_run


@click.group("job", cls=Commands)
def job_group() -> None:
    """Look at jobs, run them, pause them."""


job_group.add_command(cancel_run)
job_group.add_command(retry_run)


@job_group.command("list")
@json_option
def list_jobs(*, as_json: bool) -> None:
    """Show every job: schedule, next run, last result.

    \b
    Example:
      targcc job list
    """

    async def work() -> None:
        async with opened() as scheduler:
            jobs, now = await overviews(scheduler), scheduler.clock.now()
            if as_json:
                print_json([JobOut(**job_values(job)) for job in jobs])
            else:
                _print_jobs(jobs, now)
                _print_left(jobs)
            _print_broken(scheduler)

    run(work())


async def overviews(scheduler: Scheduler, *names: str) -> Sequence[JobOverview]:
    """The jobs of these names, or all, with their recent runs."""
    definitions = [scheduler.find(name) for name in names] or [*scheduler.definitions.values()]
    now = scheduler.clock.now()
    return await scheduler.read(lambda db: jobs.job_overviews(db, definitions, now))


def _print_jobs(jobs: Sequence[JobOverview], now: datetime) -> None:
    if not jobs:
        click.echo(f"There are no jobs yet: put a file with @job into {current().package}/jobs/.")
        return
    print_table(
        ["JOB", "SCHEDULE", "NEXT", "LAST", "ENDED"],
        [
            [
                job.name,
                job.words,
                _next_run(job, now),
                humanize.STATE_WORDS[job.last.state] if job.last is not None else "",
                when(job.last.happened_at, now) if job.last is not None else "",
            ]
            for job in jobs
        ],
    )


def _next_run(job: JobOverview, now: datetime) -> str:
    if job.elsewhere is not None:
        return "old server"
    return "paused" if job.pause is not None else when(job.next_run, now)


def _print_left(jobs: Sequence[JobOverview]) -> None:
    for job in jobs:
        if words := _not_in_spec(job.definition):
            click.echo(f"{job.name}: {words}")


def _not_in_spec(definition: JobDefinition) -> str:
    if not definition.left_spec:
        return ""
    key = definition.key
    return f"in code, not in the spec. Adopt it: targcc-gen pull {key}; remove it: targcc-gen job {key} --remove"


def _print_broken(scheduler: Scheduler) -> None:
    for module in scheduler.broken:
        said = f"warning: {module.path or module.module} cannot be used: {module.error}"
        click.echo(as_shown(said, lines=True), err=True)


@job_group.command("info")
@click.argument("name")
@json_option
def job_info(name: str, *, as_json: bool) -> None:
    """Show one job: settings, next runs, arguments.

    \b
    Example:
      targcc job info DailyReport
    """

    async def work() -> None:
        async with opened() as scheduler:
            job = (await overviews(scheduler, name))[0]
            slots = upcoming.next_runs(job, 5)
            if as_json:
                print_json(job_detail_out(job, slots, scheduler.clock.now()))
            else:
                print_pairs(_info(job, slots, scheduler.clock.now()))

    run(work())


def _info(job: JobOverview, slots: Sequence[datetime], now: datetime) -> list[tuple[str, str]]:
    definition = job.definition
    timeout, model = definition.timeout, definition.parameters
    retries = f"{definition.retries}, the first after {format_duration(definition.backoff)}"
    arguments = [
        f"{name}{'' if field.is_required() else ' (optional)'}"
        for name, field in (model.model_fields if model is not None else {}).items()
    ]
    return [
        ("name", definition.name),
        ("shown as", definition.display_name),
        ("description", definition.description),
        ("schedule", f"{job.words}  {definition.schedule_text}".strip()),
        ("zone", definition.timezone),
        ("owner", f"{job.owner}, by {job.elsewhere.by}" if job.elsewhere else ""),
        ("paused", _paused(job, now)),
        *[("next", _next(slot, now, definition)) for slot in slots],
        *[("skipped", one.text) for one in changes(definition, slots, now) if one.at is None],
        ("calendars", ", ".join(calendars_of(definition))),
        *[("changed", _changed(one, now)) for one in definition.overrides],
        ("last", f"{job.last.state} {when(job.last.happened_at, now)}" if job.last else ""),
        ("queue", definition.queue),
        ("retries", retries if definition.retries else "none"),
        ("timeout", format_duration(timeout) if timeout is not None else "none"),
        ("overlap", definition.overlap),
        ("misfire", f"{definition.misfire}, {_grace(definition)}"),
        ("isolation", _isolation(definition)),
        ("arguments", ", ".join(arguments)),
        ("code", f"{definition.module}.{definition.target.__qualname__}"),
        ("spec", _not_in_spec(definition)),
        ("was named", ", ".join(definition.aliases)),
    ]


def _changed(one: Override, now: datetime) -> str:
    """An option that a person has changed while the job is deployed."""
    until = f", until {when(one.until, now)}" if one.until is not None else ""
    unfit = f" (does not hold: {one.problem})" if one.problem else ""
    return f"{one.field} {one.shown}{unfit}, by {one.by} {when(one.at, now)}{until}: {one.reason}"


def _grace(definition: JobDefinition) -> str:
    grace = definition.misfire_grace
    return "however late" if grace is None else f"up to {format_duration(grace)} late"


def _next(slot: datetime, now: datetime, job: JobDefinition) -> str:
    """A slot in the project's zone, and in the job's own where that is another; and from where a calendar has moved it."""
    text, own = when(slot, now), job.timezone
    if own != current().timezone:
        text += f", {humanize.clock(slot, now, parse_zone(own))} in {own}"
    moved = moved_there(job, slot)
    return f"{text}, {moved}" if moved else text


def _paused(job: JobOverview, now: datetime) -> str:
    if job.pause is None:
        return ""
    until = f", until {when(job.pause.until, now)}" if job.pause.until is not None else ""
    reason = f": {job.pause.reason}" if job.pause.reason else ""
    return f"by {job.pause.by} {when(job.pause.at, now)}{until}{reason}"


@job_group.command("history")
@click.argument("name", required=False)
@limit_option
@json_option
def job_history(name: str | None, *, limit: int, as_json: bool) -> None:
    """Show the last attempts of a job, or of all: the rows of c_LoggedJob.

    \b
    Example:
      targcc job history DailyReport --limit 5
      targcc job history --json
    """

    async def work() -> None:
        async with opened() as scheduler:
            key = scheduler.find(name).name if name is not None else None
            attempts = await scheduler.read(lambda db: history.history(db, key, limit))
            if as_json:
                print_json(attempts)
            elif not attempts:
                click.echo("Nothing has run yet.")
            else:
                _print_history(attempts, scheduler.clock.now())

    run(work())


def _print_history(attempts: Sequence[Attempt], now: datetime) -> None:
    print_table(
        ["RUN", "JOB", "STARTED", "TOOK", "RESULT", "ATTEMPT", "BY", "MESSAGE"],
        [
            [
                one.run_id or "",
                one.job,
                when(one.started_at, now),
                humanize.milliseconds(one.duration_ms),
                "succeeded" if one.success else "failed",
                str(one.number),
                one.triggered_by or "",
                (one.message if one.success else humanize.last_line(one.error)) or "",
            ]
            for one in attempts
        ],
    )


@job_group.command("stats")
@click.argument("name")
@click.option(
    "--days",
    type=click.IntRange(1, 366),
    default=30,
    show_default=True,
    help="How far to look back.",
)
@json_option
def job_stats(name: str, *, days: int, as_json: bool) -> None:
    """Show the results of a job: counts, success rate, durations.

    \b
    Example:
      targcc job stats DailyReport --days 7
    """

    async def work() -> None:
        async with opened() as scheduler:
            definition, now = scheduler.find(name), scheduler.clock.now()
            since, zone = now - timedelta(days=days - 1), parse_zone(definition.timezone)
            figures = await scheduler.read(
                lambda db: statistics.job_stats(
                    db, definition.name, since=since, until=now, zone=zone
                ),
            )
            if as_json:
                print_json(figures)
                return
            print_pairs(
                [
                    ("job", definition.name),
                    ("runs", f"{figures.runs:,} in {humanize.count(days, 'day')}"),
                    (
                        "succeeded",
                        f"{figures.succeeded:,} ({humanize.percent(figures.success_rate)})",
                    ),
                    ("failed", f"{figures.failed:,}"),
                    ("retried", f"{figures.retried:,}"),
                    ("average", humanize.milliseconds(figures.average_ms)),
                    ("median", humanize.milliseconds(figures.p50_ms)),
                    ("95%", humanize.milliseconds(figures.p95_ms)),
                    ("longest", humanize.milliseconds(figures.longest_ms)),
                    ("still counting", _still_counting(figures.still_counting)),
                ]
            )

    run(work())


def _still_counting(rows: int) -> str:
    """A note while the statistics lack rows of an earlier release; empty when they do not."""
    return f"about {rows:,} rows of an earlier release; targcc migrate does it now" if rows else ""


def _isolation(definition: JobDefinition) -> str:
    limit = definition.memory_limit
    return definition.isolation if limit is None else f"{definition.isolation}, up to {limit} MiB"
