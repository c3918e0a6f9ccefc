"""``targcc upcoming``: what comes."""

from __future__ import annotations

import click

from ....core import humanize
from ....project import current
from ....schedules import parse_zone
from ....web.api.timeline.schemas import ComingOut
from ...api.completing import queue_names
from ...api.reach import path, reached
from ...common import run
from ...output import as_shown, print_json, print_table, shows

_NAMED = 4


@click.command()
@click.option(
    "--days",
    type=click.IntRange(1, 31),
    default=1,
    show_default=True,
    help="How far to look ahead.",
)
@click.option("--queue", shell_complete=queue_names, help="Of this queue only.")
@shows
def upcoming(*, days: int, queue: str | None, as_json: bool) -> None:
    """Show what comes: slots by minute, crowded minutes, clock changes.

    \b
    Example:
      targcc upcoming
      targcc upcoming --days 7 --queue critical
    """

    async def work() -> None:
        async with reached() as api:
            found = await api.get(path("calendar"), ComingOut, days=days, queue=queue)
        if as_json:
            print_json(found)
            return
        _print_minutes(found)
        for name, number in found.frequent.items():
            click.echo(as_shown(f"{name}: {humanize.count(number, 'time')}, all day long"))
        _print_notes(found)

    run(work())


def _print_minutes(found: ComingOut) -> None:
    zone = parse_zone(current().timezone)
    if not found.minutes:
        if not found.frequent:
            click.echo("No slot of a job comes in this time.")
        return
    print_table(
        ["AT", "JOBS", ""],
        [
            [
                f"{one.at.astimezone(zone):%a %d %b %H:%M}",
                str(len(one.jobs)),
                humanize.listed(one.jobs, _NAMED),
            ]
            for one in found.minutes
        ],
    )


def _print_notes(found: ComingOut) -> None:
    zone = parse_zone(current().timezone)
    for one in found.crowded:
        click.echo(f"Crowded: {one.number} jobs at {humanize.clock(one.at, found.start, zone)}.")
    for night in found.clock_changes:
        click.echo(as_shown(f"{night.zone}: {night.words}."))
        for touched in night.jobs:
            click.echo(as_shown(f"  {touched.job}: {touched.words}"))
    for said, names in (
        ("Paused", found.paused),
        ("Run by the old server", found.elsewhere),
        ("Counted from their last run", found.after_run),
    ):
        if names:
            click.echo(as_shown(f"{said}: {humanize.listed(names)}."))
