"""``targcc calendar``: the calendars of the project."""

from __future__ import annotations

import click

from ....web.api.calendars.schemas import CalendarOut, CalendarYearOut
from ...api.reach import path, reached
from ...common import run
from ...group import Commands
from ...output import print_json, print_pairs, print_table, shows


@click.group("calendar", cls=Commands)
def calendar_group() -> None:
    """Look at the calendars that jobs and queues respect."""


@calendar_group.command("list")
@shows
def list_calendars(*, as_json: bool) -> None:
    """Show the calendars, and who respects each.

    \b
    Example:
      targcc calendar list
    """

    async def work() -> None:
        async with reached() as api:
            found = await api.get(path("calendars"), list[CalendarOut])
        if as_json:
            print_json(found)
        elif not found:
            click.echo("The project has no calendars: targcc.yaml names them in calendars.")
        else:
            print_table(
                ["CALENDAR", "JOBS", "DESCRIPTION"],
                [[one.name, ", ".join(one.jobs) or "none", one.description] for one in found],
            )

    run(work())


@calendar_group.command("show")
@click.argument("name")
@click.option("--year", type=click.IntRange(1970, 9000), help="Which year. Default: this one.")
@shows
def show(name: str, *, year: int | None, as_json: bool) -> None:
    """Show the days off and the blackouts of a calendar in a year.

    \b
    Example:
      targcc calendar show holidays --year 2027
    """

    async def work() -> None:
        async with reached() as api:
            found = await api.get(path("calendars", name), CalendarYearOut, year=year)
        if as_json:
            print_json(found)
        else:
            _print(found)

    run(work())


def _print(found: CalendarYearOut) -> None:
    print_pairs(
        [
            ("calendar", found.name),
            ("description", found.description),
            ("includes", ", ".join(found.includes)),
            ("each week", ", ".join(found.weekly)),
            *[("blackout", text) for text in found.blackouts],
            *[("off", f"{one.day:%Y-%m-%d %a}  {one.name}") for one in found.days],
        ]
    )
