"""``targcc inbox``: what needs a person, and doing something about it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import click
from sqlalchemy.ext.asyncio import AsyncConnection

from ....core import humanize
from ....oncall import bulk, inbox
from ....oncall.bulk import Wish
from ....oncall.finding import looked_for
from ....queries.finding.filters import RunFilter
from ....queries.needs import failures
from ....queries.needs.concerns import Concern, concerns
from ....queries.needs.failures import Failure
from ....scheduler import Scheduler
from ....search.terms import joined, only
from ...common import Function, instant, opened, operator, run
from ...group import Commands
from ...output import json_option, print_json, print_pairs, print_table, when
from .bulk import follow


@click.group("inbox", cls=Commands)
def inbox_group() -> None:
    """See what needs a person, and do something about it."""


@inbox_group.command("list")
@click.argument("search", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="What is muted or done, too.")
@click.option("--check", is_flag=True, help="Exit status 1 when anything needs a person.")
@json_option
def list_inbox(*, search: tuple[str, ...], everything: bool, check: bool, as_json: bool) -> None:
    """Show failures by their cause, and whatever else is wrong; with SEARCH only failures of which a run fits.

    \b
    Example:
      targcc inbox list
      targcc inbox list 'job:Import* since:yesterday "timeout"'
    """

    async def work() -> bool:
        async with opened() as scheduler:
            wanted = looked_for(scheduler, joined(*search))
            found, wrong = await _read(scheduler, wanted, everything=everything)
            if as_json:
                print_json({"failures": found, "concerns": wrong})
            else:
                _print(found, wrong, scheduler.clock.now())
        return bool(wrong)

    if run(work()) and check:
        raise click.exceptions.Exit(1)


async def _read(
    scheduler: Scheduler, wanted: RunFilter, *, everything: bool
) -> tuple[tuple[Failure, ...], list[Concern]]:
    now, definitions = scheduler.clock.now(), list(scheduler.definitions.values())
    lost_after = scheduler.settings.lost_after_seconds

    async def query(db: AsyncConnection) -> tuple[tuple[Failure, ...], list[Concern]]:
        found = await failures.inbox(db, now, everything=everything, wanted=wanted)
        return found, list(await concerns(db, definitions, now, lost_after=lost_after))

    return await scheduler.read(query)


def _print(found: tuple[Failure, ...], wrong: list[Concern], now: datetime) -> None:
    if found:
        print_table(
            ["FAILURE", "STATE", "OPEN", "JOB", "FIRST", "LAST", "WITH", "WHAT"],
            [
                [
                    one.cause,
                    one.standing,
                    f"{one.open:,}",
                    one.job,
                    when(one.first_at, now),
                    when(one.last_at, now),
                    one.assignee or "",
                    one.title,
                ]
                for one in found
            ],
        )
    for concern in wrong:
        if concern.kind != "failure":
            click.echo(f"{concern.title}: {concern.detail}")
    if not found and not wrong:
        click.echo("Nothing needs you.")


@inbox_group.command("show")
@click.argument("cause")
@json_option
def show_failure(cause: str, *, as_json: bool) -> None:
    """Show one failure with its newest open runs.

    \b
    Example:
      targcc inbox show 3f2504e04f8911d3
    """

    async def work() -> None:
        async with opened() as scheduler:
            now = scheduler.clock.now()

            async def query(db: AsyncConnection) -> tuple[Failure, Any, frozenset[int]]:
                one = await failures.get(db, cause, now)
                runs = await failures.runs_of(db, cause, limit=20)
                return one, runs, await failures.done_since(db, runs)

            one, runs, again = await scheduler.read(query)
        if as_json:
            print_json({"failure": one, "runs": [found.id for found in runs]})
            return
        print_pairs(_facts(one, now))
        for found in runs:
            later = "  a later run with the same arguments succeeded" if found.id in again else ""
            click.echo(
                f"  run {found.id}  {when(found.happened_at, now)}  {humanize.last_line(found.message)}{later}"
            )

    run(work())


def _facts(one: Failure, now: datetime) -> list[tuple[str, str]]:
    return [
        ("job", one.job),
        ("what", one.title),
        ("where", one.place),
        ("state", one.standing),
        ("open", f"{one.open:,} of {one.total:,}"),
        ("being done again", str(one.in_hand or "")),
        ("first", when(one.first_at, now)),
        ("release", one.first_release or ""),
        ("last", when(one.last_at, now)),
        ("last 7 days", " ".join(map(str, one.trend))),
        ("job works since", when(one.works_since, now)),
        ("until", when(one.snoozed_until, now)),
        ("note", one.note or ""),
        ("with", one.assignee or ""),
        ("ticket", one.ticket or ""),
    ]


def _runs_option(command: Function) -> Function:
    option = click.option(
        "--run", "run_ids", type=int, multiple=True, help="Only this run; may be repeated."
    )
    return option(command)


def _do(act: Callable[[Scheduler], Awaitable[str]]) -> None:
    async def work() -> None:
        async with opened() as scheduler:
            click.echo(await act(scheduler))

    run(work())


@inbox_group.command("retry")
@click.argument("cause")
@_runs_option
@click.option("--rate", type=float, help="At most so many runs a minute.")
@click.option("--newest-first", is_flag=True, help="By default the oldest goes first.")
@json_option
def retry(
    cause: str, *, run_ids: tuple[int, ...], rate: float | None, newest_first: bool, as_json: bool
) -> None:
    """Do the open runs of a failure again.

    \b
    Example:
      targcc inbox retry 3f2504e04f8911d3 --rate 60
    """
    wanted = RunFilter(search=only(cause=cause, is_="open", run=run_ids))
    wish = Wish(action="retry", wanted=wanted, rate=rate, newest_first=newest_first)

    async def work() -> None:
        async with opened() as scheduler:
            bulk_id = await scheduler.operate(bulk.begin, None, wish, operator())
            await follow(scheduler, bulk_id, as_json=as_json)

    run(work())


@inbox_group.command("acknowledge")
@click.argument("cause")
@_runs_option
@click.option("--note", help="What the next person should know.")
@click.option("--until", type=instant, metavar="TIME", help="Open it again then, such as 2d.")
def acknowledge(
    cause: str, *, run_ids: tuple[int, ...], note: str | None, until: datetime | None
) -> None:
    """Say that somebody has seen a failure: its runs of now are done, or all of it waits until a time.

    \b
    Example:
      targcc inbox acknowledge 3f2504e04f8911d3 --note "the bank knows" --until 2d
    """

    async def act(scheduler: Scheduler) -> str:
        chosen = list(run_ids) or None
        number = await scheduler.operate(
            inbox.acknowledge, None, cause, operator(), note=note, until=until, run_ids=chosen
        )
        if until is not None:
            return f"acknowledged until {when(until, scheduler.clock.now())}"
        return f"{humanize.count(number, 'run')} acknowledged"

    _do(act)


@inbox_group.command("discard")
@click.argument("cause")
@_runs_option
def discard(cause: str, *, run_ids: tuple[int, ...]) -> None:
    """Say that the open runs of a failure need nothing.

    \b
    Example:
      targcc inbox discard 3f2504e04f8911d3
    """

    async def act(scheduler: Scheduler) -> str:
        chosen = list(run_ids) or None
        number = await scheduler.operate(inbox.discard, None, cause, operator(), run_ids=chosen)
        return f"{humanize.count(number, 'run')} discarded"

    _do(act)


@inbox_group.command("mute")
@click.argument("cause")
@click.option("--note", help="Why.")
def mute(cause: str, *, note: str | None) -> None:
    """Let runs that fail so need nobody, those to come too.

    \b
    Example:
      targcc inbox mute 3f2504e04f8911d3 --note "a test customer"
    """

    async def act(scheduler: Scheduler) -> str:
        await scheduler.operate(inbox.mute, None, cause, operator(), note=note)
        return f"{cause} is muted"

    _do(act)


@inbox_group.command("reopen")
@click.argument("cause")
def reopen(cause: str) -> None:
    """End a mute, or an acknowledgement until a time.

    \b
    Example:
      targcc inbox reopen 3f2504e04f8911d3
    """

    async def act(scheduler: Scheduler) -> str:
        await scheduler.operate(inbox.reopen, None, cause, operator())
        return f"{cause} is open"

    _do(act)


@inbox_group.command("assign")
@click.argument("cause")
@click.argument("name", required=False)
def assign(cause: str, name: str | None) -> None:
    """Say who looks after a failure; without a name, nobody does.

    \b
    Example:
      targcc inbox assign 3f2504e04f8911d3 dana
    """

    async def act(scheduler: Scheduler) -> str:
        await scheduler.operate(inbox.assign, None, cause, operator(), name)
        return f"assigned to {name or 'nobody'}"

    _do(act)


@inbox_group.command("link")
@click.argument("cause")
@click.argument("ticket", required=False)
def link(cause: str, ticket: str | None) -> None:
    """Link a failure to a ticket, by its address or its name.

    \b
    Example:
      targcc inbox link 3f2504e04f8911d3 https://tickets.example.com/7
    """

    async def act(scheduler: Scheduler) -> str:
        await scheduler.operate(inbox.link, None, cause, operator(), ticket)
        return f"linked to {ticket}" if ticket else "linked to no ticket"

    _do(act)


@inbox_group.command("seen")
@click.argument("kind", type=click.Choice(["node", "alert"]))
@click.argument("subject")
def seen(kind: str, subject: str) -> None:
    """Take a lost server, or an alert that did not go out, off the list.

    \b
    Example:
      targcc inbox seen node web-2
    """

    async def act(scheduler: Scheduler) -> str:
        gone = await scheduler.operate(inbox.seen, None, subject, kind, operator())
        return "it is off the list" if gone else "it was not on the list"

    _do(act)
