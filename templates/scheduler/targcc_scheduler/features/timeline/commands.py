"""``targcc upcoming``, ``timeline``, ``heatmap`` and ``job trend``."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import click

from ...cli.common import duration, instant, run
from ...cli.completing import job_names, queue_names
from ...cli.connect import connect, path
from ...cli.output import as_shown, print_json, print_table, shows
from ...core import humanize
from ...core.numbers import MOST_TREND_DAYS, drift
from ...core.states import RunState
from ...project import current
from ...schedules.zones import parse_zone

if TYPE_CHECKING:
    from .gantt import Gantt, Row
    from .history import Heat, Trend
    from .schemas import ComingOut

# ``targcc upcoming``: slots to come.

_NAMED = 4


@click.command()
@click.option(
    "--days",
    type=click.IntRange(1, 31),
    default=1,
    show_default=True,
    help="Number of days to include.",
)
@click.option("--queue", shell_complete=queue_names, help="Only this queue.")
@shows
def upcoming(*, days: int, queue: str | None, as_json: bool) -> None:
    """Show upcoming slots by minute, crowded minutes and clock changes.

    \b
    Example:
      targcc upcoming
      targcc upcoming --days 7 --queue critical
    """

    async def work() -> None:
        async with connect() as api:
            coming: ComingOut = await api.get(path("calendar"), days=days, queue=queue)
        if as_json:
            print_json(coming)
            return
        _print_minutes(coming)
        for name, number in coming.frequent.items():
            click.echo(as_shown(f"{name}: {humanize.count(number, 'time')}, all day long"))
        _print_notes(coming)

    run(work())


def _print_minutes(upcoming: ComingOut) -> None:
    zone = parse_zone(current().timezone)
    if not upcoming.minutes:
        if not upcoming.frequent:
            click.echo("No upcoming slots in this time.")
        return
    print_table(
        ["AT", "JOBS", ""],
        [
            [
                f"{minute.at.astimezone(zone):%a %d %b %H:%M}",
                str(len(minute.jobs)),
                humanize.listed(minute.jobs, _NAMED),
            ]
            for minute in upcoming.minutes
        ],
    )


def _print_notes(upcoming: ComingOut) -> None:
    zone = parse_zone(current().timezone)
    for crowd in upcoming.crowded:
        click.echo(
            f"Crowded: {crowd.number} jobs at {humanize.clock(crowd.at, upcoming.start, zone)}."
        )
    for night in upcoming.clock_changes:
        click.echo(as_shown(f"{night.zone}: {night.words}."))
        for touched in night.jobs:
            click.echo(as_shown(f"  {touched.job}: {touched.words}"))
    for label, names in (
        ("Paused", upcoming.paused),
        ("Run by the old server", upcoming.elsewhere),
        ("Counted from their last run", upcoming.after_run),
    ):
        if names:
            click.echo(as_shown(f"{label}: {humanize.listed(names)}."))


# ``targcc job trend``: a job's durations, lateness and success by day.


@click.command("trend")
@click.argument("name", shell_complete=job_names)
@click.option(
    "--days",
    type=click.IntRange(1, MOST_TREND_DAYS),
    default=30,
    show_default=True,
    help="Number of past days to include.",
)
@shows
def job_trend(name: str, *, days: int, as_json: bool) -> None:
    """Show the trend of a job by day: durations, lateness, successes.

    \b
    Example:
      targcc job trend DailyReport --days 14
    """

    async def work() -> None:
        async with connect() as api:
            trend: Trend = await api.get(path("jobs", name, "trend"), days=days)
        if as_json:
            print_json(trend)
        else:
            _print_trend(trend)

    run(work())


def _print_trend(trend: Trend) -> None:
    print_table(
        ["DAY", "RUNS", "SUCCESS", "MEDIAN", "95%", "LONGEST", "LATE, MEDIAN", "LATE, MOST"],
        [
            [
                f"{item.day}",
                str(item.succeeded + item.failed + item.missed),
                humanize.percent(item.success_rate),
                humanize.milliseconds(item.p50_ms),
                humanize.milliseconds(item.p95_ms),
                humanize.milliseconds(item.longest_ms),
                humanize.milliseconds(item.late_p50_ms),
                humanize.milliseconds(item.late_most_ms),
            ]
            for item in trend.days
            if item.success_rate is not None
        ],
    )
    ratio = drift(trend.before_ms, trend.lately_ms)
    if ratio is not None:
        how = "Slower" if ratio > 1 else "Faster"
        click.echo(
            f"{how}: the median is {humanize.milliseconds(trend.lately_ms)} in the last 7 days, "
            f"and was {humanize.milliseconds(trend.before_ms)} before."
        )
    for item in trend.outliers:
        which = f"Run {item.run}" if item.run is not None else "An attempt"
        at = item.started_at.isoformat(" ", "seconds")
        click.echo(f"{which} took {humanize.milliseconds(item.duration_ms)}, begun {at}.")


# ``targcc timeline`` and ``targcc heatmap``: past runs beside planned slots, and busy hours of the week.

_WIDTH = 72
_NAMES = 24
_DAYS, _HOURS = 7, 24
_LETTERS = {
    RunState.SUCCEEDED: "=",
    RunState.FAILED: "x",
    RunState.RETRYING: "~",
    RunState.RUNNING: ">",
    RunState.CANCELLED: "c",
}
_MARKS = {"missed": "!", "skipped": "s", "cancelled": "c", "late": "?", "coming": "o"}
_LEGEND = "= succeeded  x failed  ~ retried  > running  ! missed  ? due, not started  s skipped  c cancelled  o upcoming"


@click.command()
@click.option(
    "--since",
    type=instant,
    metavar="TIME",
    help="Start, such as 2026-12-31T20:00. Default: 11 hours ago.",
)
@click.option(
    "--for", "span", type=duration, default="12h", show_default=True, help="Length, up to 48h."
)
@click.option("--queue", shell_complete=queue_names, help="Only this queue.")
@click.option("--job", shell_complete=job_names, help="Only this job.")
@shows
def timeline(
    *,
    since: datetime | None,
    span: timedelta,
    queue: str | None,
    job: str | None,
    as_json: bool,
) -> None:
    """Show attempts and planned slots on a timeline, one line per job.

    \b
    Example:
      targcc timeline
      targcc timeline --since 2026-12-31T20:00 --for 12h --queue critical
    """

    async def work() -> None:
        async with connect() as api:
            begins = since or api.now + timedelta(hours=1) - span
            chart: Gantt = await api.get(
                path("timeline"), since=begins, until=begins + span, queue=queue, job=job
            )
        if as_json:
            print_json(chart)
        elif not chart.groups:
            click.echo("No runs in this period, past or upcoming.")
        else:
            _print_gantt(chart)

    run(work())


def _print_gantt(gantt: Gantt) -> None:
    zone = parse_zone(current().timezone)
    ends = [humanize.clock(at, gantt.now, zone) for at in (gantt.since, gantt.until)]
    click.echo(f"{'':{_NAMES}}  {ends[0]}{ends[1]:>{_WIDTH - len(ends[0])}}")
    for group in gantt.groups:
        click.echo(as_shown(f"{group.queue or 'not in the code'}: at most {group.peak} at once"))
        for row in group.rows:
            name = as_shown(row.job)
            short = name if len(name) <= _NAMES else f"{name[: _NAMES - 1]}+"
            click.echo(f"{short:{_NAMES}}  {_line(row, gantt).rstrip()}")
    click.echo(_LEGEND)
    if gantt.others:
        click.echo(
            f"{humanize.count(gantt.others, 'more job')} not shown; choose by --queue, --job."
        )


def _line(row: Row, gantt: Gantt) -> str:
    cells = [" "] * _WIDTH
    place = (gantt.until - gantt.since) / _WIDTH

    def put(begins: datetime, ends: datetime, letter: str) -> None:
        first = max(int((begins - gantt.since) / place), 0)
        last = max(int((ends - gantt.since) / place), first)
        for n in range(first, min(last, _WIDTH - 1) + 1):
            cells[n] = letter

    for block in row.blocks:
        bad = block.ended.get(RunState.FAILED, 0) + block.ended.get(RunState.MISSED, 0)
        put(block.at, block.at, "x" if bad else "=")
    for bar in row.bars:
        put(bar.start, bar.end or gantt.now, _LETTERS.get(bar.state, "="))
    for mark in row.marks:
        put(mark.at, mark.at, _MARKS[mark.kind])
    return "".join(cells)


@click.command()
@click.option(
    "--weeks",
    type=click.IntRange(1, 8),
    default=4,
    show_default=True,
    help="Number of past weeks to include.",
)
@click.option("--job", shell_complete=job_names, help="Only this job.")
@shows
def heatmap(*, weeks: int, job: str | None, as_json: bool) -> None:
    """Show the number of started and failed runs for each hour of the week.

    \b
    Example:
      targcc heatmap --weeks 8
    """

    async def work() -> None:
        async with connect() as api:
            heat: Heat = await api.get(path("heatmap"), weeks=weeks, job=job)
        if as_json:
            print_json(heat)
            return
        columns = [heat.hours[day * _HOURS : (day + 1) * _HOURS] for day in range(_DAYS)]
        print_table(
            ["HOUR", "MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"],
            [
                [f"{hour:02}:00", *_cells((day[hour].number, day[hour].bad) for day in columns)]
                for hour in range(_HOURS)
            ],
        )

    run(work())


def _cells(counts: Iterable[tuple[int, int]]) -> list[str]:
    """Format counts as a number with the number of bad runs."""
    return [f"{number or '.'}{f' !{bad}' if bad else ''}" for number, bad in counts]
