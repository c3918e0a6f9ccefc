"""``targcc job trend``: how a job moves from day to day."""

from __future__ import annotations

import click

from ....core import humanize
from ....queries.timeline.trend import MOST_DAYS, Trend, trend
from ....schedules import parse_zone
from ...common import opened, run
from ...output import json_option, print_json, print_table


@click.command("trend")
@click.argument("name")
@click.option(
    "--days",
    type=click.IntRange(1, MOST_DAYS),
    default=30,
    show_default=True,
    help="How far to look back.",
)
@json_option
def job_trend(name: str, *, days: int, as_json: bool) -> None:
    """Show how a job moves from day to day: durations, lateness, success.

    \b
    Example:
      targcc job trend DailyReport --days 14
    """

    async def work() -> Trend:
        async with opened() as scheduler:
            job, now = scheduler.find(name), scheduler.clock.now()
            zone = parse_zone(job.timezone)
            return await scheduler.read(lambda db: trend(db, job.name, now, days=days, zone=zone))

    found = run(work())
    if as_json:
        print_json(found)
        return
    _print_trend(found)


def _print_trend(found: Trend) -> None:
    print_table(
        ["DAY", "RUNS", "SUCCESS", "MEDIAN", "95%", "LONGEST", "LATE, MEDIAN", "LATE, MOST"],
        [
            [
                f"{one.day}",
                str(one.succeeded + one.failed + one.missed),
                humanize.percent(one.success_rate),
                humanize.milliseconds(one.p50_ms),
                humanize.milliseconds(one.p95_ms),
                humanize.milliseconds(one.longest_ms),
                humanize.milliseconds(one.late_p50_ms),
                humanize.milliseconds(one.late_most_ms),
            ]
            for one in found.days
            if one.success_rate is not None
        ],
    )
    if found.drift is not None:
        how = "Slower" if found.drift > 1 else "Faster"
        click.echo(
            f"{how}: the median is {humanize.milliseconds(found.lately_ms)} in the last 7 days, "
            f"and was {humanize.milliseconds(found.before_ms)} before."
        )
    for one in found.outliers:
        which = f"Run {one.run}" if one.run is not None else "An attempt"
        at = one.started_at.isoformat(" ", "seconds")
        click.echo(f"{which} took {humanize.milliseconds(one.duration_ms)}, begun {at}.")
