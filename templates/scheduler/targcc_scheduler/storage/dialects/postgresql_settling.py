"""PostgreSQL: the statements by which runs get the states of their settlements, each of many runs at once, as every statement is a round trip."""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy as sa

from ..runs.transition import SETTLE
from ..tables import logged_job
from ..ties.tie import NO_LIMIT, Tie
from .frequent import FrequentStatement

_HISTORY = ", ".join(str(column.name) for column in logged_job.c if not column.primary_key)
_GIVEN_IDS = "ARRAY(SELECT run_id FROM given)"


def _held(runs: str) -> str:
    """Locks the keys of the limits of runs, in one order; whoever waits for one of them, and has said so before, is seen, as a row is read as it is once it is locked."""
    return f"""held AS MATERIALIZED (
        SELECT LimitKey, IsAwaited FROM c_JobLimit
        WHERE LimitKey = ANY (ARRAY(
            SELECT LimitKey FROM {runs} WHERE Ties & {int(Tie.LIMITED)} <> 0 AND LimitKey IS NOT NULL
        ))
        ORDER BY LimitKey
        FOR UPDATE
    )"""  # noqa: S608 - constants of this package


_AFTER = f", {_held('settled')}"
_BEFORE = f"""
    ending AS MATERIALIZED (
        SELECT Id, Ties, LimitKey FROM c_JobRun WHERE Id = ANY ({_GIVEN_IDS}) ORDER BY Id FOR UPDATE
    ), {_held("ending")},
"""  # noqa: S608 - constants of this package
_FREE_IDS = f"""ARRAY(
    SELECT Id FROM ending LEFT JOIN held USING (LimitKey)
    WHERE IsAwaited IS FALSE OR LimitKey IS NULL OR Ties & {int(Tie.LIMITED)} = 0
)"""  # noqa: S608 - constants of this package


def _settle(before: str = "", ids: str = _GIVEN_IDS, after: str = "") -> FrequentStatement:
    """A statement that settles runs: those with these ``ids``, and what is looked at ``before`` and ``after``."""
    # Of a key that is newer than the statement, as where a job is renamed meanwhile, it says nothing.
    found = "IsAwaited FROM settled LEFT JOIN held USING (LimitKey)"
    found = found if after else "false FROM settled"
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
        {SETTLE.format(given="given.", source="FROM given")}
        AND c_JobRun.Id = ANY ({ids}) -- by key, however small the table is
        RETURNING given.run_id, given.attempt, c_JobRun.Ties, c_JobRun.LimitKey
    ), logged AS (
        INSERT INTO c_LoggedJob ({_HISTORY})
        SELECT {_HISTORY}
        FROM (
            SELECT (json_populate_record(NULL::c_LoggedJob, given.history)).*
            FROM given JOIN settled USING (run_id, attempt)
            WHERE given.history IS NOT NULL
            ORDER BY run_id
        ) AS attempts
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
    SELECT run_id, attempt, Ties, LimitKey, {found}
    """)  # noqa: S608 - constants of this package
    return FrequentStatement(
        statement.bindparams(sa.bindparam("rows", type_=sa.Text)).columns(
            *(sa.column(name, sa.BigInteger) for name in ("run_id", "attempt", "ties")),
            sa.column("limit_key", sa.Text),
            sa.column("is_awaited", sa.Boolean),
        )
    )


_SETTLE, _SETTLE_TIED = _settle(), _settle(after=_AFTER)
_SETTLE_FREE = _settle(before=_BEFORE, ids=_FREE_IDS)
"""Leaves out runs for the key of whose limit somebody waits."""


def statement(barred: Collection[int]) -> FrequentStatement:
    """The statement for settlements that bar these ties."""
    if 0 in barred:
        return _SETTLE_TIED
    return _SETTLE_FREE if NO_LIMIT in barred else _SETTLE
