# Managed by targcc-gen: regenerate merges your edits; `targcc-gen eject PATH` makes the file yours.
"""``targcc job``: what there is, how it stands, and what an operator does with it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import click

from .. import overview, project, queries, stats
from ..access import read
from ..cron import format_duration, parse_zone
from ..dashboard import words
from ..overview import JobOverview
from ..records import Attempt
from ..scheduler import Scheduler
from ..schemas import JobOut, attempt_out, job_detail_out, job_values, stats_out
from .common import (
    Commands,
    duration,
    instant,
    json_option,
    opened,
    operator,
    print_json,
    print_pairs,
    print_table,
    run,
    when,
)
from .runs import cancel_run, follow, retry_run, started


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
            jobs, now = await _overviews(scheduler), scheduler.clock.now()
            if as_json:
                print_json([JobOut(**job_values(job)) for job in jobs])
            else:
                _print_jobs(jobs, now)
            _print_broken(scheduler)

    run(work())


async def _overviews(scheduler: Scheduler, *names: str) -> Sequence[JobOverview]:
    definitions = [scheduler.find(name) for name in names] or [*scheduler.definitions.values()]
    now = scheduler.clock.now()
    return await read(scheduler, lambda db: overview.job_overviews(db, definitions, now))


def _print_jobs(jobs: Sequence[JobOverview], now: datetime) -> None:
    if not jobs:
        click.echo(f"There are no jobs yet: put a file with @job into {project.PACKAGE}/jobs/.")
        return
    print_table(
        ["JOB", "SCHEDULE", "NEXT", "LAST", "ENDED"],
        [
            [
                job.name,
                job.words,
                "paused" if job.pause is not None else when(job.next_run, now),
                words.STATE_WORDS[job.last.state] if job.last is not None else "",
                when(job.last.happened_at, now) if job.last is not None else "",
            ]
            for job in jobs
        ],
    )


def _print_broken(scheduler: Scheduler) -> None:
    for module in scheduler.broken:
        click.echo(
            f"warning: {module.path or module.module} cannot be used: {module.error}", err=True
        )


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
            job = (await _overviews(scheduler, name))[0]
            slots = overview.next_runs(job, 5)
            if as_json:
                print_json(job_detail_out(job, slots))
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
        ("paused", _paused(job, now)),
        *[("next", _next(slot, now, definition.timezone)) for slot in slots],
        ("last", f"{job.last.state} {when(job.last.happened_at, now)}" if job.last else ""),
        ("queue", definition.queue),
        ("retries", retries if definition.retries else "none"),
        ("timeout", format_duration(timeout) if timeout is not None else "none"),
        ("overlap", definition.overlap),
        (
            "misfire",
            f"{definition.misfire}, up to {format_duration(definition.misfire_grace)} late",
        ),
        ("arguments", ", ".join(arguments)),
        ("code", f"{definition.module}.{definition.target.__qualname__}"),
    ]


def _next(slot: datetime, now: datetime, own: str) -> str:
    """A slot in the project's zone, and by the job's own clock where that is another."""
    text = when(slot, now)
    if own == project.TIMEZONE:
        return text
    return f"{text}, {words.clock(slot, now, parse_zone(own))} in {own}"


def _paused(job: JobOverview, now: datetime) -> str:
    if job.pause is None:
        return ""
    until = f", until {when(job.pause.until, now)}" if job.pause.until is not None else ""
    reason = f": {job.pause.reason}" if job.pause.reason else ""
    return f"by {job.pause.by} {when(job.pause.at, now)}{until}{reason}"


@job_group.command("run")
@click.argument("name")
@click.option(
    "--arg", "pairs", multiple=True, metavar="NAME=VALUE", help="An argument; may be repeated."
)
@click.option("--arguments", metavar="JSON", help="All arguments as one JSON object.")
@click.option(
    "--wait", is_flag=True, help="Wait until it is over; exit status 1 unless it succeeds."
)
@click.option(
    "--timeout",
    type=duration,
    metavar="DURATION",
    help="With --wait: give up after this, such as 10m.",
)
@json_option
def run_job(
    name: str,
    *,
    pairs: tuple[str, ...],
    arguments: str | None,
    wait: bool,
    timeout: timedelta | None,
    as_json: bool,
) -> None:
    """Run a job now.

    A server runs it. With --wait and no server up, this process does.

    \b
    Example:
      targcc job run DailyReport --wait
      targcc job run SendWelcome --arg user_id=42 --arg since=2026-01-31
    """
    given = _arguments(pairs, arguments)

    async def work() -> None:
        async with opened() as scheduler:
            definition = scheduler.find(name)
            run_id = await scheduler.trigger(definition, given, by=operator())
            if not wait:
                started(scheduler, run_id, definition.display_name, as_json=as_json)
                return
        await follow(run_id, definition.queue, timeout, as_json=as_json)

    run(work())


def _arguments(pairs: Sequence[str], text: str | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if text is not None:
        try:
            found = json.loads(text)
        except json.JSONDecodeError as error:
            raise click.BadParameter(
                f"not JSON: {error.msg} at column {error.colno}", param_hint="--arguments"
            ) from None
        if not isinstance(found, dict):
            raise click.BadParameter(
                'not an object such as {"user_id": 3}', param_hint="--arguments"
            )
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{pair!r} is not NAME=VALUE", param_hint="--arg")
        found[name] = _value(value)
    return found


def _value(text: str) -> Any:
    """Lists and objects as JSON; all else stays text, which the job's types then read."""
    if text[:1] in {"[", "{"}:
        try:
            return json.loads(text)
        except json.JSONDecodeError:
            return text
    return text


@job_group.command("history")
@click.argument("name", required=False)
@click.option(
    "--limit",
    type=click.IntRange(1, 10_000),
    default=20,
    show_default=True,
    help="At most so many, newest first.",
)
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
            attempts = await read(scheduler, lambda db: queries.history(db, key, limit))
            if as_json:
                print_json([attempt_out(attempt) for attempt in attempts])
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
                words.milliseconds(one.duration_ms),
                "succeeded" if one.success else "failed",
                str(one.number),
                one.triggered_by or "",
                (one.message if one.success else words.last_line(one.error)) or "",
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
    """Show how a job has done: counts, success rate, durations.

    \b
    Example:
      targcc job stats DailyReport --days 7
    """

    async def work() -> None:
        async with opened() as scheduler:
            definition, now = scheduler.find(name), scheduler.clock.now()
            since, zone = now - timedelta(days=days - 1), parse_zone(definition.timezone)
            figures = await read(
                scheduler,
                lambda db: stats.job_stats(db, definition.name, since=since, until=now, zone=zone),
            )
            if as_json:
                print_json(stats_out(figures))
                return
            print_pairs(
                [
                    ("job", definition.name),
                    ("runs", f"{figures.runs:,} in {words.count(days, 'day')}"),
                    ("succeeded", f"{figures.succeeded:,} ({words.percent(figures.success_rate)})"),
                    ("failed", f"{figures.failed:,}"),
                    ("retried", f"{figures.retried:,}"),
                    ("average", words.milliseconds(figures.average_ms)),
                    ("median", words.milliseconds(figures.p50_ms)),
                    ("95%", words.milliseconds(figures.p95_ms)),
                    ("longest", words.milliseconds(figures.longest_ms)),
                ]
            )

    run(work())


@job_group.command("disable")
@click.argument("name")
@click.option("--reason", help="What the next person should know.")
@click.option(
    "--until",
    type=instant,
    metavar="TIME",
    help="Resume by itself then, such as 2026-12-31T08:00 or 2h.",
)
@json_option
def disable_job(name: str, *, reason: str | None, until: datetime | None, as_json: bool) -> None:
    """Let a job's slots pass; it can still be run by hand.

    \b
    Example:
      targcc job disable DailyReport --reason "moving house" --until 2026-12-31T08:00
    """

    async def work() -> None:
        async with opened() as scheduler:
            definition = scheduler.find(name)
            await scheduler.pause(definition, by=operator(), reason=reason, until=until)
            ends = f" until {when(until, scheduler.clock.now())}" if until is not None else ""
            _say(
                definition.name, f"{definition.name} is paused{ends}", paused=True, as_json=as_json
            )

    run(work())


@job_group.command("enable")
@click.argument("name")
@json_option
def enable_job(name: str, *, as_json: bool) -> None:
    """Let a job run by its schedule again.

    \b
    Example:
      targcc job enable DailyReport
    """

    async def work() -> None:
        async with opened() as scheduler:
            definition = scheduler.find(name)
            await scheduler.resume(definition, by=operator())
            job = (await _overviews(scheduler, definition.name))[0]
            coming = when(job.next_run, scheduler.clock.now())
            said = f"{definition.name} runs again{f', next {coming}' if coming else ''}"
            _say(definition.name, said, paused=False, as_json=as_json)

    run(work())


def _say(name: str, message: str, *, paused: bool, as_json: bool) -> None:
    if as_json:
        print_json({"job": name, "paused": paused, "message": message})
    else:
        click.echo(message)
