"""``targcc run``: single runs, and waiting for one."""

from __future__ import annotations

from datetime import datetime, timedelta

import click
from sqlalchemy.ext.asyncio import AsyncConnection

from ... import operations
from ...core import humanize
from ...core.errors import UnknownRun
from ...core.states import RunState
from ...jobs.definition import shown_arguments
from ...oncall.finding import looked_for
from ...project import current
from ...queries import runs, system
from ...queries.finding.page import list_runs as find_runs
from ...queries.models import Attempt, LogLine, Run
from ...scheduler import Scheduler
from ...schedules import parse_zone
from ...search.terms import joined, write
from ...web.api.schemas.runs import RunDetailOut, RunsOut, run_detail_out, run_out
from ..common import opened, operator, run
from ..group import Commands
from ..output import (
    as_shown,
    json_option,
    limit_option,
    print_json,
    print_pairs,
    print_table,
    timeout_option,
    wait_options,
    when,
)
from .live.following import until_over

_FAILED = 1


@click.group("run", cls=Commands)
def run_group() -> None:
    """Look at runs, cancel them, do them again."""


@run_group.command("list")
@click.argument("search", nargs=-1)
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice([*RunState], case_sensitive=False),
    help="Only in this state; may be repeated.",
)
@click.option("--job", help="Only of this job.")
@click.option(
    "--text", default="", help="Only with this in job, message, arguments or who started it."
)
@limit_option
@click.option("--before", type=int, help="Only older than this run.")
@json_option
def list_runs(
    *,
    search: tuple[str, ...],
    states: tuple[str, ...],
    job: str | None,
    text: str,
    limit: int,
    before: int | None,
    as_json: bool,
) -> None:
    """Show runs, newest first. SEARCH says which; the options say the same as its terms.

    \b
    Example:
      targcc run list 'job:Daily* state:failed since:yesterday "timeout" not by:dana'
      targcc run list arg.customer:42 'took:>5m' node:web-2
      targcc run list --state failed --job DailyReport
    """

    async def work() -> None:
        async with opened() as scheduler:
            asked = joined(*search, write("state", *states), write("job", job), write("", text))
            wanted = looked_for(scheduler, asked, before=before, limit=limit)
            page = await scheduler.read(lambda db: find_runs(db, wanted))
            if as_json:
                shown = [run_out(one, scheduler.definitions.get(one.job)) for one in page.runs]
                print_json(RunsOut(runs=shown, next_before=page.next_before))
            else:
                _print_runs(page.runs, scheduler.clock.now())

    run(work())


def _print_runs(runs: tuple[Run, ...], now: datetime) -> None:
    if not runs:
        click.echo("No run fits.")
        return
    print_table(
        ["RUN", "STATE", "JOB", "WHEN", "TOOK", "ATTEMPT", "BY", "MESSAGE"],
        [
            [
                str(one.id),
                humanize.STATE_WORDS[one.state],
                one.job,
                when(one.started_at or one.due_at, now),
                humanize.duration(one.duration) if one.duration is not None else "",
                str(one.attempt or ""),
                one.triggered_by,
                _unknown(one, now) or humanize.last_line(one.message),
            ]
            for one in runs
        ],
    )


@run_group.command("show")
@click.argument("run_id", type=int)
@json_option
def show_run(run_id: int, *, as_json: bool) -> None:
    """Show one run: state, how it came to it, error, log.

    \b
    Example:
      targcc run show 42
    """

    async def work() -> None:
        async with opened() as scheduler:
            await _show(scheduler, run_id, as_json=as_json)

    run(work())


async def _show(scheduler: Scheduler, run_id: int, *, as_json: bool) -> None:
    found, attempts, lines = await _details(scheduler, run_id)
    if as_json:
        print_json(await _detail_out(scheduler, found, attempts, lines))
        return
    now = scheduler.clock.now()
    print_pairs(_facts(scheduler, found, now))
    for entry in found.life:
        said = humanize.STATE_WORDS.get(RunState(entry.state), entry.state)
        click.echo(f"  {when(entry.at, now)}  {said}  {as_shown(entry.note)}".rstrip())
    for line in lines:
        click.echo(as_shown(_log_line(line), lines=True))
    failure = next((one for one in reversed(attempts) if not one.success), None)
    if failure is not None and found.state != RunState.SUCCEEDED:
        click.echo(as_shown(failure.traceback or failure.error or "", lines=True))


async def _details(
    scheduler: Scheduler, run_id: int
) -> tuple[Run, tuple[Attempt, ...], tuple[LogLine, ...]]:
    async def query(db: AsyncConnection) -> tuple[Run, tuple[Attempt, ...], tuple[LogLine, ...]]:
        found = await runs.get_run(db, run_id)
        if found is None:
            raise UnknownRun(f"there is no run {run_id}")
        attempts = await runs.attempts_of_run(db, found)
        return found, attempts, await runs.log_lines(db, run_id)

    return await scheduler.read(query)


async def _detail_out(
    scheduler: Scheduler, found: Run, attempts: tuple[Attempt, ...], lines: tuple[LogLine, ...]
) -> RunDetailOut:
    steps = await scheduler.read(lambda db: runs.steps(db, found.id))
    return run_detail_out(found, scheduler.definitions.get(found.job), attempts, lines, steps)


def _facts(scheduler: Scheduler, found: Run, now: datetime) -> list[tuple[str, str]]:
    shown = shown_arguments(scheduler.definitions.get(found.job), found.arguments)
    return [
        ("run", f"{found.id} of {found.job}"),
        ("state", humanize.STATE_WORDS[found.state]),
        ("stopping", found.stop_note or ""),
        ("waits", _unknown(found, now)),
        ("message", found.message or ""),
        ("arguments", humanize.arguments(shown)),
        ("started by", found.triggered_by),
        ("due", when(found.due_at, now)),
        ("took", humanize.duration(found.duration) if found.duration is not None else ""),
        ("attempt", str(found.attempt or "")),
        ("queue", found.queue),
        ("server", found.server or ""),
    ]


def _unknown(found: Run, now: datetime) -> str:
    if found.unknown_since is None:
        return ""
    asked = (f"{one.node} (release {one.release}): {one.why}" for one in found.refusals)
    return f"no node knows it since {when(found.unknown_since, now)}; asked: {'; '.join(asked)}"


def _to_stderr(line: LogLine) -> None:
    click.echo(as_shown(_log_line(line), lines=True), err=True)


def _log_line(line: LogLine) -> str:
    local = line.at.astimezone(parse_zone(current().timezone))
    return f"  {local:%H:%M:%S} {line.level.lower():<7} {line.message}"


@run_group.command("watch")
@click.argument("run_id", type=int)
@timeout_option
@json_option
def watch_run(run_id: int, *, timeout: timedelta | None, as_json: bool) -> None:
    """Follow a run until it is over: its log on stderr, then how it ended; exit status 1 unless it succeeded.

    \b
    Example:
      targcc run watch 42 --timeout 10m
    """

    async def work() -> None:
        async with opened() as scheduler:
            await _to_its_end(scheduler, run_id, timeout, as_json=as_json)

    run(work())


@run_group.command("log")
@click.argument("run_id", type=int)
@click.option("--follow", "-f", "following", is_flag=True, help="Go on until it is over.")
def print_log(run_id: int, *, following: bool) -> None:
    """Print all that a run has written.

    \b
    Example:
      targcc run log 42 --follow
    """

    def say(line: LogLine) -> None:
        click.echo(as_shown(_log_line(line).strip(), lines=True))

    async def work() -> None:
        async with opened() as scheduler:
            await until_over(scheduler, run_id, None, say, once=not following)

    run(work())


@run_group.command("cancel")
@click.argument("run_id", type=int)
@json_option
def cancel_run(run_id: int, *, as_json: bool) -> None:
    """Cancel a run: at once if it waits, else its job is told, and stopped after a grace.

    \b
    Example:
      targcc run cancel 42
    """

    async def work() -> None:
        async with opened() as scheduler:
            state = await scheduler.cancel(run_id, by=operator())
            told = state == RunState.RUNNING
            said = f"run {run_id} {'has been told to stop' if told else 'is cancelled'}"
            if as_json:
                print_json({"run_id": run_id, "state": state, "message": said})
            else:
                click.echo(said)

    run(work())


@run_group.command("fail")
@click.argument("run_id", type=int)
def fail_run(run_id: int) -> None:
    """Fail a run that waits for a server that knows its job and arguments.

    \b
    Example:
      targcc run fail 42
    """

    async def work() -> None:
        async with opened() as scheduler:
            await scheduler.operate(operations.fail, None, run_id, operator())
        click.echo(f"run {run_id} is failed")

    run(work())


@run_group.command("retry")
@click.argument("run_id", type=int)
@wait_options
@json_option
def retry_run(run_id: int, *, wait: bool, timeout: timedelta | None, as_json: bool) -> None:
    """Do a run again, as a new one; one that waits for its time starts now.

    \b
    Example:
      targcc run retry 42 --wait
    """

    async def work() -> None:
        async with opened() as scheduler:
            again = await scheduler.retry(run_id, by=operator())
            found = await scheduler.read(lambda db: runs.get_run(db, again))
            assert found is not None
            if not wait:
                started(scheduler, again, found.job, as_json=as_json)
                return
        await follow(again, found.queue, timeout, as_json=as_json)

    run(work())


def started(scheduler: Scheduler, run_id: int, name: str, *, as_json: bool) -> None:
    """Say that a run has been started and where to watch it."""
    address = f"{scheduler.settings.dashboard_url}/runs/{run_id}"
    if as_json:
        print_json({"run_id": run_id, "message": f"{name} started", "url": address})
        return
    click.echo(as_shown(f"{name} started as run {run_id}: {address}"))


async def follow(run_id: int, queue: str, patience: timedelta | None, *, as_json: bool) -> None:
    """Wait until a run is over, showing what it writes; without a server, do the work here.

    Raises:
        CliError: the time is up.
    """
    async with opened() as scheduler:
        alive = await _somebody_works(scheduler, queue)
    if not alive and not as_json:
        click.echo("no server is up: this process runs it", err=True)
    async with opened(work_on=None if alive else queue) as scheduler:
        await _to_its_end(scheduler, run_id, patience, as_json=as_json)


async def _to_its_end(
    scheduler: Scheduler, run_id: int, patience: timedelta | None, *, as_json: bool
) -> None:
    """Follow a run, and end with the status 1 unless it succeeds."""
    found = await until_over(scheduler, run_id, patience, None if as_json else _to_stderr)
    if as_json:
        await _show(scheduler, run_id, as_json=True)
    else:
        await _print_end(scheduler, found)
    if found.state != RunState.SUCCEEDED:
        raise SystemExit(_FAILED)


async def _somebody_works(scheduler: Scheduler, queue: str) -> bool:
    now, lost_after = scheduler.clock.now(), scheduler.settings.lost_after_seconds
    return any(
        queue in server.queues
        and server.takes_runs
        and (now - server.heartbeat_at).total_seconds() <= lost_after
        for server in await scheduler.read(system.servers)
    )


async def _print_end(scheduler: Scheduler, found: Run) -> None:
    took = f" in {humanize.duration(found.duration)}" if found.duration is not None else ""
    said = f"run {found.id} of {found.job} {humanize.STATE_WORDS[found.state]}{took}"
    click.echo(as_shown(f"{said}: {found.message}" if found.message else said, lines=True))
    if found.state == RunState.FAILED:
        _, attempts, _ = await _details(scheduler, found.id)
        if attempts and attempts[-1].traceback:
            click.echo(as_shown(attempts[-1].traceback, lines=True), err=True)
