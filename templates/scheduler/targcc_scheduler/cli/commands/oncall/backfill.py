"""``targcc backfill``: the runs of slots of a past range."""

from __future__ import annotations

from datetime import datetime

import click

from ....core import humanize
from ....oncall.backfill import BACKFILL
from ....web.api.schemas.oncall import BackfillIn, BackfillOut
from ...api.completing import job_names
from ...api.reach import path, reached
from ...common import instant, run
from ...output import json_option, print_json


@click.command()
@click.argument("name", shell_complete=job_names)
@click.option("--since", type=instant, required=True, metavar="TIME", help="From this slot on.")
@click.option("--until", type=instant, required=True, metavar="TIME", help="Up to this time.")
@click.option("--rate", type=float, help="At most so many runs a minute.")
@click.option("--priority", type=int, help="Instead of the job's own, such as -1.")
@click.option("--no-followers", is_flag=True, help="Without the runs of the jobs that follow it.")
@click.option("--dry-run", is_flag=True, help="Show the slots and change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def backfill(
    name: str,
    *,
    since: datetime,
    until: datetime,
    rate: float | None,
    priority: int | None,
    no_followers: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Run slots of the past that have no run, the oldest first.

    Each run sees its slot as ctx.scheduled_for. A slot that has a run, also one that was missed or skipped, keeps it.
    Of a job whose slots have one unique key, one run is made at a time: begin again when it is over.

    \b
    Example:
      targcc backfill DailyReport --since 2026-11-01 --until 2026-11-08 --rate 10
    """

    async def work() -> None:
        asked = BackfillIn(
            since=since, until=until, rate=rate, priority=priority, followers=not no_followers
        )
        address = path("jobs", name, "backfill")
        async with reached() as api:
            if dry_run or not yes:
                look = asked.model_copy(update={"dry_run": True})
                found = await api.post(address, BackfillOut, look)
                _say(found, as_json=as_json and dry_run, err=not dry_run)
                if dry_run:
                    return
                click.confirm(f"run {len(found.missing)} slots?", abort=True, err=True)
            made = await api.post(address, BackfillOut, asked)
        if as_json:
            print_json({"job": made.job, "created": made.created})
            return
        waits = "waits" if made.created == 1 else "wait"
        click.echo(f"{humanize.count(made.created, 'run')} of {made.job} {waits}")
        click.echo(f"  to cancel them: targcc bulk do cancel --job {made.job} --text {BACKFILL}")

    run(work())


def _say(found: BackfillOut, *, as_json: bool, err: bool) -> None:
    if as_json:
        print_json(found)
        return
    kept = ", ".join(f"{number:,} {state}" for state, number in found.there.items()) or "none"
    click.echo(f"{humanize.count(found.slots, 'slot')}, of which there are: {kept}", err=err)
    for slot in found.missing[:20]:
        click.echo(f"  {slot.isoformat(sep=' ', timespec='minutes')}", err=err)
    if len(found.missing) > 20:  # noqa: PLR2004 - as many as are shown
        click.echo(f"  … and {len(found.missing) - 20:,} more", err=err)
