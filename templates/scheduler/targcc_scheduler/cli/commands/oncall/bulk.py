"""``targcc bulk``: the same for many runs, chosen by a filter."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from ....core import humanize
from ....core.states import RunState
from ....oncall import bulk
from ....queries.needs.bulk import ACTIONS
from ....scheduler import Scheduler
from ....search.terms import joined
from ....web.api.schemas.base import DoneOut
from ....web.api.schemas.oncall import BulkIn, BulkOut, CountOut, RunFilterIn
from ...api.completing import job_names, queue_names
from ...api.reach import path, reached
from ...common import duration, run
from ...group import Commands
from ...output import (
    done,
    json_option,
    limit_option,
    print_json,
    print_pairs,
    print_table,
    progress_line,
    shows,
    when,
)

if TYPE_CHECKING:
    from ...api.client import Api

_LOOK_SECONDS = 0.5


@click.group("bulk", cls=Commands)
def bulk_group() -> None:
    """Do something to many runs at once: retry, cancel, delete, run now, pause, move."""


@bulk_group.command("do")
@click.argument("action", type=click.Choice(ACTIONS))
@click.argument("search", nargs=-1)
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice([*RunState], case_sensitive=False),
    help="Only in this state; may be repeated.",
)
@click.option("--job", shell_complete=job_names, help="Only of this job.")
@click.option("--in-queue", shell_complete=queue_names, help="Only in this queue.")
@click.option("--cause", help="Only runs that failed of this cause: see targcc inbox list.")
@click.option("--open", "only_open", is_flag=True, help="Only what is open in the inbox.")
@click.option("--text", default="", help="Only with this in job, message or who started it.")
@click.option(
    "--since", type=duration, metavar="DURATION", help="Only created so long ago, or later."
)
@click.option("--run", "run_ids", type=int, multiple=True, help="Only this run; may be repeated.")
@click.option("--queue", shell_complete=queue_names, help="With queue: the new one.")
@click.option("--priority", type=int, help="With priority: the new one.")
@click.option("--rate", type=float, help="With retry and run-now: at most so many a minute.")
@click.option("--newest-first", is_flag=True, help="By default the oldest goes first.")
@click.option("--note", help="Why, with pause and discard.")
@click.option("--dry-run", is_flag=True, help="Count the runs and change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def do(action: str, *, dry_run: bool, yes: bool, as_json: bool, **options: Any) -> None:
    """Count the runs that fit, ask, and do it to all of them. SEARCH says which; the options say the same as its terms.

    The servers do it and, without --server, so does this process; ctrl-C leaves the rest to the servers.

    \b
    Example:
      targcc bulk do retry 'job:Import* state:failed since:12h "timeout"' --rate 100
      targcc bulk do retry --job Import --state failed --since 12h --rate 100
      targcc bulk do cancel --in-queue slow --state enqueued --dry-run
    """

    async def work() -> None:
        async with reached() as api:
            wish = _wish(api.now, action, **options)
            found = await api.post(path("bulk", "count"), CountOut, wish)
            if dry_run:
                _say_found(found, as_json=as_json)
                return
            if not yes:
                _say_found(found, as_json=False, err=as_json)
                click.confirm(
                    f"{action} {humanize.count(found.total, 'run')}?", abort=True, err=True
                )
            await begin(api, wish.model_copy(update={"at_most": found.total}), as_json=as_json)

    run(work())


def _wish(
    now: datetime,
    action: Any,
    *,
    search: tuple[str, ...],
    states: tuple[RunState, ...],
    job: str | None,
    in_queue: str | None,
    cause: str | None,
    only_open: bool,
    text: str,
    since: timedelta | None,
    run_ids: tuple[int, ...],
    **rest: Any,
) -> BulkIn:
    wanted = RunFilterIn(
        q=joined(*search),
        states=list(states),
        job=job,
        queue=in_queue,
        cause=cause,
        open=only_open,
        text=text,
        since=now - since if since is not None else None,
        runs=list(run_ids),
    )
    return BulkIn(action=action, filter=wanted, **rest)


def _say_found(found: CountOut, *, as_json: bool, err: bool = False) -> None:
    if as_json:
        print_json(found)
        return
    click.echo(f"{humanize.count(found.total, 'run')}", err=err)
    for what in (found.states, found.jobs):
        ranked = sorted(what.items(), key=lambda item: -item[1])
        shown = [f"{name} {number:,}" for name, number in ranked[:10]]
        click.echo(f"  {', '.join(shown)}", err=err)


async def begin(api: Api, wish: BulkIn, *, as_json: bool) -> None:
    """Begin an operation, say how far it is, then what came of it."""
    await _follow(api, await api.post(path("bulk"), BulkOut, wish), as_json=as_json)


async def _follow(api: Api, one: BulkOut, *, as_json: bool) -> None:
    """Wait for an operation. The servers do it; without ``--server`` this process does it, too."""
    if api.scheduler is not None:
        await _work_off(api.scheduler, one.id)
    with progress_line() as say:
        while True:
            one = await api.get(path("bulk", one.id), BulkOut)
            if one.state != "running":
                break
            say(f"{one.done + one.refused:,} of {one.total:,}")
            await asyncio.sleep(_LOOK_SECONDS)
    if as_json:
        print_json(one)
        return
    left = f", {one.refused:,} left as they were" if one.refused else ""
    click.echo(f"operation {one.id} is {one.state}: {humanize.count(one.done, 'run')}{left}")
    if one.can_be_undone:
        click.echo(f"  targcc bulk undo {one.id} takes it back")


async def _work_off(scheduler: Scheduler, bulk_id: int) -> None:
    with progress_line() as say:
        await bulk.work_off(
            scheduler, bulk_id, lambda now: say(f"{now.done + now.refused:,} of {now.total:,}")
        )


@bulk_group.command("list")
@limit_option
@shows
def list_bulks(*, limit: int, as_json: bool) -> None:
    """Show operations, newest first.

    \b
    Example:
      targcc bulk list
    """

    async def work() -> None:
        async with reached() as api:
            found = await api.pages(path("bulk"), list[BulkOut], limit, rows=list)
        if as_json:
            print_json(found)
        else:
            _print(found, api.now)

    run(work())


def _print(found: list[BulkOut], now: datetime) -> None:
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
@shows
def show(bulk_id: int, *, as_json: bool) -> None:
    """Show one operation and how far it is.

    \b
    Example:
      targcc bulk show 3
    """

    async def work() -> None:
        async with reached() as api:
            one, now = await api.get(path("bulk", bulk_id), BulkOut), api.now
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
@json_option
def stop(bulk_id: int, *, as_json: bool) -> None:
    """Stop an operation; what it has done stays.

    \b
    Example:
      targcc bulk stop 3
    """

    async def work() -> None:
        async with reached() as api:
            said = await api.post(path("bulk", bulk_id, "stop"), DoneOut)
        done(said.message, as_json=as_json, id=bulk_id)

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
        async with reached() as api:
            back = await api.post(path("bulk", bulk_id, "undo"), BulkOut)
            await _follow(api, back, as_json=as_json)

    run(work())
