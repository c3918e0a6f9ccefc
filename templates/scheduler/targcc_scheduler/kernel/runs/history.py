"""Build the rows of ``c_LoggedJob``, one for each attempt. Every writer of these rows builds them here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from ...core.actor import ActorKind
from ...core.states import RunState
from ...core.text import clean_row
from ...db.tables import logged_job
from .values import AttemptRecord, Claim, Ending

IMPORTED = str(ActorKind.LEGACY)
"""``TriggeredBy`` value for runs from the old server."""

Key = tuple[str, datetime]
"""Job and start of an imported run."""


def history_row(claim: Claim, attempt: AttemptRecord) -> dict[str, Any]:
    """Build the row of an attempt. Texts are cleaned so that every database accepts them."""
    return clean_row(
        {
            "JobName": claim.job_name,
            "JobId": str(claim.run_id),
            "JobType": claim.job_type,
            "StartedAt": claim.started_at,
            "CompletedAt": max(attempt.ended_at, claim.started_at),
            "DurationMs": attempt.duration_ms,
            "Success": attempt.success,
            "ResultMessage": attempt.message,
            "ErrorMessage": None if attempt.success else attempt.message,
            "StackTrace": attempt.stack_trace,
            "ServerName": attempt.server,
            "TriggeredBy": claim.triggered_by,
            "MemoryUsedMB": attempt.memory_mb,
            "CpuTimeMs": attempt.cpu_ms,
            "CreatedAt": attempt.ended_at,
            "Attempt": claim.attempt,
            "ScheduledFor": claim.scheduled_for,
            "MetadataJson": attempt.metadata_json,
        }
    )


def imported_row(
    *,
    job_name: str,
    job_type: str,
    started_at: datetime,
    completed_at: datetime | None,
    duration_ms: int | None,
    success: bool,
    result_message: str | None,
    error_message: str | None,
    server: str | None,
    metadata_json: str | None,
    now: datetime,
) -> dict[str, Any]:
    """Build the history row for a run from the old server."""
    return clean_row(
        {
            "JobName": job_name[:100],
            "JobType": job_type[:50],
            "StartedAt": started_at,
            "CompletedAt": completed_at,
            "DurationMs": duration_ms,
            "Success": success,
            "ResultMessage": result_message,
            "ErrorMessage": error_message,
            "ServerName": (server or "")[:100] or None,
            "TriggeredBy": IMPORTED,
            "CreatedAt": now,
            "Attempt": 1,
            "MetadataJson": metadata_json,
        }
    )


def insert_imported(connection: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows of :func:`imported_row`. Statistics are separate: see :func:`imported_ending`."""
    if rows:
        connection.execute(sa.insert(logged_job), [dict(row) for row in rows])


def imported_ending(row: Mapping[str, Any]) -> Ending:
    """Build the statistics entry for a row from :func:`imported_row`."""
    succeeded = bool(row["Success"])
    return Ending(
        job=row["JobName"],
        at=row["StartedAt"],
        outcome=RunState.SUCCEEDED if succeeded else RunState.FAILED,
        duration_ms=row["DurationMs"] if succeeded else None,
    )


def imported_since(connection: sa.Connection, starts: set[Key]) -> dict[Key, set[str | None]]:
    """Map each job and start to the metadata of the runs already imported."""
    found: dict[Key, set[str | None]] = {start: set() for start in starts}
    columns = logged_job.c
    query = sa.select(columns.JobName, columns.StartedAt, columns.MetadataJson).where(
        sa.tuple_(columns.JobName, columns.StartedAt).in_(starts),
        columns.TriggeredBy == IMPORTED,
    )
    for row in connection.execute(query) if starts else ():
        found[row.JobName, row.StartedAt].add(row.MetadataJson)
    return found
