"""Write rows of the audit: actor, action, time and subject."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..core.actor import Actor
from ..db.dialects import known
from ..db.tables import job_audit
from .audit_chain import digest, seal


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
    """Insert an audit row for an action of an actor."""
    row = _row(by, action, now) | {"JobName": job_name, "RunId": run_id, "Detail": detail}
    await connection.run_sync(_write, row)


def audit_plainly(
    connection: sa.Connection, by: Actor, action: str, now: datetime, *, detail: str
) -> None:
    """Insert an audit row over a synchronous connection; see :func:`audit`."""
    _write(connection, _row(by, action, now) | {"Detail": detail})


def _row(by: Actor, action: str, now: datetime) -> dict[str, Any]:
    return {"At": now, "Actor": str(by), "Action": action, "RemoteAddress": by.remote}


def _write(connection: sa.Connection, row: dict[str, Any]) -> None:
    connection.execute(job_audit.insert().values(row | {"Hash": digest(row)}))
    if not known.of(connection).many_writers:
        seal(connection)
