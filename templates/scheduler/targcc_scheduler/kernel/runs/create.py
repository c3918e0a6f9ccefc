"""Insert runs, and stage scheduled runs that are due."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from ...core.states import FINAL, RunState
from ...db.columns import UtcDateTime
from ...db.dialects import known
from ...db.dialects.frequent import FrequentStatement, is_among, listed
from ...db.tables import job_run
from .. import blobs, error_groups, statistics, text_index
from ..feature import ClaimCondition, load
from .transition import OTHER, first_state, is_free, is_in_state, state_line, transition
from .values import Ending, NewRun, RunId, has_its_keys, is_mark, shard_of_process

# New rows of `c_JobRun`.

Slot = tuple[str, datetime]
"""A job's name and a slot's instant."""


async def insert_many(
    connection: AsyncConnection, runs: Sequence[NewRun], now: datetime
) -> list[RunId]:
    """Insert runs without slots; return their ids in the same order."""
    rows = [new_row(run, now) for run in runs]
    ids = [RunId(row[0]) for row in await known.of(connection).insert_runs(connection, rows)]
    for run_id, run in zip(ids, runs, strict=True):
        if run.contents:
            await blobs.add(connection, run_id, run.contents, now)
        if run.contents_of is not None:
            await blobs.copy(connection, run.contents_of, run_id, now)
    return ids


async def insert_slots(
    connection: AsyncConnection, runs: Sequence[NewRun], now: datetime
) -> dict[Slot, int]:
    """Insert the runs of slots; return the ids of the new runs by slot. A slot that already has a run keeps that run."""
    if not runs:
        return {}
    runs = _with_causes(runs)
    rows = await known.of(connection).insert_runs(connection, [new_row(run, now) for run in runs])
    new = {(name, slot): run_id for run_id, name, slot in rows if slot is not None}
    over = [run for run in runs if run.state in FINAL and (run.job_name, run.scheduled_for) in new]
    await statistics.add(connection, [_ending(run, now) for run in over], shard_of_process())
    slots = ((run.job_name, run.scheduled_for) for run in over)
    await text_index.note_ended(connection, (new[slot] for slot in new.keys() & slots))
    missed = [run for run in over if run.cause is not None]
    await error_groups.note(
        connection,
        [
            error_groups.Seen(
                error_groups.missed(run.job_name), now, new[run.job_name, run.scheduled_for]
            )
            for run in missed
            if run.scheduled_for is not None
        ],
    )
    return new


def _with_causes(runs: Sequence[NewRun]) -> list[NewRun]:
    """Give missed slots an error group for the inbox. Skip a job if ``runs`` contain an active run of the job, which makes up for its slots."""
    made_up = {run.job_name for run in runs if run.state not in FINAL}
    return [
        (
            replace(run, cause=error_groups.missed(run.job_name).key)
            if run.state is RunState.MISSED and run.job_name not in made_up
            else run
        )
        for run in runs
    ]


def _ending(run: NewRun, now: datetime) -> Ending:
    """Return the outcome of a missed or skipped slot, for the job's statistics."""
    return Ending(job=run.job_name, at=run.scheduled_for or now, outcome=run.state)


def new_row(run: NewRun, now: datetime) -> dict[str, Any]:
    """Return the row of a new run; a run with deferred keys is scheduled until the next stage takes its keys."""
    asks = is_mark(run.limit_key) and run.state is RunState.ENQUEUED
    state = RunState.SCHEDULED if asks else run.state
    return run.columns(now) | first_state(now, state, run.note)


# Stage: enqueue runs that are due. The engine's loop stages, in a transaction of its own.

WAITS_FOR_ITS_TIME = (RunState.SCHEDULED, RunState.RETRYING)
_IS_DUE_AND_FREE = is_free(
    is_in_state(*WAITS_FOR_ITS_TIME, of=OTHER),
    OTHER.c.DueAt <= sa.bindparam("now", type_=UtcDateTime),
    has_its_keys(OTHER),
)
_STAGE = FrequentStatement(
    transition(RunState.ENQUEUED, _IS_DUE_AND_FREE, sources=WAITS_FOR_ITS_TIME)
)


async def stage_due(connection: AsyncConnection, now: datetime) -> int:
    """Enqueue scheduled and retrying runs that are due; return their number.

    Runs with deferred keys are left out: they ask for their keys first (``kernel/deferred_keys.py``).
    """
    line = state_line(now, RunState.ENQUEUED, "due")
    (count,) = await _STAGE.counts(connection, [{"now": now, "line": line}])
    return count


_MINE = is_among(job_run.c.Queue, listed("queues", sa.Text))
# `RefusedBy` is NULL for nearly all runs, so the database rarely compares the pattern.
NOT_REFUSED = sa.or_(
    job_run.c.RefusedBy.is_(None), job_run.c.RefusedBy.not_like(sa.bindparam("refused"))
)
"""Match runs that no node with a given fingerprint has refused. The parameter ``refused`` is the result of :func:`refused_by`."""


class _ClaimConditions(FunctionElement[Any]):
    type = sa.types.NullType()  # with Boolean, SQLAlchemy would compare the result with 1 on SQLite
    inherit_cache = True


@compiles(_ClaimConditions)
def _compose(_: _ClaimConditions, compiler: Any, **options: Any) -> str:
    conditions = sa.and_(sa.true(), *load(ClaimCondition))
    return f"({compiler.process(conditions, **{**options, 'literal_binds': True})})"


CLAIMABLE = _ClaimConditions()
"""Match runs that fulfil the claim conditions of the installed features. Composed when a statement is compiled, once for each statement."""

_WAITING_WORK = FrequentStatement(
    sa.select(
        sa.exists()
        .where(is_in_state(RunState.ENQUEUED), _MINE, NOT_REFUSED, CLAIMABLE)
        .label("waits"),
        sa.select(sa.func.min(job_run.c.DueAt))
        .where(
            is_in_state(*WAITS_FOR_ITS_TIME),
            job_run.c.DueAt <= sa.bindparam("until", type_=UtcDateTime),
            _MINE,
            CLAIMABLE,
        )
        .scalar_subquery()
        .label("next_due"),
    )
)


def refused_by(fingerprint: str) -> str:
    """Return the ``LIKE`` pattern that finds a fingerprint in ``RefusedBy``; an empty fingerprint gives a pattern without matches."""
    return f"%{fingerprint}%" if fingerprint else ""


async def waiting_work(
    connection: AsyncConnection,
    queues: Collection[str],
    now: datetime,
    until: datetime,
    fingerprint: str = "",
) -> tuple[bool, datetime | None]:
    """Look for work in queues.

    Returns:
        Whether there is work: an enqueued run that the node has not refused, or a run that is due. The instant at which the next run is due,
        or ``None`` if none is due by ``until``: a look at all scheduled runs would read those of the other queues too.
    """
    parameters = {"queues": list(queues), "refused": refused_by(fingerprint), "until": until}
    (row,) = await _WAITING_WORK.all(connection, parameters)
    next_due: datetime | None = row.next_due
    return bool(row.waits) or (next_due is not None and next_due <= now), next_due
