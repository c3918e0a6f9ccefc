"""``targcc job``: show, run, pause and resume jobs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from copy import copy
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, get_args

import click

from ...core import humanize
from ...core.numbers import MOST_OWN_RETRIES
from ...core.states import On
from ...schedules.words import format_duration
from ...schedules.zones import parse_zone
from ..common import Function, run
from ..completing import job_names
from ..connect import connect, path
from ..group import Commands
from ..output import (
    as_shown,
    done,
    full_option,
    json_option,
    limit_option,
    pause_options,
    print_json,
    print_pairs,
    print_table,
    shows,
    wait_options,
    when,
)
from .runs import cancel_run, files_among, retry_run, rollup_state, send, started

if TYPE_CHECKING:
    from ...kernel.queries.models import Attempt
    from ...kernel.queries.statistics import JobStats
    from ...web.api.schemas import JobDetailOut, JobOut, OverrideOut, RunOut, SystemOut

# Commands that show jobs.


@click.group("job", cls=Commands)
def job_group() -> None:
    """List, show, run and pause jobs."""


job_group.add_command(cancel_run)
job_group.add_command(retry_run)


@job_group.command("list")
@shows
def list_jobs(*, as_json: bool) -> None:
    """List all jobs with schedule, next run and last result.

    \b
    Example:
      targcc job list
    """

    async def work() -> None:
        async with connect() as api:
            jobs: list[JobOut] = await api.rows(path("jobs"))
            system: SystemOut = await api.get(path("system"))
        if as_json:
            print_json(jobs)
        else:
            _print_jobs(jobs, api.now, system)
            _print_chains(jobs)
            _print_left(jobs)
        _print_broken(system)

    run(work())


def _print_jobs(jobs: Sequence[JobOut], now: datetime, system: SystemOut) -> None:
    if not jobs:
        click.echo(f"There are no jobs yet: put a file with @job into {system.package}/jobs/.")
        return
    print_table(
        ["JOB", "SCHEDULE", "NEXT", "LAST", "ENDED"],
        [
            [
                job.name,
                job.schedule_words,
                _next_run(job, now),
                humanize.STATE_WORDS[job.last_run.state] if job.last_run is not None else "",
                when(_happened_at(job.last_run), now) if job.last_run is not None else "",
            ]
            for job in jobs
        ],
    )


def _happened_at(run: RunOut) -> datetime:
    """Return the end time of a run, else its start time, else its due time."""
    return run.completed_at or run.started_at or run.due_at


def _print_chains(jobs: Sequence[JobOut]) -> None:
    """Print the chains of jobs and the rollup state of each."""
    chains = {job.chain.name: job.chain for job in jobs if job.chain is not None}
    if chains:
        click.echo()
        rows = [
            [name, rollup_state(chain), " > ".join(chain.jobs)] for name, chain in chains.items()
        ]
        print_table(["CHAIN", "STATE", "STEPS"], rows)


def _chain(job: JobOut) -> str:
    """Return a job's chain and its rollup state; empty without a chain."""
    chain = job.chain
    return f"{' > '.join(chain.jobs)}: {rollup_state(chain)}" if chain is not None else ""


def _next_run(job: JobOut, now: datetime) -> str:
    if job.owner != "new":
        return "old server"
    return "paused" if job.paused is not None else when(job.next_run, now)


def _print_left(jobs: Sequence[JobOut]) -> None:
    for job in jobs:
        if words := _not_in_spec(job):
            click.echo(f"{job.name}: {words}")


def _not_in_spec(job: JobOut) -> str:
    if not job.left_spec:
        return ""
    return f"in code, not in the spec. Adopt it: targcc-gen pull {job.name}; remove it: targcc-gen job {job.name} --remove"


def _print_broken(system: SystemOut) -> None:
    for module in system.broken:
        place = f"{module.path}:{module.line}" if module.line else module.path or module.module
        warning = f"warning: {place} cannot be used: {module.error}"
        click.echo(as_shown(warning, lines=True), err=True)


@job_group.command("info")
@click.argument("name", shell_complete=job_names)
@shows
def job_info(name: str, *, as_json: bool) -> None:
    """Show one job with its settings, next runs and arguments.

    \b
    Example:
      targcc job info DailyReport
    """

    async def work() -> None:
        async with connect() as api:
            job: JobDetailOut = await api.get(path("jobs", name))
            system: SystemOut = await api.get(path("system"))
        if as_json:
            print_json(job)
        else:
            print_pairs(_info(job, system.timezone, api.now))

    run(work())


def _info(job: JobDetailOut, zone: str, now: datetime) -> list[tuple[str, str]]:
    retries = f"{job.retries}, the first after {_seconds(job.backoff_seconds)}"
    if job.backoff_by_rule:
        retries = f"{job.retries}, with a delay that the code decides"
    model = job.parameters or {}
    arguments = [
        f"{name}{'' if name in model.get('required', ()) else ' (optional)'}"
        for name in model.get("properties", {})
    ]
    last = job.last_run
    return [
        ("name", job.name),
        ("shown as", job.display_name),
        ("description", job.description),
        ("schedule", f"{job.schedule_words}  {job.schedule or ''}".strip()),
        ("zone", job.timezone),
        ("owner", f"{job.owner}, by {job.owner_by}" if job.owner_by is not None else ""),
        ("paused", _paused(job, now)),
        *[("next", _next(slot, now, job, zone)) for slot in job.next_runs],
        *[("skipped", change.text) for change in job.calendar_changes if change.at is None],
        ("calendars", ", ".join(job.calendars)),
        *[("changed", _changed(change, now)) for change in job.overrides],
        ("last", f"{last.state} {when(_happened_at(last), now)}" if last else ""),
        ("chain", _chain(job)),
        ("queue", job.queue),
        ("retries", retries if job.retries else "none"),
        ("timeout", _seconds(job.timeout_seconds) if job.timeout_seconds is not None else "none"),
        ("overlap", job.overlap),
        ("misfire", f"{job.misfire}, {_grace(job)}"),
        ("isolation", _isolation(job)),
        ("unique", job.unique or ""),
        ("limit", job.limit or ""),
        ("expires", _expires(job)),
        ("arguments", ", ".join(arguments)),
        ("code", job.code),
        ("spec", _not_in_spec(job)),
        ("was named", ", ".join(job.aliases)),
    ]


def _seconds(seconds: float) -> str:
    return format_duration(timedelta(seconds=seconds))


def _changed(override: OverrideOut, now: datetime) -> str:
    """Describe an override of a job's option."""
    until = f", until {when(override.until, now)}" if override.until is not None else ""
    unfit = f" (does not hold: {override.problem})" if override.problem else ""
    return f"{override.field} {override.shown}{unfit}, by {override.by} {when(override.at, now)}{until}: {override.reason}"


def _grace(job: JobDetailOut) -> str:
    grace = job.misfire_grace_seconds
    return "no matter how late" if grace is None else f"up to {_seconds(grace)} late"


def _expires(job: JobDetailOut) -> str:
    limit = job.expires_in_seconds
    return "" if limit is None else f"{_seconds(limit)} after it was due"


def _next(slot: datetime, now: datetime, job: JobDetailOut, zone: str) -> str:
    """Format a slot in the project's zone, also in the job's zone if different, with the note of a calendar that moved the slot."""
    text, own = when(slot, now), job.timezone
    if own != zone:
        text += f", {humanize.clock(slot, now, parse_zone(own))} in {own}"
    moved = next((change.there for change in job.calendar_changes if change.at == slot), "")
    return f"{text}, {moved}" if moved else text


def _paused(job: JobOut, now: datetime) -> str:
    if job.paused is None:
        return ""
    until = f", until {when(job.paused.until, now)}" if job.paused.until is not None else ""
    reason = f": {job.paused.reason}" if job.paused.reason else ""
    return f"by {job.paused.by} {when(job.paused.at, now)}{until}{reason}"


@job_group.command("history")
@click.argument("name", required=False, shell_complete=job_names)
@limit_option
@shows
def job_history(name: str | None, *, limit: int, as_json: bool) -> None:
    """List the last attempts of a job, or of all jobs: rows of c_LoggedJob.

    \b
    Example:
      targcc job history DailyReport --limit 5
      targcc job history --json
    """

    async def work() -> None:
        address = path("jobs", name, "history") if name is not None else path("history")
        async with connect() as api:
            attempts: list[Attempt] = await api.rows(address, limit=limit)
        if as_json:
            print_json(attempts)
        elif not attempts:
            click.echo("Nothing has run yet.")
        else:
            _print_history(attempts, api.now)

    run(work())


def _print_history(attempts: Sequence[Attempt], now: datetime) -> None:
    print_table(
        ["RUN", "JOB", "STARTED", "TOOK", "RESULT", "ATTEMPT", "BY", "MESSAGE"],
        [
            [
                attempt.run_id or "",
                attempt.job,
                when(attempt.started_at, now),
                humanize.milliseconds(attempt.duration_ms),
                "succeeded" if attempt.success else "failed",
                str(attempt.number),
                attempt.triggered_by or "",
                (attempt.message if attempt.success else humanize.last_line(attempt.error)) or "",
            ]
            for attempt in attempts
        ],
    )


@job_group.command("stats")
@click.argument("name", shell_complete=job_names)
@click.option(
    "--days",
    type=click.IntRange(1, 366),
    default=30,
    show_default=True,
    help="Number of past days to include.",
)
@shows
def job_stats(name: str, *, days: int, as_json: bool) -> None:
    """Show the statistics of a job: run counts, success rate, durations.

    \b
    Example:
      targcc job stats DailyReport --days 7
    """

    async def work() -> None:
        async with connect() as api:
            job: JobDetailOut = await api.get(path("jobs", name))
            figures: JobStats = await api.get(path("jobs", name, "stats"), days=days)
        if as_json:
            print_json(figures)
            return
        print_pairs(
            [
                ("job", job.name),
                ("runs", f"{figures.runs:,} in {humanize.count(days, 'day')}"),
                ("succeeded", f"{figures.succeeded:,} ({humanize.percent(figures.success_rate)})"),
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
    """Return a note if the statistics lack rows of an earlier release; empty if complete."""
    return f"about {rows:,} rows of an earlier release; targcc migrate does it now" if rows else ""


def _isolation(job: JobDetailOut) -> str:
    limit = job.memory_limit_mb
    return job.isolation if limit is None else f"{job.isolation}, up to {limit} MiB"


# Commands that run, disable and enable a job.


def argument_options(command: Function) -> Function:
    """Add ``--arg`` and ``--arguments``, parsed by :func:`arguments_of`."""
    pairs = click.option(
        "--arg",
        "pairs",
        multiple=True,
        metavar="NAME=VALUE",
        help="Argument of the run. NAME=@PATH passes a file. May be repeated.",
    )
    whole = click.option("--arguments", metavar="JSON", help="All arguments as one JSON object.")
    return pairs(whole(command))


@job_group.command("run")
@click.argument("name", shell_complete=job_names)
@argument_options
@click.option(
    "--like",
    type=int,
    metavar="RUN",
    help="Use the arguments of this run; --arg overrides single arguments.",
)
@click.option(
    "--expires-in", metavar="DURATION", help="Cancel the run if it has not started after this time."
)
@click.option(
    "--idempotency-key",
    metavar="KEY",
    help="Idempotency key: a second call with the same key starts no second run.",
)
@click.option(
    "--after", type=int, multiple=True, metavar="RUN", help="Start after this run. May be repeated."
)
@click.option(
    "--on",
    type=click.Choice(get_args(On)),
    default="success",
    show_default=True,
    help="Required outcome of the runs of --after.",
)
@click.option(
    "--any",
    "any_of",
    is_flag=True,
    help="Start when one of the runs of --after has this outcome, instead of all.",
)
@click.option(
    "--or-wait",
    is_flag=True,
    help="If the runs of --after end otherwise, wait for their retry instead of cancelling the new run.",
)
@click.option(
    "--retries",
    type=click.IntRange(0, MOST_OWN_RETRIES),
    help="Retries after a failed attempt. Default: none with --wait, else the number of the job.",
)
@wait_options
@full_option
@json_option
def run_job(
    name: str,
    *,
    pairs: tuple[str, ...],
    arguments: str | None,
    like: int | None,
    expires_in: str | None,
    idempotency_key: str | None,
    after: tuple[int, ...],
    on: On,
    any_of: bool,
    or_wait: bool,
    retries: int | None,
    wait: bool,
    timeout: timedelta | None,
    full: bool,
    as_json: bool,
) -> None:
    """Run a job now.

    A server executes the run. With --wait and no server up, this process executes it. Each failed attempt is shown when it fails.

    \b
    Example:
      targcc job run DailyReport --wait
      targcc job run DailyReport --wait --retries 3 --full
      targcc job run SendWelcome --arg user_id=42 --arg since=2026-01-31
      targcc job run SendWelcome --like 4711 --arg user_id=43
      targcc job run ImportOrders --arg report=@orders.csv
      targcc job run CleanUp --after 4711 --on failure
    """
    given = arguments_of(pairs, arguments)
    own = 0 if retries is None and wait else retries

    async def work() -> None:
        async with connect() as api:
            files = await files_among(api, name, given)
            options = {
                "like": like,
                "expires_in": expires_in,
                "idempotency_key": idempotency_key,
                "on": on,
                "quorum": "any" if any_of else "all",
                "otherwise": "wait" if or_wait else "discard",
                "retries": own,
            }
            given_options = {key: value for key, value in options.items() if value is not None}
            wish = {"arguments": given, "after": after, **given_options}
            if files:
                begun = await send(api, name, wish, files)
            else:
                begun = await api.post(path("jobs", name, "trigger"), body=wish)
        await started(begun, wait=wait, patience=timeout, full=full, as_json=as_json)

    run(work())


def arguments_of(pairs: Sequence[str], text: str | None) -> dict[str, Any]:
    """Parse ``--arg`` and ``--arguments`` into a job's arguments.

    Raises:
        click.BadParameter: an option cannot be parsed.
    """
    arguments: dict[str, Any] = {}
    if text is not None:
        try:
            arguments = json.loads(text)
        except json.JSONDecodeError as error:
            raise click.BadParameter(
                f"not JSON: {error.msg} at column {error.colno}", param_hint="--arguments"
            ) from None
        if not isinstance(arguments, dict):
            raise click.BadParameter(
                'not an object such as {"user_id": 3}', param_hint="--arguments"
            )
    given: set[str] = set()
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{pair!r} is not NAME=VALUE", param_hint="--arg")
        if name in given:
            raise click.BadParameter(f"{name} is given twice", param_hint="--arg")
        given.add(name)
        arguments[name] = _value(value)
    return arguments


def _value(text: str) -> Any:
    """Parse a list or an object as JSON; any other text stays text, which the job's types parse later."""
    if text[:1] in {"[", "{"}:
        try:
            return json.loads(text)
        except json.JSONDecodeError:
            return text
    return text


@job_group.command("pause")
@click.argument("name", shell_complete=job_names)
@pause_options
@json_option
def pause_job(name: str, *, reason: str | None, until: datetime | None, as_json: bool) -> None:
    """Pause the schedule of a job. The job can still be run by hand.

    The older name of the command is `targcc job disable`.

    \b
    Example:
      targcc job pause DailyReport --reason "moving house" --until 2026-12-31T08:00
      targcc job pause DailyReport --until 2h
    """

    async def work() -> None:
        async with connect() as api:
            wish = {"reason": reason, "until": until}
            await api.post(path("jobs", name, "pause"), body=wish)
            job: JobDetailOut = await api.get(path("jobs", name))
        ends = f" until {when(until, api.now)}" if until is not None else ""
        done(f"{job.name} is paused{ends}", as_json=as_json, job=job.name, paused=True)

    run(work())


@job_group.command("resume")
@click.argument("name", shell_complete=job_names)
@json_option
def resume_job(name: str, *, as_json: bool) -> None:
    """Resume the schedule of a job.

    The older name of the command is `targcc job enable`.

    \b
    Example:
      targcc job resume DailyReport
    """

    async def work() -> None:
        async with connect() as api:
            await api.post(path("jobs", name, "resume"))
            job: JobDetailOut = await api.get(path("jobs", name))
        coming = when(job.next_run, api.now)
        message = f"{job.name} runs again{f', next {coming}' if coming else ''}"
        done(message, as_json=as_json, job=job.name, paused=False)

    run(work())


for _older_name, _command in (("disable", pause_job), ("enable", resume_job)):
    _hidden = copy(_command)
    _hidden.hidden = True
    job_group.add_command(_hidden, _older_name)
