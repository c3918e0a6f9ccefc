"""Claim: runs that wait become runs of a node."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.errors import NodeUnknown
from ...core.states import RunState
from ..dialects.frequent import FrequentStatement
from ..dialects.listed import is_among, listed
from ..owners.rows import IS_OURS
from ..tables import UtcDateTime, job_run, job_server
from ..ties.consequences import Ready
from .candidates import IS_DUE, IS_ONE_OF, NEEDS_NO_ROOM, NOT_EXPIRED, Choice, next_waiting, offered
from .settle import settle
from .transition import state_line, transition
from .values import (
    MOST_LOST_WORKERS,
    POISON_AFTER,
    Claim,
    Claimed,
    ClaimKey,
    ClaimTerms,
    Misfit,
    Offer,
    Settlement,
)

_LATER = timedelta(seconds=2)
"""When a run is offered again in whose way something was of which nobody tells when it is gone."""

Row = Any
"""A row of ``c_JobRun``: its columns by name."""


async def claim(connection: AsyncConnection, offer: Offer, terms: ClaimTerms) -> Claimed:
    """Take those of the offered runs that wait, are due and have nothing in their way, the most urgent first.

    A run that its job's limit holds up stays as it is; whoever opens the way submits it again, or else the engine's rescue. A poison run while this node has one,
    and a run the key of whose limit somebody else holds for long, are offered again a little later. One that the node cannot perform stays as it is too: see ``refuse.py``.

    Args:
        connection: A transaction that writes.
        offer: The runs.
        terms: Who claims them.

    Raises:
        NodeUnknown: this node was declared lost, or is being drained: what the transaction did so far is to be undone.
    """
    if offer.runs:
        claimed = await _claim_offered(connection, offer, terms)
        order = [run.run_id for run in offer.runs]
    else:
        choice = await next_waiting(connection, offer, terms)
        order = choice.run_ids
        claimed = await _take(connection, choice, terms)
    if len(claimed.claims) < len(order):
        await require_place(connection, terms.server_id)
    places = {run_id: place for place, run_id in enumerate(order)}
    # What goes in the place of a later run of its job was not offered itself.
    in_order = sorted(claimed.claims, key=lambda one: places.get(one.run_id, -1))
    return replace(claimed, claims=in_order)


async def _claim_offered(connection: AsyncConnection, offer: Offer, terms: ClaimTerms) -> Claimed:
    """Nearly all are harmless runs that no limit holds up, and cost one statement; the rest is decided about first."""
    misfits = [
        Misfit(run.run_id, run.job_name, why)
        for run in offer.runs
        if (why := terms.fits(run.job_name, run.arguments_json, run.run_id)) is not None
    ]
    unfit = {item.run_id for item in misfits}
    fit = [run for run in offer.runs if run.run_id not in unfit]
    free = [
        run.run_id
        for run in fit
        if run.job_name not in terms.limits
        and run.job_name not in terms.keyed
        and run.queue not in terms.queue_limits
    ]
    claims = await _become_running(connection, free, terms, most_lost=POISON_AFTER - 1)
    taken = {claim.run_id for claim in claims}
    rest = [run for run in fit if run.run_id not in taken]
    if not rest:
        return Claimed(claims, misfits)
    found = await _take(connection, await offered(connection, rest, offer.aging, terms), terms)
    misfits += [one for one in found.misfits if one.run_id not in unfit]
    return replace(found, claims=[*claims, *found.claims], misfits=misfits)


async def _take(connection: AsyncConnection, choice: Choice, terms: ClaimTerms) -> Claimed:
    """Runs that were chosen become this node's."""
    ids, terms = choice.run_ids, replace(terms, now=choice.now)
    claims = await _become_running(connection, ids, terms, with_room=ids)
    ready = await choice.keys.close(connection)
    later = terms.now + _LATER
    offered_later = [
        Ready(row.Id, row.Queue, row.Priority, later, first=True) for row in choice.later
    ]
    return Claimed(
        claims, choice.misfits, choice.expired, [*ready, *offered_later], choice.keys.crowded
    )


async def require_place(connection: AsyncConnection, server_id: str) -> None:
    """Raise when this node may not claim."""
    found = (await connection.execute(_PLACE, {"server_id": server_id})).one_or_none()
    if found is None:
        raise NodeUnknown(f"node {server_id} was declared lost")
    if found.DrainRequestedAt is not None:
        raise NodeUnknown(f"node {server_id} is being drained")


_PLACE = sa.select(job_server.c.DrainRequestedAt).where(
    job_server.c.Id == sa.bindparam("server_id")
)
HAS_PLACE = sa.exists().where(
    job_server.c.Id == sa.bindparam("server_id"), job_server.c.DrainRequestedAt.is_(None)
)
"""That this node may claim."""
BECOMES_RUNNING: dict[str, Any] = {
    "ServerId": sa.bindparam("server_id"),
    "StartedAt": sa.bindparam("now", type_=UtcDateTime),
    "Attempt": job_run.c.Attempt + 1,
    "Message": sa.null(),
    "ProgressDone": sa.null(),
    "ProgressTotal": sa.null(),
    "UnknownSince": sa.null(),
    "RefusedBy": sa.null(),
}
"""What changes in the row of a run that begins."""
CLAIMED = (
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
    job_run.c.Ties,
    job_run.c.Trace,
)
"""What :func:`claim_of` wants to know of a run."""
_BECOME_RUNNING = FrequentStatement(
    transition(
        RunState.RUNNING,
        IS_ONE_OF,
        IS_DUE,
        NOT_EXPIRED,
        IS_OURS,
        job_run.c.LostWorkers <= sa.bindparam("most_lost"),
        sa.or_(NEEDS_NO_ROOM, is_among(job_run.c.Id, listed("with_room", sa.BigInteger))),
        HAS_PLACE,
        **BECOMES_RUNNING,
    ).returning(*CLAIMED)
)
_IS_OF_NODE = sa.and_(
    job_run.c.State == RunState.RUNNING, job_run.c.ServerId == sa.bindparam("server_id")
)
_OF_NODE = sa.select(*CLAIMED, job_run.c.CancelRequestedBy).where(_IS_OF_NODE)
_RUNNING_ON = FrequentStatement(
    sa.select(
        job_run.c.Id, job_run.c.Attempt, job_run.c.StartedAt, job_run.c.CancelRequestedBy
    ).where(_IS_OF_NODE)
)


def parameters_of(terms: ClaimTerms, most_lost: int) -> dict[str, Any]:
    """The parameters of a statement by which runs begin that have cost at most so many workers."""
    return {
        "server_id": terms.server_id,
        "now": terms.now,
        "most_lost": most_lost,
        "line": state_line(terms.now, RunState.RUNNING, f"on {terms.server_id}"),
    }


async def _become_running(
    connection: AsyncConnection,
    run_ids: Sequence[int],
    terms: ClaimTerms,
    *,
    with_room: Sequence[int] = (),
    most_lost: int = MOST_LOST_WORKERS,
) -> list[Claim]:
    """The transition itself: those of the runs that still wait become this node's; one that needs room under a limit is in ``with_room``."""
    if not run_ids:
        return []
    asked = {**parameters_of(terms, most_lost), "ids": run_ids, "with_room": with_room}
    rows = await _BECOME_RUNNING.all(connection, asked)
    return [
        claim_of(row, terms.limits, queue_limit=terms.queue_limits.get(row.Queue)) for row in rows
    ]


async def claims_of_node(connection: AsyncConnection, server_id: str, queue: str) -> list[Claim]:
    """The runs of a queue that are a node's now."""
    found = await connection.execute(_OF_NODE, {"server_id": server_id})
    return [claim_of(row, {}) for row in found if row.Queue == queue]


async def running_on(connection: AsyncConnection, server_id: str) -> dict[ClaimKey, str | None]:
    """The runs that are a node's now, and who wants them cancelled."""
    rows = await _RUNNING_ON.all(connection, {"server_id": server_id})
    return {(row.Id, row.Attempt, row.StartedAt): row.CancelRequestedBy for row in rows}


async def give_back(
    connection: AsyncConnection,
    server_id: str,
    keys: Collection[ClaimKey],
    limits: Mapping[str, int],
    now: datetime,
    *,
    note: str,
) -> list[Settlement]:
    """Let runs wait again that are a node's and that it has not begun; those that somebody wants cancelled are cancelled."""
    mine = _OF_NODE.order_by(job_run.c.Id).with_for_update()
    rows = await connection.execute(mine, {"server_id": server_id})
    found = [(claim_of(row, limits), row.CancelRequestedBy) for row in rows]
    unbegun = [_unbegun(claim, by, note) for claim, by in found if claim.key in keys]
    return await settle(connection, unbegun, now)


def _unbegun(claim: Claim, cancelled_by: str | None, note: str) -> Settlement:
    if cancelled_by is not None:
        note = f"cancelled by {cancelled_by}; {note}"
    return Settlement(
        claim=claim,
        state=RunState.ENQUEUED if cancelled_by is None else RunState.CANCELLED,
        note=note,
        message=None if cancelled_by is None else note,
        counts=False,
    )


def claim_of(
    row: Row,
    limits: Mapping[str, int],
    started_at: datetime | None = None,
    queue_limit: int | None = None,
) -> Claim:
    """A row of ``c_JobRun`` as the claim of whoever it belongs to.

    Args:
        row: The row.
        limits: The jobs that have a limit.
        started_at: Stands in for the start of a run that has not begun.
        queue_limit: How many runs of its queue may be running at once.
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
        ties=row.Ties,
        trace=row.Trace,
        limit=limits.get(row.JobName),
        queue_limit=queue_limit,
    )
