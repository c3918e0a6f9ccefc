"""Make the plan of a cut-over and show its status."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.errors import CutoverError
from ...core.states import RunState
from ...core.version import __version__
from ...db.tables import job_audit, job_run
from ...kernel import job_owner as owners
from ...kernel import pauses
from ...kernel.job_owner import Owner, Ownership, Step
from ...kernel.jobs.definition import JobDefinition
from ...kernel.node import slots
from ...kernel.queries import runs as run_queries
from ...kernel.queries import system
from ...kernel.queries.models import Run
from ...scheduler import Scheduler
from .cutover import BY_SCRIPT, due_slot
from .old_server import OldRow, OldServer
from .owning import Moving

# Plan: checks before a cut-over, and the order of the jobs, one runner of the old server after the other.

_INSTANT = timedelta(microseconds=1)
_SECOND, _MINUTE = timedelta(seconds=1), timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Check:
    """Result of one check: ``ok``, ``stop`` (prevents the cut-over) or ``look`` (a person has to decide)."""

    verdict: Literal["ok", "look", "stop"]
    said: str


@dataclass(frozen=True, slots=True)
class JobPlan:
    """Job that the old server still runs.

    Args:
        owned: Owner row of the job.
        old_next: Next run on the old server.
        new_next: First run here at or after ``old_next``, or after now if ``old_next`` is unknown.
    """

    owned: Ownership
    old_next: datetime | None
    new_next: datetime | None


@dataclass(frozen=True, slots=True)
class Plan:
    """Checks, and the jobs by runner in the order of the cut-over."""

    checks: tuple[Check, ...]
    runners: Mapping[str, tuple[JobPlan, ...]]

    @property
    def ready(self) -> bool:
        """Return whether no check prevents the cut-over."""
        return all(check.verdict != "stop" for check in self.checks)


async def make_plan(
    scheduler: Scheduler, old: OldServer | None, imported: Sequence[Moving]
) -> Plan:
    """Check both sides and plan the cut-over; changes nothing.

    Args:
        scheduler: This scheduler.
        old: The old server; ``None`` if no database URL is set.
        imported: Jobs that the import listed.
    """
    owned = await scheduler.read(owners.load)
    old_rows, checks = await _old_side(old)
    checks += [*await _this_side(scheduler, owned, imported)]
    checks += _rows(owned, old_rows)
    moving = [ownership for ownership in owned.values() if ownership.owner is not Owner.NEW]
    plans = [_job_plan(scheduler, ownership, old_rows) for ownership in moving]
    checks += _next_runs(plans, scheduler.clock.now())
    return Plan(tuple(checks), by_runner(plans))


def by_runner(plans: Iterable[JobPlan]) -> dict[str, tuple[JobPlan, ...]]:
    """Group job plans by runner of the old server; runners and jobs are sorted by name."""
    groups: dict[str, list[JobPlan]] = {}
    for job_plan in sorted(plans, key=lambda plan: (plan.owned.runner or "", plan.owned.job)):
        groups.setdefault(job_plan.owned.runner or "", []).append(job_plan)
    return {runner: tuple(jobs) for runner, jobs in groups.items()}


async def _old_side(old: OldServer | None) -> tuple[dict[str, OldRow], list[Check]]:
    if old is None:
        text = "TARGCC_CUTOVER_URL is not set: the scripts of --script have to be run there by hand"
        return {}, [Check("look", text)]
    try:
        old_rows = await asyncio.to_thread(old.rows)
    except CutoverError as error:
        return {}, [Check("stop", str(error))]
    active = sum(row.active for row in old_rows.values())
    word = old.shape.word
    checks = [
        Check("ok", f"the old table ({word}) has {len(old_rows)} rows, {active} of them active")
    ]
    if old.not_logged:
        text = f"runs from here will not be in its c_LoggedJob after a way back: {old.not_logged}"
        checks.append(Check("look", text))
    return old_rows, checks


async def _this_side(
    scheduler: Scheduler, owned: Mapping[str, Ownership], imported: Sequence[Moving]
) -> list[Check]:
    checks = []
    servers = await scheduler.read(system.read_servers)
    if not servers:
        checks.append(Check("stop", "no server is up here: targcc serve, or targcc worker"))
    elif others := sorted({item.version for item in servers} - {__version__}):
        text = f"servers of version {', '.join(others)} are up: only {__version__} is known to obey owners"
        checks.append(Check("stop", text))
    else:
        checks.append(Check("ok", f"{len(servers)} of this scheduler's servers are up"))
    if not owned:
        checks.append(
            Check("stop", "no job has an owner: targcc owner import says which the old server runs")
        )
    if missing := [item.job for item in imported if item.job not in owned]:
        checks.append(
            Check("stop", f"imported and without an owner: {_names(missing)}: targcc owner import")
        )
    if gone := [job for job in owned if job not in scheduler.definitions]:
        checks.append(Check("stop", f"not among the jobs here: {_names(gone)}"))
    schedules = await scheduler.read(slots.load)
    fresh = [
        job
        for job in owned
        if (definition := scheduler.definitions.get(job)) is not None
        and definition.schedule is not None
        and job not in schedules
    ]
    if fresh:
        checks.append(Check("stop", f"no server has seen the schedule of {_names(fresh)} yet"))
    if paused := [
        job for job in owned if job in schedules and schedules[job].is_paused(scheduler.clock.now())
    ]:
        checks.append(
            Check(
                "look", f"paused here, and so they will not run after the switch: {_names(paused)}"
            )
        )
    return checks


def _rows(owned: Mapping[str, Ownership], old_rows: Mapping[str, OldRow]) -> list[Check]:
    checks: list[Check] = []
    if not old_rows:
        return checks
    without = [ownership.job for ownership in owned.values() if ownership.old_key is None]
    if without:
        checks.append(Check("stop", f"the row in the old table is not known: {_names(without)}"))
    keys = {ownership.old_key: ownership for ownership in owned.values()}
    if staying := sorted(
        row.name for key, row in old_rows.items() if row.active and key not in keys
    ):
        checks.append(Check("look", f"active there, and staying there: {_names(staying)}"))
    off = [
        ownership.job
        for key, ownership in keys.items()
        if key
        and ownership.owner is not Owner.NEW
        and not (key in old_rows and old_rows[key].active)
    ]
    if off:
        checks.append(Check("stop", f"not active there, and not run here either: {_names(off)}"))
    if busy := sorted(
        ownership.job
        for key, ownership in keys.items()
        if key and key in old_rows and old_rows[key].running
    ):
        checks.append(
            Check("look", f"running there right now, so not yet to be taken: {_names(busy)}")
        )
    return checks


def _job_plan(scheduler: Scheduler, owner: Ownership, old_rows: Mapping[str, OldRow]) -> JobPlan:
    row = old_rows.get(str(owner.old_key))
    old_next = row.next_run if row is not None and row.active else None
    definition = scheduler.definitions.get(owner.job)
    at = old_next or scheduler.clock.now()
    if definition is not None and row is not None and old_next is not None:
        at = due_slot(definition, old_next, row.last_run)
    return JobPlan(owner, old_next, _new_next(definition, at))


def _new_next(definition: JobDefinition | None, at: datetime) -> datetime | None:
    if definition is None or definition.schedule is None:
        return None
    if definition.schedule.previous(at, definition.timezone) is None:
        return at
    return definition.schedule.next(at - _INSTANT, definition.timezone)


def _next_runs(plans: Sequence[JobPlan], now: datetime) -> list[Check]:
    checks = []
    if due := [plan.owned.job for plan in plans if plan.old_next and plan.old_next <= now]:
        text = f"due there now; a switch before the old server begins them runs them here, once: {_names(due)}"
        checks.append(Check("look", text))
    other = [
        plan.owned.job
        for plan in plans
        if plan.old_next is not None
        and plan.new_next is not None
        and not -_SECOND <= plan.old_next - plan.new_next < _MINUTE
    ]
    if other:
        checks.append(Check("look", f"the next run here is another than there: {_names(other)}"))
    elif plans:
        checks.append(Check("ok", "the next runs of both sides agree"))
    return checks


def _names(names: Sequence[str], most: int = 10) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


# Status: each job's state on both sides, alarms, and the first runs in this scheduler.

WATCHED = timedelta(days=1)
"""Time for which a job stays on the watch list after its move to this scheduler."""
_LATE = timedelta(minutes=2)

Side = Literal["old", "new", "neither", "both", "unknown"]


@dataclass(frozen=True, slots=True)
class Standing:
    """Status of one job.

    Args:
        owned: Owner row of the job.
        side: Side that runs the job by both databases; ``unknown`` if the old database was not read.
        alarm: Problem and remedy; empty if there is no problem.
        old_next: Next run on the old server.
    """

    owned: Ownership
    side: Side
    alarm: str
    old_next: datetime | None


@dataclass(frozen=True, slots=True)
class Watched:
    """Job in its first day in this scheduler.

    Args:
        owned: Owner row of the job; ``since`` is the time of the move.
        runs: Runs since the move, newest first, at most 50.
        alarm: The problem; empty if there is no problem.
    """

    owned: Ownership
    runs: tuple[Run, ...]
    alarm: str


async def standings(
    connection: AsyncConnection, old: Mapping[str, OldRow] | None
) -> list[Standing]:
    """Return the status of every job that has an owner row.

    Args:
        connection: Connection to this scheduler's database.
        old: Rows of the old table by ID; ``None`` if the old server was not read.
    """
    owned = (await owners.load(connection)).values()
    scripts = await _scripts(connection, [item.job for item in owned if item.step is not None])
    return [_standing(item, old, scripts.get(item.job, "its script")) for item in owned]


async def _scripts(connection: AsyncConnection, jobs: Sequence[str]) -> dict[str, str]:
    """Return the script of each unfinished switch whose output is awaited, by the newest audit entry of the job."""
    if not jobs:
        return {}
    c = job_audit.c
    newest = sa.select(sa.func.max(c.Id)).where(c.JobName.in_(jobs)).group_by(c.JobName)
    rows = await connection.execute(sa.select(c.JobName, c.Detail).where(c.Id.in_(newest)))
    return {job: detail.rpartition(BY_SCRIPT)[2] for job, detail in rows if BY_SCRIPT in detail}


def _standing(owner: Ownership, old: Mapping[str, OldRow] | None, script: str) -> Standing:
    row = old.get(str(owner.old_key)) if old is not None else None
    alarm = f"off on both sides: repeat {owner.step.command}" if owner.step is not None else ""
    if old is None:
        if owner.step is not None:
            alarm += f", or give {owner.step.command} --said the output of {script} for row {owner.old_key}"
        return Standing(owner, "neither" if owner.step else "unknown", alarm, None)
    active = row is not None and row.active
    here = owner.owner is Owner.NEW
    side: Side = "both" if active and here else "old" if active else "new" if here else "neither"
    if owner.step is Step.RETURNING and active:
        alarm = "it is on at the old server, and only that is not noted: repeat targcc cutover back"
    elif owner.step is Step.TAKING and active:
        alarm = "it was begun and nothing has changed yet: repeat targcc cutover start"
    elif not alarm:
        alarm = _wrong(owner, row, side)
    return Standing(owner, side, alarm, row.next_run if row is not None and active else None)


def _wrong(owner: Ownership, row: OldRow | None, side: Side) -> str:
    key = owner.old_key or "?"
    if owner.old_key is None:
        return ""
    if side == "both":
        return (
            f"LIVE ON BOTH SIDES: row {key} is active again (a run-now on an old screen does that): "
            "switch it off there, or targcc owner set it to old"
        )
    if side != "neither":
        return ""
    if row is None:
        return (
            f"the old server has no row {key}, and it does not run here: targcc owner set it to new"
        )
    return f"runs nowhere: row {key} was switched off there, and its owner here is {owner.owner}"


async def watch_list(connection: AsyncConnection, now: datetime) -> list[Watched]:
    """Return the jobs that moved to this scheduler within a day; jobs with an alarm come first."""
    owned = [
        ownership
        for ownership in (await owners.load(connection)).values()
        if ownership.owner is Owner.NEW
        and ownership.old_key is not None
        and ownership.since > now - WATCHED
    ]
    names = [ownership.job for ownership in owned]
    recent = await run_queries.recent_runs(connection, names, 50)
    failures: dict[str, list[Run]] = {name: [] for name in names}
    for state in (RunState.FAILED, RunState.MISSED):
        newest = await run_queries.recent_runs(connection, names, 1, job_run.c.State == state)
        for name, runs in newest.items():
            failures[name] += runs
    paused = await pauses.paused_jobs(connection, now)
    watched = [
        _watched(
            ownership,
            recent[ownership.job],
            failures[ownership.job],
            now,
            is_paused=ownership.job in paused,
        )
        for ownership in owned
    ]
    return sorted(watched, key=lambda item: (not item.alarm, item.owned.next_slot or now))


def _counts(run: Run, since: datetime) -> bool:
    """Return whether a failed or missed run is a problem here: slots that passed before the move were the old server's."""
    backlog = (
        run.state is RunState.MISSED and run.scheduled_for is not None and run.scheduled_for < since
    )
    return run.created_at >= since and not backlog


def _watched(
    owner: Ownership,
    recent: tuple[Run, ...],
    failures: Sequence[Run],
    now: datetime,
    *,
    is_paused: bool,
) -> Watched:
    runs = tuple(run for run in recent if run.created_at >= owner.since)
    bad = sorted((run for run in failures if _counts(run, owner.since)), key=lambda run: -run.id)
    alarm = ""
    if bad:
        alarm = f"run {bad[0].id} {bad[0].state}"
    elif is_paused:
        alarm = "paused here, and off there: its slots pass"
    elif owner.next_slot is not None and owner.next_slot + _LATE < now and not runs:
        alarm = "its first slot has passed and nothing has run"
    return Watched(owner, runs, alarm)
