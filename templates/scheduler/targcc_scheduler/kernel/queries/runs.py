"""Read runs with attempts, log lines, files and steps; read changes for open streams."""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from operator import attrgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.errors import UnknownFile
from ...core.states import FINAL, WAITING, RunState
from ...db.dialects import known
from ...db.tables import job_log_line, job_run, job_step, logged_job
from .. import blobs
from ..blobs import Blob
from ..jobs.files import ContentKind
from .models import Attempt, LogLine, RecentRun, Run, RunInState, Step, attempt_of, life_of, run_of
from .run_search import first_of

# Runs: single, running, waiting or recent, with attempts, log lines, files and steps.

_FILES = {ContentKind.FILE, ContentKind.RESULT}


async def get_run(connection: AsyncConnection, run_id: int) -> Run | None:
    """Return a run; ``None`` for an unknown id, such as a pruned run's id."""
    row = (await connection.execute(sa.select(job_run).where(job_run.c.Id == run_id))).one_or_none()
    return None if row is None else run_of(row)


async def get_runs(connection: AsyncConnection, run_ids: Collection[int]) -> dict[int, Run]:
    """Map run ids to runs; omit unknown ids."""
    if not run_ids:
        return {}
    among = known.of(connection).among(job_run.c.Id, sorted(run_ids))
    rows = await connection.execute(sa.select(job_run).where(among))
    return {row.Id: run_of(row) for row in rows}


async def jobs_of(connection: AsyncConnection, run_ids: Collection[int]) -> dict[int, str]:
    """Map run ids to job names; omit unknown ids."""
    c = job_run.c
    among = known.of(connection).among(c.Id, sorted(run_ids))
    return {
        row.Id: row.JobName
        for row in await connection.execute(sa.select(c.Id, c.JobName).where(among))
    }


async def are_any(connection: AsyncConnection) -> bool:
    """Return whether any run is stored."""
    return await connection.scalar(sa.select(job_run.c.Id).limit(1)) is not None


async def running_runs(connection: AsyncConnection) -> tuple[Run, ...]:
    """Return the running runs, at most 100, longest-running first."""
    statement = (
        sa.select(job_run)
        .where(job_run.c.State == RunState.RUNNING)
        .order_by(job_run.c.StartedAt, job_run.c.Id)
        .limit(100)
    )
    return tuple(run_of(row) for row in await connection.execute(statement))


async def waiting_runs(connection: AsyncConnection) -> tuple[Run, ...]:
    """Return the first runs that wait for their due time, a retry or a worker, at most 50, sorted by due time."""
    return tuple(run_of(row) for row in await connection.execute(_waiting()))


@cache
def _waiting() -> sa.Select[Any]:
    """Build the statement once: its subqueries have hundreds of columns."""
    c = job_run.c
    parts = [sa.select(job_run).where(c.State == state) for state in sorted(WAITING)]
    return first_of(parts, [c.DueAt.asc(), c.Id.asc()], 50)


async def active_jobs(connection: AsyncConnection) -> set[str]:
    """Return the jobs with runs that are running or wait for a retry."""
    c = job_run.c
    active = sa.select(c.JobName).where(c.State.in_([RunState.RUNNING, RunState.RETRYING]))
    return set(await connection.scalars(active.distinct()))


async def recent_runs(
    connection: AsyncConnection, names: Iterable[str], each: int, *where: sa.ColumnElement[bool]
) -> dict[str, tuple[Run, ...]]:
    """Map each named job to its last ``each`` runs that meet ``where``, newest first. The cost does not grow with the history: an index is read."""
    rows = await _newest(connection, list(job_run.c), names, each, where)
    return {name: tuple(map(run_of, newest)) for name, newest in rows.items()}


_STATE_AND_TIMES = [
    job_run.c[name] for name in ("Id", "JobName", "State", "DueAt", "StartedAt", "CompletedAt")
]


async def recent_outcomes(
    connection: AsyncConnection, names: Iterable[str], each: int, *where: sa.ColumnElement[bool]
) -> dict[str, tuple[RecentRun, ...]]:
    """Map each named job to its last runs as :func:`recent_runs` does, with state and times only: a quarter of the time."""
    rows = await _newest(connection, _STATE_AND_TIMES, names, each, where)
    return {name: tuple(map(_recent_run, newest)) for name, newest in rows.items()}


def _recent_run(row: sa.Row[Any]) -> RecentRun:
    run_id, job, state, due_at, started_at, completed_at = tuple(row)
    return RecentRun(run_id, job, _STATES[state], due_at, started_at, completed_at)


async def outcomes(connection: AsyncConnection, run_ids: Collection[int]) -> list[RecentRun]:
    """Return runs with state and times, newest first; omit unknown ids."""
    if not run_ids:
        return []
    among = known.of(connection).among(job_run.c.Id, sorted(run_ids))
    rows = (await connection.execute(sa.select(*_STATE_AND_TIMES).where(among))).all()
    return [_recent_run(row) for row in sorted(rows, key=_by_id, reverse=True)]


_ANY_ID = 1 << 62
_STATES = {str(state): state for state in RunState}
"""The states by name: a list of jobs looks up thousands, and a call of the enumeration takes ten times as long."""


async def newest_states(
    connection: AsyncConnection, jobs: Iterable[str] | Mapping[str, int], each: int, *states: str
) -> dict[str, tuple[RunInState, ...]]:
    """Map each job to its newest runs with their states, newest first, in one statement with a row for each job.

    Args:
        connection: The database.
        jobs: The jobs; in a mapping, each with a number that is greater than the ids of its runs.
        each: Limit of runs per job, and per state if states are given.
        states: Return runs in these states only. Default: any state.
    """
    below = jobs if isinstance(jobs, Mapping) else dict.fromkeys(jobs, _ANY_ID)
    if not below:
        return {}
    statement = known.of(connection).newest_states(below, each, states or [None])
    rows = (await connection.execute(statement)).all()
    listed = ",".join(text or "[]" for _, *texts in rows for text in texts)
    lists = iter(json.loads(f"[{listed}]"))  # at once: a call takes longer than a short list
    return {
        job: tuple(
            sorted(
                [
                    RunInState(run_id, _STATES[state], at)
                    for runs in itertools.islice(lists, len(texts))
                    for run_id, state, at in runs
                ],
                reverse=True,
            )
        )
        for job, *texts in rows
    }


async def _newest(
    connection: AsyncConnection,
    columns: Sequence[sa.Column[Any]],
    names: Iterable[str],
    each: int,
    where: Sequence[sa.ColumnElement[bool]],
) -> dict[str, list[sa.Row[Any]]]:
    """Map each named job to the rows of its last runs, newest first."""
    rows_by_job: dict[str, list[sa.Row[Any]]] = {name: [] for name in names}
    if not rows_by_job:
        return {}
    statement = known.of(connection).newest_each(columns, list(rows_by_job), each, where)
    for row in (await connection.execute(statement)).all():
        rows_by_job[row.JobName].append(row)
    for rows in rows_by_job.values():
        rows.sort(key=_by_id, reverse=True)
    return rows_by_job


_by_id = attrgetter("Id")


async def attempts_of_run(connection: AsyncConnection, run: Run) -> tuple[Attempt, ...]:
    """Return a run's finished attempts, first attempt first."""
    statement = (
        sa.select(logged_job)
        .where(
            logged_job.c.JobId == str(run.id),
            logged_job.c.StartedAt >= run.created_at - timedelta(minutes=1),  # skips old months
        )
        .order_by(logged_job.c.Attempt, logged_job.c.ID)
    )
    rows = await connection.execute(statement)  # not in SQL: SQLite would use the job's index
    return tuple(attempt_of(row) for row in rows if row.JobName == run.job)


async def with_attempts(
    connection: AsyncConnection, run_id: int
) -> tuple[Run, tuple[Attempt, ...]] | None:
    """Return a run and its finished attempts, of one moment: a run that is over has all of them. ``None``: there is no such run."""
    run = await get_run(connection, run_id)
    while run is not None:
        attempts = await attempts_of_run(connection, run)
        if not attempts or run.state in FINAL:
            return run, attempts
        again = await get_run(connection, run_id)  # an attempt may have ended between the queries
        if again is not None and (again.state, again.attempt) == (run.state, run.attempt):
            return run, attempts
        run = again
    return None


async def log_lines(
    connection: AsyncConnection, run_id: int, limit: int = 2000, before: int | None = None
) -> tuple[LogLine, ...]:
    """Return the last ``limit`` log lines from a run, or the last before the line ``before``, oldest first."""
    c = job_log_line.c
    statement = sa.select(job_log_line).where(c.RunId == run_id).order_by(c.Id.desc()).limit(limit)
    if before is not None:
        statement = statement.where(c.Id < before)
    rows = (await connection.execute(statement)).all()
    return tuple(
        LogLine(row.Id, row.Attempt, row.At, row.Level, row.Message) for row in reversed(rows)
    )


async def files(connection: AsyncConnection, run_id: int) -> list[Blob]:
    """Return a run's files that people may download: file arguments and attachments."""
    return [blob for blob in await blobs.of_run(connection, run_id) if blob.kind in _FILES]


async def find_file(connection: AsyncConnection, run_id: int, file_id: str) -> tuple[Run, Blob]:
    """Find a run's file; return the run and the file.

    Raises:
        UnknownFile: The run does not exist, or has no such file.
    """
    run = await get_run(connection, run_id)
    run_files = await files(connection, run_id) if run is not None else []
    file = next((blob for blob in run_files if blob.id == file_id), None)
    if run is None or file is None:
        raise UnknownFile(f"run {run_id} has no such file; files go with their runs")
    return run, file


async def steps(connection: AsyncConnection, run_id: int) -> tuple[Step, ...]:
    """Return a run's finished steps, in the order of completion."""
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


# Updates for people who watch single runs: state, progress, and new log lines.


@dataclass(frozen=True, slots=True)
class RunStatus:
    """A run's state and progress."""

    id: int
    job: str
    queue: str
    state: RunState
    attempt: int
    progress_done: float | None
    progress_total: float | None
    message: str | None
    started_at: datetime | None
    completed_at: datetime | None

    @property
    def final(self) -> bool:
        """Whether the run has ended: its state no longer changes."""
        return self.state in FINAL


async def statuses(connection: AsyncConnection, ids: Collection[int]) -> dict[int, RunStatus]:
    """Map run ids to state and progress; omit unknown ids."""
    c = job_run.c
    rows = await connection.execute(
        sa.select(c.Id, c.JobName, c.Queue, c.State, c.Attempt, c.ProgressDone, c.ProgressTotal)
        .add_columns(c.Message, c.StartedAt, c.CompletedAt)
        .where(known.of(connection).among(c.Id, list(ids)))
    )
    return {
        row.Id: RunStatus(
            id=row.Id,
            job=row.JobName,
            queue=row.Queue,
            state=RunState(row.State),
            attempt=row.Attempt,
            progress_done=row.ProgressDone,
            progress_total=row.ProgressTotal,
            message=row.Message,
            started_at=row.StartedAt,
            completed_at=row.CompletedAt,
        )
        for row in rows
    }


async def lines_after(
    connection: AsyncConnection, run_id: int, after: int, limit: int
) -> tuple[LogLine, ...]:
    """Return the next ``limit`` log lines from a run after the line with id ``after``, oldest first."""
    c = job_log_line.c
    statement = (
        sa.select(c.Id, c.Attempt, c.At, c.Level, c.Message)
        .where(c.RunId == run_id, c.Id > after)
        .order_by(c.Id)
        .limit(limit)
    )
    return tuple(LogLine(*row) for row in await connection.execute(statement))


# Changes in all runs: the lines in state histories since an instant.

MOST = 1_000
"""Maximum runs in each query by :func:`changes_since`."""
_c = job_run.c


@dataclass(frozen=True, slots=True)
class Change:
    """A change in a run's state.

    Args:
        run_id: The run's id.
        job: The run's job.
        queue: The run's queue.
        state: The new state.
        at: The instant when the state changed.
        note: The note in the state history.
    """

    run_id: int
    job: str
    queue: str
    state: RunState
    at: datetime
    note: str

    @property
    def key(self) -> str:
        """The key that a reconnecting reader sends to continue after this change."""
        return f"{self.at.isoformat()}~{self.run_id}~{self.state}"


@dataclass(frozen=True, slots=True)
class Changes:
    """A page with changes.

    Args:
        found: The changes, oldest first.
        until: The instant from which to read the next page; ``None`` after the last page.
    """

    found: tuple[Change, ...]
    until: datetime | None


async def changes_since(connection: AsyncConnection, since: datetime) -> Changes:
    """Return the state changes since an instant: for ended runs, new runs, and runs that are running or wait for a retry.

    Changes in a waiting run, such as becoming due or being handed back, appear once the run starts.
    """
    ended = await _rows(connection, _c.CompletedAt, _c.CompletedAt >= since, _c.CompletedAt)
    made = await _rows(connection, _c.CreatedAt, _c.CreatedAt >= since, _c.CreatedAt)
    active = _c.State.in_([RunState.RUNNING, RunState.RETRYING])
    going = await _rows(connection, _c.CreatedAt, active, _c.Id.desc())
    runs = {row.Id: row for row in (*ended, *made, *going)}
    changes = sorted(
        (one for row in runs.values() for one in _changes(row) if one.at >= since),
        key=lambda one: (one.at, one.run_id),
    )
    full = [rows[-1].At for rows in (ended, made) if len(rows) == MOST]
    return Changes(tuple(changes), min(full, default=None))


async def _rows(
    connection: AsyncConnection,
    at: sa.Column[Any],
    where: sa.ColumnElement[bool],
    order: sa.ColumnElement[Any],
) -> list[Any]:
    columns = (_c.Id, _c.JobName, _c.Queue, _c.LifeLog, at.label("At"))
    statement = sa.select(*columns).where(where).order_by(order).limit(MOST)
    return list(await connection.execute(statement))


def _changes(row: Any) -> Iterator[Change]:
    for change in life_of(row.LifeLog):
        yield Change(row.Id, row.JobName, row.Queue, RunState(change.state), change.at, change.note)
