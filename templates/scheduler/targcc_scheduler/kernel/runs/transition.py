"""Read and change the state of a run. No other module of the scheduler sets ``State``; a test checks the sources."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import cache
from itertools import compress
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.errors import UnknownRun
from ...core.languages import Localized
from ...core.states import RunState, sources_of
from ...db.columns import UtcDateTime
from ...db.dialects import known
from ...db.dialects.base import MOST, SUMS
from ...db.dialects.frequent import FrequentStatement, is_among, is_in_list, listed
from ...db.tables import job_limit, job_run, job_stat, logged_job
from .. import text_index
from .values import (
    LIMITED,
    NO_LIMIT,
    Ending,
    Tied,
    added_up,
    bucket_of,
    quarter_of,
    shard_of_process,
)


async def state_of(connection: AsyncConnection, run_id: int) -> RunState:
    """Return the state of a run.

    Raises:
        UnknownRun: no run has this id.
    """
    state = await connection.scalar(sa.select(job_run.c.State).where(job_run.c.Id == run_id))
    if state is None:
        raise UnknownRun(Localized("there is no run %(run)s", run=run_id))
    return RunState(state)


def state_line(now: datetime, state: RunState, note: str = "") -> str:
    """Format one line of a run's state history (the column ``LifeLog``): ``<instant> <state> <note>``."""
    return (
        f"{now.isoformat(timespec='milliseconds')} {state} {' '.join(note.split())}".rstrip() + "\n"
    )


def first_state(now: datetime, state: RunState, note: str) -> dict[str, Any]:
    """Return the column values that set the state of a new run."""
    return {"State": str(state), "LifeLog": state_line(now, state, note)}


def is_in_state(
    *states: RunState, of: sa.FromClause = job_run, by_index: bool = True
) -> sa.ColumnElement[bool]:
    """Match runs in one of these states, as literals in the statement's text.

    A plan that PostgreSQL keeps for any state expects a third of a long history, and scans the table for a state that no row has.

    Args:
        states: The states.
        of: The table or alias of the run in the statement.
        by_index: ``False`` if the statement finds runs by id: a planner may expect the index of waiting runs to be short, although the index
            has grown a thousandfold since.
    """
    state = of.c.State if by_index else sa.func.coalesce(of.c.State, "")
    names: list[sa.ColumnElement[str]] = [sa.literal_column(f"'{name}'") for name in states]
    return state == names[0] if len(names) == 1 else state.in_(names)


OTHER = job_run.alias("other")
"""The alias of the run in the conditions of :func:`is_free`."""


def is_free(*where: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    """Match and lock runs that satisfy ``where`` and that no other transaction has locked; ``where`` names the run :data:`OTHER`.

    Another transaction with a lock on the row changes the run too, and may wait for a row locked here: waiting would deadlock.
    """
    query = sa.select(OTHER.c.Id).where(*where).with_for_update(skip_locked=True)
    return is_in_list(job_run.c.Id, query.scalar_subquery())


def transition(
    target: RunState,
    *where: sa.ColumnElement[bool],
    sources: Collection[RunState] = frozenset(RunState),
    **values: Any,
) -> sa.Update:
    """Build a statement that changes runs to ``target`` from any allowed state; the parameter ``line`` is a :func:`state_line`.

    The run loses its capacity under a limit (``RoomAt``) unless ``values`` set the column: a node of an older release may have left a value
    in the row.

    Build the statement once for each use: building costs SQLAlchemy more than executing costs SQLite.

    Args:
        target: The new state.
        where: Conditions on the runs. Include the ids, since no index of states is used.
        sources: Change only runs in these states.
        values: Further columns to set.
    """
    allowed = sorted(sources_of(target) & frozenset(sources))
    return (
        sa.update(job_run)
        .where(is_in_state(*allowed, by_index=False), *where)
        .values(
            State=target,
            LifeLog=job_run.c.LifeLog + sa.bindparam("line", type_=sa.UnicodeText),
            **{"RoomAt": sa.null(), **values},
        )
    )


SETTLE = """
    UPDATE c_JobRun
    SET State = {given}state, Message = {given}message, CompletedAt = {given}completed_at, Cause = {given}cause,
        StopNote = NULL, ServerId = {given}last_server_id, DueAt = coalesce({given}due_at, c_JobRun.DueAt),
        Attempt = c_JobRun.Attempt - {given}not_counted,
        RoomAt = CASE WHEN {given}state = 'enqueued' AND c_JobRun.LimitKey IS NOT NULL THEN c_JobRun.StartedAt END,
        LostWorkers = c_JobRun.LostWorkers + {given}lost,
        CancelRequestedBy = coalesce({given}cancelled_by, c_JobRun.CancelRequestedBy),
        ProgressDone = coalesce({given}done, c_JobRun.ProgressDone),
        ProgressTotal = coalesce({given}total, c_JobRun.ProgressTotal),
        LifeLog = c_JobRun.LifeLog {concatenates} {given}line
    {source}
    WHERE c_JobRun.Id = {given}run_id AND c_JobRun.State = {given}source AND c_JobRun.Attempt = {given}attempt
    AND coalesce(c_JobRun.ServerId, '') = coalesce({given}server_id, '')
    AND c_JobRun.Ties & {given}barred = 0
    AND ({given}completed_at IS NOT NULL OR c_JobRun.CancelRequestedBy IS NULL)
"""
"""Write the settlement of a run if the run is still in the expected state and attempt, on the expected node, and, where it would wait
again, nobody has asked to cancel it.

A run that waits for a worker again keeps its capacity under its limit. The statements of each database fill in the placeholders: ``{given}`` is the prefix of
each value's name, ``{source}`` the clause that supplies the values, ``{concatenates}`` the operator between two texts.
"""


def owned_by(run_id: int, server_id: str, attempt: int) -> sa.ColumnElement[bool]:
    """Match the run if still running on this node, in this attempt."""
    return sa.and_(
        job_run.c.Id == run_id,
        job_run.c.State == RunState.RUNNING,
        job_run.c.ServerId == server_id,
        job_run.c.Attempt == attempt,
    )


# Settlement of many runs: a single statement on PostgreSQL, where every statement is a round trip; a statement for each run on SQLite, which
# costs microseconds.


async def settle_batch(
    connection: AsyncConnection,
    rows: Sequence[Mapping[str, Any]],
    histories: Sequence[Mapping[str, Any] | None],
    endings: Sequence[Ending | None],
) -> dict[tuple[int, int], Tied]:
    """Write the outcomes of runs with history and statistics, and lock the keys of the runs' limits.

    Args:
        connection: A transaction, or an autocommit connection.
        rows: The parameters of :data:`SETTLE` for each settlement.
        histories: For each settlement its row of ``c_LoggedJob``, or ``None``.
        endings: For each settlement the values for the statistics, or ``None``.

    Returns:
        The dependencies and the limit of each run that was in the state its settlement expects, by run and attempt.
    """
    settler = _settle_at_once if known.of(connection).changes_in_ctes else _settle_one_by_one
    return await settler(connection, rows, histories, endings)


async def _settle_one_by_one(
    connection: AsyncConnection,
    rows: Sequence[Mapping[str, Any]],
    histories: Sequence[Mapping[str, Any] | None],
    endings: Sequence[Ending | None],
) -> dict[tuple[int, int], Tied]:
    """Settle each run by its own statement, on SQLite and SQL Server; the row count tells whether the run was in the expected state."""
    settle, log, count, ties = _single_statements(connection.dialect.name)
    is_settled = [number == 1 for number in await settle.counts(connection, rows)]
    attempts = [history for history in compress(histories, is_settled) if history is not None]
    counted = [ending for ending in compress(endings, is_settled) if ending is not None]
    await log.run(connection, attempts)
    await count.run(connection, added_up(counted, _ONE_SHARD))
    ended = (row["run_id"] for row in compress(rows, is_settled) if row["completed_at"])
    await text_index.note_ended(connection, ended)
    written = [(row["run_id"], row["attempt"]) for row in compress(rows, is_settled)]
    tied = {
        row.Id: Tied(row.Ties, row.LimitKey, bool(row.IsAwaited))
        for row in await ties.all(connection, {"ids": [run_id for run_id, _ in written]})
    }
    return {(run_id, attempt): tied.get(run_id, _UNTIED) for run_id, attempt in written}


_ONE_SHARD = 0
"""The shard on SQLite: with one writer at a time no row lock makes another transaction wait."""
_UNTIED = Tied(0, None, is_awaited=False)


@cache
def _single_statements(database: str) -> tuple[FrequentStatement, ...]:
    """Build the statements that settle a run, log its attempt, count its end, and read its ties."""
    settle = sa.text(
        SETTLE.format(given=":", source="", concatenates=known.named(database).concatenates)
    ).bindparams(*(sa.bindparam(name, type_=UtcDateTime) for name in ("completed_at", "due_at")))
    logged = [column.name for column in logged_job.c if not column.primary_key]
    log = sa.insert(logged_job).values({name: sa.bindparam(name) for name in logged})
    count = (
        known.named(database)
        .insert_added(job_stat, sums=SUMS, most=MOST)
        .values({column.name: sa.bindparam(column.name) for column in job_stat.c})
    )
    awaited = sa.select(job_limit.c.IsAwaited).where(job_limit.c.LimitKey == job_run.c.LimitKey)
    ties = sa.select(
        job_run.c.Id,
        job_run.c.Ties,
        job_run.c.LimitKey,
        awaited.scalar_subquery().label("IsAwaited"),
    ).where(is_among(job_run.c.Id, listed("ids", sa.BigInteger)), job_run.c.Ties != 0)
    return tuple(FrequentStatement(statement) for statement in (settle, log, count, ties))


async def _settle_at_once(
    connection: AsyncConnection,
    rows: Sequence[Mapping[str, Any]],
    histories: Sequence[Mapping[str, Any] | None],
    endings: Sequence[Ending | None],
) -> dict[tuple[int, int], Tied]:
    """Settle many runs in a single statement on PostgreSQL."""
    given = [
        {
            **row,
            "history": None if history is None else _lowered(history),
            **_counted(row, ending),
        }
        for row, history, ending in zip(rows, histories, endings, strict=True)
    ]
    barred = {row["barred"] for row in rows}
    if 0 in barred:
        statement = _postgresql_statement()
    else:
        statement = _postgresql_statement(untied=True, free=NO_LIMIT in barred)
    text = json.dumps(given, default=datetime.isoformat)
    settled = await statement.all(connection, {"rows": text})
    return {(run_id, attempt): Tied(*tied) for run_id, attempt, *tied in settled}


def _lowered(history: Mapping[str, Any]) -> dict[str, Any]:
    """Return the history with column names in lower case, as PostgreSQL stores them."""
    return {name.lower(): value for name, value in history.items()}


def _counted(row: Mapping[str, Any], ending: Ending | None) -> dict[str, Any]:
    """Return the values of a run for the statistics.

    A run without a node may be cancelled in a long transaction of an application. Such a run gets the shard of its connection, which no other
    transaction uses meanwhile.
    """
    if ending is None:
        return {}
    return {
        "job_name": ending.job,
        "begins_at": quarter_of(ending.at),
        "outcome": ending.outcome,
        "bucket": bucket_of(ending.duration_ms),
        "shard": None if row["server_id"] is None else shard_of_process(),
        "retried": int(ending.retried),
        "milliseconds": ending.duration_ms or 0,
    }


_GIVEN_IDS = "ARRAY(SELECT run_id FROM given)"
_FREE_IDS = f"""ARRAY(
    SELECT Id FROM ending LEFT JOIN held USING (LimitKey)
    WHERE IsAwaited IS FALSE OR LimitKey IS NULL OR Ties & {LIMITED} = 0
)"""  # noqa: S608 - constants of this package


def _held(runs: str) -> str:
    """Return a CTE that locks the limit keys of runs in key order.

    A locked row is read in its latest version, so that the CTE sees a run that has set ``IsAwaited`` before.
    """
    return f"""held AS MATERIALIZED (
        SELECT LimitKey, IsAwaited FROM c_JobLimit
        WHERE LimitKey = ANY (ARRAY(
            SELECT LimitKey FROM {runs} WHERE Ties & {LIMITED} <> 0 AND LimitKey IS NOT NULL
        ))
        ORDER BY LimitKey
        FOR UPDATE
    )"""  # noqa: S608 - constants of this package


@cache
def _postgresql_statement(*, untied: bool = False, free: bool = False) -> FrequentStatement:
    """Build the statement that settles many runs.

    Args:
        untied: Lock no limit keys after the update.
        free: Settle only runs whose limit key no other run awaits.
    """
    before, ids = "", _GIVEN_IDS
    if free:
        ids = _FREE_IDS
        before = f"""
    ending AS MATERIALIZED (
        SELECT Id, Ties, LimitKey FROM c_JobRun WHERE Id = ANY ({_GIVEN_IDS}) ORDER BY Id FOR UPDATE
    ), {_held("ending")},
"""  # noqa: S608 - constants of this package
    after = "" if untied else f", {_held('settled')}"
    # IsAwaited is NULL for a limit key that is newer than the statement, as when a job is renamed meanwhile.
    awaited = (
        "false FROM settled" if untied else "IsAwaited FROM settled LEFT JOIN held USING (LimitKey)"
    )
    logged = [str(column.name) for column in logged_job.c if not column.primary_key]
    history = ", ".join(logged)
    read = ", ".join(f"attempts.{name}" for name in logged)
    statement = sa.text(f"""
    WITH given AS MATERIALIZED (
        SELECT * FROM json_to_recordset(CAST(:rows AS json)) AS given (
            run_id bigint, source text, server_id text, attempt integer, state text, message text,
            completed_at timestamptz, last_server_id text, due_at timestamptz,
            not_counted integer, lost integer, cancelled_by text,
            done float8, total float8, line text, cause text, history json,
            job_name text, begins_at timestamptz, outcome text, bucket integer, shard integer,
            retried integer, milliseconds bigint, barred integer
        )
    ), {before} settled AS (
        {SETTLE.format(given="given.", source="FROM given", concatenates="||")}
        AND c_JobRun.Id = ANY ({ids}) -- by key, however small the table is
        RETURNING given.run_id, given.attempt, c_JobRun.Ties, c_JobRun.LimitKey
    ), logged AS (
        INSERT INTO c_LoggedJob ({history})
        SELECT {read}
        FROM given JOIN settled USING (run_id, attempt),
            json_populate_record(NULL::c_LoggedJob, given.history) AS attempts -- read once, not for each column
        WHERE given.history IS NOT NULL
        ORDER BY run_id
    ), counted AS (
        INSERT INTO c_JobStat
            (JobName, BeginsAt, Outcome, Bucket, Shard, Count, Retried, SumMs, MaxMs)
        SELECT job_name, begins_at, outcome, bucket, coalesce(shard, -pg_backend_pid()),
            count(*), sum(retried), sum(milliseconds), max(milliseconds)
        FROM given JOIN settled USING (run_id, attempt)
        WHERE given.outcome IS NOT NULL
        GROUP BY 1, 2, 3, 4, 5
        ORDER BY 1, 2, 3, 4, 5
        ON CONFLICT (JobName, BeginsAt, Outcome, Bucket, Shard) DO UPDATE SET
            Count = c_JobStat.Count + excluded.Count,
            Retried = c_JobStat.Retried + excluded.Retried,
            SumMs = c_JobStat.SumMs + excluded.SumMs,
            MaxMs = greatest(c_JobStat.MaxMs, excluded.MaxMs)
    )
    {after}
    SELECT run_id, attempt, Ties, LimitKey, {awaited}
    """)  # noqa: S608 - constants of this package
    return FrequentStatement(
        statement.bindparams(sa.bindparam("rows", type_=sa.Text)).columns(
            *(sa.column(name, sa.BigInteger) for name in ("run_id", "attempt", "ties")),
            sa.column("limit_key", sa.Text),
            sa.column("is_awaited", sa.Boolean),
        )
    )
