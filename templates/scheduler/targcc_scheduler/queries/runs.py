"""Reading runs: one, a page of them, those that run or wait, with their attempts, log lines and steps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.util import ClauseAdapter

from ..core.states import WAITING, RunState
from ..storage.failures.groups import is_open
from ..storage.tables import job_log_line, job_run, job_step, logged_job
from .models import Attempt, LogLine, Run, Step, attempt_of, run_of

_SKEW = timedelta(hours=1)
"""How far ids and times may be out of step: nodes have clocks of their own, and transactions take their time."""
_LAST_ID = 2**63 - 1
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
        queue: In this queue.
        cause: Failed of this cause.
        open: Failed or missed, and nobody has done anything about it.
        ids: Only these.
    """

    states: frozenset[RunState] = frozenset()
    job: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    text: str = ""
    arguments_of: frozenset[str] = frozenset()
    before: int | None = None
    limit: int = 50
    queue: str | None = None
    cause: str | None = None
    open: bool = False
    ids: frozenset[int] = frozenset()


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


def conditions(wanted: RunFilter) -> Iterator[sa.ColumnElement[bool]]:
    """What a run has to meet, but for its state."""
    if wanted.job is not None:
        yield job_run.c.JobName == wanted.job
    if wanted.queue is not None:
        yield job_run.c.Queue == wanted.queue
    if wanted.cause is not None:
        yield job_run.c.Cause == wanted.cause
    if wanted.open:
        yield from is_open()
    if wanted.ids:
        yield job_run.c.Id.in_(sorted(wanted.ids))
    if wanted.since is not None:
        yield job_run.c.CreatedAt >= wanted.since
        yield job_run.c.Id >= _last_before(wanted.since - _SKEW)
    if wanted.until is not None:
        yield job_run.c.CreatedAt < wanted.until
        yield job_run.c.Id <= _first_from(wanted.until + _SKEW)
    if wanted.before is not None:
        yield job_run.c.Id < wanted.before
    if wanted.text:
        columns = (job_run.c.JobName, job_run.c.Message, job_run.c.TriggeredBy)
        yield sa.or_(
            *(_contains(column, wanted.text) for column in columns),
            job_run.c.JobName.in_(sorted(wanted.arguments_of))
            & _contains(job_run.c.ArgumentsJson, wanted.text),
        )


def _last_before(instant: datetime) -> sa.ColumnElement[int]:
    """The id of the last run from before a time, by the index of times: so a page of long ago is not sought from the newest run on."""
    c = job_run.alias().c
    near = sa.select(c.Id).where(c.CreatedAt < instant).order_by(c.CreatedAt.desc()).limit(1)
    return sa.func.coalesce(near.scalar_subquery(), 0)


def _first_from(instant: datetime) -> sa.ColumnElement[int]:
    """The id of the first run from a time on."""
    c = job_run.alias().c
    near = sa.select(c.Id).where(c.CreatedAt >= instant).order_by(c.CreatedAt).limit(1)
    return sa.func.coalesce(near.scalar_subquery(), _LAST_ID)


def _contains(column: sa.Column[Any], text: str) -> sa.ColumnElement[bool]:
    """A comparison that ignores case; SQLite folds ASCII only, so other letters are also compared as they are."""
    return sa.or_(
        sa.func.lower(column).like(like_pattern(text.lower()), escape="\\"),
        column.like(like_pattern(text), escape="\\"),
    )


async def list_runs(connection: AsyncConnection, wanted: RunFilter) -> RunPage:
    """The runs that ``wanted`` describes, newest first, paged by key so that a page costs the same however deep it is."""
    where = list(conditions(wanted))
    among = [[job_run.c.State == state] for state in sorted(wanted.states)] or [[]]
    parts = [sa.select(job_run).where(*where, *state) for state in among]
    statement = _first_of(parts, [job_run.c.Id.desc()], wanted.limit + 1)
    rows = (await connection.execute(statement)).all()
    runs = tuple(run_of(row) for row in rows[: wanted.limit])
    return RunPage(runs, runs[-1].id if len(rows) > wanted.limit else None)


def _first_of(
    parts: Sequence[sa.Select[Any]], order: Sequence[sa.UnaryExpression[Any]], limit: int
) -> sa.Select[Any]:
    """The first rows of several selections, such as one for each state: each finds its own first rows by the index."""
    if len(parts) == 1:
        return parts[0].order_by(*order).limit(limit)
    firsts = [sa.select(part.order_by(*order).limit(limit).subquery()) for part in parts]
    every = sa.union_all(*firsts).subquery()
    outer = ClauseAdapter(every)
    return sa.select(every).order_by(*(outer.traverse(column) for column in order)).limit(limit)


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
    c = job_run.c
    parts = [sa.select(job_run).where(c.State == state) for state in sorted(WAITING)]
    statement = _first_of(parts, [c.DueAt.asc(), c.Id.asc()], limit)
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
    connection: AsyncConnection, run_id: int, limit: int = 2000, before: int | None = None
) -> tuple[LogLine, ...]:
    """The last ``limit`` lines that a run wrote, or those before a line, oldest first."""
    c = job_log_line.c
    statement = sa.select(job_log_line).where(c.RunId == run_id).order_by(c.Id.desc()).limit(limit)
    if before is not None:
        statement = statement.where(c.Id < before)
    rows = (await connection.execute(statement)).all()
    return tuple(
        LogLine(row.Id, row.Attempt, row.At, row.Level, row.Message) for row in reversed(rows)
    )


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
