"""Who did what."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from ..core.actor import Actor
from .tables import job_audit


async def audit(
    connection: AsyncConnection,
    by: Actor,
    action: str,
    now: datetime,
    *,
    job_name: str | None = None,
    run_id: int | None = None,
    detail: str | None = None,
) -> None:
    """Record that somebody did something."""
    await connection.execute(
        job_audit.insert().values(
            At=now,
            Actor=str(by),
            Action=action,
            JobName=job_name,
            RunId=run_id,
            Detail=detail,
            RemoteAddress=by.remote,
        )
    )
