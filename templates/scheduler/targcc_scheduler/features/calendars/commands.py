"""``targcc calendar`` and ``targcc maintenance``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from ...cli.common import instant, run
from ...cli.completing import queue_names
from ...cli.connect import connect, path
from ...cli.group import Commands
from ...cli.output import as_shown, json_option, print_json, print_pairs, print_table, shows, when
from ...project import current
from ...schedules.zones import parse_zone

if TYPE_CHECKING:
    from .schemas import CalendarOut, CalendarYearOut, MaintenanceOut

# ``targcc calendar``: the project's calendars.


@click.group("calendar", cls=Commands)
def calendar_group() -> None:
    """List and show the calendars of jobs and queues."""


@calendar_group.command("list")
@shows
def list_calendars(*, as_json: bool) -> None:
    """List the calendars with the jobs that use them.

    \b
    Example:
      targcc calendar list
    """

    async def work() -> None:
        async with connect() as api:
            calendars: list[CalendarOut] = await api.rows(path("calendars"))
        if as_json:
            print_json(calendars)
        elif not calendars:
            click.echo("The project has no calendars: targcc.yaml names them in calendars.")
        else:
            print_table(
                ["CALENDAR", "JOBS", "DESCRIPTION"],
                [
                    [calendar.name, ", ".join(calendar.jobs) or "none", calendar.description]
                    for calendar in calendars
                ],
            )

    run(work())


@calendar_group.command("show")
@click.argument("name")
@click.option(
    "--year", type=click.IntRange(1970, 9000), help="Year to show. Default: the current year."
)
@shows
def show(name: str, *, year: int | None, as_json: bool) -> None:
    """Show the days off and blackouts of a calendar in a year.

    \b
    Example:
      targcc calendar show holidays --year 2027
    """

    async def work() -> None:
        async with connect() as api:
            calendar: CalendarYearOut = await api.get(path("calendars", name), year=year)
        if as_json:
            print_json(calendar)
        else:
            _print(calendar)

    run(work())


def _print(year: CalendarYearOut) -> None:
    print_pairs(
        [
            ("calendar", year.name),
            ("description", year.description),
            ("includes", ", ".join(year.includes)),
            ("each week", ", ".join(year.weekly)),
            *[("blackout", text) for text in year.blackouts],
            *[("off", f"{day_off.day:%Y-%m-%d %a}  {day_off.name}") for day_off in year.days],
        ]
    )


# ``targcc maintenance``: maintenance windows, in which no run starts.


@click.group("maintenance", cls=Commands)
def maintenance_group() -> None:
    """Plan, list and end maintenance windows: times in which no run starts."""


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that ``start`` and ``plan`` share."""
    until = click.option(
        "--until",
        type=instant,
        metavar="TIME",
        required=True,
        help="End of the window, such as 2026-12-31T08:00 or 2h.",
    )
    reason = click.option("--reason", required=True, help="Reason, shown to other people.")
    queues = click.option(
        "--queue",
        "queues",
        multiple=True,
        shell_complete=queue_names,
        help="Only this queue. May be repeated.",
    )
    return until(reason(queues(json_option(command))))


@maintenance_group.command("start")
@_options
def start(*, until: datetime, reason: str, queues: tuple[str, ...], as_json: bool) -> None:
    """Start a maintenance window: no new run starts, running runs continue.

    \b
    Example:
      targcc maintenance start --until 2h --reason "new disk for the ledger"
    """
    _plan(None, until, reason, queues, as_json=as_json)


@maintenance_group.command("plan")
@click.option(
    "--from", "since", type=instant, metavar="TIME", required=True, help="Start of the window."
)
@_options
def plan(
    *, since: datetime, until: datetime, reason: str, queues: tuple[str, ...], as_json: bool
) -> None:
    """Plan a maintenance window between two future times.

    \b
    Example:
      targcc maintenance plan --from 2030-01-05T22:00 --until 2030-01-06T04:00 --queue critical --reason "new switch"
    """
    _plan(since, until, reason, queues, as_json=as_json)


def _plan(
    since: datetime | None, until: datetime, reason: str, queues: tuple[str, ...], *, as_json: bool
) -> None:
    wish = {
        "starts_at": since and since.isoformat(),
        "ends_at": until.isoformat(),
        "reason": reason,
        "queues": queues,
    }

    async def work() -> None:
        async with connect() as api:
            window: MaintenanceOut = await api.post(path("maintenance"), body=wish)
        if as_json:
            print_json(window)
        else:
            click.echo(as_shown(f"window {window.id}: {_planned(window, api.now)}"))

    run(work())


def _planned(window: MaintenanceOut, now: datetime) -> str:
    if window.active:
        return f"no run of {_which(window)} starts until {when(window.ends_at, now)}"
    zone = parse_zone(current().timezone)
    since, until = (at.astimezone(zone) for at in (window.starts_at, window.ends_at))
    times = f"from {since:%Y-%m-%d %H:%M} until {until:%Y-%m-%d %H:%M}"
    return f"no run of {_which(window)} starts {times}"


@maintenance_group.command("list")
@click.option(
    "--all", "show_all", is_flag=True, help="Include windows that ended in the last 90 days."
)
@shows
def list_windows(*, show_all: bool, as_json: bool) -> None:
    """List the active and planned maintenance windows.

    \b
    Example:
      targcc maintenance list --all
    """

    async def work() -> None:
        async with connect() as api:
            windows: list[MaintenanceOut] = await api.rows(
                path("maintenance"), all=show_all or None
            )
        if as_json:
            print_json(windows)
        elif not windows:
            click.echo("No maintenance is planned.")
        else:
            print_table(
                ["WINDOW", "STATE", "FROM", "UNTIL", "QUEUES", "BY", "REASON"],
                [
                    [
                        str(window.id),
                        _state(window, api.now),
                        when(window.starts_at, api.now),
                        when(window.ends_at, api.now),
                        ", ".join(window.queues) or "all",
                        window.planned_by,
                        window.reason,
                    ]
                    for window in windows
                ],
            )

    run(work())


@maintenance_group.command("end")
@click.argument("window", type=int)
@json_option
def end(window: int, *, as_json: bool) -> None:
    """End an active maintenance window, or cancel a planned one.

    \b
    Example:
      targcc maintenance end 3
    """

    async def work() -> None:
        async with connect() as api:
            ended: MaintenanceOut = await api.delete(path("maintenance", window))
        if as_json:
            print_json(ended)
        else:
            done = "is over" if ended.active else "will not be"
            click.echo(as_shown(f"window {window} {done}: runs of {_which(ended)} start"))

    run(work())


def _state(window: MaintenanceOut, now: datetime) -> str:
    if window.active:
        return "on"
    return "planned" if window.starts_at > now else "over"


def _which(window: MaintenanceOut) -> str:
    if not window.queues:
        return "all queues"
    return f"queue{'s' if len(window.queues) > 1 else ''} {', '.join(window.queues)}"
