"""Messages on their way to people, which one of several nodes sends: each is claimed, sent, and removed.

A node that dies between sending and removing leaves its claim, which ends by itself: the message is sent again, with the same Message-ID.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..dialects import known
from ..dialects.counting import changed
from ..tables import job_notice, job_setting

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
