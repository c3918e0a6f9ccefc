"""What is wrong besides failures: written once when it is found, so that people are told once; removed when it is right again."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..dialects.counting import changed, insert_new
from ..dialects.frequent import FrequentStatement
from ..tables import job_alert_thread, job_concern, job_notice

NODE, ALERT, WATCHED = "node", "alert", "watched"
"""A node that was lost; an alert that did not go out. Since when a job is known, which is no concern. Other
kinds are those of ``queries/needs/late.py``."""

ALERTS_GO_ON = ("", "alerts go on")
"""Stands among what :func:`noted` finds while alerts are not over, or some are still to be sent."""

_NOTED = FrequentStatement(
    sa.select(job_concern.c.Subject, job_concern.c.Kind).union_all(
        sa.select(*map(sa.literal_column, ("''", "'alerts go on'"))).where(
            sa.or_(
                sa.exists(sa.select(job_alert_thread.c.Thread)),
                sa.exists(sa.select(job_notice.c.Id)),
            )
        )
    )
)


async def noted(connection: AsyncConnection) -> set[tuple[str, str]]:
    """Subject and kind of each, and :data:`ALERTS_GO_ON` while they do."""
    return {(row.Subject, row.Kind) for row in await _NOTED.all(connection, {})}


async def note(
    connection: AsyncConnection, subject: str, kind: str, detail: str, now: datetime
) -> bool:
    """Write down that something is wrong; whether that was new."""
    key = [job_concern.c.Subject, job_concern.c.Kind]
    row = {"Subject": subject[:200], "Kind": kind, "Since": now, "Detail": detail}
    return await insert_new(connection, job_concern, key, row)


async def remove(connection: AsyncConnection, subject: str, kind: str) -> bool:
    """It is right again, or a person has seen it; whether it was there."""
    gone = sa.delete(job_concern).where(
        job_concern.c.Subject == subject, job_concern.c.Kind == kind
    )
    return await changed(connection, gone) == 1


async def watched_since(connection: AsyncConnection, job: str) -> datetime | None:
    """Since when a job is known that has to succeed so often."""
    c = job_concern.c
    found: datetime | None = await connection.scalar(
        sa.select(c.Since).where(c.Subject == job, c.Kind == WATCHED)
    )
    return found
