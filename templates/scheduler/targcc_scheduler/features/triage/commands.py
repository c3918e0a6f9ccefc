"""Commands ``targcc inbox``, ``bulk``, ``backfill`` and ``why``."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from ...cli.common import Function, duration, instant, run
from ...cli.completing import job_names, queue_names
from ...cli.connect import connect, path
from ...cli.group import Commands
from ...cli.output import (
    as_shown,
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
from ...core import humanize
from ...core.search_language import joined
from ...core.states import RunState

if TYPE_CHECKING:
    from ...cli.transport import Api
    from ...scheduler import Scheduler
    from ...web.api.schema import DoneOut
    from .schemas import (
        AnswerOut,
        BackfillOut,
        BulkIn,
        BulkOut,
        ConcernOut,
        CountOut,
        FailedRunOut,
        FailureOut,
        InboxOut,
    )


ACTIONS = (*("retry", "cancel", "delete", "run-now", "pause", "queue", "priority", "discard"),)
BACKFILL = "Backfill"


# ``targcc bulk``: an action on all runs that match a filter.

_LOOK_SECONDS = 0.5


@click.group("bulk", cls=Commands)
def bulk_group() -> None:
    """Change many runs at once: retry, cancel, delete, run now, pause, move."""


@bulk_group.command("do")
@click.argument("action", type=click.Choice(ACTIONS))
@click.argument("search", nargs=-1)
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice([*RunState], case_sensitive=False),
    help="Only runs in this state. May be repeated.",
)
@click.option("--job", shell_complete=job_names, help="Only runs of this job.")
@click.option("--in-queue", shell_complete=queue_names, help="Only runs in this queue.")
@click.option("--cause", help="Only runs that failed with this cause; see targcc inbox list.")
@click.option("--open", "only_open", is_flag=True, help="Only runs that are open in the inbox.")
@click.option(
    "--text",
    default="",
    help="Only runs with this text in the job's name, the message or the name of the person or program that started them.",
)
@click.option(
    "--since",
    type=duration,
    metavar="DURATION",
    help="Only runs created within this time, such as 12h.",
)
@click.option("--run", "run_ids", type=int, multiple=True, help="Only this run. May be repeated.")
@click.option("--queue", shell_complete=queue_names, help="New queue, with the action queue.")
@click.option("--priority", type=int, help="New priority, with the action priority.")
@click.option(
    "--rate", type=float, help="Maximum runs per minute, with the actions retry and run-now."
)
@click.option(
    "--newest-first", is_flag=True, help="Start with the newest run. Default: the oldest run."
)
@click.option("--note", help="Reason, with the actions pause and discard.")
@click.option("--dry-run", is_flag=True, help="Count the runs without changing them.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@json_option
def do(action: str, *, dry_run: bool, yes: bool, as_json: bool, **options: Any) -> None:
    """Count the matching runs, ask, and change them all. SEARCH filters the runs; the options are short forms of its terms.

    The servers carry out the operation. Without --server, this process helps; Ctrl-C leaves the rest to the servers.

    \b
    Example:
      targcc bulk do retry 'job:Import* state:failed since:12h "timeout"' --rate 100
      targcc bulk do retry --job Import --state failed --since 12h --rate 100
      targcc bulk do cancel --in-queue slow --state enqueued --dry-run
    """

    async def work() -> None:
        async with connect() as api:
            wish = _wish(api.now, action, **options)
            matches: CountOut = await api.post(path("bulk", "count"), body=wish)
            if dry_run:
                _say_found(matches, as_json=as_json)
                return
            if not yes:
                _say_found(matches, as_json=False, err=as_json)
                click.confirm(
                    f"{action} {humanize.count(matches.total, 'run')}?", abort=True, err=True
                )
            await begin(api, wish.model_copy(update={"at_most": matches.total}), as_json=as_json)

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
    from .schemas import BulkIn, RunFilterIn

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


def _say_found(counts: CountOut, *, as_json: bool, err: bool = False) -> None:
    if as_json:
        print_json(counts)
        return
    click.echo(f"{humanize.count(counts.total, 'run')}", err=err)
    for what in (counts.states, counts.jobs):
        ranked = sorted(what.items(), key=lambda item: -item[1])
        shown = [f"{name} {number:,}" for name, number in ranked[:10]]
        click.echo(f"  {', '.join(shown)}", err=err)


async def begin(api: Api, wish: BulkIn, *, as_json: bool) -> None:
    """Begin an operation, show its progress, then print the result."""
    await _follow(api, await api.post(path("bulk"), body=wish), as_json=as_json)


async def _follow(api: Api, operation: BulkOut, *, as_json: bool) -> None:
    """Wait for an operation. The servers execute the steps; without ``--server`` this process helps."""
    if api.scheduler is not None:
        await _work_off(api.scheduler, operation.id)
    with progress_line() as say:
        while True:
            operation = await api.get(path("bulk", operation.id))
            if operation.state != "running":
                break
            say(f"{operation.done + operation.refused:,} of {operation.total:,}")
            await asyncio.sleep(_LOOK_SECONDS)
    if as_json:
        print_json(operation)
        return
    left = f", {operation.refused:,} left unchanged" if operation.refused else ""
    click.echo(
        f"operation {operation.id} is {operation.state}: {humanize.count(operation.done, 'run')}{left}"
    )
    if operation.can_be_undone:
        click.echo(f"  targcc bulk undo {operation.id} takes it back")


async def _work_off(scheduler: Scheduler, bulk_id: int) -> None:
    from . import bulk_actions

    with progress_line() as say:
        await bulk_actions.work_off(
            scheduler, bulk_id, lambda now: say(f"{now.done + now.refused:,} of {now.total:,}")
        )


@bulk_group.command("list")
@limit_option
@shows
def list_bulks(*, limit: int, as_json: bool) -> None:
    """List operations, newest first.

    \b
    Example:
      targcc bulk list
    """

    async def work() -> None:
        async with connect() as api:
            operations: list[BulkOut] = await api.rows(path("bulk"), limit=limit)
        if as_json:
            print_json(operations)
        else:
            _print_operation(operations, api.now)

    run(work())


def _print_operation(operations: list[BulkOut], now: datetime) -> None:
    if not operations:
        click.echo("There was none.")
        return
    print_table(
        ["ID", "ACTION", "STATE", "DONE", "LEFT", "BY", "BEGUN", "RUNS"],
        [
            [
                str(operation.id),
                f"undo {operation.action}" if operation.undoes else operation.action,
                operation.state,
                f"{operation.done:,} of {operation.total:,}",
                f"{operation.refused:,}",
                operation.by,
                when(operation.started_at, now),
                operation.filter,
            ]
            for operation in operations
        ],
    )


@bulk_group.command("show")
@click.argument("bulk_id", type=int)
@shows
def show(bulk_id: int, *, as_json: bool) -> None:
    """Show one operation with its progress.

    \b
    Example:
      targcc bulk show 3
    """

    async def work() -> None:
        async with connect() as api:
            operation: BulkOut = await api.get(path("bulk", bulk_id))
            now = api.now
        if as_json:
            print_json(operation)
            return
        print_pairs(
            [
                ("operation", f"{operation.id}, {operation.action}"),
                ("runs", operation.filter),
                ("state", operation.state),
                ("done", f"{operation.done:,} of {operation.total:,}"),
                ("left unchanged", f"{operation.refused:,}" if operation.refused else ""),
                ("by", operation.by),
                ("begun", when(operation.started_at, now)),
                ("over", when(operation.ended_at, now)),
                ("taken back by", str(operation.undone_by or "")),
            ]
        )

    run(work())


@bulk_group.command("stop")
@click.argument("bulk_id", type=int)
@json_option
def stop(bulk_id: int, *, as_json: bool) -> None:
    """Stop an operation. Completed changes are kept.

    \b
    Example:
      targcc bulk stop 3
    """

    async def work() -> None:
        async with connect() as api:
            answer: DoneOut = await api.post(path("bulk", bulk_id, "stop"))
        done(answer.message, as_json=as_json, id=bulk_id)

    run(work())


@bulk_group.command("undo")
@click.argument("bulk_id", type=int)
@json_option
def undo(bulk_id: int, *, as_json: bool) -> None:
    """Undo an operation as far as possible. Runs that have started continue.

    \b
    Example:
      targcc bulk undo 3
    """

    async def work() -> None:
        async with connect() as api:
            back: BulkOut = await api.post(path("bulk", bulk_id, "undo"))
            await _follow(api, back, as_json=as_json)

    run(work())


# ``targcc inbox``: failures and issues that need a person, and actions on failures.


@click.group("inbox", cls=Commands)
def inbox_group() -> None:
    """List and handle failures and other problems that need attention."""


@inbox_group.command("list")
@click.argument("search", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Include muted and resolved failures.")
@click.option("--check", is_flag=True, help="Exit status 1 when anything needs attention.")
@shows
def list_inbox(*, search: tuple[str, ...], everything: bool, check: bool, as_json: bool) -> None:
    """List failures by cause, and other problems. SEARCH limits the failures to those with a matching run.

    \b
    Example:
      targcc inbox list
      targcc inbox list 'job:Import* since:yesterday "timeout"'
    """

    async def work() -> bool:
        async with connect() as api:
            response: InboxOut = await api.get(
                path("inbox"), all=everything or None, q=joined(*search)
            )
        if as_json:
            print_json(response)
        else:
            _print(response.failures, response.concerns, api.now)
        return bool(response.concerns)

    if run(work()) and check:
        raise click.exceptions.Exit(1)


def _print(failures: list[FailureOut], wrong: list[ConcernOut], now: datetime) -> None:
    if failures:
        print_table(
            ["FAILURE", "STATE", "OPEN", "JOB", "FIRST", "LAST", "WITH", "WHAT"],
            [
                [
                    failure.cause,
                    failure.standing,
                    f"{failure.open:,}",
                    failure.job,
                    when(failure.first_at, now),
                    when(failure.last_at, now),
                    failure.assignee or "",
                    failure.title,
                ]
                for failure in failures
            ],
        )
    for concern in wrong:
        if concern.kind != "failure":
            click.echo(as_shown(f"{concern.title}: {concern.detail}"))
    if not failures and not wrong:
        click.echo("Nothing needs attention.")


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
        async with connect() as api:
            failure: FailureOut = await api.get(path("inbox", cause))
            runs: list[FailedRunOut] = await api.rows(path("inbox", cause, "runs"), limit=20)
        now = api.now
        if as_json:
            print_json({"failure": failure, "runs": [failed_run.id for failed_run in runs]})
            return
        print_pairs(_facts(failure, now))
        for failed_run in runs:
            later = (
                "  a later run with the same arguments succeeded" if failed_run.done_since else ""
            )
            error_text = humanize.last_line(failed_run.message)
            click.echo(
                as_shown(
                    f"  run {failed_run.id}  {when(failed_run.happened_at, now)}  {error_text}{later}"
                )
            )

    run(work())


def _facts(failure: FailureOut, now: datetime) -> list[tuple[str, str]]:
    return [
        ("job", failure.job),
        ("what", failure.title),
        ("where", failure.place),
        ("state", failure.standing),
        ("open", f"{failure.open:,} of {failure.total:,}"),
        ("being done again", str(failure.in_hand or "")),
        ("first", when(failure.first_at, now)),
        ("release", failure.first_release or ""),
        ("last", when(failure.last_at, now)),
        ("last 7 days", " ".join(map(str, failure.trend))),
        ("job works since", when(failure.works_since, now)),
        ("until", when(failure.snoozed_until, now)),
        ("note", failure.note or ""),
        ("with", failure.assignee or ""),
        ("ticket", failure.ticket or ""),
    ]


def _runs_option(command: Function) -> Function:
    option = click.option(
        "--run", "run_ids", type=int, multiple=True, help="Only this run. May be repeated."
    )
    return option(command)


def _act(cause: str, act: dict[str, Any], *, as_json: bool) -> None:
    async def work() -> None:
        async with connect() as api:
            answer: DoneOut = await api.post(path("inbox", cause), body=act)
        message = answer.message
        if act.get("until") is not None:
            message = f"acknowledged until {when(act['until'], api.now)}"
        done(message, as_json=as_json, cause=cause)

    run(work())


@inbox_group.command("retry")
@click.argument("cause")
@_runs_option
@click.option("--rate", type=float, help="Maximum runs per minute.")
@click.option(
    "--newest-first", is_flag=True, help="Start with the newest run. Default: the oldest run."
)
@json_option
def retry(
    cause: str, *, run_ids: tuple[int, ...], rate: float | None, newest_first: bool, as_json: bool
) -> None:
    """Retry the open runs of a failure.

    \b
    Example:
      targcc inbox retry 3f2504e04f8911d3 --rate 60
    """
    from .schemas import BulkIn, RunFilterIn

    wanted = RunFilterIn(cause=cause, open=True, runs=list(run_ids))
    wish = BulkIn(action="retry", filter=wanted, rate=rate, newest_first=newest_first)

    async def work() -> None:
        async with connect() as api:
            await begin(api, wish, as_json=as_json)

    run(work())


@inbox_group.command("acknowledge")
@click.argument("cause")
@_runs_option
@click.option("--note", help="Note, shown to other people.")
@click.option(
    "--until", type=instant, metavar="TIME", help="Time of the automatic reopening, such as 2d."
)
@json_option
def acknowledge(
    cause: str,
    *,
    run_ids: tuple[int, ...],
    note: str | None,
    until: datetime | None,
    as_json: bool,
) -> None:
    """Acknowledge a failure: resolve its current runs, or snooze the failure until a time.

    \b
    Example:
      targcc inbox acknowledge 3f2504e04f8911d3 --note "the bank knows" --until 2d
    """
    act = {"action": "acknowledge", "runs": run_ids, "note": note, "until": until}
    _act(cause, act, as_json=as_json)


@inbox_group.command("discard")
@click.argument("cause")
@_runs_option
@json_option
def discard(cause: str, *, run_ids: tuple[int, ...], as_json: bool) -> None:
    """Discard the open runs of a failure: they need no action.

    \b
    Example:
      targcc inbox discard 3f2504e04f8911d3
    """
    _act(cause, {"action": "discard", "runs": run_ids}, as_json=as_json)


@inbox_group.command("mute")
@click.argument("cause")
@click.option("--note", help="Reason, shown to other people.")
@json_option
def mute(cause: str, *, note: str | None, as_json: bool) -> None:
    """Mute a failure: its current and future runs need no attention.

    \b
    Example:
      targcc inbox mute 3f2504e04f8911d3 --note "a test customer"
    """
    _act(cause, {"action": "mute", "note": note}, as_json=as_json)


@inbox_group.command("reopen")
@click.argument("cause")
@json_option
def reopen(cause: str, *, as_json: bool) -> None:
    """Reopen a muted or snoozed failure.

    \b
    Example:
      targcc inbox reopen 3f2504e04f8911d3
    """
    _act(cause, {"action": "reopen"}, as_json=as_json)


@inbox_group.command("assign")
@click.argument("cause")
@click.argument("name", required=False)
@json_option
def assign(cause: str, name: str | None, *, as_json: bool) -> None:
    """Assign a failure to a person; without a name, to nobody.

    \b
    Example:
      targcc inbox assign 3f2504e04f8911d3 dana
    """
    _act(cause, {"action": "assign", "assignee": name}, as_json=as_json)


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
    _act(cause, {"action": "link", "ticket": ticket}, as_json=as_json)


@inbox_group.command("seen")
@click.argument("kind", type=click.Choice(["node", "alert"]))
@click.argument("subject")
@json_option
def seen(kind: str, subject: str, *, as_json: bool) -> None:
    """Remove a lost server or an undelivered alert from the list.

    \b
    Example:
      targcc inbox seen node web-2
    """

    async def work() -> None:
        async with connect() as api:
            answer: DoneOut = await api.post(path("seen"), body={"kind": kind, "subject": subject})
        done(answer.message, as_json=as_json)

    run(work())


# ``targcc backfill``: create missing runs in a past range.


@click.command()
@click.argument("name", shell_complete=job_names)
@click.option(
    "--since", type=instant, required=True, metavar="TIME", help="First slot of the range."
)
@click.option("--until", type=instant, required=True, metavar="TIME", help="End of the range.")
@click.option("--rate", type=float, help="Maximum runs per minute.")
@click.option(
    "--priority",
    type=int,
    help="Priority of the runs, such as -1. Default: the priority of the job.",
)
@click.option(
    "--no-followers", is_flag=True, help="Do not create the runs of jobs that follow this job."
)
@click.option("--dry-run", is_flag=True, help="List the slots without creating runs.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
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
    """Run past slots that have no run, oldest first.

    Each run reads its slot from ctx.scheduled_for. A slot with a run, even a missed or skipped run, gets no new run.
    If all slots of the job share one unique key, each call creates one run. Repeat the call after that run has ended.

    \b
    Example:
      targcc backfill DailyReport --since 2026-11-01 --until 2026-11-08 --rate 10
    """
    from .schemas import BackfillIn

    async def work() -> None:
        request = BackfillIn(
            since=since, until=until, rate=rate, priority=priority, followers=not no_followers
        )
        address = path("jobs", name, "backfill")
        async with connect() as api:
            if dry_run or not yes:
                look = request.model_copy(update={"dry_run": True})
                preview: BackfillOut = await api.post(address, body=look)
                _say(preview, as_json=as_json and dry_run, err=not dry_run)
                if dry_run:
                    return
                click.confirm(f"run {len(preview.missing)} slots?", abort=True, err=True)
            made: BackfillOut = await api.post(address, body=request)
        if as_json:
            print_json({"job": made.job, "created": made.created})
            return
        waits = "waits" if made.created == 1 else "wait"
        click.echo(f"{humanize.count(made.created, 'run')} of {made.job} {waits}")
        click.echo(f"  to cancel them: targcc bulk do cancel --job {made.job} --text {BACKFILL}")

    run(work())


def _say(backfill: BackfillOut, *, as_json: bool, err: bool) -> None:
    if as_json:
        print_json(backfill)
        return
    kept = ", ".join(f"{number:,} {state}" for state, number in backfill.there.items()) or "none"
    click.echo(f"{humanize.count(backfill.slots, 'slot')}, of which there are: {kept}", err=err)
    for slot in backfill.missing[:20]:
        click.echo(f"  {slot.isoformat(sep=' ', timespec='minutes')}", err=err)
    if len(backfill.missing) > 20:  # noqa: PLR2004 - as many as are shown
        click.echo(f"  … and {len(backfill.missing) - 20:,} more", err=err)


# ``targcc why``: explain why a job or run does not run.


@click.command()
@click.argument("name", metavar="NAME|RUN", shell_complete=job_names)
@shows
def why(name: str, *, as_json: bool) -> None:
    """Explain why a job or run does not run, or what it waits for.

    \b
    Example:
      targcc why DailyReport
      targcc why 42
    """

    async def work() -> None:
        async with connect() as api:
            kind = "runs" if name.isdecimal() else "jobs"
            answer: AnswerOut = await api.get(path(kind, name, "why"))
        if as_json:
            print_json(answer)
            return
        for number, reason in enumerate(answer.reasons):
            click.echo(as_shown(reason.text if not number else f"  {reason.text}", lines=True))

    run(work())
