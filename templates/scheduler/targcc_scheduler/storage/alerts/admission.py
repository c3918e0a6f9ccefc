"""The rows of alert rules, and the audit of alerts: how many went out or were held back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.actor import SYSTEM
from ..audit import audit
from ..dialects import known
from ..dialects.frequent import FrequentStatement
from ..failures import concerns
from ..tables import job_alert, job_audit

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
    await concerns.note(connection, name, concerns.ALERT, detail, now)
    await audit(connection, SYSTEM, action, now, job_name=name, run_id=run_id, detail=detail)


async def note_success(connection: AsyncConnection, name: str) -> None:
    """Alerts about a job go out again."""
    await concerns.remove(connection, name, concerns.ALERT)


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
