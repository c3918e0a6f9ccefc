"""Rows of webhooks, handlers and their deliveries."""

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
from ...db.dialects.counting import changed
from ...db.tables import job_delivery, job_run, job_webhook
from ...kernel.runs.values import Settlement

# The rows of webhooks: made, listed, turned off and on, removed.

EVENTS = (
    RunState.SUCCEEDED,
    RunState.FAILED,
    RunState.CANCELLED,
    RunState.MISSED,
    RunState.SKIPPED,
)
"""The ends of runs of which people can be told, as a webhook calls them."""
IN_CODE = ""
"""Stands for the sealed address of a handler in the code, which has none."""
WAITING, DELIVERED, FAILED = "waiting", "delivered", "failed"
"""The states of a message."""
_c = job_webhook.c


@dataclass(frozen=True, slots=True)
class Webhook:
    """An address that is told of runs, or a handler in the code.

    Args:
        id: Its number.
        shown: The address, without what is secret in it; of a handler its name.
        events: Of which ends it is told; empty: of all.
        jobs: Of which jobs, as patterns such as ``Daily*``; empty: of all.
        created_by: Who made it.
        created_at: When.
        disabled_at: Since when it is off.
        disabled_by: Who turned it off, or why.
        failing_since: When the first attempt failed since the last that did not.
        sealed_json: The address and the secret, sealed.
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
        """Whether it is a handler in the code."""
        return self.sealed_json == IN_CODE

    def wants(self, event: str, job: str) -> bool:
        """Whether it is to be told of such an end of a run of this job."""
        fits = not self.jobs or any(fnmatchcase(job.lower(), one.lower()) for one in self.jobs)
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
    """All of them, in the order in which they were made."""
    return [_of(row) for row in await connection.execute(sa.select(job_webhook).order_by(_c.Id))]


async def find(connection: AsyncConnection, webhook_id: int) -> Webhook | None:
    """One of them."""
    row = (
        await connection.execute(sa.select(job_webhook).where(_c.Id == webhook_id))
    ).one_or_none()
    return None if row is None else _of(row)


async def add(connection: AsyncConnection, values: dict[str, Any]) -> int:
    """Keep a new one; its number."""
    made = await connection.execute(job_webhook.insert().values(values))
    key = made.inserted_primary_key
    assert key is not None
    return int(key[0])


async def disable(connection: AsyncConnection, webhook_id: int, by: str, now: datetime) -> None:
    """Turn one off: what waits to be sent to it is given up."""
    d = job_delivery.c  # before the webhook, as whoever has sent one does
    waiting = sa.update(job_delivery).where(d.WebhookId == webhook_id, d.DueAt.is_not(None))
    ended = {"DueAt": None, "Status": FAILED, "EndedAt": now, "Answer": "the webhook is off"}
    await connection.execute(waiting.values(ended))
    off = {"DisabledAt": now, "DisabledBy": by[:100]}
    await connection.execute(sa.update(job_webhook).where(_c.Id == webhook_id).values(off))


async def enable(connection: AsyncConnection, webhook_id: int) -> None:
    """Turn one on."""
    on = {"DisabledAt": None, "DisabledBy": None, "FailingSince": None}
    await connection.execute(sa.update(job_webhook).where(_c.Id == webhook_id).values(on))


async def reseal(connection: AsyncConnection, webhook_id: int, sealed_json: str) -> None:
    """Keep another secret of one."""
    sealed = sa.update(job_webhook).where(_c.Id == webhook_id).values(SealedJson=sealed_json)
    await connection.execute(sealed)


async def remove(connection: AsyncConnection, webhook_id: int) -> None:
    """Remove one, with what was sent to it."""
    mine = job_delivery.c.WebhookId == webhook_id
    await connection.execute(sa.delete(job_delivery).where(mine))
    await connection.execute(sa.delete(job_webhook).where(_c.Id == webhook_id))


# The messages to webhooks: made in the transaction that takes note of a run that ended, taken to be sent, and what came of it.

KEPT_FOR = timedelta(days=14)
"""How long a message is kept once nothing more is done with it."""
_NEWS = timedelta(days=7)
"""A run that ended longer ago is no news: its row was changed for another reason. Shorter than messages are kept, by which a run is known."""
TEST = "test"
"""The event of a message that somebody asked for."""
_message = job_delivery.c


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
    """Make the messages about some runs, those of them that are over and news to somebody; one that is there stays as it is.

    Args:
        connection: The transaction that takes note of the runs.
        ids: The runs.
        now: The present instant.
        page: Where the dashboard is.
    """
    hooks = [one for one in await webhooks(connection) if one.disabled_at is None]
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
    others = sa.select(w.Id).where(w.SealedJson == IN_CODE, w.Shown.not_in(list(handlers)))
    due = sa.select(job_delivery).where(
        _message.DueAt <= now,
        _message.WebhookId.not_in(list(busy)),
        _message.WebhookId.not_in(others),
    )
    due = due.order_by(_message.DueAt, _message.Id).limit(most).with_for_update(skip_locked=True)
    found = [_message_of(row) for row in await connection.execute(due)]
    if not found:
        return []
    mine = known.of(connection).among(_message.Id, [one.id for one in found])
    taken = {"DueAt": until, "Attempts": _message.Attempts + 1}
    await connection.execute(sa.update(job_delivery).where(mine).values(taken))
    hooks = {one.id: one for one in await webhooks(connection)}
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
        _message.Id == one.id, _message.Status == WAITING, _message.Attempts == one.attempts + 1
    )


async def redeliver(connection: AsyncConnection, webhook_id: int, key: int, now: datetime) -> bool:
    """Send a message again, as if for the first time; whether there is such a one."""
    mine = sa.update(job_delivery).where(_message.Id == key, _message.WebhookId == webhook_id)
    anew = {"DueAt": now, "Status": WAITING, "Attempts": 0, "EndedAt": None}
    return await changed(connection, mine.values(anew)) == 1


async def deliveries(
    connection: AsyncConnection, webhook_id: int, limit: int, before: int | None = None
) -> list[Delivery]:
    """The messages to a webhook, newest first."""
    statement = sa.select(job_delivery).where(_message.WebhookId == webhook_id)
    if before is not None:
        statement = statement.where(_message.Id < before)
    found = await connection.execute(statement.order_by(_message.Id.desc()).limit(limit))
    return [_message_of(row) for row in found]


async def remove_old(connection: AsyncConnection, now: datetime) -> None:
    """Remove the messages that are kept no longer."""
    old = sa.delete(job_delivery).where(
        _message.DueAt.is_(None), _message.CreatedAt < now - KEPT_FOR
    )
    await connection.execute(old)


# The rows of handlers in the code: they hear of runs by the same messages as addresses do, kept until they have returned.

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
    there = {one.shown: one for one in await webhooks(connection) if one.in_code}
    for name, events in handlers.items():
        wanted, row = " ".join(sorted(events)), there.get(name)
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
    connection: AsyncConnection, settled: Sequence[Settlement], now: datetime
) -> None:
    """Make the messages about attempts that will be followed by others, in the transaction that settles them. What is over is told of elsewhere, see :func:`.outbox.fill`."""
    again = [item for item in settled if item.state is RunState.RETRYING]
    if not again:
        return
    hooks = [
        one
        for one in await webhooks(connection)
        if one.disabled_at is None and RunState.RETRYING in one.events
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
    """Give up what no node has taken for long, and turn those handlers off."""
    d, c = job_delivery.c, job_webhook.c
    of_code = sa.select(c.Id).where(c.SealedJson == IN_CODE, c.DisabledAt.is_(None))
    late = sa.select(d.WebhookId).where(
        d.WebhookId.in_(of_code), d.Status == WAITING, d.DueAt < now - UNHEARD_FOR
    )
    for key in set(await connection.scalars(late)):
        await disable(connection, key, NOBODY, now)
