"""Tables of alerts: rules, outbox, open alerts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.actor import SYSTEM
from ...core.masking import MASK
from ...core.states import ACTIVE, RunState
from ...db.columns import joined_texts
from ...db.dialects import known
from ...db.dialects.frequent import FrequentStatement, changed, insert_new
from ...db.tables import (
    job_alert,
    job_alert_thread,
    job_audit,
    job_concern,
    job_failure,
    job_notice,
    job_run,
    job_server,
    job_setting,
)
from ...kernel import error_groups
from ...kernel.audit import audit
from ...kernel.error_groups import ALERT

# Alert rules (``c_JobAlert``), and the audit rows that count sent and suppressed alerts.

_ALERTED = FrequentStatement(sa.select(job_alert.c.JobName))
MARK: sa.ScalarSelect[str] = sa.select(joined_texts(job_alert.c.JobName)).scalar_subquery()
"""Change marker: the value differs when a job gains or loses its rule."""


async def alerted_jobs(connection: AsyncConnection) -> frozenset[str]:
    """Return the names of jobs that have a row in ``c_JobAlert``."""
    return frozenset(row.JobName for row in await _ALERTED.all(connection, {}))


async def find_rule(connection: AsyncConnection, name: str) -> Any:
    """Return a job's row in ``c_JobAlert``, or ``None``."""
    return (
        await connection.execute(sa.select(job_alert).where(job_alert.c.JobName == name))
    ).first()


async def admit(
    connection: AsyncConnection,
    name: str,
    kind: str,
    now: datetime,
    *,
    run_id: int | None,
    limit: int | None,
    aliases: Sequence[str] = (),
) -> tuple[bool, int]:
    """Admit an alert about a job if the hourly limit allows.

    The decision is written to the audit, so every node counts the same alerts.

    Args:
        connection: A write transaction.
        name: The job's name.
        kind: Alert kind.
        now: The current time.
        run_id: The run; ``None`` if the alert is about no run.
        limit: Maximum alerts per hour; ``None`` for no limit.
        aliases: Former names of the job. Alerts under these names count too.

    Returns:
        Whether the alert is admitted, and the number of alerts suppressed since the last sent alert (0 if not admitted).
    """
    await known.of(connection).lock_alerts(connection, name)
    names = (name, *aliases)
    sent = await count_audited(connection, names, "alert", since=now - timedelta(hours=1))
    allowed = limit is None or sent < limit
    held_back = await count_held_back(connection, names) if allowed else 0
    action = "alert" if allowed else "alert-held-back"
    await audit(connection, SYSTEM, action, now, job_name=name, run_id=run_id, detail=kind)
    if allowed:
        await connection.execute(
            sa.update(job_alert).where(job_alert.c.JobName == name).values(LastAlertSent=now)
        )
    return allowed, held_back


async def note_failure(
    connection: AsyncConnection, name: str, now: datetime, *, run_id: int | None, detail: str
) -> None:
    """Record an issue and an audit row for an alert that could not be sent."""
    action = "alert-failed"
    await error_groups.note_issue(connection, name, error_groups.ALERT, detail, now)
    await audit(connection, SYSTEM, action, now, job_name=name, run_id=run_id, detail=detail)


async def note_success(connection: AsyncConnection, name: str) -> None:
    """Remove the issue of failed alerts: alerts about the job are sent again."""
    await error_groups.remove(connection, name, error_groups.ALERT)


async def count_audited(
    connection: AsyncConnection, names: Sequence[str], action: str, *, since: datetime
) -> int:
    """Count a job's audit rows with the given action after ``since``."""
    query = (
        sa.select(sa.func.count())
        .select_from(job_audit)
        .where(job_audit.c.JobName.in_(names), job_audit.c.Action == action, job_audit.c.At > since)
    )
    return int((await connection.execute(query)).scalar_one())


async def count_held_back(connection: AsyncConnection, names: Sequence[str]) -> int:
    """Count the job's alerts that the hourly limit suppressed since the last sent alert."""
    last = (
        sa.select(sa.func.coalesce(sa.func.max(job_audit.c.Id), 0))
        .where(job_audit.c.JobName.in_(names), job_audit.c.Action == "alert")
        .scalar_subquery()
    )
    query = (
        sa.select(sa.func.count())
        .select_from(job_audit)
        .where(
            job_audit.c.JobName.in_(names),
            job_audit.c.Action == "alert-held-back",
            job_audit.c.Id > last,
        )
    )
    return int((await connection.execute(query)).scalar_one())


# The outbox of alerts (``c_JobNotice``). A node claims a message, sends the message, and deletes the row.
#
# If a node dies after sending and before deleting, its claim expires. Another node sends the message again with the same Message-ID.

CLAIM = timedelta(minutes=2)
"""Duration of a claim on outbox rows."""
MOST_TRIES = 6
_FIRST_WAIT = timedelta(minutes=1)
_MOST = 200
_C = job_notice.c


@dataclass(frozen=True, slots=True)
class Letter:
    """A message to one recipient, for the outbox.

    Args:
        key: Unique key: a second insert with the same key is ignored.
        job: The job's name, or the name that stands for a job, such as ``Digest``.
        channel: Channel name.
        target: Recipient's address.
        from_code: Whether the target may refer to secrets.
        notice_json: The notice as JSON.
        due_at: When to send the message.
    """

    key: str
    job: str
    channel: str
    target: str
    from_code: bool
    notice_json: str
    due_at: datetime


async def put(connection: AsyncConnection, letters: Iterable[Letter]) -> None:
    """Insert messages into the outbox, in the caller's transaction. Existing keys are ignored."""
    for letter in letters:
        insert = known.of(connection).insert_ignore(job_notice, [_C.NoticeKey])
        await connection.execute(
            insert.values(
                NoticeKey=letter.key,
                JobName=letter.job[:100],
                Channel=letter.channel,
                Target=letter.target,
                FromCode=letter.from_code,
                NoticeJson=letter.notice_json,
                DueAt=letter.due_at,
            )
        )


async def any_due(connection: AsyncConnection, now: datetime) -> bool:
    """Return whether an unclaimed message is due."""
    return bool(await connection.scalar(sa.select(sa.exists().where(*_free(now)))))


async def claim(connection: AsyncConnection, token: str, now: datetime) -> list[Any]:
    """Claim up to 200 due messages and return their rows, oldest first."""
    first = sa.select(_C.Id).where(*_free(now)).order_by(_C.Id).limit(_MOST).scalar_subquery()
    taken = sa.update(job_notice).where(_C.Id.in_(first), *_free(now))
    await connection.execute(taken.values(ClaimedBy=token, ClaimedUntil=now + CLAIM))
    query = sa.select(job_notice).where(_C.ClaimedBy == token).order_by(_C.Id)
    return list(await connection.execute(query))


async def sent(connection: AsyncConnection, ids: Sequence[int]) -> None:
    """Delete outbox rows after delivery or after the last retry."""
    await connection.execute(
        sa.delete(job_notice).where(known.of(connection).among(_C.Id, list(ids)))
    )


async def try_later(connection: AsyncConnection, rows: Sequence[Any], now: datetime) -> bool:
    """Release messages that failed to send, and schedule a retry.

    The delay starts at one minute and doubles with each retry.

    Returns:
        False if the tries reached :data:`MOST_TRIES`; the messages are then deleted.
    """
    tries = min(row.Tries for row in rows) + 1
    ids = [row.Id for row in rows]
    if tries >= MOST_TRIES:
        await sent(connection, ids)
        return False
    freed = sa.update(job_notice).where(known.of(connection).among(_C.Id, ids))
    await connection.execute(
        freed.values(
            Tries=tries,
            DueAt=now + _FIRST_WAIT * 2 ** (tries - 1),
            ClaimedBy=None,
            ClaimedUntil=None,
        )
    )
    return True


async def waiting(connection: AsyncConnection) -> list[Any]:
    """Return up to 200 outbox rows in order of due time."""
    return list(
        await connection.execute(sa.select(job_notice).order_by(_C.DueAt, _C.Id).limit(_MOST))
    )


async def claim_slot(connection: AsyncConnection, name: str, slot: datetime, now: datetime) -> bool:
    """Claim a slot of a recurring task, such as the digest, for one node. Needs a write transaction.

    Returns:
        True for the first node that claims the slot; false for the other nodes.
    """
    c = job_setting.c
    slot_text = slot.strftime("%Y-%m-%dT%H:%M:%SZ")
    first = known.of(connection).insert_ignore(job_setting, [c.Name])
    await connection.execute(first.values(Name=name, Value="", UpdatedAt=now))
    change = sa.update(job_setting).where(c.Name == name, c.Value < slot_text)
    return await changed(connection, change.values(Value=slot_text, UpdatedAt=now)) == 1


def _free(now: datetime) -> list[sa.ColumnElement[bool]]:
    return [_C.DueAt <= now, sa.or_(_C.ClaimedUntil.is_(None), _C.ClaimedUntil < now)]


# Open alerts (``c_JobAlertThread``). A row is inserted when an alert is sent, and its count grows with each repetition.
# The node that sends the recovery notice deletes the row.

_T = job_alert_thread.c
_MOST_THREADS = 500


@dataclass(frozen=True, slots=True)
class Happened:
    """An occurrence of an alert, sent or suppressed.

    Args:
        thread: Key that groups alerts about the same problem.
        kind: Alert kind.
        job: The job's name.
        about: The broken expectation, or the node.
        title: Alert title.
        run_id: The run; ``None`` if the alert is about no run.
        targets_json: Recipients as JSON. ``None`` if the alert was suppressed: the occurrence then counts only if the alert is open already.
        escalates: Whether the alert escalates when nobody responds.
    """

    thread: str
    kind: str
    job: str
    about: str
    title: str
    run_id: int | None
    targets_json: str | None
    escalates: bool


async def note(connection: AsyncConnection, event: Happened, now: datetime) -> None:
    """Count an occurrence of an open alert. Insert the alert if none is open and recipients were told."""
    counted: dict[str, Any] = {"Number": _T.Number + 1, "LastAt": now}
    if event.run_id is not None:
        counted["LastRunId"] = event.run_id
    if event.targets_json is not None:
        counted["TargetsJson"] = event.targets_json
    if event.escalates:
        counted["EscalatesFrom"] = sa.func.coalesce(
            _T.EscalatesFrom, sa.literal(now, _T.EscalatesFrom.type)
        )
    again = sa.update(job_alert_thread).where(_T.Thread == event.thread).values(counted)
    if await changed(connection, again) or event.targets_json is None:
        return
    first = {
        "Thread": event.thread,
        "Kind": event.kind,
        "JobName": event.job[:100],
        "About": event.about[:200],
        "Title": event.title[:300],
        "FirstAt": now,
        "LastAt": now,
        "FirstRunId": event.run_id,
        "LastRunId": event.run_id,
        "Number": 1,
        "TargetsJson": event.targets_json,
        "EscalatesFrom": now if event.escalates else None,
    }
    if not await insert_new(connection, job_alert_thread, [_T.Thread], first):
        await connection.execute(again)  # another node was first


async def going_on(connection: AsyncConnection) -> list[Any]:
    """Return up to 500 rows of open alerts, oldest first."""
    query = sa.select(job_alert_thread).order_by(_T.FirstAt, _T.Thread).limit(_MOST_THREADS)
    return list(await connection.execute(query))


async def end(connection: AsyncConnection, row: Any) -> bool:
    """Delete a recovered alert, unless the alert has occurred again since ``row`` was read.

    Returns:
        True for the node that deleted the row.
    """
    same = sa.and_(_T.Thread == row.Thread, _T.Number == row.Number, _T.FirstAt == row.FirstAt)
    return await changed(connection, sa.delete(job_alert_thread).where(same)) == 1


async def escalate(connection: AsyncConnection, row: Any) -> bool:
    """Advance an alert to its next escalation step.

    Returns:
        True for the node that changed the row.
    """
    same = sa.and_(
        _T.Thread == row.Thread, _T.Step == row.Step, _T.EscalatesFrom == row.EscalatesFrom
    )
    step = sa.update(job_alert_thread).where(same).values(Step=row.Step + 1)
    return await changed(connection, step) == 1


async def calm(connection: AsyncConnection, thread: str) -> None:
    """Reset the escalation of an alert that somebody has taken up. The next occurrence starts from the first step."""
    calmed = sa.update(job_alert_thread).where(_T.Thread == thread)
    await connection.execute(calmed.values(EscalatesFrom=None, Step=0))


async def remove_old(connection: AsyncConnection, before: datetime) -> None:
    """Delete open alerts whose last occurrence is before ``before``. No recovery notice is sent."""
    await connection.execute(sa.delete(job_alert_thread).where(_T.LastAt < before))


async def failure_over_at(connection: AsyncConnection, row: Any) -> datetime | None:
    """Return when a job recovered from a failure, or ``None`` if the failure goes on.

    A job has recovered when two conditions hold:

    * A run succeeded after the last failure.
    * Each run that failed since the first failure is resolved: a later run with the same arguments succeeded, or a person handled the run.
      A retried run is resolved when the rerun has ended.
    """
    c, new, last = job_run.c, job_run.alias("new"), job_run.alias("last")
    failed_at = sa.select(last.c.CompletedAt).where(last.c.Id == row.LastRunId).scalar_subquery()
    better = sa.select(sa.func.min(c.CompletedAt, type_=c.CompletedAt.type)).where(
        c.JobName == row.JobName,
        c.State == RunState.SUCCEEDED,
        c.Id >= (row.LastRunId or 0),
        sa.or_(failed_at.is_(None), c.CompletedAt >= failed_at),
    )
    over_at: datetime | None = await connection.scalar(better)
    if over_at is None:
        return None
    done = sa.exists().where(
        new.c.JobName == c.JobName,
        new.c.State == RunState.SUCCEEDED,
        new.c.Id > c.Id,
        sa.func.coalesce(new.c.ArgumentsJson, "") == sa.func.coalesce(c.ArgumentsJson, ""),
    )
    still = sa.select(c.Id).where(
        c.Cause == row.Thread,
        c.Id >= (row.FirstRunId or 0),
        sa.or_(
            sa.and_(c.HandledAt.is_(None), c.State != RunState.SUCCEEDED, ~done),
            sa.exists().where(new.c.RetryOf == c.Id, new.c.State.in_(sorted(ACTIVE))),
        ),
    )
    return over_at if await connection.scalar(still.limit(1)) is None else None


async def failure_waits(connection: AsyncConnection, cause: str, now: datetime) -> bool:
    """Return whether a failure has open runs, and nobody has assigned, muted or snoozed the failure."""
    c, f = job_run.c, job_failure.c
    taken = sa.exists().where(
        f.Cause == cause,
        sa.or_(
            f.Assignee.is_not(None),
            f.MutedAt.is_not(None),
            sa.and_(f.SnoozedUntil.is_not(None), f.SnoozedUntil > now),
        ),
    )
    opened = sa.exists().where(c.Cause == cause, c.HandledAt.is_(None))
    return bool(await connection.scalar(sa.select(sa.and_(opened, ~taken))))


async def node_is_up(connection: AsyncConnection, name: str, now: datetime) -> bool:
    """Return whether a node with this name sent a heartbeat in the last minute."""
    c = job_server.c
    heard = sa.exists().where(c.Name == name, c.HeartbeatAt > now - timedelta(minutes=1))
    return bool(await connection.scalar(sa.select(heard)))


# Alert status for people: open alerts, waiting messages, failed alerts.


@dataclass(frozen=True, slots=True)
class OpenAlert:
    """An alert that was sent and has not recovered.

    Args:
        since: First alert.
        kind: ``failure``, ``late`` or ``node``.
        job: The job's name.
        times: Occurrence count.
        steps_taken: Count of escalation steps taken.
        title: Alert title.
    """

    since: datetime
    kind: str
    job: str
    times: int
    steps_taken: int
    title: str


@dataclass(frozen=True, slots=True)
class WaitingMessage:
    """A message in the outbox.

    Args:
        goes_at: When the message is due.
        channel: Channel name.
        to: Recipient's address, without secrets.
        tries: Count of failed tries.
        title: Notice title.
    """

    goes_at: datetime
    channel: str
    to: str
    tries: int
    title: str


@dataclass(frozen=True, slots=True)
class FailedAlert:
    """An alert that could not be sent: since when, for which job, and the reason."""

    since: datetime
    job: str
    reason: str


@dataclass(frozen=True, slots=True)
class AlertsNow:
    """Alert status: open alerts, waiting messages, failed alerts."""

    going_on: tuple[OpenAlert, ...]
    waiting: tuple[WaitingMessage, ...]
    failed: tuple[FailedAlert, ...]

    @property
    def any(self) -> bool:
        """Return whether an alert is open, waiting or failed."""
        return bool(self.going_on or self.waiting or self.failed)


async def alerts_now(connection: AsyncConnection) -> AlertsNow:
    """Return the alert status, oldest alerts first."""
    c = job_concern.c
    failed = sa.select(c.Since, c.Subject, c.Detail).where(c.Kind == ALERT).order_by(c.Since)
    return AlertsNow(
        tuple(
            OpenAlert(row.FirstAt, row.Kind, row.JobName, row.Number, row.Step, row.Title)
            for row in await going_on(connection)
        ),
        tuple(
            WaitingMessage(
                row.DueAt,
                row.Channel,
                shown_address(row.Target),
                row.Tries,
                json.loads(row.NoticeJson)["title"],
            )
            for row in await waiting(connection)
        ),
        tuple(FailedAlert(*row) for row in await connection.execute(failed)),
    )


def shown_address(address: str) -> str:
    """Return an address without secrets. Of a URL only scheme and host remain: a webhook's path is a password."""
    if "://" not in address:
        return address
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.hostname}/{MASK}"
