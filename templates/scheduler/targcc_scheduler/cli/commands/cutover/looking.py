"""Looking at a cut-over: the shadow report, the plan, the status."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import click

from ....core import humanize
from ....cutover import owning, plan, shadow_report, standing
from ....cutover.old.clock import OldClock
from ....cutover.old.server import OldServer
from ....scheduler import Scheduler
from ....schedules import format_duration
from ...common import duration, opened, run
from ...group import CliError, Commands
from ...output import as_shown, print_json, print_table, shows, when

_FILE = click.Path(path_type=Path)


@click.group("shadow", cls=Commands)
def shadow_group() -> None:
    """Compare what would have run here with what the old server did."""


@click.group("cutover", cls=Commands)
def cutover_group() -> None:
    """Lead jobs from the old server to this one, and back."""


@contextlib.asynccontextmanager
async def both_sides() -> AsyncIterator[tuple[Scheduler, OldServer | None]]:
    """This side, and the other one where its database is named."""
    async with opened() as scheduler:
        settings = scheduler.settings
        url = settings.cutover_url or settings.legacy_url
        old = OldServer(url, settings.legacy_table, OldClock.of(settings)) if url else None
        try:
            yield scheduler, old
        finally:
            if old is not None:
                old.close()


@shadow_group.command("report")
@click.option(
    "--days",
    type=click.IntRange(1, 366),
    default=7,
    show_default=True,
    help="How many clean days in a row it takes; exit status 1 until then.",
)
@click.option(
    "--tolerance",
    type=duration,
    default="90s",
    show_default=True,
    help="How much later than its slot the old server may begin a run.",
)
@shows
def report(*, days: int, tolerance: timedelta, as_json: bool) -> None:
    """Compare the slots of jobs in shadow with the old server's log, day by day.

    \b
    Example:
      targcc shadow report --days 7
    """

    async def work() -> bool:
        async with both_sides() as (scheduler, old):
            if old is None:
                raise CliError("TARGCC_CUTOVER_URL says where the old server's database is")
            found = await shadow_report.shadow_report(scheduler, old, tolerance=tolerance)
            now = scheduler.clock.now()
        clean = found.clean_days >= days
        if as_json:
            print_json({"clean": clean, "clean_days": found.clean_days, "report": found})
            return clean
        if not (found.jobs or found.uncompared):
            raise CliError("no job is in shadow: targcc owner set --all shadow")
        print_table(
            ["DAY", "SAME", "ONLY HERE", "ONLY THERE", ""],
            [_day(day) for day in found.days],
        )
        for day in found.days:
            for one in day.differences[:20]:
                what = "a slot here, not begun there" if one.here else "begun there, no slot here"
                click.echo(as_shown(f"{one.job}: {what}: {when(one.at, now)}"))
        if found.uncompared:
            click.echo(
                "Not compared, as they have no schedule, or the old log does not say when their runs ended: "
                + ", ".join(found.uncompared)
            )
        late = format_duration(timedelta(seconds=round(found.latest.total_seconds())))
        click.echo(
            f"{humanize.count(len(found.jobs), 'job')}, {humanize.count(found.clean_days, 'clean day')} of {days};"
            f" the old server began up to {late if found.latest else '0s'} after a slot."
        )
        return clean

    if not run(work()):
        raise click.exceptions.Exit(1)


def _day(day: shadow_report.Day) -> list[str]:
    here = sum(one.here for one in day.differences)
    word = "clean" if day.clean else "" if day.over else "not over"
    return [day.date.isoformat(), str(day.same), str(here), str(len(day.differences) - here), word]


@cutover_group.command("plan")
@click.argument("file", type=_FILE, default=owning.FILE)
@shows
def show_plan(file: Path, *, as_json: bool) -> None:
    """Check both sides, and show the order: one runner of the old server after the other.

    Changes nothing. Exit status 1 while something stands in the way. FILE is what import-legacy --paused wrote.

    \b
    Example:
      targcc cutover plan
    """
    imported = owning.read_file(file) if file.exists() else []

    async def work() -> bool:
        async with both_sides() as (scheduler, old):
            found = await plan.make_plan(scheduler, old, imported)
            now = scheduler.clock.now()
        if as_json:
            print_json({"ready": found.ready, "checks": found.checks, "runners": found.runners})
            return found.ready
        for check in found.checks:
            click.echo(as_shown(f"{check.verdict:<5} {check.said}", lines=True))
        for number, (runner, jobs) in enumerate(found.runners.items(), start=1):
            click.echo(
                f"\n{number}. {runner or 'the old server'}: targcc cutover start{_of(runner)}"
            )
            print_table(
                ["JOB", "OWNER", "OLD ROW", "NEXT THERE", "NEXT HERE"],
                [
                    [
                        one.owned.job,
                        one.owned.owner,
                        one.owned.old_key or "",
                        when(one.old_next, now),
                        when(one.new_next, now),
                    ]
                    for one in jobs
                ],
            )
        return found.ready

    if not run(work()):
        raise click.exceptions.Exit(1)


def _of(runner: str) -> str:
    return (
        f' --runner "{runner}"' if " " in runner else f" --runner {runner}" if runner else " --all"
    )


@cutover_group.command("status")
@shows
def show_status(*, as_json: bool) -> None:
    """Show where each job runs, what is unfinished or wrong, and the first day of those that came here.

    Exit status 1 when a job needs somebody.

    \b
    Example:
      targcc cutover status
    """

    async def work() -> bool:
        async with both_sides() as (scheduler, old):
            there = await asyncio.to_thread(old.rows) if old is not None else None
            jobs = await scheduler.read(lambda db: standing.standings(db, there))
            now = scheduler.clock.now()
            watched = await scheduler.read(lambda db: standing.watch_list(db, now))
        alarms = [*(one.alarm for one in jobs), *(one.alarm for one in watched)]
        good = not any(alarms)
        if as_json:
            print_json({"good": good, "jobs": jobs, "watch": watched})
            return good
        print_table(
            ["JOB", "OWNER", "RUNS ON", "NEXT THERE", "ALARM"],
            [
                [one.owned.job, one.owned.owner, one.side, when(one.old_next, now), one.alarm]
                for one in jobs
            ],
        )
        if watched:
            click.echo("\nFirst day here:")
            print_table(
                ["JOB", "SINCE", "FIRST SLOT", "RUNS", "LAST", "ALARM"],
                [
                    [
                        one.owned.job,
                        when(one.owned.since, now),
                        when(one.owned.next_slot, now),
                        str(len(one.runs)),
                        humanize.STATE_WORDS[one.runs[0].state] if one.runs else "",
                        one.alarm,
                    ]
                    for one in watched
                ],
            )
        return good

    if not run(work()):
        raise click.exceptions.Exit(1)
