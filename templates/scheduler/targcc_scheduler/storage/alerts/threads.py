"""Alerts that are not over: written when people are told, counted on, and removed by the one node that says it is well again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.states import ACTIVE, RunState
from ..dialects.counting import changed, insert_new
from ..tables import job_alert_thread, job_failure, job_run, job_server

_T = job_alert_thread.c
_MOST = 500


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
    found = sa.select(job_alert_thread).order_by(_T.FirstAt, _T.Thread).limit(_MOST)
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
