# Managed by targcc-gen: regenerate merges your edits; `targcc-gen eject PATH` makes the file yours.
"""Every read that the dashboard, the REST API and the command line make of the scheduler's tables.

Each function takes an open connection and gives frozen values; none of them writes. Instants are aware and in UTC.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from .records import (
    Attempt,
    AuditEntry,
    LogLine,
    Pause,
    Queue,
    Run,
    Server,
    Step,
    attempt_of,
    pause_of,
    run_of,
)
from .states import RunState
from .tables import (
    job_audit,
    job_log_line,
    job_queue,
    job_run,
    job_schedule,
    job_server,
    job_step,
    logged_job,
)

_JOBS_A_STATEMENT = 100  # SQLite takes at most 500 parts of a UNION


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """Which runs to list.

    Args:
        since: Created at this instant or later.
        until: Created before this instant.
        text: Found in the job's name, the message or who started it, in any case.
        arguments_of: The jobs in whose arguments ``text`` is looked for too: those without secret ones.
        before: The id of the last run on the page before.
    """

    states: frozenset[RunState] = frozenset()
    job: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    text: str = ""
    arguments_of: frozenset[str] = frozenset()
    before: int | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True)
class RunPage:
    """Runs, newest first; ``next_before`` asks for the page after this one, ``None`` on the last."""

    runs: tuple[Run, ...]
    next_before: int | None


def like_pattern(text: str) -> str:
    """The LIKE pattern, escaped by a back-slash, that finds ``text`` anywhere."""
    for special in ("\\", "%", "_", "["):  # the bracket is SQL Server's
        text = text.replace(special, f"\\{special}")
    return f"%{text}%"


def _conditions(wanted: RunFilter) -> Iterator[sa.ColumnElement[bool]]:
    if wanted.states:
        yield job_run.c.State.in_(sorted(wanted.states))
    if wanted.job is not None:
        yield job_run.c.JobName == wanted.job
    if wanted.since is not None:
        yield job_run.c.CreatedAt >= wanted.since
    if wanted.until is not None:
        yield job_run.c.CreatedAt < wanted.until
    if wanted.before is not None:
        yield job_run.c.Id < wanted.before
    if wanted.text:
        columns = (job_run.c.JobName, job_run.c.Message, job_run.c.TriggeredBy)
        yield sa.or_(
            *(_contains(column, wanted.text) for column in columns),
            job_run.c.JobName.in_(sorted(wanted.arguments_of))
            & _contains(job_run.c.ArgumentsJson, wanted.text),
        )


def _contains(column: sa.Column[Any], text: str) -> sa.ColumnElement[bool]:
    """In any case; SQLite knows the two cases of ASCII only, so other letters are also looked for as they are."""
    return sa.or_(
        sa.func.lower(column).like(like_pattern(text.lower()), escape="\\"),
        column.like(like_pattern(text), escape="\\"),
    )


async def list_runs(connection: AsyncConnection, wanted: RunFilter) -> RunPage:
    """The runs that ``wanted`` describes, newest first, paged by key so that a page costs the same however deep it is."""
    statement = (
        sa.select(job_run)
        .where(*_conditions(wanted))
        .order_by(job_run.c.Id.desc())
        .limit(wanted.limit + 1)
    )
    rows = (await connection.execute(statement)).all()
    runs = tuple(run_of(row) for row in rows[: wanted.limit])
    return RunPage(runs, runs[-1].id if len(rows) > wanted.limit else None)


async def get_run(connection: AsyncConnection, run_id: int) -> Run | None:
    """One run, or ``None`` if there is none of that id (it may have been pruned)."""
    row = (await connection.execute(sa.select(job_run).where(job_run.c.Id == run_id))).one_or_none()
    return None if row is None else run_of(row)


async def running_runs(connection: AsyncConnection) -> tuple[Run, ...]:
    """What runs now, the longest first."""
    statement = (
        sa.select(job_run)
        .where(job_run.c.State == RunState.RUNNING)
        .order_by(job_run.c.StartedAt, job_run.c.Id)
        .limit(100)
    )
    return tuple(run_of(row) for row in await connection.execute(statement))


async def waiting_runs(connection: AsyncConnection, limit: int = 50) -> tuple[Run, ...]:
    """What waits for its time, its next attempt or a worker, the next due first."""
    statement = (
        sa.select(job_run)
        .where(job_run.c.State.in_((RunState.SCHEDULED, RunState.ENQUEUED, RunState.RETRYING)))
        .order_by(job_run.c.DueAt, job_run.c.Id)
        .limit(limit)
    )
    return tuple(run_of(row) for row in await connection.execute(statement))


async def recent_runs(
    connection: AsyncConnection, names: Iterable[str], each: int
) -> dict[str, tuple[Run, ...]]:
    """The last ``each`` runs of every named job, newest first; found by the index, however long the history is."""
    found: dict[str, list[Run]] = {name: [] for name in names}
    for part in _parts(list(found), _JOBS_A_STATEMENT):
        statement = sa.union_all(*(sa.select(_last_runs(name, each)) for name in part))
        for row in await connection.execute(statement):
            found[row.JobName].append(run_of(row))
    return {name: tuple(sorted(runs, key=lambda run: -run.id)) for name, runs in found.items()}


def _last_runs(name: str, count: int) -> sa.Subquery:
    return (
        sa.select(job_run)
        .where(job_run.c.JobName == name)
        .order_by(job_run.c.Id.desc())
        .limit(count)
        .subquery()
    )


def _parts(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


async def runs_between(
    connection: AsyncConnection, start: datetime, end: datetime, limit: int = 20_000
) -> list[tuple[str, RunState, datetime]]:
    """Job, state and time of what was created from ``start`` up to ``end``; of more than ``limit``, the newest."""
    c = job_run.c
    happened = sa.func.coalesce(c.StartedAt, c.ScheduledFor, c.DueAt, type_=c.DueAt.type)
    statement = (
        sa.select(c.JobName, c.State, happened.label("HappenedAt"))
        .where(c.CreatedAt >= start, c.CreatedAt < end)
        .order_by(c.CreatedAt.desc())
        .limit(limit)
    )
    rows = await connection.execute(statement)
    return [(row.JobName, RunState(row.State), row.HappenedAt) for row in rows]


async def known_jobs(connection: AsyncConnection) -> list[str]:
    """Every job that a run is kept of, in the code or not any more."""
    statement = sa.select(job_run.c.JobName).distinct().order_by(job_run.c.JobName)
    return list((await connection.execute(statement)).scalars())


async def attempts_of_run(connection: AsyncConnection, run: Run) -> tuple[Attempt, ...]:
    """The finished attempts of a run, the first one first."""
    statement = (
        sa.select(logged_job)
        .where(
            logged_job.c.JobName == run.job,
            logged_job.c.JobId == str(run.id),
            logged_job.c.StartedAt >= run.created_at - timedelta(minutes=1),  # lets the index help
        )
        .order_by(logged_job.c.Attempt, logged_job.c.ID)
    )
    return tuple(attempt_of(row) for row in await connection.execute(statement))


async def last_errors(connection: AsyncConnection, runs: Iterable[Run]) -> dict[int, Attempt]:
    """The last failed attempt of each of these runs, by run id."""
    errors = {}
    for run in runs:
        failed = [a for a in await attempts_of_run(connection, run) if not a.success]
        if failed:
            errors[run.id] = failed[-1]
    return errors


async def history(
    connection: AsyncConnection, job: str | None = None, limit: int = 50
) -> tuple[Attempt, ...]:
    """The last attempts in c_LoggedJob, of one job or of all, newest first."""
    statement = sa.select(logged_job).order_by(
        logged_job.c.StartedAt.desc(), logged_job.c.ID.desc()
    )
    if job is not None:
        statement = statement.where(logged_job.c.JobName == job)
    return tuple(attempt_of(row) for row in await connection.execute(statement.limit(limit)))


async def log_lines(
    connection: AsyncConnection, run_id: int, limit: int = 2000
) -> tuple[LogLine, ...]:
    """The last ``limit`` lines that a run wrote, oldest first."""
    c = job_log_line.c
    statement = sa.select(job_log_line).where(c.RunId == run_id).order_by(c.Id.desc()).limit(limit)
    rows = (await connection.execute(statement)).all()
    return tuple(LogLine(row.Attempt, row.At, row.Level, row.Message) for row in reversed(rows))


async def steps(connection: AsyncConnection, run_id: int) -> tuple[Step, ...]:
    """The finished steps of a run, in the order they finished."""
    c = job_step.c
    statement = (
        sa.select(c.Name, c.Attempt, c.CompletedAt, c.DurationMs)
        .where(c.RunId == run_id)
        .order_by(c.CompletedAt, c.Name)
    )
    return tuple(
        Step(row.Name, row.Attempt, row.CompletedAt, row.DurationMs)
        for row in await connection.execute(statement)
    )


async def pauses(connection: AsyncConnection, now: datetime) -> dict[str, Pause]:
    """The jobs that are paused at ``now``."""
    statement = sa.select(job_schedule).where(job_schedule.c.PausedAt.is_not(None))
    found = {row.JobName: pause_of(row, now) for row in await connection.execute(statement)}
    return {name: pause for name, pause in found.items() if pause is not None}


async def servers(connection: AsyncConnection) -> tuple[Server, ...]:
    """The nodes, with how many runs each has in hand."""
    busy = await _count_by(connection, job_run.c.ServerId, job_run.c.State == RunState.RUNNING)
    rows = await connection.execute(sa.select(job_server).order_by(job_server.c.StartedAt))
    return tuple(
        Server(
            id=row.Id,
            name=row.Name,
            process_id=row.ProcessId,
            queues=tuple(name.strip() for name in row.Queues.split(",") if name.strip()),
            workers=row.Workers,
            version=row.Version,
            started_at=row.StartedAt,
            heartbeat_at=row.HeartbeatAt,
            stopping_at=row.StoppingAt,
            running=busy.get(row.Id, 0),
        )
        for row in rows
    )


async def _count_by(
    connection: AsyncConnection, column: sa.ColumnElement[Any], *where: sa.ColumnElement[bool]
) -> dict[Any, int]:
    statement = sa.select(column, sa.func.count()).where(*where).group_by(column)
    return {row[0]: row[1] for row in await connection.execute(statement)}


async def queues(
    connection: AsyncConnection, names: Iterable[str], now: datetime
) -> tuple[Queue, ...]:
    """The queues in ``names`` and any other that runs wait in or that is paused."""
    c = job_run.c
    active = [RunState.SCHEDULED, RunState.ENQUEUED, RunState.RETRYING, RunState.RUNNING]
    statement = (
        sa.select(c.Queue, c.State, sa.func.count(), sa.func.min(c.DueAt, type_=c.DueAt.type))
        .where(c.State.in_(active))
        .group_by(c.Queue, c.State)
    )
    counts: dict[tuple[str, str], int] = {}
    oldest: dict[str, datetime] = {}
    for queue, state, count, due in await connection.execute(statement):
        counts[queue, state] = count
        if state == RunState.ENQUEUED:
            oldest[queue] = due
    rows = (await connection.execute(sa.select(job_queue))).all()
    paused = {row.Name: pause for row in rows if (pause := pause_of(row, now)) is not None}
    every = [*dict.fromkeys([*names, *sorted({*paused, *(name for name, _ in counts)})])]
    return tuple(
        Queue(
            name=name,
            waiting=counts.get((name, RunState.ENQUEUED), 0),
            scheduled=counts.get((name, RunState.SCHEDULED), 0),
            retrying=counts.get((name, RunState.RETRYING), 0),
            running=counts.get((name, RunState.RUNNING), 0),
            oldest_due=oldest.get(name),
            pause=paused.get(name),
        )
        for name in every
    )


async def audit(
    connection: AsyncConnection,
    *,
    job: str | None = None,
    run_id: int | None = None,
    before: int | None = None,
    without: Sequence[str] = (),
    limit: int = 50,
) -> tuple[AuditEntry, ...]:
    """Who did what, newest first; of one job or run if one is named; ``without`` some actions."""
    c = job_audit.c
    statement = sa.select(job_audit).order_by(c.Id.desc()).limit(limit)
    if without:
        statement = statement.where(c.Action.not_in(without))
    for column, value in ((c.JobName, job), (c.RunId, run_id)):
        if value is not None:
            statement = statement.where(column == value)
    if before is not None:
        statement = statement.where(c.Id < before)
    return tuple(
        AuditEntry(
            row.Id,
            row.At,
            row.Actor,
            row.Action,
            row.JobName,
            row.RunId,
            row.Detail,
            row.RemoteAddress,
        )
        for row in await connection.execute(statement)
    )
