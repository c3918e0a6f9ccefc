"""The messages to webhooks: made in the transaction that takes note of a run that ended, taken to be sent, and what came of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.states import FINAL
from ..dialects import known
from ..dialects.counting import changed
from ..tables import job_delivery, job_run, job_webhook
from . import rows
from .rows import DELIVERED, FAILED, WAITING, Webhook

KEPT_FOR = timedelta(days=14)
"""How long a message is kept once nothing more is done with it."""
_NEWS = timedelta(days=7)
"""A run that ended longer ago is no news: its row was changed for another reason. Shorter than messages are kept, by which a run is known."""
TEST = "test"
"""The event of a message that somebody asked for."""
_c = job_delivery.c


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message to a webhook."""

    id: int
    webhook_id: int
    message_id: str
    event: str
    run_id: int | None
    status: str
    attempts: int
    due_at: datetime | None
    answer: str | None
    created_at: datetime
    ended_at: datetime | None
    body: str


def _of(row: Any) -> Delivery:
    return Delivery(
        id=row.Id,
        webhook_id=row.WebhookId,
        message_id=row.MessageId,
        event=row.Event,
        run_id=row.RunId,
        status=row.Status,
        attempts=row.Attempts,
        due_at=row.DueAt,
        answer=row.Answer,
        created_at=row.CreatedAt,
        ended_at=row.EndedAt,
        body=row.Body,
    )


async def fill(connection: AsyncConnection, ids: Sequence[int], now: datetime, page: str) -> None:
    """Make the messages about some runs, those of them that are over and news to somebody; one that is there stays as it is.

    Args:
        connection: The transaction that takes note of the runs.
        ids: The runs.
        now: The present instant.
        page: Where the dashboard is.
    """
    hooks = [one for one in await rows.webhooks(connection) if one.disabled_at is None]
    if not hooks:
        return
    c, among = job_run.c, known.of(connection).among(job_run.c.Id, list(ids))
    ended = await connection.execute(
        sa.select(c.Id, c.JobName, c.JobType, c.State, c.Queue, c.Attempt, c.TriggeredBy)
        .add_columns(c.ScheduledFor, c.CreatedAt, c.StartedAt, c.CompletedAt, c.Message)
        .where(among, c.CompletedAt > now - _NEWS)
    )
    new = [
        message(hook, run.State, now, _about(run, page), run_id=run.Id, at=run.CompletedAt)
        for run in ended
        if run.State in FINAL
        for hook in hooks
        if run.CompletedAt >= hook.created_at and hook.wants(run.State, run.JobName)
    ]
    if new:
        insert = known.of(connection).insert_ignore(job_delivery, [_c.MessageId])
        await connection.execute(insert, new)


def message(
    hook: Webhook,
    event: str,
    now: datetime,
    data: Mapping[str, Any],
    *,
    run_id: int | None = None,
    attempt: int | None = None,
    at: datetime | None = None,
) -> dict[str, Any]:
    """The row of a message that is to be sent at once.

    Args:
        hook: To whom.
        event: What happened.
        now: The present instant.
        data: What is said about it.
        run_id: The run.
        attempt: Of an event that a run may have several of: which attempt it is about.
        at: When it happened. Default: now.
    """
    at = at or now
    made_of = f"{hook.id} {hook.created_at.isoformat()} {event} {run_id or at.isoformat()}"
    if attempt is not None:
        made_of += f" {attempt}"
    body = {"type": f"run.{event}", "timestamp": at.isoformat(), "data": dict(data)}
    return {
        "WebhookId": hook.id,
        "MessageId": f"msg_{hashlib.sha256(made_of.encode()).hexdigest()[:32]}",
        "Event": event,
        "RunId": run_id,
        "Body": json.dumps(body, ensure_ascii=False),
        "Status": WAITING,
        "Attempts": 0,
        "DueAt": now,
        "CreatedAt": now,
    }


def _about(run: Any, page: str) -> dict[str, Any]:
    """What a message says of a run: without its arguments, which may be secret."""
    times = ("ScheduledFor", "CreatedAt", "StartedAt", "CompletedAt")
    names = ("scheduled_for", "created_at", "started_at", "completed_at")
    instants = {
        name: None if (at := getattr(run, column)) is None else at.isoformat()
        for name, column in zip(names, times, strict=True)
    }
    return {
        "run_id": run.Id,
        "job": run.JobName,
        "job_type": run.JobType,
        "state": run.State,
        "queue": run.Queue,
        "attempt": run.Attempt,
        "triggered_by": run.TriggeredBy,
        "message": run.Message,
        **instants,
        "url": f"{page}/runs/{run.Id}",
    }


async def put(connection: AsyncConnection, row: Mapping[str, Any]) -> int:
    """Keep one message to be sent; its number."""
    made = await connection.execute(job_delivery.insert().values(row))
    key = made.inserted_primary_key
    assert key is not None
    return int(key[0])


async def take(
    connection: AsyncConnection,
    now: datetime,
    until: datetime,
    *,
    most: int,
    busy: Collection[int],
    handlers: Collection[str],
) -> list[tuple[Delivery, Webhook]]:
    """Take messages that are due, so that nobody else sends them until an instant: who takes one may be killed before it says what came of it.

    Args:
        connection: A transaction.
        now: The present instant.
        until: When others may.
        most: So many at most.
        busy: Not those to these webhooks.
        handlers: The handlers in the code that this process has; those to others are for others.
    """
    w = job_webhook.c
    others = sa.select(w.Id).where(w.SealedJson == rows.IN_CODE, w.Shown.not_in(list(handlers)))
    due = sa.select(job_delivery).where(
        _c.DueAt <= now, _c.WebhookId.not_in(list(busy)), _c.WebhookId.not_in(others)
    )
    due = due.order_by(_c.DueAt, _c.Id).limit(most).with_for_update(skip_locked=True)
    found = [_of(row) for row in await connection.execute(due)]
    if not found:
        return []
    mine = known.of(connection).among(_c.Id, [one.id for one in found])
    taken = {"DueAt": until, "Attempts": _c.Attempts + 1}
    await connection.execute(sa.update(job_delivery).where(mine).values(taken))
    hooks = {one.id: one for one in await rows.webhooks(connection)}
    return [(one, hooks[one.webhook_id]) for one in found if one.webhook_id in hooks]


async def delivered(connection: AsyncConnection, one: Delivery, answer: str, now: datetime) -> None:
    """A message has arrived."""
    values = {"DueAt": None, "Status": DELIVERED, "EndedAt": now, "Answer": answer[:200]}
    await connection.execute(_row(one).values(values))
    c = job_webhook.c
    works = sa.update(job_webhook).where(c.Id == one.webhook_id, c.FailingSince.is_not(None))
    await connection.execute(works.values(FailingSince=None))


async def refused(
    connection: AsyncConnection, one: Delivery, answer: str, now: datetime, again: datetime | None
) -> None:
    """An attempt has failed; the next one comes at ``again``, or none."""
    values: dict[str, Any] = {"DueAt": again, "Answer": answer[:200]}
    if again is None:
        values |= {"Status": FAILED, "EndedAt": now}
    await connection.execute(_row(one).values(values))
    c = job_webhook.c
    failing = sa.update(job_webhook).where(c.Id == one.webhook_id, c.FailingSince.is_(None))
    await connection.execute(failing.values(FailingSince=now))


def _row(one: Delivery) -> sa.Update:
    """The row of a message, unless somebody has turned its webhook off, or sent it anew, meanwhile."""
    return sa.update(job_delivery).where(
        _c.Id == one.id, _c.Status == WAITING, _c.Attempts == one.attempts + 1
    )


async def redeliver(connection: AsyncConnection, webhook_id: int, key: int, now: datetime) -> bool:
    """Send a message again, as if for the first time; whether there is such a one."""
    mine = sa.update(job_delivery).where(_c.Id == key, _c.WebhookId == webhook_id)
    anew = {"DueAt": now, "Status": WAITING, "Attempts": 0, "EndedAt": None}
    return await changed(connection, mine.values(anew)) == 1


async def deliveries(
    connection: AsyncConnection, webhook_id: int, limit: int, before: int | None = None
) -> list[Delivery]:
    """The messages to a webhook, newest first."""
    statement = sa.select(job_delivery).where(_c.WebhookId == webhook_id)
    if before is not None:
        statement = statement.where(_c.Id < before)
    found = await connection.execute(statement.order_by(_c.Id.desc()).limit(limit))
    return [_of(row) for row in found]


async def remove_old(connection: AsyncConnection, now: datetime) -> None:
    """Remove the messages that are kept no longer."""
    old = sa.delete(job_delivery).where(_c.DueAt.is_(None), _c.CreatedAt < now - KEPT_FOR)
    await connection.execute(old)
