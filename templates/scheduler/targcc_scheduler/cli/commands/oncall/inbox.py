"""``targcc inbox``: what needs a person, and doing something about it."""

from __future__ import annotations

from datetime import datetime

import click

from ....core import humanize
from ....search.terms import joined
from ....web.api.schemas.base import DoneOut
from ....web.api.schemas.oncall import (
    BulkIn,
    ConcernOut,
    FailedRunOut,
    FailureActIn,
    FailureOut,
    InboxOut,
    RunFilterIn,
)
from ...api.reach import path, reached
from ...common import Function, instant, run
from ...group import Commands
from ...output import (
    as_shown,
    done,
    json_option,
    print_json,
    print_pairs,
    print_table,
    shows,
    when,
)
from .bulk import begin


@click.group("inbox", cls=Commands)
def inbox_group() -> None:
    """See what needs a person, and do something about it."""


@inbox_group.command("list")
@click.argument("search", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="What is muted or done, too.")
@click.option("--check", is_flag=True, help="Exit status 1 when anything needs a person.")
@shows
def list_inbox(*, search: tuple[str, ...], everything: bool, check: bool, as_json: bool) -> None:
    """Show failures by their cause, and whatever else is wrong; with SEARCH only failures of which a run fits.

    \b
    Example:
      targcc inbox list
      targcc inbox list 'job:Import* since:yesterday "timeout"'
    """

    async def work() -> bool:
        async with reached() as api:
            found = await api.get(
                path("inbox"), InboxOut, all=everything or None, q=joined(*search)
            )
        if as_json:
            print_json(found)
        else:
            _print(found.failures, found.concerns, api.now)
        return bool(found.concerns)

    if run(work()) and check:
        raise click.exceptions.Exit(1)


def _print(found: list[FailureOut], wrong: list[ConcernOut], now: datetime) -> None:
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
            click.echo(as_shown(f"{concern.title}: {concern.detail}"))
    if not found and not wrong:
        click.echo("Nothing needs you.")


@inbox_group.command("show")
@click.argument("cause")
@shows
def show_failure(cause: str, *, as_json: bool) -> None:
    """Show one failure with its newest open runs.

    \b
    Example:
      targcc inbox show 3f2504e04f8911d3
    """

    async def work() -> None:
        async with reached() as api:
            one = await api.get(path("inbox", cause), FailureOut)
            runs = await api.get(path("inbox", cause, "runs"), list[FailedRunOut], limit=20)
        now = api.now
        if as_json:
            print_json({"failure": one, "runs": [found.id for found in runs]})
            return
        print_pairs(_facts(one, now))
        for found in runs:
            later = "  a later run with the same arguments succeeded" if found.done_since else ""
            said = humanize.last_line(found.message)
            click.echo(as_shown(f"  run {found.id}  {when(found.happened_at, now)}  {said}{later}"))

    run(work())


def _facts(one: FailureOut, now: datetime) -> list[tuple[str, str]]:
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


def _act(cause: str, act: FailureActIn, *, as_json: bool) -> None:
    async def work() -> None:
        async with reached() as api:
            said = await api.post(path("inbox", cause), DoneOut, act)
        message = said.message
        if act.until is not None:
            message = f"acknowledged until {when(act.until, api.now)}"
        done(message, as_json=as_json, cause=cause)

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
    wanted = RunFilterIn(cause=cause, open=True, runs=list(run_ids))
    wish = BulkIn(action="retry", filter=wanted, rate=rate, newest_first=newest_first)

    async def work() -> None:
        async with reached() as api:
            await begin(api, wish, as_json=as_json)

    run(work())


@inbox_group.command("acknowledge")
@click.argument("cause")
@_runs_option
@click.option("--note", help="What the next person should know.")
@click.option("--until", type=instant, metavar="TIME", help="Open it again then, such as 2d.")
@json_option
def acknowledge(
    cause: str,
    *,
    run_ids: tuple[int, ...],
    note: str | None,
    until: datetime | None,
    as_json: bool,
) -> None:
    """Say that somebody has seen a failure: its runs of now are done, or all of it waits until a time.

    \b
    Example:
      targcc inbox acknowledge 3f2504e04f8911d3 --note "the bank knows" --until 2d
    """
    act = FailureActIn(action="acknowledge", runs=list(run_ids), note=note, until=until)
    _act(cause, act, as_json=as_json)


@inbox_group.command("discard")
@click.argument("cause")
@_runs_option
@json_option
def discard(cause: str, *, run_ids: tuple[int, ...], as_json: bool) -> None:
    """Say that the open runs of a failure need nothing.

    \b
    Example:
      targcc inbox discard 3f2504e04f8911d3
    """
    _act(cause, FailureActIn(action="discard", runs=list(run_ids)), as_json=as_json)


@inbox_group.command("mute")
@click.argument("cause")
@click.option("--note", help="Why.")
@json_option
def mute(cause: str, *, note: str | None, as_json: bool) -> None:
    """Let runs that fail so need nobody, those to come too.

    \b
    Example:
      targcc inbox mute 3f2504e04f8911d3 --note "a test customer"
    """
    _act(cause, FailureActIn(action="mute", note=note), as_json=as_json)


@inbox_group.command("reopen")
@click.argument("cause")
@json_option
def reopen(cause: str, *, as_json: bool) -> None:
    """End a mute, or an acknowledgement until a time.

    \b
    Example:
      targcc inbox reopen 3f2504e04f8911d3
    """
    _act(cause, FailureActIn(action="reopen"), as_json=as_json)


@inbox_group.command("assign")
@click.argument("cause")
@click.argument("name", required=False)
@json_option
def assign(cause: str, name: str | None, *, as_json: bool) -> None:
    """Say who looks after a failure; without a name, nobody does.

    \b
    Example:
      targcc inbox assign 3f2504e04f8911d3 dana
    """
    _act(cause, FailureActIn(action="assign", assignee=name), as_json=as_json)


@inbox_group.command("link")
@click.argument("cause")
@click.argument("ticket", required=False)
@json_option
def link(cause: str, ticket: str | None, *, as_json: bool) -> None:
    """Link a failure to a ticket, by its address or its name.

    \b
    Example:
      targcc inbox link 3f2504e04f8911d3 https://tickets.example.com/7
    """
    _act(cause, FailureActIn(action="link", ticket=ticket), as_json=as_json)


@inbox_group.command("seen")
@click.argument("kind", type=click.Choice(["node", "alert"]))
@click.argument("subject")
@json_option
def seen(kind: str, subject: str, *, as_json: bool) -> None:
    """Take a lost server, or an alert that did not go out, off the list.

    \b
    Example:
      targcc inbox seen node web-2
    """

    async def work() -> None:
        async with reached() as api:
            said = await api.post(path("seen"), DoneOut, {"kind": kind, "subject": subject})
        done(said.message, as_json=as_json)

    run(work())
