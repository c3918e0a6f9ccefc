"""Rows of alerts: rules, outbox, open alerts."""

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
from ...db.dialects import known
from ...db.dialects.counting import changed, insert_new
from ...db.dialects.frequent import FrequentStatement
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
from ...kernel.audit import audit
from ..triage import error_groups
from ..triage.error_groups import ALERT

# The rows of alert rules, and the audit of alerts: how many went out or were held back.

_ALERTED = FrequentStatement(sa.select(job_alert.c.JobName))
MARK: sa.ScalarSelect[str] = sa.select(
    sa.func.aggregate_strings(job_alert.c.JobName, ",")
).scalar_subquery()
"""Another value when another job has a rule, or one has none any more."""


async def alerted_jobs(connection: AsyncConnection) -> frozenset[str]:
    """The jobs that have a row in ``c_JobAlert``."""
    return frozenset(row.JobName for row in await _ALERTED.all(connection, {}))


async def find_rule(connection: AsyncConnection, name: str) -> Any:
    """The row of ``c_JobAlert`` of a job; ``None`` when it has none."""
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
    """Whether the hour has room for one more alert about a job, and how many were held back since the last one that went out.

    The answer is audited; so the hour's alerts are counted by every node and seen by everybody.

    Args:
        connection: A transaction that writes.
        name: The job.
        kind: What is told about it.
        now: The present instant.
        run_id: The run it is about, if there is one.
        limit: How many an hour; ``None`` for as many as there are.
        aliases: Names that the job had before: alerts about them count.
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
    """Record that an alert could not be sent."""
    action = "alert-failed"
    await error_groups.note_issue(connection, name, error_groups.ALERT, detail, now)
    await audit(connection, SYSTEM, action, now, job_name=name, run_id=run_id, detail=detail)


async def note_success(connection: AsyncConnection, name: str) -> None:
    """Alerts about a job go out again."""
    await error_groups.remove(connection, name, error_groups.ALERT)


async def count_audited(
    connection: AsyncConnection, names: Sequence[str], action: str, *, since: datetime
) -> int:
    """How many audit rows of one action a job has had since an instant."""
    query = (
        sa.select(sa.func.count())
        .select_from(job_audit)
        .where(job_audit.c.JobName.in_(names), job_audit.c.Action == action, job_audit.c.At > since)
    )
    return int((await connection.execute(query)).scalar_one())


async def count_held_back(connection: AsyncConnection, names: Sequence[str]) -> int:
    """How many alerts of a job were held back since the last one that went out."""
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


# Messages on their way to people, which one of several nodes sends: each is claimed, sent, and removed.
#
# A node that dies between sending and removing leaves its claim, which ends by itself: the message is sent again, with the same Message-ID.

CLAIM = timedelta(minutes=2)
"""How long a node has to send what it has claimed."""
MOST_TRIES = 6
_FIRST_WAIT = timedelta(minutes=1)
_MOST = 200
_C = job_notice.c


@dataclass(frozen=True, slots=True)
class Letter:
    """A message to one recipient.

    Args:
        key: What makes it one: it is not put in again under the same.
        job: The job, or what stands for it.
        channel: The way it goes.
        target: Where to.
        from_code: Whether the target may refer to secrets.
        notice_json: What it says.
        due_at: When it goes.
    """

    key: str
    job: str
    channel: str
    target: str
    from_code: bool
    notice_json: str
    due_at: datetime


async def put(connection: AsyncConnection, letters: Iterable[Letter]) -> None:
    """Write messages down, in the transaction of what they tell of."""
    for one in letters:
        insert = known.of(connection).insert_ignore(job_notice, [_C.NoticeKey])
        await connection.execute(
            insert.values(
                NoticeKey=one.key,
                JobName=one.job[:100],
                Channel=one.channel,
                Target=one.target,
                FromCode=one.from_code,
                NoticeJson=one.notice_json,
                DueAt=one.due_at,
            )
        )


async def any_due(connection: AsyncConnection, now: datetime) -> bool:
    """Whether something has to be sent."""
    return bool(await connection.scalar(sa.select(sa.exists().where(*_free(now)))))


async def claim(connection: AsyncConnection, token: str, now: datetime) -> list[Any]:
    """Take what is due; the rows, the oldest first."""
    first = sa.select(_C.Id).where(*_free(now)).order_by(_C.Id).limit(_MOST).scalar_subquery()
    taken = sa.update(job_notice).where(_C.Id.in_(first), *_free(now))
    await connection.execute(taken.values(ClaimedBy=token, ClaimedUntil=now + CLAIM))
    mine = sa.select(job_notice).where(_C.ClaimedBy == token).order_by(_C.Id)
    return list(await connection.execute(mine))


async def sent(connection: AsyncConnection, ids: Sequence[int]) -> None:
    """Remove what was sent, or was given up."""
    await connection.execute(
        sa.delete(job_notice).where(known.of(connection).among(_C.Id, list(ids)))
    )


async def try_later(connection: AsyncConnection, rows: Sequence[Any], now: datetime) -> bool:
    """Free what could not be sent, for a try after a while; false: it was tried often enough, and is given up."""
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
    """All rows, what goes first at the top."""
    return list(
        await connection.execute(sa.select(job_notice).order_by(_C.DueAt, _C.Id).limit(_MOST))
    )


async def claim_slot(connection: AsyncConnection, name: str, slot: datetime, now: datetime) -> bool:
    """Whether this is the first node that comes for a slot of something that goes once a day; part of a transaction that writes."""
    c = job_setting.c
    said = slot.strftime("%Y-%m-%dT%H:%M:%SZ")
    first = known.of(connection).insert_ignore(job_setting, [c.Name])
    await connection.execute(first.values(Name=name, Value="", UpdatedAt=now))
    mine = sa.update(job_setting).where(c.Name == name, c.Value < said)
    return await changed(connection, mine.values(Value=said, UpdatedAt=now)) == 1


def _free(now: datetime) -> list[sa.ColumnElement[bool]]:
    return [_C.DueAt <= now, sa.or_(_C.ClaimedUntil.is_(None), _C.ClaimedUntil < now)]


# Alerts that are not over: written when people are told, counted on, and removed by the one node that says it is well again.

_T = job_alert_thread.c
_MOST_THREADS = 500


@dataclass(frozen=True, slots=True)
class Happened:
    """Something of which people were, or may have been, told.

    Args:
        thread: What keeps alerts about the same together.
        kind: The kind of the alert.
        job: The job.
        about: The expectation that is broken, or the node.
        title: What the alert said.
        run_id: The run, if there is one.
        targets_json: Who was told; ``None``: nobody, so it counts only where people were told before.
        escalates: Whether others are told when nobody does anything about it.
    """

    thread: str
    kind: str
    job: str
    about: str
    title: str
    run_id: int | None
    targets_json: str | None
    escalates: bool


async def note(connection: AsyncConnection, one: Happened, now: datetime) -> None:
    """Count on an alert that is not over; begin it, if people were told."""
    counted: dict[str, Any] = {"Number": _T.Number + 1, "LastAt": now}
    if one.run_id is not None:
        counted["LastRunId"] = one.run_id
    if one.targets_json is not None:
        counted["TargetsJson"] = one.targets_json
    if one.escalates:
        counted["EscalatesFrom"] = sa.func.coalesce(
            _T.EscalatesFrom, sa.literal(now, _T.EscalatesFrom.type)
        )
    again = sa.update(job_alert_thread).where(_T.Thread == one.thread).values(counted)
    if await changed(connection, again) or one.targets_json is None:
        return
    first = {
        "Thread": one.thread,
        "Kind": one.kind,
        "JobName": one.job[:100],
        "About": one.about[:200],
        "Title": one.title[:300],
        "FirstAt": now,
        "LastAt": now,
        "FirstRunId": one.run_id,
        "LastRunId": one.run_id,
        "Number": 1,
        "TargetsJson": one.targets_json,
        "EscalatesFrom": now if one.escalates else None,
    }
    if not await insert_new(connection, job_alert_thread, [_T.Thread], first):
        await connection.execute(again)  # another node was first


async def going_on(connection: AsyncConnection) -> list[Any]:
    """The rows of those that are not over, the oldest first."""
    found = sa.select(job_alert_thread).order_by(_T.FirstAt, _T.Thread).limit(_MOST_THREADS)
    return list(await connection.execute(found))


async def end(connection: AsyncConnection, row: Any) -> bool:
    """End one that is well again, unless it has happened again meanwhile; one of several nodes gets true."""
    same = sa.and_(_T.Thread == row.Thread, _T.Number == row.Number, _T.FirstAt == row.FirstAt)
    return await changed(connection, sa.delete(job_alert_thread).where(same)) == 1


async def escalate(connection: AsyncConnection, row: Any) -> bool:
    """Take the next step of one; one of several nodes gets true."""
    same = sa.and_(
        _T.Thread == row.Thread, _T.Step == row.Step, _T.EscalatesFrom == row.EscalatesFrom
    )
    step = sa.update(job_alert_thread).where(same).values(Step=row.Step + 1)
    return await changed(connection, step) == 1


async def calm(connection: AsyncConnection, thread: str) -> None:
    """Somebody looks after it: the next time it happens, its escalation begins anew."""
    calmed = sa.update(job_alert_thread).where(_T.Thread == thread)
    await connection.execute(calmed.values(EscalatesFrom=None, Step=0))


async def remove_old(connection: AsyncConnection, before: datetime) -> None:
    """Forget those that have not happened since an instant, without a word."""
    await connection.execute(sa.delete(job_alert_thread).where(_T.LastAt < before))


async def failure_over_at(connection: AsyncConnection, row: Any) -> datetime | None:
    """Since when a job works again; ``None``: it does not.

    It does when it succeeded after its last failure, and so did each run that failed since the first, with its arguments, unless a person
    has dealt with that one. A run that a person has retried is dealt with when its rerun has ended.
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
    """Whether nobody has acknowledged, muted or taken a failure, and runs of it are open."""
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
    """Whether a node of a name has been heard of in the last minute."""
    c = job_server.c
    heard = sa.exists().where(c.Name == name, c.HeartbeatAt > now - timedelta(minutes=1))
    return bool(await connection.scalar(sa.select(heard)))


# Alerts that are not over, messages that wait, and alerts that did not go out.


@dataclass(frozen=True, slots=True)
class OpenAlert:
    """Something of which people were told, and which is not well again.

    Args:
        since: When they were told first.
        kind: ``failure``, ``late`` or ``node``.
        job: The job.
        times: How often it has happened since.
        steps_taken: How many steps of the escalation are done.
        title: What the alert said.
    """

    since: datetime
    kind: str
    job: str
    times: int
    steps_taken: int
    title: str


@dataclass(frozen=True, slots=True)
class WaitingMessage:
    """A message that is to go out.

    Args:
        goes_at: When.
        channel: The way.
        to: To whom, without what is secret of it.
        tries: How often it could not be sent.
        title: What it says.
    """

    goes_at: datetime
    channel: str
    to: str
    tries: int
    title: str


@dataclass(frozen=True, slots=True)
class FailedAlert:
    """An alert that did not go out: about which job, since when, and why."""

    since: datetime
    job: str
    reason: str


@dataclass(frozen=True, slots=True)
class AlertsNow:
    """How alerts are."""

    going_on: tuple[OpenAlert, ...]
    waiting: tuple[WaitingMessage, ...]
    failed: tuple[FailedAlert, ...]

    @property
    def any(self) -> bool:
        """Whether there is one of any kind."""
        return bool(self.going_on or self.waiting or self.failed)


async def alerts_now(connection: AsyncConnection) -> AlertsNow:
    """How alerts are, the oldest first."""
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
    """A recipient as people may see it: of a webhook's address the host, since the rest is a password."""
    if "://" not in address:
        return address
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.hostname}/{MASK}"
