"""Locks of other sessions on PostgreSQL."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from .lock import Lock

_SHOWN_TABLES = 3
_SESSIONS = sa.text("""
    SELECT l.pid, a.usename, a.application_name, a.state, a.xact_start,
        array_agg(DISTINCT c.relname::text) AS tables,
        bool_or(l.mode = 'AccessExclusiveLock') AS is_total,
        bool_or(l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')) AS is_strong,
        (SELECT count(*) FROM pg_stat_activity w WHERE w.wait_event_type = 'Lock' AND l.pid = ANY (pg_blocking_pids(w.pid))) AS waiting
    FROM pg_locks l
    JOIN pg_class c ON c.oid = l.relation
    LEFT JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE l.granted AND l.mode <> 'AccessShareLock' AND l.pid IS DISTINCT FROM pg_backend_pid()
        AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('c_jobrun'))
        AND (c.relname LIKE 'c\\_job%' OR c.relname LIKE 'c\\_loggedjob%' OR c.relname LIKE 'procrastinate%')
        AND (a.xact_start IS NULL OR a.xact_start < clock_timestamp() - make_interval(secs => :seconds))
    GROUP BY l.pid, a.usename, a.application_name, a.state, a.xact_start
    ORDER BY a.xact_start
    """)


async def held_locks(connection: AsyncConnection, seconds: float) -> list[Lock]:
    """Return the locks that sessions have held for ``seconds``, without locks that block nobody."""
    rows = (await connection.execute(_SESSIONS, {"seconds": seconds})).all()
    return [_session(row) for row in rows if row.is_strong or row.waiting or _is_idle(row)]


def _is_idle(row: Any) -> bool:
    return (row.state or "").startswith("idle in transaction")


def _session(row: Any) -> Lock:
    details = [row.application_name, f"user {row.usename}" if row.usename else "", row.state]
    about = ", ".join(part for part in details if part)
    holder = "a prepared transaction" if row.pid is None else f"session {row.pid}"
    tables = sorted(row.tables)
    more = len(tables) - _SHOWN_TABLES
    on = ", ".join(tables[:_SHOWN_TABLES]) + (f" and {more} more" if more > 0 else "")
    return Lock(
        f"{holder} ({about})" if about else holder,
        on,
        row.xact_start,
        row.waiting,
        row.is_strong,
        row.is_total,
    )
