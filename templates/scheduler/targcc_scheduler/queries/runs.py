"""Reading runs: one, a page of them, those that run or wait, with their attempts, log lines and steps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..core.states import RunState
from ..storage.tables import job_log_line, job_run, job_step, logged_job
from .models import Attempt, LogLine, Run, Step, attempt_of, run_of

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
    """A comparison that ignores case; SQLite folds ASCII only, so other letters are also compared as they are."""
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
    """The running runs, the longest first."""
    statement = (
        sa.select(job_run)
        .where(job_run.c.State == RunState.RUNNING)
        .order_by(job_run.c.StartedAt, job_run.c.Id)
        .limit(100)
    )
    return tuple(run_of(row) for row in await connection.execute(statement))


async def waiting_runs(connection: AsyncConnection, limit: int = 50) -> tuple[Run, ...]:
    """The runs that wait for their time, their next attempt or a worker, the next due first."""
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
