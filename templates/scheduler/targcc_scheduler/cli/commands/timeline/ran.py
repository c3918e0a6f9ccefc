"""``targcc timeline`` and ``targcc heatmap``: what ran, planned against real, and which hours are busy."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import click

from ....core import humanize
from ....core.states import RunState
from ....project import current
from ....queries.timeline.gantt import Gantt, Row
from ....queries.timeline.heat import DAYS, HOURS, Heat
from ....schedules import parse_zone
from ...api.completing import job_names, queue_names
from ...api.reach import path, reached
from ...common import duration, instant, run
from ...output import as_shown, print_json, print_table, shows

_WIDTH = 72
_NAMES = 24
_LETTERS = {
    RunState.SUCCEEDED: "=",
    RunState.FAILED: "x",
    RunState.RETRYING: "~",
    RunState.RUNNING: ">",
    RunState.CANCELLED: "c",
}
_MARKS = {"missed": "!", "skipped": "s", "cancelled": "c", "late": "?", "coming": "o"}
_LEGEND = "= succeeded  x failed  ~ tried again  > running  ! missed  ? due, not begun  s skipped  c cancelled  o to come"


@click.command()
@click.option(
    "--since",
    type=instant,
    metavar="TIME",
    help="From when, such as 2026-12-31T20:00; by default 11 hours ago.",
)
@click.option(
    "--for", "span", type=duration, default="12h", show_default=True, help="How long, up to 48h."
)
@click.option("--queue", shell_complete=queue_names, help="Of this queue only.")
@click.option("--job", shell_complete=job_names, help="Of this job only.")
@shows
def timeline(
    *,
    since: datetime | None,
    span: timedelta,
    queue: str | None,
    job: str | None,
    as_json: bool,
) -> None:
    """Show what ran beside what was planned, a line for each job.

    \b
    Example:
      targcc timeline
      targcc timeline --since 2026-12-31T20:00 --for 12h --queue critical
    """

    async def work() -> None:
        async with reached() as api:
            begins = since or api.now + timedelta(hours=1) - span
            found = await api.get(
                path("timeline"), Gantt, since=begins, until=begins + span, queue=queue, job=job
            )
        if as_json:
            print_json(found)
        elif not found.groups:
            click.echo("Nothing ran in this time, and nothing comes in it.")
        else:
            _print_gantt(found)

    run(work())


def _print_gantt(found: Gantt) -> None:
    zone = parse_zone(current().timezone)
    ends = [humanize.clock(at, found.now, zone) for at in (found.since, found.until)]
    click.echo(f"{'':{_NAMES}}  {ends[0]}{ends[1]:>{_WIDTH - len(ends[0])}}")
    for group in found.groups:
        click.echo(as_shown(f"{group.queue or 'not in the code'}: at most {group.peak} at once"))
        for row in group.rows:
            name = as_shown(row.job)
            short = name if len(name) <= _NAMES else f"{name[: _NAMES - 1]}+"
            click.echo(f"{short:{_NAMES}}  {_line(row, found).rstrip()}")
    click.echo(_LEGEND)
    if found.others:
        click.echo(
            f"{humanize.count(found.others, 'more job')} not shown; choose by --queue, --job."
        )


def _line(row: Row, found: Gantt) -> str:
    cells = [" "] * _WIDTH
    place = (found.until - found.since) / _WIDTH

    def put(begins: datetime, ends: datetime, letter: str) -> None:
        first = max(int((begins - found.since) / place), 0)
        last = max(int((ends - found.since) / place), first)
        for n in range(first, min(last, _WIDTH - 1) + 1):
            cells[n] = letter

    for block in row.blocks:
        bad = block.ended.get(RunState.FAILED, 0) + block.ended.get(RunState.MISSED, 0)
        put(block.at, block.at, "x" if bad else "=")
    for bar in row.bars:
        put(bar.start, bar.end or found.now, _LETTERS.get(bar.state, "="))
    for mark in row.marks:
        put(mark.at, mark.at, _MARKS[mark.kind])
    return "".join(cells)


@click.command()
@click.option(
    "--weeks", type=click.IntRange(1, 8), default=4, show_default=True, help="How far back."
)
@click.option("--job", shell_complete=job_names, help="Of this job only.")
@shows
def heatmap(*, weeks: int, job: str | None, as_json: bool) -> None:
    """Show how many runs began in each hour of the week, and how many of them went wrong.

    \b
    Example:
      targcc heatmap --weeks 8
    """

    async def work() -> None:
        async with reached() as api:
            found = await api.get(path("heatmap"), Heat, weeks=weeks, job=job)
        if as_json:
            print_json(found)
            return
        columns = [found.day(weekday) for weekday in range(DAYS)]
        print_table(
            ["HOUR", "MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"],
            [
                [f"{hour:02}:00", *_cells((day[hour].number, day[hour].bad) for day in columns)]
                for hour in range(HOURS)
            ],
        )

    run(work())


def _cells(counts: Iterable[tuple[int, int]]) -> list[str]:
    """A number, and how many of it went wrong."""
    return [f"{number or '.'}{f' !{bad}' if bad else ''}" for number, bad in counts]
