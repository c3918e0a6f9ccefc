"""``targcc upcoming``: what comes."""

from __future__ import annotations

from datetime import timedelta

import click

from ....core import humanize
from ....project import current
from ....queries.timeline.groups import grouped
from ....queries.timeline.nights import Night, nights
from ....queries.timeline.plan import Plan, plan
from ....scheduler import Scheduler
from ....schedules import parse_zone
from ...common import opened, run
from ...output import as_shown, json_option, print_json, print_table

_NAMED = 4


@click.command()
@click.option(
    "--days",
    type=click.IntRange(1, 31),
    default=1,
    show_default=True,
    help="How far to look ahead.",
)
@click.option("--queue", help="Of this queue only.")
@json_option
def upcoming(*, days: int, queue: str | None, as_json: bool) -> None:
    """Show what comes: slots by minute, crowded minutes, clock changes.

    \b
    Example:
      targcc upcoming
      targcc upcoming --days 7 --queue critical
    """

    async def work() -> tuple[Plan, tuple[Night, ...]]:
        async with opened() as scheduler:
            return await _coming(scheduler, days, queue)

    found, changes = run(work())
    if as_json:
        from ....web.api.timeline.schemas import calendar_out

        print_json(calendar_out(found, changes))
        return
    _print_minutes(found)
    for name, number in found.frequent.items():
        click.echo(as_shown(f"{name}: {humanize.count(number, 'time')}, all day long"))
    _print_notes(found, changes)


async def _coming(
    scheduler: Scheduler, days: int, queue: str | None
) -> tuple[Plan, tuple[Night, ...]]:
    now = scheduler.clock.now()
    end = now + timedelta(days=days)
    jobs = grouped(one for one in scheduler.definitions.values() if queue in (None, one.queue))
    found = await scheduler.read(lambda db: plan(db, jobs, now, start=now, end=end))
    return found, nights(jobs, now, end)


def _print_minutes(found: Plan) -> None:
    zone = parse_zone(current().timezone)
    if not found.minutes:
        click.echo("No slot of a job comes in this time.")
        return
    print_table(
        ["AT", "JOBS", ""],
        [
            [
                f"{one.at.astimezone(zone):%a %d %b %H:%M}",
                str(len(one.jobs)),
                humanize.listed(list(one.jobs), _NAMED),
            ]
            for one in found.minutes
        ],
    )


def _print_notes(found: Plan, changes: tuple[Night, ...]) -> None:
    zone = parse_zone(current().timezone)
    for one in found.crowded:
        click.echo(f"Crowded: {one.number} jobs at {humanize.clock(one.at, found.start, zone)}.")
    for night in changes:
        click.echo(f"{night.zone}: {night.change}.")
        for touched in night.jobs:
            click.echo(as_shown(f"  {touched.job}: {touched.effect.words}"))
    for said, names in (
        ("Paused", found.paused),
        ("Run by the old server", found.elsewhere),
        ("Counted from their last run", found.after_run),
    ):
        if names:
            click.echo(as_shown(f"{said}: {humanize.listed(list(names))}."))
