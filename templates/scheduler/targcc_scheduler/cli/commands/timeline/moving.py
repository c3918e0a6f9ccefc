"""``targcc job trend``: how a job moves from day to day."""

from __future__ import annotations

import click

from ....core import humanize
from ....queries.timeline.trend import MOST_DAYS, Trend
from ...api.completing import job_names
from ...api.reach import path, reached
from ...common import run
from ...output import print_json, print_table, shows


@click.command("trend")
@click.argument("name", shell_complete=job_names)
@click.option(
    "--days",
    type=click.IntRange(1, MOST_DAYS),
    default=30,
    show_default=True,
    help="How far to look back.",
)
@shows
def job_trend(name: str, *, days: int, as_json: bool) -> None:
    """Show how a job moves from day to day: durations, lateness, success.

    \b
    Example:
      targcc job trend DailyReport --days 14
    """

    async def work() -> None:
        async with reached() as api:
            found = await api.get(path("jobs", name, "trend"), Trend, days=days)
        if as_json:
            print_json(found)
        else:
            _print_trend(found)

    run(work())


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
