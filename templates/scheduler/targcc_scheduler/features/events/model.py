"""Tables of webhooks, handlers and deliveries."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.states import FINAL, RunState
from ...db.dialects import known
from ...db.dialects.frequent import changed, remove_some
from ...db.tables import job_delivery, job_run, job_webhook
from ...kernel.runs.values import Settlement

# Webhooks (``c_JobWebhook``): create, list, disable, enable, remove.

EVENTS = (
    RunState.SUCCEEDED,
    RunState.FAILED,
    RunState.CANCELLED,
    RunState.MISSED,
    RunState.SKIPPED,
)
"""Events that a webhook can subscribe to: final states of runs."""
IN_CODE = ""
"""Stored in place of the encrypted address for a handler in the code, which has no address."""
WAITING, DELIVERED, FAILED = "waiting", "delivered", "failed"
"""Delivery states."""
_c = job_webhook.c


@dataclass(frozen=True, slots=True)
class Webhook:
    """A webhook's address, or a handler in the code, with its subscription.

    Args:
        id: The webhook's number.
        shown: The address without its secret parts, or the handler's name.
        events: Subscribed events; empty for all events.
        jobs: Subscribed jobs as patterns such as ``Daily*``; empty for all jobs.
        created_by: Person or program that created the webhook.
        created_at: Creation time.
        disabled_at: Time of disabling; ``None`` while enabled.
        disabled_by: Person or reason that disabled the webhook.
        failing_since: First failed attempt after the last successful attempt.
        sealed_json: Encrypted address and secret; :data:`IN_CODE` for a handler.
    """

    id: int
    shown: str
    events: tuple[str, ...]
    jobs: tuple[str, ...]
    created_by: str
    created_at: datetime
    disabled_at: datetime | None
    disabled_by: str | None
    failing_since: datetime | None
    sealed_json: str

    @property
    def in_code(self) -> bool:
        """Return whether the webhook is a handler in the code."""
        return self.sealed_json == IN_CODE

    def wants(self, event: str, job: str) -> bool:
        """Return whether the webhook subscribes to an event of a job."""
        fits = not self.jobs or any(
            fnmatchcase(job.lower(), pattern.lower()) for pattern in self.jobs
        )
        return fits and (not self.events or event in self.events)


def _of(row: Any) -> Webhook:
    return Webhook(
        id=row.Id,
        shown=row.Shown,
        events=tuple(row.Events.split()),
        jobs=tuple(row.Jobs.split()),
        created_by=row.CreatedBy,
        created_at=row.CreatedAt,
        disabled_at=row.DisabledAt,
        disabled_by=row.DisabledBy,
        failing_since=row.FailingSince,
        sealed_json=row.SealedJson,
    )


async def webhooks(connection: AsyncConnection) -> list[Webhook]:
    """Return all webhooks, oldest first."""
    return [_of(row) for row in await connection.execute(sa.select(job_webhook).order_by(_c.Id))]


async def find(connection: AsyncConnection, webhook_id: int) -> Webhook | None:
    """Return a webhook, or ``None``."""
    row = (
        await connection.execute(sa.select(job_webhook).where(_c.Id == webhook_id))
    ).one_or_none()
    return None if row is None else _of(row)


async def add(connection: AsyncConnection, values: dict[str, Any]) -> int:
    """Insert a webhook and return its number."""
    made = await connection.execute(job_webhook.insert().values(values))
    key = made.inserted_primary_key
    assert key is not None
    return int(key[0])


async def disable(connection: AsyncConnection, webhook_id: int, by: str, now: datetime) -> None:
    """Disable a webhook. Its waiting deliveries fail."""
    d = job_delivery.c  # deliveries before the webhook: the same lock order as in delivered()
    waiting = sa.update(job_delivery).where(d.WebhookId == webhook_id, d.DueAt.is_not(None))
    ended = {"DueAt": None, "Status": FAILED, "EndedAt": now, "Answer": "the webhook is off"}
    await connection.execute(waiting.values(ended))
    off = {"DisabledAt": now, "DisabledBy": by[:100]}
    await connection.execute(sa.update(job_webhook).where(_c.Id == webhook_id).values(off))


async def enable(connection: AsyncConnection, webhook_id: int) -> None:
    """Enable a webhook."""
    on = {"DisabledAt": None, "DisabledBy": None, "FailingSince": None}
    await connection.execute(sa.update(job_webhook).where(_c.Id == webhook_id).values(on))


async def reseal(connection: AsyncConnection, webhook_id: int, sealed_json: str) -> None:
    """Replace a webhook's encrypted address and secret."""
    sealed = sa.update(job_webhook).where(_c.Id == webhook_id).values(SealedJson=sealed_json)
    await connection.execute(sealed)


async def remove(connection: AsyncConnection, webhook_id: int) -> None:
    """Delete a webhook and its deliveries."""
    condition = job_delivery.c.WebhookId == webhook_id
    await connection.execute(sa.delete(job_delivery).where(condition))
    await connection.execute(sa.delete(job_webhook).where(_c.Id == webhook_id))


# Deliveries (``c_JobDelivery``): insert with the noted run, claim, send, record the result.

KEPT_FOR = timedelta(days=14)
"""Retention of delivered and failed messages, from creation on."""
_NEWS = timedelta(days=7)
"""Maximum age of an ended run for new messages: an older run's row changed for another reason.

Must be shorter than :data:`KEPT_FOR`, because the kept messages prevent duplicates.
"""
TEST = "test"
"""Event name of a test message."""
_message = job_delivery.c


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message to a webhook, and its delivery state."""

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


def _message_of(row: Any) -> Delivery:
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
    """Insert messages about ended runs for each enabled webhook that subscribes to the event.

    Runs without a final state and runs that ended more than seven days ago are skipped. Existing messages stay unchanged.

    Args:
        connection: The transaction that notes the changed runs.
        ids: Run ids.
        now: The current time.
        page: Dashboard address.
    """
    hooks = [webhook for webhook in await webhooks(connection) if webhook.disabled_at is None]
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
        insert = known.of(connection).insert_ignore(job_delivery, [_message.MessageId])
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
    """Build the row of a message that is due now.

    The message id is a hash of webhook, event, run and attempt, so building the same message twice gives the same id.

    Args:
        hook: The webhook.
        event: Event name.
        now: The current time.
        data: Content of the message.
        run_id: The run; ``None`` for a test message.
        attempt: Number of the attempt, for events that a run may have several times.
        at: Time of the event. Default: now.
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
    """Return the message content about a run. Arguments are left out: they may be secret."""
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
    """Insert a message and return its number."""
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
    """Claim due messages until a given time, and count the attempt.

    If the process dies before recording a result, the claim expires and another node sends the message.

    Args:
        connection: A transaction.
        now: The current time.
        until: End of the claim.
        most: Maximum number of messages.
        busy: Webhooks to skip.
        handlers: Names of this process's handlers in the code. Messages to other handlers are left to other processes.

    Returns:
        Claimed messages with their webhooks, earliest due time first.
    """
    w = job_webhook.c
    others = sa.select(w.Id).where(w.SealedJson == IN_CODE, w.Shown.not_in(list(handlers)))
    due = sa.select(job_delivery).where(
        _message.DueAt <= now,
        _message.WebhookId.not_in(list(busy)),
        _message.WebhookId.not_in(others),
    )
    due = due.order_by(_message.DueAt, _message.Id).limit(most).with_for_update(skip_locked=True)
    messages = [_message_of(row) for row in await connection.execute(due)]
    if not messages:
        return []
    condition = known.of(connection).among(_message.Id, [item.id for item in messages])
    taken = {"DueAt": until, "Attempts": _message.Attempts + 1}
    await connection.execute(sa.update(job_delivery).where(condition).values(taken))
    hooks = {item.id: item for item in await webhooks(connection)}
    return [(item, hooks[item.webhook_id]) for item in messages if item.webhook_id in hooks]


async def delivered(
    connection: AsyncConnection, delivery: Delivery, answer: str, now: datetime
) -> None:
    """Record a successful delivery, and clear the webhook's ``FailingSince``."""
    values = {"DueAt": None, "Status": DELIVERED, "EndedAt": now, "Answer": answer[:200]}
    await connection.execute(_row(delivery).values(values))
    c = job_webhook.c
    works = sa.update(job_webhook).where(c.Id == delivery.webhook_id, c.FailingSince.is_not(None))
    await connection.execute(works.values(FailingSince=None))


async def refused(
    connection: AsyncConnection,
    delivery: Delivery,
    answer: str,
    now: datetime,
    again: datetime | None,
) -> None:
    """Record a failed attempt. The next attempt is due at ``again``; with ``None`` the message fails for good."""
    values: dict[str, Any] = {"DueAt": again, "Answer": answer[:200]}
    if again is None:
        values |= {"Status": FAILED, "EndedAt": now}
    await connection.execute(_row(delivery).values(values))
    c = job_webhook.c
    failing = sa.update(job_webhook).where(c.Id == delivery.webhook_id, c.FailingSince.is_(None))
    await connection.execute(failing.values(FailingSince=now))


async def hold(connection: AsyncConnection, delivery: Delivery, answer: str, now: datetime) -> None:
    """Record that a message is not sent. The webhook does not count as failing; :func:`redeliver` sends the message."""
    values = {"DueAt": None, "Answer": answer[:200], "Status": FAILED, "EndedAt": now}
    await connection.execute(_row(delivery).values(values))


def _row(delivery: Delivery) -> sa.Update:
    """Update the row of a claimed message, unless the message was redelivered or its webhook disabled since the claim."""
    return sa.update(job_delivery).where(
        _message.Id == delivery.id,
        _message.Status == WAITING,
        _message.Attempts == delivery.attempts + 1,
    )


async def redeliver(connection: AsyncConnection, webhook_id: int, key: int, now: datetime) -> bool:
    """Reset a message for redelivery with all attempts; return whether the message exists."""
    statement = sa.update(job_delivery).where(_message.Id == key, _message.WebhookId == webhook_id)
    anew = {"DueAt": now, "Status": WAITING, "Attempts": 0, "EndedAt": None}
    return await changed(connection, statement.values(anew)) == 1


async def deliveries(
    connection: AsyncConnection, webhook_id: int, limit: int, before: int | None = None
) -> list[Delivery]:
    """Return messages to a webhook, newest first; ``before`` is a message number for paging."""
    statement = sa.select(job_delivery).where(_message.WebhookId == webhook_id)
    if before is not None:
        statement = statement.where(_message.Id < before)
    rows = await connection.execute(statement.order_by(_message.Id.desc()).limit(limit))
    return [_message_of(row) for row in rows]


async def remove_old(connection: AsyncConnection, _: datetime, now: datetime, most: int) -> int:
    """Disable unheard handlers, and delete up to ``most`` delivered and failed messages older than :data:`KEPT_FOR`; return their number."""
    await give_up_unheard(connection, now)
    old = _message.DueAt.is_(None), _message.CreatedAt < now - KEPT_FOR
    return await remove_some(connection, job_delivery, *old, most=most)


# Handlers in the code. Handlers get the same messages as webhooks. A message is due until its handler returns.

LOCK = "\N{SECTION SIGN} handlers of events"
"""Lock name for registering handlers, so that each handler has one row. No job can have this name."""
UNHEARD_FOR = timedelta(days=3)
"""Maximum time that a handler's message stays unclaimed. The handler is then disabled: no node's code has the handler."""
NOBODY = "the scheduler: no node has this handler"


async def make_known(
    connection: AsyncConnection, handlers: Mapping[str, Collection[str]], now: datetime
) -> None:
    """Register the handlers of this process.

    A new handler gets events from now on. A known handler keeps its waiting messages. A handler that :func:`give_up_unheard`
    disabled is enabled again, for events from now on.

    Args:
        connection: A transaction.
        handlers: Maps each handler's name to its events.
        now: The current time.
    """
    await known.of(connection).lock_job(connection, LOCK)
    rows_by_name = {
        webhook.shown: webhook for webhook in await webhooks(connection) if webhook.in_code
    }
    for name, events in handlers.items():
        wanted, row = " ".join(sorted(events)), rows_by_name.get(name)
        if row is None:
            new = {"Shown": name, "SealedJson": IN_CODE, "Events": wanted, "Jobs": ""}
            await add(connection, {**new, "CreatedBy": "the code", "CreatedAt": now})
        elif row.disabled_by == NOBODY:
            await _change(connection, row.id, Events=wanted, CreatedAt=now)
            await enable(connection, row.id)
        elif wanted != " ".join(row.events):
            await _change(connection, row.id, Events=wanted)


async def _change(connection: AsyncConnection, key: int, **values: Any) -> None:
    await connection.execute(sa.update(job_webhook).where(job_webhook.c.Id == key).values(**values))


async def note_retries(
    connection: AsyncConnection, again: Sequence[Settlement], now: datetime
) -> None:
    """Insert messages about attempts that will be retried, in the transaction that settles the attempts.

    Messages about ended runs come from :func:`fill`.
    """
    hooks = [
        webhook
        for webhook in await webhooks(connection)
        if webhook.disabled_at is None and RunState.RETRYING in webhook.events
    ]
    new = [
        message(
            hook,
            RunState.RETRYING,
            now,
            _handler_about(item),
            run_id=item.claim.run_id,
            attempt=item.claim.attempt,
        )
        for hook in hooks
        for item in again
    ]
    if new:
        insert = known.of(connection).insert_ignore(job_delivery, [job_delivery.c.MessageId])
        await connection.execute(insert, new)


def _handler_about(item: Settlement) -> dict[str, Any]:
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
    """Disable handlers with a message unclaimed for :data:`UNHEARD_FOR`. Waiting messages to these handlers fail."""
    d, c = job_delivery.c, job_webhook.c
    of_code = sa.select(c.Id).where(c.SealedJson == IN_CODE, c.DisabledAt.is_(None))
    late = sa.select(d.WebhookId).where(
        d.WebhookId.in_(of_code), d.Status == WAITING, d.DueAt < now - UNHEARD_FOR
    )
    for key in set(await connection.scalars(late)):
        await disable(connection, key, NOBODY, now)
