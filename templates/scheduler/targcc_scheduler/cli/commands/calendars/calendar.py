"""``targcc calendar``: the calendars of the project."""

from __future__ import annotations

from datetime import datetime

import click

from ....project import current
from ....queries.needs.calendars import CalendarYear, calendar_year, users_of
from ....schedules import CronError
from ...common import opened, run
from ...group import CliError, Commands
from ...output import json_option, print_json, print_pairs, print_table


@click.group("calendar", cls=Commands)
def calendar_group() -> None:
    """Look at the calendars that jobs and queues respect."""


@calendar_group.command("list")
@json_option
def list_calendars(*, as_json: bool) -> None:
    """Show the calendars, and who respects each.

    \b
    Example:
      targcc calendar list
    """

    async def work() -> list[tuple[str, list[str]]]:
        async with opened() as scheduler:
            definitions = list(scheduler.definitions.values())
            return [(name, users_of(name, definitions)) for name in current().calendars]

    found, said = run(work()), current().calendars
    if as_json:
        print_json(
            [
                {"name": name, "description": said[name].get("description", ""), "jobs": jobs}
                for name, jobs in found
            ]
        )
    elif not found:
        click.echo("The project has no calendars: targcc.yaml names them in calendars.")
    else:
        print_table(
            ["CALENDAR", "JOBS", "DESCRIPTION"],
            [
                [name, ", ".join(jobs) or "none", said[name].get("description", "")]
                for name, jobs in found
            ],
        )


@calendar_group.command("show")
@click.argument("name")
@click.option("--year", type=click.IntRange(1970, 9000), help="Which year. Default: this one.")
@json_option
def show(name: str, *, year: int | None, as_json: bool) -> None:
    """Show the days off and the blackouts of a calendar in a year.

    \b
    Example:
      targcc calendar show holidays --year 2027
    """

    async def now() -> datetime:
        async with opened() as scheduler:
            return scheduler.clock.now()

    try:
        found = calendar_year(name, year or run(now()).year)
    except CronError as error:
        raise CliError(f"{error}. {error.allowed}".rstrip()) from None
    if as_json:
        print_json(found)
    else:
        _print(found)


def _print(found: CalendarYear) -> None:
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
