"""Settle: write the next state of runs, a history row for each ended attempt, and the statistics.

Every claim ends here: by the outcome of an attempt, by the rescue of a run whose worker was lost, or by the release of a claim that no
worker performs. Cancelling a waiting run ends here too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.actor import ActorKind
from ...core.errors import RunStateError
from ...core.states import TRANSITIONS, RunState
from ...core.stored_values import LONGEST_NOTE, kept_text
from ...core.text import clean_row
from ...db.tables import job_log_line, job_run, logged_job
from .. import error_groups
from ..error_groups import Fingerprint, fingerprint_of
from .transition import settle_batch, state_line
from .values import ANY_TIE, LIMITED, NO_LIMIT, AttemptRecord, Claim, Ending, Settlement, Tied

# Build the rows of ``c_LoggedJob``, one for each attempt. Every writer of these rows builds them here.

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
    metadata: dict[Key, set[str | None]] = {start: set() for start in starts}
    columns = logged_job.c
    query = sa.select(columns.JobName, columns.StartedAt, columns.MetadataJson).where(
        sa.tuple_(columns.JobName, columns.StartedAt).in_(starts),
        columns.TriggeredBy == IMPORTED,
    )
    for row in connection.execute(query) if starts else ():
        metadata[row.JobName, row.StartedAt].add(row.MetadataJson)
    return metadata


# Settle: write the next state of runs, a history row for each ended attempt, and the statistics.


async def settle(
    connection: AsyncConnection,
    settlements: Sequence[Settlement],
    now: datetime,
    *,
    untied: bool = False,
) -> list[Settlement]:
    """Write the next states of runs; return the settlements whose runs were still in the expected state, in the given order.

    A run that would wait again, and that somebody has asked to cancel, is cancelled instead.

    In the same transaction, the caller submits the runs that wait again to the engine and applies the effects on dependents (see
    ``kernel/engine/submit.py``).

    Args:
        connection: The transaction.
        settlements: The settlements to write.
        now: The present instant.
        untied: Skip runs that have ties by now, and runs whose limit key other runs wait for. For a connection that commits by itself:
            no effect could follow in the same transaction.

    Raises:
        RunStateError: the state transition is not allowed.
    """
    settled = await _write(connection, settlements, now, untied=untied)
    left = [item for item in settlements if not item.is_final and _key(item) not in settled]
    if left and (cancelled := await _cancelled(connection, left)):
        settled |= await _write(connection, cancelled, now, untied=untied)
    return [settled[key] for item in settlements if (key := _key(item)) in settled]


async def _write(
    connection: AsyncConnection, settlements: Sequence[Settlement], now: datetime, *, untied: bool
) -> dict[tuple[int, int], Settlement]:
    """Write the settlements whose runs are in the expected state and do not wait again in spite of a cancel request."""
    causes = {_key(item): cause for item in settlements if (cause := _cause(item)) is not None}
    by_id = sorted(settlements, key=_key)  # one lock order, so that no two wait for each other
    rows = [_row(item, now, causes.get(_key(item)), untied=untied) for item in by_id]
    histories = [
        None if item.attempt is None else history_row(item.claim, item.attempt) for item in by_id
    ]
    endings = [_ending(item, now) for item in by_id]
    tied = await settle_batch(connection, rows, histories, endings)
    settled = {key: _with_ties(item, tied[key]) for item in by_id if (key := _key(item)) in tied}
    if causes:
        await error_groups.note(connection, _seen(settled.values(), causes, now))
    if lines := [dict(line) for item in settled.values() for line in item.log_lines]:
        await connection.execute(job_log_line.insert(), lines)
    return settled


async def _cancelled(
    connection: AsyncConnection, settlements: Sequence[Settlement]
) -> list[Settlement]:
    """Return settlements that cancel the runs with a cancel request, in place of settlements by which the runs would wait again."""
    ids = [item.claim.run_id for item in settlements]
    query = sa.select(job_run.c.Id, job_run.c.CancelRequestedBy).where(
        job_run.c.Id.in_(ids), job_run.c.CancelRequestedBy.is_not(None)
    )
    requests: dict[int, str] = dict(map(tuple, await connection.execute(query)))
    return [
        _cancelled_by(requests[item.claim.run_id], item)
        for item in settlements
        if item.claim.run_id in requests
    ]


def _cancelled_by(by: str, item: Settlement) -> Settlement:
    message = kept_text(f"cancelled by {by}; {item.message or item.note}")
    note = kept_text(message, LONGEST_NOTE)
    return replace(item, state=RunState.CANCELLED, note=note, message=message, due_at=None)


async def settled_before(
    connection: AsyncConnection, tries: Sequence[tuple[Settlement, datetime]]
) -> list[Settlement]:
    """Return the settlements that an earlier, unconfirmed try has written.

    Args:
        connection: A transaction in which the settlements were just tried again.
        tries: Settlements, with the instants of the earlier tries.
    """
    ids = {item.claim.run_id for item, _ in tries}
    rows = await connection.execute(
        sa.select(job_run.c.Id, job_run.c.LifeLog, job_run.c.CancelRequestedBy).where(
            job_run.c.Id.in_(ids)
        )
    )
    runs = {row.Id: row for row in rows}
    written = []
    for item, at in tries:
        run = runs.get(item.claim.run_id)
        if run is None:
            continue
        candidates = [item]
        if run.CancelRequestedBy is not None and not item.is_final:
            candidates.append(_cancelled_by(run.CancelRequestedBy, item))
        lines = run.LifeLog.splitlines()
        written += [
            one for one in candidates if state_line(at, one.state, one.note).rstrip("\n") in lines
        ]
    return written


def _ending(item: Settlement, now: datetime) -> Ending | None:
    """Build the statistics entry: the end of a run, or of an attempt before a retry. ``None``: nothing to count."""
    attempt, claim = item.attempt, item.claim
    if not item.is_final and attempt is None:
        return None
    took = attempt.duration_ms if attempt is not None and attempt.success else None
    return Ending(
        job=claim.job_name,
        at=now if attempt is None else claim.started_at,
        outcome=item.state if item.is_final else RunState.RETRYING,
        duration_ms=took,
        retried=item.is_final and claim.attempt > 1,
    )


def _cause(item: Settlement) -> Fingerprint | None:
    """Return the fingerprint of a failure, for the inbox; ``None`` for a run that did not fail."""
    if item.state != RunState.FAILED:
        return None
    trace = item.attempt.stack_trace if item.attempt is not None else None
    return fingerprint_of(item.claim.job_name, item.message, trace)


def _seen(
    settled: Iterable[Settlement], causes: Mapping[tuple[int, int], Fingerprint], now: datetime
) -> list[error_groups.Seen]:
    return [
        error_groups.Seen(causes[_key(item)], now, item.claim.run_id, item.claim.server_id)
        for item in settled
        if _key(item) in causes
    ]


def _with_ties(item: Settlement, tied: Tied) -> Settlement:
    return replace(item, **tied._asdict()) if tied.ties else item


def _key(item: Settlement) -> tuple[int, int]:
    return item.claim.run_id, item.claim.attempt


def _barred(item: Settlement) -> int:
    """Return the ties that exclude a run from an ``untied`` settlement, since no effect could follow.

    The tie of a limit does not exclude a run that had the tie when claimed: the statement checks whether other runs wait for the key.
    """
    return NO_LIMIT if item.claim.ties & LIMITED else ANY_TIE


def _row(
    item: Settlement, now: datetime, cause: Fingerprint | None, *, untied: bool
) -> dict[str, Any]:
    """Build the parameters of a settlement: the new values of the run's row, and the values that identify the row."""
    if item.state not in TRANSITIONS[item.source]:
        raise RunStateError(f"a run that is {item.source} cannot become {item.state}")
    done, total = item.progress or (None, None)
    return {
        "run_id": item.claim.run_id,
        "source": item.source,
        "server_id": item.claim.server_id,
        "attempt": item.claim.attempt,
        "state": item.state,
        "message": item.message,
        "completed_at": now if item.is_final else None,
        "last_server_id": item.claim.server_id if item.is_final else None,
        "due_at": item.due_at,
        "not_counted": 0 if item.counts else 1,
        "lost": int(item.cost_a_worker),
        "cancelled_by": item.cancelled_by,
        "done": done,
        "total": total,
        "cause": None if cause is None else cause.key,
        "line": state_line(now, item.state, item.note),
        "barred": _barred(item) if untied else 0,
    }
