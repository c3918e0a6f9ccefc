"""Claim: runs that wait become runs of a node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.errors import NodeUnknown
from ...core.states import RunState
from ..tables import UtcDateTime, job_run, job_server
from .candidates import IS_DUE, IS_ONE_OF, next_waiting, offered
from .transition import state_line, transition
from .values import MOST_LOST_WORKERS, POISON_AFTER, Claim, ClaimTerms, Offer, OfferedRun

Row = Any
"""A row of ``c_JobRun``: its columns by name."""


async def claim(connection: AsyncConnection, offer: Offer, terms: ClaimTerms) -> list[Claim]:
    """Take those of the offered runs that wait, are due and have nothing in their way, the most urgent first.

    A run that its job's limit holds up, or a poison run while this node has one, stays as it is; whoever opens the way submits it again,
    or else the engine's rescue.

    Args:
        connection: A transaction that writes.
        offer: The runs.
        terms: Who claims them.

    Raises:
        NodeUnknown: this node was declared lost.
    """
    if offer.runs:
        claims = await _claim_offered(connection, offer.runs, terms)
        order = [run.run_id for run in offer.runs]
    else:
        order = await next_waiting(connection, offer.wanted, terms)
        claims = await _become_running(connection, order, terms)
    if len(claims) < len(order) and not await _is_known(connection, terms.server_id):
        raise NodeUnknown(f"node {terms.server_id} was declared lost")
    places = {run_id: place for place, run_id in enumerate(order)}
    return sorted(claims, key=lambda claim: places[claim.run_id])


async def _claim_offered(
    connection: AsyncConnection, runs: Sequence[OfferedRun], terms: ClaimTerms
) -> list[Claim]:
    """Nearly all are harmless runs of jobs without a limit, and cost one statement; the rest is decided about first."""
    free = [run.run_id for run in runs if run.job_name not in terms.limits]
    claims = await _become_running(connection, free, terms, most_lost=POISON_AFTER - 1)
    taken = {claim.run_id for claim in claims}
    if rest := [run for run in runs if run.run_id not in taken]:
        claims += await _become_running(connection, await offered(connection, rest, terms), terms)
    return claims


async def _is_known(connection: AsyncConnection, server_id: str) -> bool:
    return bool(await connection.scalar(_IS_KNOWN, {"server_id": server_id}))


_IS_KNOWN = sa.select(sa.exists().where(job_server.c.Id == sa.bindparam("server_id")))
_BECOME_RUNNING = transition(
    RunState.RUNNING,
    IS_ONE_OF,
    IS_DUE,
    job_run.c.LostWorkers <= sa.bindparam("most_lost"),
    sa.exists().where(job_server.c.Id == sa.bindparam("server_id")),
    ServerId=sa.bindparam("server_id"),
    StartedAt=sa.bindparam("now", type_=UtcDateTime),
    Attempt=job_run.c.Attempt + 1,
    Message=None,
    ProgressDone=None,
    ProgressTotal=None,
).returning(
    job_run.c.Id,
    job_run.c.JobName,
    job_run.c.JobType,
    job_run.c.Queue,
    job_run.c.Priority,
    job_run.c.Attempt,
    job_run.c.LostWorkers,
    job_run.c.ArgumentsJson,
    job_run.c.ScheduledFor,
    job_run.c.CreatedAt,
    job_run.c.StartedAt,
    job_run.c.DueAt,
    job_run.c.TriggeredBy,
    job_run.c.ServerId,
)


async def _become_running(
    connection: AsyncConnection,
    run_ids: Sequence[int],
    terms: ClaimTerms,
    *,
    most_lost: int = MOST_LOST_WORKERS,
) -> list[Claim]:
    """The transition itself: those of the runs that still wait become this node's."""
    if not run_ids:
        return []
    asked = {
        "ids": run_ids,
        "server_id": terms.server_id,
        "now": terms.now,
        "most_lost": most_lost,
        "line": state_line(terms.now, RunState.RUNNING, f"on {terms.server_id}"),
    }
    rows = (await connection.execute(_BECOME_RUNNING, asked)).all()
    return [claim_of(row, terms.limits) for row in rows]


def claim_of(row: Row, limits: Mapping[str, int], started_at: datetime | None = None) -> Claim:
    """A row of ``c_JobRun`` as the claim of whoever it belongs to.

    Args:
        row: The row.
        limits: The jobs that have a limit.
        started_at: Stands in for the start of a run that has not begun.
    """
    return Claim(
        run_id=row.Id,
        job_name=row.JobName,
        job_type=row.JobType,
        queue=row.Queue,
        priority=row.Priority,
        attempt=row.Attempt,
        lost_workers=row.LostWorkers,
        arguments_json=row.ArgumentsJson,
        scheduled_for=row.ScheduledFor,
        created_at=row.CreatedAt,
        due_at=row.DueAt,
        triggered_by=row.TriggeredBy,
        server_id=row.ServerId,
        started_at=row.StartedAt or started_at or row.CreatedAt,
        limit=limits.get(row.JobName),
    )
