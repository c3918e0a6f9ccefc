"""Settling many runs with one statement: PostgreSQL answers from another process, and each answer is waited for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.states import RunState
from ..tables import logged_job

_HISTORY = ", ".join(str(column.name) for column in logged_job.c if not column.primary_key)
_SETTLE = sa.text(f"""
    WITH given AS MATERIALIZED (
        SELECT * FROM json_to_recordset(CAST(:rows AS json)) AS given (
            run_id bigint, server_id text, attempt integer, state text, message text,
            completed_at timestamptz, last_server_id text, due_at timestamptz,
            not_counted integer, done float8, total float8, line text, history json
        )
    ), settled AS (
        UPDATE c_JobRun AS run
        SET State = given.state, Message = given.message, CompletedAt = given.completed_at,
            ServerId = given.last_server_id, DueAt = coalesce(given.due_at, run.DueAt),
            Attempt = run.Attempt - given.not_counted,
            ProgressDone = coalesce(given.done, run.ProgressDone),
            ProgressTotal = coalesce(given.total, run.ProgressTotal),
            LifeLog = run.LifeLog || given.line
        FROM given
        WHERE run.Id = given.run_id AND run.State = '{RunState.RUNNING}'
        AND run.ServerId = given.server_id AND run.Attempt = given.attempt
        RETURNING given.run_id, given.attempt
    ), logged AS (
        INSERT INTO c_LoggedJob ({_HISTORY})
        SELECT {_HISTORY}
        FROM (
            SELECT (json_populate_record(NULL::c_LoggedJob, given.history)).*
            FROM given JOIN settled USING (run_id, attempt)
            WHERE given.history IS NOT NULL
            ORDER BY run_id
        ) AS attempts
    )
    SELECT run_id, attempt FROM settled
    """).bindparams(sa.bindparam("rows", type_=sa.Text))  # noqa: S608 - constants of this module


async def settle_batch(
    connection: AsyncConnection,
    rows: Sequence[Mapping[str, Any]],
    histories: Sequence[Mapping[str, Any] | None],
) -> frozenset[tuple[int, int]]:
    """Write outcomes with their history; returns the runs and attempts that were still held.

    Args:
        connection: A transaction, or a connection that commits by itself.
        rows: What each settlement writes into the row of its run, and by what it finds it.
        histories: For each, its row of ``c_LoggedJob``.
    """
    given = [
        {**row, "history": None if history is None else _folded(history)}
        for row, history in zip(rows, histories, strict=True)
    ]
    text = json.dumps(given, default=_instant)
    return frozenset(map(tuple, await connection.execute(_SETTLE, {"rows": text})))


def _folded(history: Mapping[str, Any]) -> dict[str, Any]:
    """With the names that PostgreSQL makes of ours."""
    return {name.lower(): value for name, value in history.items()}


def _instant(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} cannot be written")


async def lock_job(connection: AsyncConnection, job_name: str) -> None:
    """Let one transaction at a time decide about this job's limit; SQLite does so anyway."""
    if connection.dialect.name == "postgresql":
        key = sa.func.hashtextextended(f"targcc/{job_name}", 0)
        await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))
