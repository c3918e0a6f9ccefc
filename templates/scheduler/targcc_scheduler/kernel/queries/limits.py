"""Read limit keys: used capacity, saved tokens and waiting runs."""

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
    """The use of a limit key, or the sum over all a job's limit keys.

    Args:
        running: Runs that have capacity: running, or waiting for a worker.
        used: The total weight of ``running``.
        waiting: Runs that wait for capacity or for a token.
        oldest_due: The earliest due time among waiting runs; ``None`` without waiting runs.
    """

    running: int = 0
    used: int = 0
    waiting: int = 0
    oldest_due: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class LimitKey(LimitUse):
    """A limit key with its use.

    Args:
        key: The key, which begins with the job's name or an earlier name.
        job: The job.
        most: Maximum total weight for concurrent runs; ``None`` is no limit.
        tokens: Attempts that may start at once; ``None`` without a rate.
        burst: Maximum saved tokens; ``None`` without a rate.
        full_at: The instant at which all tokens are saved again; ``None`` if all tokens are saved.
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
    """Return a page with limit keys, sorted by key.

    Args:
        db: The database.
        jobs: The names that jobs have in the code.
        now: The present instant.
        job: Return only this job's keys.
        key: Return only keys that contain this text.
        waiting: Return only keys with waiting runs.
        limit: Maximum keys on the page.
        after: The last key on the previous page.
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
    """Return at most ``most`` keys for a job: most waiting runs first, then most runs with capacity."""
    waits = sa.func.sum(sa.case((_ASKS, 1), else_=0))
    query = (
        sa.select(_r.LimitKey)
        .where(_r.JobName == job, _OPEN, sa.or_(_HAS_ROOM, _ASKS))
        .group_by(_r.LimitKey)
        .order_by(waits.desc(), sa.func.count().desc(), _r.LimitKey)
        .limit(most)
    )
    keys = list(await db.scalars(query))
    is_one = is_among(_l.LimitKey, listed("keys", sa.Text))
    rows = (await db.execute(_rows().where(is_one), {"keys": keys})).all()
    shown = await _keys(db, rows, jobs, now)
    return sorted(shown, key=lambda one: keys.index(one.key))


async def by_job(db: AsyncConnection) -> dict[str, LimitUse]:
    """Map each job to the use over all its limit keys; omit jobs whose runs neither have nor wait for capacity."""
    asks = sa.case((_HAS_ROOM, 0), else_=1)
    oldest = sa.func.min(_r.DueAt, type_=_r.DueAt.type)
    counted = sa.select(_r.JobName, asks, sa.func.count(), sa.func.sum(_r.Weight), oldest)
    uses: dict[str, dict[str, Any]] = {}
    counted = counted.where(_OPEN, sa.or_(_HAS_ROOM, _ASKS)).group_by(_r.JobName, asks)
    for job, waits, runs, weight, due in await db.execute(counted):
        part = {"waiting": runs, "oldest_due": due} if waits else {"running": runs, "used": weight}
        uses.setdefault(job, {}).update(part)
    return {job: LimitUse(**use) for job, use in uses.items()}


def _rows() -> sa.Select[Any]:
    """Select limit keys with their use, counted per key by a subquery: SQLite then reads one index."""
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
    """Map stored job names to current names; a job that got an earlier name back keeps the keys from the name between."""
    names = {name: name for name in found}
    if any(name not in jobs for name in found):
        had = await limit_renames.earlier_names(db)
        for name in names.keys() - set(jobs):
            names[name] = next(
                (job_name for job_name in had.get(name, ()) if job_name in jobs), name
            )
    return names


def _tokens(row: Any, now: datetime) -> int | None:
    """Count a key's saved tokens; ``None`` without a rate."""
    if row.IntervalMs is None:
        return None
    burst, interval = row.Burst or 1, timedelta(milliseconds=row.IntervalMs)
    missing = max((row.NextAt or now) - now, timedelta()) / interval
    return max(int(burst - missing), 0)
