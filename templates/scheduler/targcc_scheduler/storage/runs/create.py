"""New rows of `c_JobRun`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.states import FINAL, RunState
from ..blobs import rows as blobs
from ..dialects import known
from ..failures import cause, groups
from ..statistics import counts
from ..statistics.endings import Ending, shard_of_process
from ..ties.keys.marks import is_mark
from ..ties.tie import Tie
from .transition import first_state
from .values import NewRun

Slot = tuple[str, datetime]
"""A job's name and the instant of a slot."""


async def insert_many(
    connection: AsyncConnection, runs: Sequence[NewRun], now: datetime
) -> list[int]:
    """Create runs without slots and return their ids, in the same order."""
    rows = [_row(run, now) for run in runs]
    ids = [row[0] for row in await known.of(connection).insert_runs(connection, rows)]
    for run_id, run in zip(ids, runs, strict=True):
        if run.contents:
            await blobs.add(connection, run_id, run.contents, now)
        if run.contents_of is not None:
            await blobs.copy(connection, run.contents_of, run_id, now)
    return ids


async def insert_slots(
    connection: AsyncConnection, runs: Sequence[NewRun], now: datetime
) -> dict[Slot, int]:
    """Create the runs of slots; the ids of those that are new, by slot. A slot that has a run already keeps that one."""
    if not runs:
        return {}
    runs = _with_causes(runs)
    rows = await known.of(connection).insert_runs(connection, [_row(run, now) for run in runs])
    new = {(name, slot): run_id for run_id, name, slot in rows if slot is not None}
    over = [run for run in runs if run.state in FINAL and (run.job_name, run.scheduled_for) in new]
    await counts.add(connection, [_ending(run, now) for run in over], shard_of_process())
    missed = [run for run in over if run.cause is not None]
    await groups.note(
        connection,
        [
            groups.Seen(cause.missed(run.job_name), now, new[run.job_name, run.scheduled_for])
            for run in missed
            if run.scheduled_for is not None
        ],
    )
    return new


def _with_causes(runs: Sequence[NewRun]) -> list[NewRun]:
    """Missed slots are for a person, unless a run that is created with them makes up for them."""
    made_up = {run.job_name for run in runs if run.state not in FINAL}
    return [
        (
            replace(run, cause=cause.missed(run.job_name).key)
            if run.state is RunState.MISSED and run.job_name not in made_up
            else run
        )
        for run in runs
    ]


def _ending(run: NewRun, now: datetime) -> Ending:
    """What the statistics count of a slot that was missed or skipped."""
    return Ending(job=run.job_name, at=run.scheduled_for or now, outcome=run.state)


def _row(run: NewRun, now: datetime) -> dict[str, Any]:
    limited = run.limit_key is not None
    asks = (
        is_mark(run.limit_key) and run.state is RunState.ENQUEUED
    )  # for its keys, at the next stage
    return {
        "JobName": run.job_name,
        "JobType": run.job_type,
        "Queue": run.queue,
        "Priority": run.priority,
        "ArgumentsJson": run.arguments_json,
        "ScheduledFor": run.scheduled_for,
        "DueAt": run.due_at,
        "CreatedAt": now,
        "CompletedAt": now if run.state in FINAL else None,
        "TriggeredBy": run.triggered_by,
        "Message": run.note if run.state in FINAL else None,
        "BlockedBy": run.blocked_by,
        "RetryOf": run.retry_of,
        "Cause": run.cause,
        "Ties": run.ties | Tie.LIMITED if limited else run.ties,
        "LimitKey": run.limit_key,
        "Weight": run.weight,
        "BatchId": run.batch_id,
        "Step": run.step,
        "ExpiresAt": run.expires_at,
        "Trace": run.trace,
        "UniqueKey": None if run.unique is None else run.unique.key,
    } | first_state(now, RunState.SCHEDULED if asks else run.state, run.note)
