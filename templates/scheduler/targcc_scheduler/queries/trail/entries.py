"""The rows of the audit: filtered, page by page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...storage.tables import job_audit
from ..models import AuditEntry

_RECENT = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which rows; what is not given holds for all.

    Args:
        jobs: The names of a job, with those that it had before.
        run_id: A run.
        actor: A part of who it was, in any case.
        action: What was done, exactly.
        since: From this instant on.
        until: Up to this one, which is left out.
    """

    jobs: Sequence[str] = ()
    run_id: int | None = None
    actor: str = ""
    action: str = ""
    since: datetime | None = None
    until: datetime | None = None

    def conditions(self) -> list[sa.ColumnElement[bool]]:
        """As conditions on ``c_JobAudit``."""
        c = job_audit.c
        found: list[sa.ColumnElement[bool]] = []
        if self.jobs:
            found.append(c.JobName.in_(list(self.jobs)))
        if self.run_id is not None:
            found.append(c.RunId == self.run_id)
        if self.actor:
            found.append(sa.func.lower(c.Actor).contains(self.actor.lower(), autoescape=True))
        if self.action:
            found.append(c.Action == self.action)
        if self.since is not None:
            found.append(self.since <= c.At)
        if self.until is not None:
            found.append(self.until > c.At)
        return found


ALL = Filter()


async def audit(
    connection: AsyncConnection,
    which: Filter = ALL,
    *,
    before: int | None = None,
    limit: int = 50,
) -> tuple[AuditEntry, ...]:
    """Who did what, newest first; ``before`` is the id of the last one that was seen."""
    c = job_audit.c
    statement = sa.select(job_audit).where(*which.conditions())
    if before is not None:
        statement = statement.where(c.Id < before)
    rows = await connection.execute(statement.order_by(c.Id.desc()).limit(limit))
    return tuple(map(_entry, rows))


async def latest(
    connection: AsyncConnection, *, without: Sequence[str], limit: int
) -> tuple[AuditEntry, ...]:
    """The newest of the last 500, without some actions."""
    recent = sa.select(job_audit).order_by(job_audit.c.Id.desc()).limit(_RECENT).subquery()
    statement = sa.select(recent).where(recent.c.Action.not_in(without))
    rows = await connection.execute(statement.order_by(recent.c.Id.desc()).limit(limit))
    return tuple(map(_entry, rows))


async def actions(connection: AsyncConnection) -> list[str]:
    """What was done among the last 500 rows, for a choice."""
    recent = sa.select(job_audit.c.Action).order_by(job_audit.c.Id.desc()).limit(_RECENT).subquery()
    return sorted(await connection.scalars(sa.select(recent.c.Action).distinct()))


def _entry(row: sa.Row[tuple[object, ...]]) -> AuditEntry:
    return AuditEntry(
        row.Id,
        row.At,
        row.Actor,
        row.Action,
        row.JobName,
        row.RunId,
        row.Detail,
        row.RemoteAddress,
        row.Seq,
        row.Hash if row.Seq is not None else None,
    )
