"""``targcc owner``, ``shadow``, ``cutover`` and ``import-history``."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import subprocess
import sys
import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import sqlalchemy as sa

from ...cli.common import Function, duration, opened, operator, run, settings
from ...cli.completing import job_names
from ...cli.connect import connect, path
from ...cli.group import ChoiceError, CliError, Commands, SettingError
from ...cli.output import as_shown, done, json_option, print_json, print_table, shows, when
from ...core import humanize
from ...core.errors import CutoverError, HistoryError, UnknownJob
from ...core.masking import mask
from ...core.outage import OUTAGES, in_short
from ...core.states import RunState
from ...kernel import job_owner as owners
from ...kernel.job_owner import Owner, Ownership, Step
from ...scheduler import Scheduler
from ...schedules.words import format_duration
from ...schema_setup import migrate
from ...services.database import Database
from ...services.procedure_rights import ProcedureRight, procedure_right
from ...services.settings import ServiceSettings
from ...web.api.schemas import JobDetailOut, OwnerIn, OwnerOut
from . import cutover_plan, owning, shadow_report
from .cutover import Handover, Outcome, Returning, Taking, tokens
from .history_import import load_history
from .old_server import (
    CLASSIC,
    CRON,
    DIALECTS,
    OldClock,
    OldServer,
    Scripts,
    heard,
    named_columns,
    read_output,
    server_errors,
)

if TYPE_CHECKING:
    from ...cli.transport import Api


# Read-only commands: shadow report, plan and status of a cut-over.

_FILE = click.Path(path_type=Path)


@click.group("shadow", cls=Commands)
def shadow_group() -> None:
    """Compare the slots of this scheduler with the runs of the old server."""


@click.group("cutover", cls=Commands)
def cutover_group() -> None:
    """Switch jobs from the old server to this scheduler, and back."""


@contextlib.asynccontextmanager
async def both_sides() -> AsyncIterator[tuple[Scheduler, OldServer | None]]:
    """Open this scheduler and the old server; the old server is ``None`` if neither ``cutover_url`` nor ``legacy_url`` is set."""
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
    help="Required number of clean days in a row. Exit status 1 until reached.",
)
@click.option(
    "--tolerance",
    type=duration,
    default="90s",
    show_default=True,
    help="Maximum delay of a run at the old server after its slot.",
)
@shows
def report(*, days: int, tolerance: timedelta, as_json: bool) -> None:
    """Compare the slots of jobs in shadow with the old server's log, by day.

    \b
    Example:
      targcc shadow report --days 7
    """

    async def work() -> bool:
        async with both_sides() as (scheduler, old):
            if old is None:
                raise SettingError("TARGCC_CUTOVER_URL says where the old server's database is")
            comparison = await shadow_report.shadow_report(scheduler, old, tolerance=tolerance)
            now = scheduler.clock.now()
        clean = comparison.clean_days >= days
        if as_json:
            print_json({"clean": clean, "clean_days": comparison.clean_days, "report": comparison})
            return clean
        if not (comparison.jobs or comparison.uncompared):
            raise CliError(
                "no job is in shadow: targcc owner set --all shadow", code=CutoverError.code
            )
        print_table(
            ["DAY", "SAME", "ONLY HERE", "ONLY THERE", ""],
            [_day(day) for day in comparison.days],
        )
        for day in comparison.days:
            for difference in day.differences[:20]:
                what = (
                    "a slot here, not begun there"
                    if difference.here
                    else "begun there, no slot here"
                )
                click.echo(as_shown(f"{difference.job}: {what}: {when(difference.at, now)}"))
        if comparison.uncompared:
            click.echo(
                "Not compared, as they have no schedule, or the old log does not say when their runs ended: "
                + ", ".join(comparison.uncompared)
            )
        late = format_duration(timedelta(seconds=round(comparison.latest.total_seconds())))
        click.echo(
            f"{humanize.count(len(comparison.jobs), 'job')}, {humanize.count(comparison.clean_days, 'clean day')} of {days};"
            f" the old server began up to {late if comparison.latest else '0s'} after a slot."
        )
        return clean

    if not run(work()):
        raise click.exceptions.Exit(1)


def _day(day: shadow_report.Day) -> list[str]:
    here = sum(difference.here for difference in day.differences)
    word = "clean" if day.clean else "" if day.over else "not over"
    return [day.date.isoformat(), str(day.same), str(here), str(len(day.differences) - here), word]


@cutover_group.command("plan")
@click.argument("file", type=_FILE, default=owning.FILE)
@shows
def show_plan(file: Path, *, as_json: bool) -> None:
    """Check both servers, and print the order of the switch, runner by runner.

    Changes nothing. Exit status 1 while a problem prevents the switch. FILE is the output of import-legacy --paused.

    \b
    Example:
      targcc cutover plan
    """
    imported = owning.read_file(file) if file.exists() else []

    async def work() -> bool:
        async with both_sides() as (scheduler, old):
            plan = await cutover_plan.make_plan(scheduler, old, imported)
            now = scheduler.clock.now()
        if as_json:
            print_json({"ready": plan.ready, "checks": plan.checks, "runners": plan.runners})
            return plan.ready
        for check in plan.checks:
            click.echo(as_shown(f"{check.verdict:<5} {check.said}", lines=True))
        for number, (runner, jobs) in enumerate(plan.runners.items(), start=1):
            click.echo(
                f"\n{number}. {runner or 'the old server'}: targcc cutover start{_of(runner)}"
            )
            print_table(
                ["JOB", "OWNER", "OLD ROW", "NEXT THERE", "NEXT HERE"],
                [
                    [
                        job_plan.owned.job,
                        job_plan.owned.owner,
                        job_plan.owned.old_key or "",
                        when(job_plan.old_next, now),
                        when(job_plan.new_next, now),
                    ]
                    for job_plan in jobs
                ],
            )
        return plan.ready

    if not run(work()):
        raise click.exceptions.Exit(1)


@cutover_group.command("rights")
@shows
def show_rights(*, as_json: bool) -> None:
    """Ask the jobs' database whether the login may run the stored procedure of each job.

    Runs no procedure. The login is that of APP_DATABASE_URL. Exit status 1 if a procedure is missing or a right is.

    \b
    Example:
      targcc cutover rights
    """

    async def work() -> bool:
        async with opened() as scheduler:
            procedures = {
                definition.name: str(name)
                for definition in scheduler.definitions.values()
                if (name := getattr(sys.modules.get(definition.module), "PROCEDURE", None))
            }
            rights = await _rights(scheduler, set(procedures.values()))
        listed = [(job, rights[name]) for job, name in sorted(procedures.items())]
        if as_json:
            print_json([{"job": job, "right": right} for job, right in listed])
        else:
            print_table(
                ["JOB", "MAY RUN", "PROCEDURE", ""],
                [
                    [job, _MAY[right.may], right.procedure, as_shown(right.said)]
                    for job, right in listed
                ],
            )
            others = len(scheduler.definitions) - len(listed)
            click.echo(f"{humanize.count(others, 'job')} without a procedure.")
        return all(right.may is not False for _, right in listed)

    if not run(work()):
        raise click.exceptions.Exit(1)


_MAY = {True: "yes", False: "no", None: "look"}


async def _rights(scheduler: Scheduler, names: Iterable[str]) -> dict[str, ProcedureRight]:
    """Return the answer about each procedure.

    Raises:
        CliError: The database of the jobs cannot be used.
    """
    database = Database(ServiceSettings().database_url or scheduler.settings.database_url)
    try:
        return await database.run(
            lambda connection: {name: procedure_right(connection, name) for name in sorted(names)}
        )
    except sa.exc.SQLAlchemyError as error:
        raise CliError(
            f"the jobs' database cannot be used: {mask(in_short(error))}", code=CutoverError.code
        ) from None
    finally:
        database.close()


def _of(runner: str) -> str:
    return (
        f' --runner "{runner}"' if " " in runner else f" --runner {runner}" if runner else " --all"
    )


@cutover_group.command("status")
@shows
def show_status(*, as_json: bool) -> None:
    """Show the owner of each job, unfinished switches, problems, and the first day of switched jobs.

    Exit status 1 when a job needs attention.

    \b
    Example:
      targcc cutover status
    """

    async def work() -> bool:
        async with both_sides() as (scheduler, old):
            old_rows = await asyncio.to_thread(old.rows) if old is not None else None
            jobs = await scheduler.read(lambda db: cutover_plan.standings(db, old_rows))
            now = scheduler.clock.now()
            watched = await scheduler.read(lambda db: cutover_plan.watch_list(db, now))
        alarms = [*(job.alarm for job in jobs), *(job.alarm for job in watched)]
        good = not any(alarms)
        if as_json:
            print_json({"good": good, "jobs": jobs, "watch": watched})
            return good
        print_table(
            ["JOB", "OWNER", "RUNS ON", "NEXT THERE", "ALARM"],
            [
                [job.owned.job, job.owned.owner, job.side, when(job.old_next, now), job.alarm]
                for job in jobs
            ],
        )
        if watched:
            click.echo("\nFirst day here:")
            print_table(
                ["JOB", "SINCE", "FIRST SLOT", "RUNS", "LAST", "ALARM"],
                [
                    [
                        job.owned.job,
                        when(job.owned.since, now),
                        when(job.owned.next_slot, now),
                        str(len(job.runs)),
                        humanize.STATE_WORDS[job.runs[0].state] if job.runs else "",
                        job.alarm,
                    ]
                    for job in watched
                ],
            )
        return good

    if not run(work()):
        raise click.exceptions.Exit(1)


# ``targcc owner``: list and set the server that runs a job, the old server or this scheduler.

_OWNERS = click.Choice([owner.value for owner in Owner])


@click.group("owner", cls=Commands)
def owner_group() -> None:
    """List and set the owner of jobs: the old server or this scheduler."""


@owner_group.command("list")
@shows
def list_owners(*, as_json: bool) -> None:
    """List the owners of jobs. This scheduler runs all jobs that are not listed.

    \b
    Example:
      targcc owner list
    """

    async def work() -> None:
        async with connect() as api:
            owned: list[OwnerOut] = await api.rows(path("owners"))
        if as_json:
            print_json(owned)
        elif not owned:
            click.echo("Every job is run from here.")
        else:
            print_table(
                ["JOB", "OWNER", "RUNNER", "OLD ROW", "SINCE", "BY", "WAITING", "REASON"],
                [
                    [
                        ownership.job,
                        _shown(ownership),
                        ownership.runner or "",
                        ownership.old_key or "",
                        when(ownership.since, api.now),
                        ownership.by,
                        str(ownership.waiting or ""),
                        ownership.reason or "",
                    ]
                    for ownership in owned
                ],
            )

    run(work())


def _shown(owner: OwnerOut) -> str:
    return f"{owner.owner} ({owner.step})" if owner.step is not None else str(owner.owner)


@owner_group.command("set")
@click.argument("names", nargs=-1, metavar="JOB...", shell_complete=job_names)
@click.argument("owner", type=_OWNERS)
@click.option("--all", "every", is_flag=True, help="Select all jobs that the old server runs.")
@click.option("--reason", help="Reason, shown to other people.")
@click.option(
    "--old-is-off",
    is_flag=True,
    help="Required for new: confirms that the job is off at the old server.",
)
@click.option("--old-id", help="Id of the job's row in the old table.")
@click.option("--runner", help="Process of the old server that runs the job.")
@click.option("--dry-run", is_flag=True, help="Print the changes without making them.")
@json_option
def set_owner(
    names: tuple[str, ...],
    owner: str,
    *,
    every: bool,
    reason: str | None,
    old_is_off: bool,
    old_id: str | None,
    runner: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Set the owner of jobs: old, new, or shadow (the old server runs them, and slots are recorded here).

    The old server is not changed. targcc cutover start and back change both sides.

    \b
    Example:
      targcc owner set --all shadow --reason "two weeks of looking on"
      targcc owner set DailyReport old --old-id 7 --runner night
    """
    if bool(names) == every:
        raise click.UsageError("name jobs, or say --all")
    if len(names) != 1 and (old_id or runner):
        raise click.UsageError("--old-id and --runner are about one job")

    async def work() -> None:
        wish = OwnerIn(
            owner=Owner(owner), reason=reason, old_is_off=old_is_off, old_key=old_id, runner=runner
        )
        changes = []
        async with connect() as api:
            owned = {ownership.job: ownership.owner for ownership in await api.rows(path("owners"))}
            taken = [job for job, by in owned.items() if by != Owner.NEW]
            for job in taken if every else [await _key(api, name, owned) for name in names]:
                was = owned.get(job, str(Owner.NEW))
                if not dry_run:
                    await api.post(path("jobs", job, "owner"), body=wish)
                changes.append({"job": job, "was": was, "owner": owner})
                if not as_json:
                    click.echo(f"{job}: {was} -> {owner}" if dry_run else f"{job}: {owner}")
        if as_json:
            print_json({"jobs": changes, "saved": not dry_run})
        elif dry_run:
            click.echo("Nothing was changed.")

    run(work())


async def _key(api: Api, name: str, owned: Iterable[str]) -> str:
    """Return a job's registered name. A name in ``owned`` is returned unchanged, since that job may no longer be in the code."""
    if name in owned:
        return name
    job: JobDetailOut = await api.get(path("jobs", name))
    return job.name


@owner_group.command("import")
@click.argument("file", type=click.Path(path_type=Path), default=owning.FILE)
@click.option("--dry-run", is_flag=True, help="Print the changes without making them.")
@json_option
def import_owners(file: Path, *, dry_run: bool, as_json: bool) -> None:
    """Set the old server as owner of the jobs that import-legacy --paused imported.

    FILE is its output, by default legacy/cutover.json. From then on the owner keeps the jobs from running here, and the
    initial pause of the jobs ends. A job with an owner keeps its owner.

    \b
    Example:
      targcc owner import
    """

    async def work() -> None:
        async with opened() as scheduler:
            moving = owning.read_file(file)
            owned = await scheduler.read(owners.load)
            unknown = [entry.job for entry in moving if entry.job not in scheduler.definitions]
            if unknown:
                raise CliError(
                    f"{file} names jobs that are not here: {', '.join(unknown)}",
                    code=UnknownJob.code,
                )
            new = [entry.job for entry in moving if entry.job not in owned]
            if not dry_run:
                new = await scheduler.operate(owning.register, None, moving, Owner.OLD, operator())
        would = "would be run" if dry_run else "are run"
        message = (
            f"{len(new)} jobs {would} by the old server, {len(moving) - len(new)} had an owner."
        )
        done(message, as_json=as_json, jobs=len(new), saved=not dry_run)

    run(work())


# ``targcc cutover start`` and ``back``: move jobs between the old server and this scheduler.

_SMOKE_SECONDS = 600.0
_MOST_ERRORS = 5
_BROKEN_OFF = (
    "This broke off: a job that was on its way may be off on both sides. Repeat the command, which goes on from there;"
    " targcc cutover status shows where each job is."
)


def _switch_options(command: Function) -> Function:
    """Add the options that ``start`` and ``back`` share."""
    options = [
        click.option("--runner", "runners", multiple=True, help="Select all jobs of this runner. May be repeated."),
        click.option("--job", "names", multiple=True, metavar="JOB", help="Select this job. May be repeated."),
        click.option("--all", "every", is_flag=True, help="Select all jobs, runner by runner."),
        click.option("--reason", help="Reason, shown to other people."),
        click.option("--dry-run", is_flag=True, help="Print the changes and the SQL without making them."),
        click.option("--script", type=_FILE, metavar="FILE.sql", help="Write the SQL for the old server to a file, to be run by hand."),
        click.option("--dialect", type=click.Choice(DIALECTS), default="mssql", show_default=True, help="With --script: database of the old server."),
        click.option("--shape", type=click.Choice(["classic", "cron"]), default="classic", show_default=True, help="With --script: kind of the old table."),
        click.option("--sqlcmd", metavar="COMMAND", help='With --script: run the script by this command, and continue with its output: "sqlcmd -S old-server -d acme -E".'),
        click.option("--said", type=_FILE, metavar="FILE", help="Output of the script. Continues the switch."),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return json_option(command)


@cutover_group.command("start")
@click.option(
    "--smoke",
    multiple=True,
    metavar="JOB",
    help="Run this job once here after its switch, and wait for the run. May be repeated.",
)
@click.option(
    "--signed",
    type=_FILE,
    metavar="FILE.csv",
    help="Signed list of decisions, legacy/decisions.csv. Refuses jobs with an unsigned line and names the lines.",
)
@_switch_options
def start(*, smoke: tuple[str, ...], **asked: Any) -> None:
    """Switch jobs from the old server to this scheduler: off there, then on here, with their next run.

    A job that is running at the old server is skipped. A repeated call continues. Exit status 1 while jobs are left.

    \b
    Example:
      targcc cutover start --runner night --dry-run
      targcc cutover start --runner night --smoke DailyReport
      targcc cutover start --runner night --signed legacy/decisions.csv
    """
    _check_switch(asked)
    if not run(_switch(Taking, asked, smoke)):
        raise click.exceptions.Exit(1)


@cutover_group.command("back")
@click.option(
    "--log-columns",
    metavar="NAMES",
    help="With --script and --shape cron: columns of the old c_LoggedJob, separated by commas. Runs of this scheduler are written to it.",
)
@_switch_options
def back(**asked: Any) -> None:
    """Switch jobs back to the old server, with their runs in this scheduler.

    A job with a running, waiting or imminent run here is skipped. A repeated call continues. Exit status 1 while jobs are left.

    \b
    Example:
      targcc cutover back --runner night
    """
    _check_switch(asked)
    if not run(_switch(Returning, asked, ())):
        raise click.exceptions.Exit(1)


def _check_switch(asked: dict[str, Any]) -> None:
    if asked["sqlcmd"] is not None and asked["script"] is None:
        raise click.UsageError("--sqlcmd runs the script that --script writes")


async def _switch(
    kind: type[Taking | Returning], request: dict[str, Any], smoke: Sequence[str]
) -> bool:
    async with both_sides() as (scheduler, old):
        clock = OldClock.of(scheduler.settings)

        def make() -> Taking | Returning:
            script = str(request["script"] or "")
            return kind(
                scheduler, clock, operator(), old=old, reason=request["reason"], script=script
            )

        if request["said"] is not None:
            text = _content(request["said"])
            return await _finish(make(), text, str(request["said"]), as_json=request["as_json"])
        groups = _chosen(
            await scheduler.read(owners.load), scheduler.key_of, request, to_new=kind is Taking
        )
        _refuse_unsigned(request.get("signed"), groups)
        if request["dry_run"]:
            await _show(make(), old, groups)
            return True
        if request["script"] is not None:
            jobs = [item.job for group in groups.values() for item in group]
            handover = make()
            written = await _write(handover, jobs, request)
            if request["sqlcmd"] is None or not handover.begun:
                return written
            text = await asyncio.to_thread(_run_by, request["sqlcmd"], request["script"])
            return await _finish(make(), text, request["sqlcmd"], as_json=request["as_json"])
        outcomes = []
        for runner, group in groups.items():
            if not request["as_json"]:
                click.echo(f"{runner or 'the old server'}: {humanize.count(len(group), 'job')}")
            try:
                some = await _all(make(), [item.job for item in group])
            except (CutoverError, *OUTAGES):
                click.echo(_BROKEN_OFF, err=True)
                raise
            outcomes += some
            if not all(item.done for item in some):
                break  # continue with the next runner only if this runner is done
        good = _print(outcomes, as_json=request["as_json"])
        return await _smoke(scheduler, smoke, beside=request["as_json"]) and good


def _refuse_unsigned(signed: Path | None, groups: dict[str, list[Ownership]]) -> None:
    """Refuse the switch of jobs with differences that nobody signed, before anything changes. Without a list nothing is refused.

    Raises:
        CliError: Lines are unsigned; the message names each.
    """
    if signed is None:
        return
    jobs = [item.job for group in groups.values() for item in group]
    if texts := owning.unsigned(owning.read_file(owning.FILE), jobs, signed):
        count = humanize.count(len(texts), "line")
        listed = as_shown("\n".join(f"  {text}" for text in texts), lines=True)
        raise CliError(
            f"{count} of {signed} not signed, and nothing was changed:\n{listed}\n"
            "Fill in By and Date (Decision: go), or leave these jobs out with --job.",
            code=CutoverError.code,
        )


async def _finish(handover: Taking | Returning, text: str, source: str, *, as_json: bool) -> bool:
    """Continue switches by the output of their script. A job without an answer in the output is left, with the reason.

    Args:
        handover: The direction of the switches.
        text: The output.
        source: The file or the command of the output.
        as_json: Print JSON.
    """
    answers = heard(text)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    step = Step.TAKING if isinstance(handover, Taking) else Step.RETURNING
    owned = await handover.scheduler.read(owners.load)
    waiting = [
        one for one in owned.values() if one.step is step and str(one.old_key) not in answers
    ]
    # Without an answer each line may be an error, in the language of the server.
    for error in (server_errors(text) or ([] if answers else lines))[:_MOST_ERRORS]:
        click.echo(as_shown(f"the old server says: {error}"), err=True)
    if not answers and not waiting:
        raise ChoiceError(f"{source} has no answer of a script, and no job waits for one")
    outcomes = await handover.finish(answers) if answers else []
    reason = f"{source} has no answer for row {{}}: run the script there, and repeat this with its output"
    outcomes += [Outcome(one.job, done=False, said=reason.format(one.old_key)) for one in waiting]
    return _print(outcomes, as_json=as_json)


def _content(file: Path) -> str:
    """Return the output of a script.

    Raises:
        CliError: The file cannot be read.
    """
    try:
        return read_output(file.read_bytes())
    except OSError as error:
        raise ChoiceError(f"{file} cannot be read: {error.strerror or error}") from None


def _run_by(command: str, script: Path) -> str:
    """Run a script by sqlcmd, and return its output.

    Raises:
        CutoverError: The program does not exist.
    """
    words = [*shlex.split(command, posix=os.name != "nt"), "-i", str(script), "-h", "-1", "-W"]
    try:
        result = subprocess.run(
            words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
    except OSError as error:
        raise CutoverError(f"{words[0]} cannot be run: {error.strerror or error}") from None
    return read_output(result.stdout)


async def _all(handover: Handover, jobs: Sequence[str]) -> list[Outcome]:
    if isinstance(handover, Taking):
        return await handover.take(jobs)
    assert isinstance(handover, Returning)
    return await handover.give_back(jobs)


def _chosen(
    owned: dict[str, Ownership],
    key_of: Callable[[str], str],
    request: dict[str, Any],
    *,
    to_new: bool,
) -> dict[str, list[Ownership]]:
    """Return the jobs that the options select, grouped by runner."""
    names = [key_of(name) for name in request["names"]]
    if not (names or request["runners"] or request["every"]):
        raise ChoiceError(
            "say which jobs: --runner, --job or --all; targcc cutover plan shows them"
        )
    if unknown := [name for name in names if name not in owned]:
        raise CliError(
            f"{', '.join(unknown)}: no job of the old server; targcc owner list",
            code=UnknownJob.code,
        )
    if unknown := sorted(set(request["runners"]) - {one.runner for one in owned.values()}):
        raise ChoiceError(
            f"no job has the runner {', '.join(unknown)}; targcc owner list shows them"
        )
    chosen = [
        one
        for one in owned.values()
        if one.job in names
        or one.runner in request["runners"]
        or (request["every"] and (one.step is not None or (one.owner is not Owner.NEW) == to_new))
    ]
    groups: dict[str, list[Ownership]] = {}
    for one in sorted(chosen, key=lambda one: (one.runner or "", one.job)):
        groups.setdefault(one.runner or "", []).append(one)
    return groups


async def _show(
    handover: Taking | Returning, old: OldServer | None, groups: dict[str, list[Ownership]]
) -> None:
    """Print the planned changes and the SQL, for ``--dry-run``."""
    old_rows = await asyncio.to_thread(old.rows) if old is not None else {}
    now = handover.scheduler.clock.now()
    for runner, group in groups.items():
        click.echo(f"{runner or 'the old server'}:")
        if isinstance(handover, Taking):
            for ownership in group:
                row = old_rows.get(str(ownership.old_key))
                busy = "; it runs there right now and would be left" if row and row.running else ""
                following = f", from {when(row.next_run, now)}" if row and row.next_run else ""
                click.echo(
                    f"  {ownership.job} (row {ownership.old_key}, {ownership.owner}): switch it off there, run it here{following}{busy}"
                )
        else:
            for back in await handover.preview(group):
                name = next(ownership.job for ownership in group if ownership.old_key == back.key)
                following = f", next there {back.next_run}" if back.next_run else ""
                click.echo(
                    f"  {name} (row {back.key}): run it here no more, switch it on there{following},"
                    f" with {humanize.count(len(back.runs), 'run')} from here"
                )
        if old is not None:
            click.echo("\n" + await _sql(handover, old.scripts, group))
    click.echo("Nothing was changed.")


async def _sql(handover: Taking | Returning, scripts: Scripts, group: list[Ownership]) -> str:
    if isinstance(handover, Taking):
        rows = [(str(ownership.old_key), ownership.mark or "000000") for ownership in group]
        return scripts.text(scripts.off(rows), "each job gets a token of its own for 000000")
    return scripts.text(scripts.on(await handover.preview(group)), "back to the old server")


async def _write(
    handover: Taking | Returning, jobs: Sequence[str], request: dict[str, Any]
) -> bool:
    """Begin the cut-over in this scheduler, and write the script for the old server."""
    shape = CLASSIC if request["shape"] == "classic" else CRON
    table = handover.scheduler.settings.legacy_table
    names = request.get("log_columns")
    log = named_columns(names) if names and shape is CRON else None
    scripts = Scripts(request["dialect"], table, shape, log)
    try:  # before anything begins
        request["script"].touch()
    except OSError as error:
        raise ChoiceError(
            f"{request['script']} cannot be written: {error.strerror or error}"
        ) from None
    begun = await handover.begin(jobs)
    handover.begun = bool(begun)
    if begun:
        if isinstance(handover, Taking):
            text = scripts.text(
                scripts.off(tokens(begun)), "the new scheduler takes over", wait=True
            )
        else:
            returns = [await handover.return_of(ownership) for ownership in begun]
            text = scripts.text(scripts.on(returns, in_time=True), "back to the old server")
            if shape is CRON and log is None:
                click.echo(
                    "It does not carry what ran here: --log-columns names the columns of the old c_LoggedJob."
                )
        request["script"].write_text(text, encoding="utf-8", newline="\n")
        if request["sqlcmd"] is not None:
            return True
        click.echo(
            f"{request['script']}: {humanize.count(len(begun), 'row')}. Run it there, keep what it prints, and go on"
            " with: --said FILE. Until then these jobs run on neither side once it has run."
        )
    return _print(handover.outcomes, as_json=request["as_json"])


def _print(outcomes: Sequence[Outcome], *, as_json: bool) -> bool:
    if as_json:
        print_json(list(outcomes))
    else:
        for outcome in outcomes:
            click.echo(
                as_shown(f"{'done' if outcome.done else 'LEFT'}  {outcome.job}: {outcome.said}")
            )
    return all(outcome.done for outcome in outcomes)


async def _smoke(scheduler: Scheduler, jobs: Sequence[str], *, beside: bool) -> bool:
    """Run each job once and wait for its end; return whether all succeeded. ``beside=True`` prints to stderr."""
    good = True
    for name in jobs:
        run_id = await scheduler.trigger(scheduler.key_of(name), by=operator())
        try:
            state = await scheduler.wait(run_id, _SMOKE_SECONDS)
        except TimeoutError as error:
            click.echo(as_shown(f"smoke {name}: {error}"), err=beside)
            good = False
        else:
            click.echo(f"smoke {name}: run {run_id} {humanize.STATE_WORDS[state]}", err=beside)
            good = good and state is RunState.SUCCEEDED
    return good


# ``targcc import-history``.


@click.command("import-history")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def import_history(file: Path) -> None:
    """Import the old server's run history into c_LoggedJob.

    FILE is the output of `targcc-gen import-legacy`, data/legacy_history.jsonl.gz. A second import adds only the missing
    rows.

    \b
    Example:
      targcc import-history data/legacy_history.jsonl.gz
    """
    chosen = settings()
    migrate(chosen.database_url)
    size = file.stat().st_size
    try:
        with click.progressbar(length=size, label="Loading", file=sys.stderr) as bar:
            loaded = load_history(
                chosen.database_url,
                file,
                by=operator(),
                progress=lambda at: bar.update(at - bar.pos),
            )
    except (HistoryError, OSError, EOFError, zlib.error) as error:
        raise CliError(f"{error}\n  Nothing was loaded.", code=HistoryError.code) from None
    click.echo(f"{loaded.added:,} runs added, {loaded.present:,} were there already")
    limit = datetime.now(UTC) - timedelta(days=chosen.history_days)
    if loaded.oldest is not None and loaded.oldest < limit:
        click.echo(
            f"Runs older than {chosen.history_days} days are removed in time, but for the last {chosen.history_keep} of each"
            f" job. The oldest is of {loaded.oldest:%Y-%m-%d}: TARGCC_HISTORY_DAYS says how long to keep them."
        )
