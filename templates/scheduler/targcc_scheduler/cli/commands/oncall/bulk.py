"""``targcc bulk``: the same for many runs, chosen by a filter."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import click

from ....core import humanize
from ....core.states import RunState
from ....oncall import bulk
from ....oncall.bulk import Wish
from ....oncall.finding import looked_for
from ....queries.needs import bulk as bulks
from ....queries.needs.bulk import Bulk, Found
from ....scheduler import Scheduler
from ....search.terms import joined, write
from ...common import duration, opened, operator, run
from ...group import Commands
from ...output import (
    json_option,
    limit_option,
    print_json,
    print_pairs,
    print_table,
    progress_line,
    when,
)


@click.group("bulk", cls=Commands)
def bulk_group() -> None:
    """Do something to many runs at once: retry, cancel, delete, run now, pause, move."""


@bulk_group.command("do")
@click.argument("action", type=click.Choice(bulks.ACTIONS))
@click.argument("search", nargs=-1)
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice([*RunState], case_sensitive=False),
    help="Only in this state; may be repeated.",
)
@click.option("--job", help="Only of this job.")
@click.option("--in-queue", help="Only in this queue.")
@click.option("--cause", help="Only runs that failed of this cause: see targcc inbox list.")
@click.option("--open", "only_open", is_flag=True, help="Only what is open in the inbox.")
@click.option("--text", default="", help="Only with this in job, message or who started it.")
@click.option(
    "--since", type=duration, metavar="DURATION", help="Only created so long ago, or later."
)
@click.option("--run", "run_ids", type=int, multiple=True, help="Only this run; may be repeated.")
@click.option("--queue", help="With queue: the new one.")
@click.option("--priority", type=int, help="With priority: the new one.")
@click.option("--rate", type=float, help="With retry and run-now: at most so many a minute.")
@click.option("--newest-first", is_flag=True, help="By default the oldest goes first.")
@click.option("--note", help="Why, with pause and discard.")
@click.option("--dry-run", is_flag=True, help="Count the runs and change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def do(action: str, *, dry_run: bool, yes: bool, as_json: bool, **options: Any) -> None:
    """Count the runs that fit, ask, and do it to all of them. SEARCH says which; the options say the same as its terms.

    The servers do it and so does this process; ctrl-C leaves the rest to the servers.

    \b
    Example:
      targcc bulk do retry 'job:Import* state:failed since:12h "timeout"' --rate 100
      targcc bulk do retry --job Import --state failed --since 12h --rate 100
      targcc bulk do cancel --in-queue slow --state enqueued --dry-run
    """

    async def work() -> None:
        async with opened() as scheduler:
            wish = _wish(scheduler, action, **options)
            found = await bulk.count(scheduler, wish)
            if dry_run:
                _say_found(found, as_json=as_json)
                return
            if not yes:
                _say_found(found, as_json=False, err=as_json)
                click.confirm(
                    f"{action} {humanize.count(found.total, 'run')}?", abort=True, err=True
                )
            bulk_id = await scheduler.operate(bulk.begin, None, wish, operator(), found.total)
            await follow(scheduler, bulk_id, as_json=as_json)

    run(work())


def _wish(
    scheduler: Scheduler,
    action: str,
    *,
    search: tuple[str, ...],
    states: tuple[str, ...],
    job: str | None,
    in_queue: str | None,
    cause: str | None,
    only_open: bool,
    text: str,
    since: timedelta | None,
    run_ids: tuple[int, ...],
    **rest: Any,
) -> Wish:
    asked = joined(
        *search,
        write("state", *states),
        write("job", job),
        write("queue", in_queue),
        write("cause", cause),
        "is:open" if only_open else "",
        write("", text),
        write("since", since and scheduler.clock.now() - since),
        write("run", *run_ids),
    )
    return Wish(action=action, wanted=looked_for(scheduler, asked), **rest)


def _say_found(found: Found, *, as_json: bool, err: bool = False) -> None:
    if as_json:
        print_json(found)
        return
    click.echo(f"{humanize.count(found.total, 'run')}", err=err)
    for what in (found.states, found.jobs):
        ranked = sorted(what.items(), key=lambda item: -item[1])
        shown = [f"{name} {number:,}" for name, number in ranked[:10]]
        click.echo(f"  {', '.join(shown)}", err=err)


async def follow(scheduler: Scheduler, bulk_id: int, *, as_json: bool) -> None:
    """Do an operation beside the servers and say how far it is, then what came of it."""
    with progress_line() as say:
        one = await bulk.work_off(
            scheduler, bulk_id, lambda now: say(f"{now.done + now.refused:,} of {now.total:,}")
        )
    if as_json:
        print_json(one)
        return
    left = f", {one.refused:,} left as they were" if one.refused else ""
    click.echo(f"operation {one.id} is {one.state}: {humanize.count(one.done, 'run')}{left}")
    if one.can_be_undone:
        click.echo(f"  targcc bulk undo {one.id} takes it back")


@bulk_group.command("list")
@limit_option
@json_option
def list_bulks(*, limit: int, as_json: bool) -> None:
    """Show operations, newest first.

    \b
    Example:
      targcc bulk list
    """

    async def work() -> None:
        async with opened() as scheduler:
            found = await scheduler.read(lambda db: bulks.latest(db, limit))
            if as_json:
                print_json(found)
            else:
                _print(found, scheduler.clock.now())

    run(work())


def _print(found: tuple[Bulk, ...], now: datetime) -> None:
    if not found:
        click.echo("There was none.")
        return
    print_table(
        ["ID", "ACTION", "STATE", "DONE", "LEFT", "BY", "BEGUN", "RUNS"],
        [
            [
                str(one.id),
                f"undo {one.action}" if one.undoes else one.action,
                one.state,
                f"{one.done:,} of {one.total:,}",
                f"{one.refused:,}",
                one.by,
                when(one.started_at, now),
                one.filter,
            ]
            for one in found
        ],
    )


@bulk_group.command("show")
@click.argument("bulk_id", type=int)
@json_option
def show(bulk_id: int, *, as_json: bool) -> None:
    """Show one operation and how far it is.

    \b
    Example:
      targcc bulk show 3
    """

    async def work() -> None:
        async with opened() as scheduler:
            one = await scheduler.read(lambda db: bulks.get(db, bulk_id))
            now = scheduler.clock.now()
        if as_json:
            print_json(one)
            return
        print_pairs(
            [
                ("operation", f"{one.id}, {one.action}"),
                ("runs", one.filter),
                ("state", one.state),
                ("done", f"{one.done:,} of {one.total:,}"),
                ("left as they were", f"{one.refused:,}" if one.refused else ""),
                ("by", one.by),
                ("begun", when(one.started_at, now)),
                ("over", when(one.ended_at, now)),
                ("taken back by", str(one.undone_by or "")),
            ]
        )

    run(work())


@bulk_group.command("stop")
@click.argument("bulk_id", type=int)
def stop(bulk_id: int) -> None:
    """Stop an operation; what it has done stays.

    \b
    Example:
      targcc bulk stop 3
    """

    async def work() -> None:
        async with opened() as scheduler:
            await scheduler.operate(bulk.stop, None, bulk_id, operator())
        click.echo(f"operation {bulk_id} is stopped")

    run(work())


@bulk_group.command("undo")
@click.argument("bulk_id", type=int)
@json_option
def undo(bulk_id: int, *, as_json: bool) -> None:
    """Take an operation back, as far as that goes: runs that have begun go on.

    \b
    Example:
      targcc bulk undo 3
    """

    async def work() -> None:
        async with opened() as scheduler:
            back = await scheduler.operate(bulk.undo, None, bulk_id, operator())
            await follow(scheduler, back, as_json=as_json)

    run(work())
