"""The keys of limits: what of their room and their tokens is taken, and how many runs wait for it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.states import RunState
from ...db.dialects.frequent import is_among, listed
from ...db.tables import job_limit, job_run
from .. import limit_renames, limits
from ..runs.values import IS_LIMIT, Tie

_l, _r = job_limit.c, job_run.c
_HAS_ROOM = limits.has_capacity(job_run)
_ASKS = sa.and_(_r.State == RunState.AWAITING, _r.Ties.op("&")(int(Tie.ASKS)) != 0)
_OPEN = sa.and_(_r.LimitKey.is_not(None), _r.CompletedAt.is_(None), IS_LIMIT)


@dataclass(frozen=True, kw_only=True)
class LimitUse:
    """How many runs of a key, or of all keys of a job, have room or ask for it.

    Args:
        running: Runs that are running, or have room and wait for a worker.
        used: What they weigh.
        waiting: Runs that wait for room or for a token.
        oldest_due: Since when the longest due of them is due.
    """

    running: int = 0
    used: int = 0
    waiting: int = 0
    oldest_due: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class LimitKey(LimitUse):
    """A key of a limit.

    Args:
        key: It begins with the name of its job, or with one that the job had.
        job: The job.
        most: What runs of the key may weigh together; ``None``: any.
        tokens: How many attempts may start at once; ``None``: there is no rate.
        burst: How many tokens are saved up at most.
        full_at: When all of them are there again; ``None``: they are.
    """

    key: str
    job: str
    most: int | None
    tokens: int | None
    burst: int | None
    full_at: datetime | None


async def list_keys(
    db: AsyncConnection,
    jobs: Collection[str],
    now: datetime,
    *,
    job: str | None = None,
    key: str | None = None,
    waiting: bool = False,
    limit: int = 50,
    after: str = "",
) -> list[LimitKey]:
    """Keys in their order.

    Args:
        db: The database.
        jobs: The jobs that are in the code.
        now: The present instant.
        job: Of this job.
        key: Those in which this stands.
        waiting: Only those for which runs wait.
        limit: At most so many.
        after: Those that come after this key.
    """
    query = _rows().where(_l.LimitKey > after)
    if job is not None:
        begins = await limit_renames.beginnings(db, [job], jobs)
        query = query.where(_l.JobName == begins[job])
    if key:
        query = query.where(_l.LimitKey.contains(key, autoescape=True))
    if waiting:
        query = query.where(sa.exists().where(_r.LimitKey == _l.LimitKey, _OPEN, _ASKS))
    rows = (await db.execute(query.order_by(_l.LimitKey).limit(limit))).all()
    return await _keys(db, rows, jobs, now)


async def busiest(
    db: AsyncConnection, job: str, jobs: Collection[str], now: datetime, *, most: int
) -> list[LimitKey]:
    """The keys of a job for which the most runs wait, then those of which the most are under way."""
    waits = sa.func.sum(sa.case((_ASKS, 1), else_=0))
    found = (
        sa.select(_r.LimitKey)
        .where(_r.JobName == job, _OPEN, sa.or_(_HAS_ROOM, _ASKS))
        .group_by(_r.LimitKey)
        .order_by(waits.desc(), sa.func.count().desc(), _r.LimitKey)
        .limit(most)
    )
    keys = list(await db.scalars(found))
    is_one = is_among(_l.LimitKey, listed("keys", sa.Text))
    rows = (await db.execute(_rows().where(is_one), {"keys": keys})).all()
    shown = await _keys(db, rows, jobs, now)
    return sorted(shown, key=lambda one: keys.index(one.key))


async def by_job(db: AsyncConnection) -> dict[str, LimitUse]:
    """How all keys of each job stand together; jobs of which no run has room or asks for it are left out."""
    asks = sa.case((_HAS_ROOM, 0), else_=1)
    oldest = sa.func.min(_r.DueAt, type_=_r.DueAt.type)
    counted = sa.select(_r.JobName, asks, sa.func.count(), sa.func.sum(_r.Weight), oldest)
    found: dict[str, dict[str, Any]] = {}
    counted = counted.where(_OPEN, sa.or_(_HAS_ROOM, _ASKS)).group_by(_r.JobName, asks)
    for job, waits, runs, weight, due in await db.execute(counted):
        part = {"waiting": runs, "oldest_due": due} if waits else {"running": runs, "used": weight}
        found.setdefault(job, {}).update(part)
    return {job: LimitUse(**one) for job, one in found.items()}


def _rows() -> sa.Select[Any]:
    """Keys with what their runs take, counted key by key: on SQLite that reads one index."""
    of_key = sa.and_(_r.LimitKey == _l.LimitKey, _OPEN)

    def of(what: sa.ColumnElement[Any], which: sa.ColumnElement[bool], name: str) -> Any:
        return sa.select(what).where(of_key, which).scalar_subquery().label(name)

    return sa.select(
        job_limit,
        of(sa.func.count(), _HAS_ROOM, "running"),
        of(sa.func.coalesce(sa.func.sum(_r.Weight), 0), _HAS_ROOM, "used"),
        of(sa.func.count(), _ASKS, "waiting"),
        of(sa.func.min(_r.DueAt, type_=_r.DueAt.type), _ASKS, "oldest_due"),
    ).where(limit_renames.IS_KEY)


async def _keys(
    db: AsyncConnection, rows: Sequence[Any], jobs: Collection[str], now: datetime
) -> list[LimitKey]:
    names = await _names(db, {row.JobName for row in rows}, jobs)
    return [
        LimitKey(
            key=row.LimitKey,
            job=names[row.JobName],
            most=row.Most,
            tokens=_tokens(row, now),
            burst=row.Burst if row.IntervalMs is not None else None,
            full_at=row.NextAt if row.NextAt is not None and row.NextAt > now else None,
            running=row.running,
            used=row.used,
            waiting=row.waiting,
            oldest_due=row.oldest_due,
        )
        for row in rows
    ]


async def _names(
    db: AsyncConnection, found: Collection[str], jobs: Collection[str]
) -> Mapping[str, str]:
    """The names of jobs as the code has them: one that got back an earlier name keeps the keys that it had meanwhile."""
    names = {name: name for name in found}
    if any(name not in jobs for name in found):
        had = await limit_renames.earlier_names(db)
        for name in names.keys() - set(jobs):
            names[name] = next((one for one in had.get(name, ()) if one in jobs), name)
    return names


def _tokens(row: Any, now: datetime) -> int | None:
    """How many tokens a key has saved up."""
    if row.IntervalMs is None:
        return None
    burst, interval = row.Burst or 1, timedelta(milliseconds=row.IntervalMs)
    missing = max((row.NextAt or now) - now, timedelta()) / interval
    return max(int(burst - missing), 0)
