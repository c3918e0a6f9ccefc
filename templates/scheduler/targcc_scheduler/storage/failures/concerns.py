"""What is wrong besides failures: written once when it is found, so that people are told once; removed when it is right again."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..dialects import known
from ..tables import job_concern

NODE, ALERT, WATCHED = "node", "alert", "watched"
"""A node that was lost; an alert that did not go out. Since when a job is known, which is no concern. Other
kinds are those of ``queries/needs/late.py``."""


async def note(
    connection: AsyncConnection, subject: str, kind: str, detail: str, now: datetime
) -> bool:
    """Write down that something is wrong; whether that was new."""
    key = [job_concern.c.Subject, job_concern.c.Kind]
    row = {"Subject": subject[:200], "Kind": kind, "Since": now, "Detail": detail}
    insert = known.of(connection).insert_ignore(job_concern, key).values(row)
    return (await connection.execute(insert)).rowcount == 1


async def remove(connection: AsyncConnection, subject: str, kind: str) -> bool:
    """It is right again, or a person has seen it; whether it was there."""
    gone = sa.delete(job_concern).where(
        job_concern.c.Subject == subject, job_concern.c.Kind == kind
    )
    return (await connection.execute(gone)).rowcount == 1


async def remove_others(
    connection: AsyncConnection, kinds: Collection[str], still: Collection[tuple[str, str]]
) -> None:
    """Remove what is right again: of these kinds, whatever is not among ``still``."""
    c = job_concern.c
    rows = await connection.execute(sa.select(c.Subject, c.Kind).where(c.Kind.in_(sorted(kinds))))
    for subject, kind in [tuple(row) for row in rows]:
        if (subject, kind) not in still:
            await remove(connection, subject, kind)


async def watched_since(connection: AsyncConnection, job: str) -> datetime | None:
    """Since when a job is known that has to succeed so often."""
    c = job_concern.c
    found: datetime | None = await connection.scalar(
        sa.select(c.Since).where(c.Subject == job, c.Kind == WATCHED)
    )
    return found
