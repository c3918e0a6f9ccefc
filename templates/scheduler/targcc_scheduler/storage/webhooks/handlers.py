"""The rows of handlers in the code: they hear of runs by the same messages as addresses do, kept until they have returned."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.states import RunState
from ..dialects import known
from ..runs.values import Settlement
from ..tables import job_delivery, job_webhook
from . import outbox, rows
from .rows import IN_CODE, WAITING

LOCK = "\N{SECTION SIGN} handlers of events"
"""What a transaction holds that makes handlers known, so that each has one row. No job is called so."""
UNHEARD_FOR = timedelta(days=3)
"""A message that no node has taken for so long is given up, and its handler is turned off: it is not in the code any more."""
NOBODY = "the scheduler: no node has this handler"


async def make_known(
    connection: AsyncConnection, handlers: Mapping[str, Collection[str]], now: datetime
) -> None:
    """Let handlers hear of what happens from now on; those that are known hear of what they did, and of what happened meanwhile.

    Args:
        connection: A transaction.
        handlers: The events of each, by its name.
        now: The present instant.
    """
    await known.of(connection).lock_job(connection, LOCK)
    there = {one.shown: one for one in await rows.webhooks(connection) if one.in_code}
    for name, events in handlers.items():
        wanted, row = " ".join(sorted(events)), there.get(name)
        if row is None:
            new = {"Shown": name, "SealedJson": IN_CODE, "Events": wanted, "Jobs": ""}
            await rows.add(connection, {**new, "CreatedBy": "the code", "CreatedAt": now})
        elif row.disabled_by == NOBODY:
            await _change(connection, row.id, Events=wanted, CreatedAt=now)
            await rows.enable(connection, row.id)
        elif wanted != " ".join(row.events):
            await _change(connection, row.id, Events=wanted)


async def _change(connection: AsyncConnection, key: int, **values: Any) -> None:
    await connection.execute(sa.update(job_webhook).where(job_webhook.c.Id == key).values(**values))


async def note_retries(
    connection: AsyncConnection, settled: Sequence[Settlement], now: datetime
) -> None:
    """Make the messages about attempts that will be followed by others, in the transaction that settles them. What is over is told of elsewhere, see :func:`.outbox.fill`."""
    again = [item for item in settled if item.state is RunState.RETRYING]
    if not again:
        return
    hooks = [
        one
        for one in await rows.webhooks(connection)
        if one.disabled_at is None and RunState.RETRYING in one.events
    ]
    new = [
        outbox.message(
            hook,
            RunState.RETRYING,
            now,
            _about(item),
            run_id=item.claim.run_id,
            attempt=item.claim.attempt,
        )
        for hook in hooks
        for item in again
    ]
    if new:
        insert = known.of(connection).insert_ignore(job_delivery, [job_delivery.c.MessageId])
        await connection.execute(insert, new)


def _about(item: Settlement) -> dict[str, Any]:
    claim = item.claim
    instants = {
        "scheduled_for": claim.scheduled_for,
        "created_at": claim.created_at,
        "started_at": claim.started_at,
        "completed_at": None,
        "retry_at": item.due_at,
    }
    return {
        "run_id": claim.run_id,
        "job": claim.job_name,
        "job_type": claim.job_type,
        "state": item.state,
        "queue": claim.queue,
        "attempt": claim.attempt,
        "triggered_by": claim.triggered_by,
        "message": item.message,
        **{name: at and at.isoformat() for name, at in instants.items()},
    }


async def give_up_unheard(connection: AsyncConnection, now: datetime) -> None:
    """Give up what no node has taken for long, and turn those handlers off."""
    d, c = job_delivery.c, job_webhook.c
    of_code = sa.select(c.Id).where(c.SealedJson == IN_CODE, c.DisabledAt.is_(None))
    late = sa.select(d.WebhookId).where(
        d.WebhookId.in_(of_code), d.Status == WAITING, d.DueAt < now - UNHEARD_FOR
    )
    for key in set(await connection.scalars(late)):
        await rows.disable(connection, key, NOBODY, now)
