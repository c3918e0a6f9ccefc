"""``targcc maintenance``: times in which no run starts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import click

from ....oncall import maintenance
from ....project import current
from ....queries.system import check_queue
from ....schedules import parse_zone
from ....storage.maintenance import rows
from ....storage.maintenance.rows import KEPT, Window
from ...common import instant, opened, operator, run
from ...group import Commands
from ...output import json_option, print_json, print_table, when


@click.group("maintenance", cls=Commands)
def maintenance_group() -> None:
    """Plan times in which no run starts, look at them, end them."""


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What both commands that make a window ask."""
    until = click.option(
        "--until",
        type=instant,
        metavar="TIME",
        required=True,
        help="When it ends, such as 2026-12-31T08:00 or 2h from now.",
    )
    reason = click.option("--reason", required=True, help="Why; shown wherever somebody asks.")
    queues = click.option(
        "--queue", "queues", multiple=True, help="Only this queue. May be given more than once."
    )
    return until(reason(queues(json_option(command))))


@maintenance_group.command("start")
@_options
def start(*, until: datetime, reason: str, queues: tuple[str, ...], as_json: bool) -> None:
    """Let no run start from now on; what runs goes on.

    \b
    Example:
      targcc maintenance start --until 2h --reason "new disk for the ledger"
    """
    _plan(None, until, reason, queues, as_json=as_json)


@maintenance_group.command("plan")
@click.option(
    "--from", "since", type=instant, metavar="TIME", required=True, help="When it begins."
)
@_options
def plan(
    *, since: datetime, until: datetime, reason: str, queues: tuple[str, ...], as_json: bool
) -> None:
    """Let no run start between two times to come.

    \b
    Example:
      targcc maintenance plan --from 2030-01-05T22:00 --until 2030-01-06T04:00 --queue critical --reason "new switch"
    """
    _plan(since, until, reason, queues, as_json=as_json)


def _plan(
    since: datetime | None, until: datetime, reason: str, queues: tuple[str, ...], *, as_json: bool
) -> None:
    async def work() -> tuple[Window, datetime]:
        async with opened() as scheduler:
            for queue in queues:
                check_queue(queue, scheduler.definitions.values())
            made = await scheduler.operate(
                maintenance.plan,
                None,
                operator(),
                starts_at=since,
                ends_at=until,
                reason=reason,
                queues=queues,
            )
            return made, scheduler.clock.now()

    window, now = run(work())
    if as_json:
        print_json(window)
    elif window.is_active(now):
        click.echo(
            f"window {window.id}: no run of {_which(window)} starts until {when(window.ends_at, now)}"
        )
    else:
        zone = parse_zone(current().timezone)
        since, until = (at.astimezone(zone) for at in (window.starts_at, window.ends_at))
        times = f"from {since:%Y-%m-%d %H:%M} until {until:%Y-%m-%d %H:%M}"
        click.echo(f"window {window.id}: no run of {_which(window)} starts {times}")


@maintenance_group.command("list")
@click.option(
    "--all", "show_all", is_flag=True, help="Also those of the last 90 days that are over."
)
@json_option
def list_windows(*, show_all: bool, as_json: bool) -> None:
    """Show the windows that are on or to come.

    \b
    Example:
      targcc maintenance list --all
    """

    async def work() -> tuple[list[Window], datetime]:
        async with opened() as scheduler:
            now = scheduler.clock.now()
            earliest = now - KEPT if show_all else now
            return await scheduler.read(lambda db: rows.since(db, earliest)), now

    windows, now = run(work())
    if as_json:
        print_json(windows)
    elif not windows:
        click.echo("No maintenance is planned.")
    else:
        print_table(
            ["WINDOW", "STATE", "FROM", "UNTIL", "QUEUES", "BY", "REASON"],
            [
                [
                    str(one.id),
                    _state(one, now),
                    when(one.starts_at, now),
                    when(one.ends_at, now),
                    ", ".join(one.queues) or "all",
                    one.by,
                    one.reason,
                ]
                for one in windows
            ],
        )


@maintenance_group.command("end")
@click.argument("window", type=int)
@json_option
def end(window: int, *, as_json: bool) -> None:
    """End a window now, or take back one that has not begun.

    \b
    Example:
      targcc maintenance end 3
    """

    async def work() -> tuple[Window, datetime]:
        async with opened() as scheduler:
            ended = await scheduler.operate(maintenance.end, None, window, operator())
            return ended, scheduler.clock.now()

    ended, now = run(work())
    if as_json:
        print_json(ended)
    else:
        done = "is over" if ended.is_active(now) else "will not be"
        click.echo(f"window {window} {done}: runs of {_which(ended)} start")


def _state(window: Window, now: datetime) -> str:
    if window.is_active(now):
        return "on"
    return "planned" if window.starts_at > now else "over"


def _which(window: Window) -> str:
    if not window.queues:
        return "all queues"
    return f"queue{'s' if len(window.queues) > 1 else ''} {', '.join(window.queues)}"
