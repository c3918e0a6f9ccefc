"""Checks of a PostgreSQL server and the tables in it."""

from __future__ import annotations

import asyncio
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from ..core.humanize import count
from .findings import Finding, mib

_OLDEST = 130000
_PID = sa.text("SELECT pg_backend_pid()")
_LONGEST_WAIT = 2.0
_SETTINGS = sa.text("""
    SELECT current_setting('server_version'), current_setting('server_version_num')::int,
        current_setting('synchronous_commit'), current_setting('fsync'), current_setting('full_page_writes')
    """)
_TABLES = sa.text("""
    SELECT c.relname, greatest(c.reltuples, 0)::bigint AS planned, s.n_live_tup AS live, s.n_dead_tup AS dead,
        s.n_mod_since_analyze AS changed, coalesce(s.last_analyze, s.last_autoanalyze) AS analyzed,
        pg_table_size(c.oid) AS table_size, pg_indexes_size(c.oid) AS index_size
    FROM pg_class c JOIN pg_stat_user_tables s ON s.relid = c.oid
    WHERE c.relkind = 'r' AND c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('c_jobrun'))
        AND (c.relname IN ('c_jobrun', 'c_joblogline', 'c_jobstep', 'c_jobaudit', 'c_jobstat', 'procrastinate_jobs')
            OR c.relname LIKE 'c\\_loggedjob%')
    ORDER BY c.relname
    """)
_MANY = 10_000
_STALE = 0.5
_DEAD = 1.0


async def check(connection: AsyncConnection) -> list[Finding]:
    """What the server says of itself."""
    version, number, commit, fsync, pages = (await connection.execute(_SETTINGS)).one()
    found = [Finding("ok", "server", f"PostgreSQL {version}")]
    if number < _OLDEST:
        said = f"PostgreSQL {version} is older than 13, the oldest that the engine works with"
        found = [Finding("fail", "server", said, "upgrade the server")]
    if commit == "off":
        said = "synchronous_commit is off: a crash of the server loses the last runs that it had confirmed"
        advice = "set it to on (or local) for this database: ALTER DATABASE … SET synchronous_commit = on"
        found.append(Finding("warn", "server", said, advice))
    for name, value in (("fsync", fsync), ("full_page_writes", pages)):
        if value == "off":
            said = f"{name} is off: a power cut can destroy the whole database"
            found.append(Finding("warn", "server", said, f"set {name} = on in postgresql.conf"))
    return found


async def tables(connection: AsyncConnection) -> list[Finding]:
    """How large the tables are, and whether the planner knows them."""
    rows = (await connection.execute(_TABLES)).all()
    found = [finding for row in rows for finding in _table(row)]
    history = [row for row in rows if row.relname.startswith("c_loggedjob")]
    whole = sum(row.table_size + row.index_size for row in rows)
    logged = sum(row.table_size + row.index_size for row in history)
    largest = max(rows, key=lambda row: row.table_size + row.index_size, default=None)
    if largest is not None:
        said = (
            f"the tables take {mib(whole)}, {mib(sum(row.index_size for row in rows))} of it indexes; history {mib(logged)}; the largest is"
            f" {largest.relname} with {mib(largest.table_size + largest.index_size)}"
        )
        found.append(Finding("ok", "size", said))
    return found


def _table(row: Any) -> list[Finding]:
    found = []
    rows = max(row.live, row.planned)
    if row.analyzed is None and rows > _MANY:
        said = f"{row.relname} has {count(rows, 'row')} and is not analyzed yet: plans for it are guesses"
        found.append(
            Finding(
                "warn", "planner", said, f"ANALYZE {row.relname}; and see that autovacuum is on"
            )
        )
    elif row.changed > _MANY and row.changed > rows * _STALE:
        said = f"{row.relname} has changed by {count(row.changed, 'row')} of {rows:,} since it was analyzed"
        found.append(Finding("warn", "planner", said, f"ANALYZE {row.relname}"))
    if row.dead > _MANY and row.dead > rows * _DEAD:
        said = f"{row.relname} has {count(row.dead, 'dead row')} for {rows:,} that live"
        advice = (
            f"VACUUM {row.relname}; does autovacuum run, or does an old transaction hold it up?"
        )
        found.append(Finding("warn", "planner", said, advice))
    return found


async def pooler(engine: AsyncEngine) -> list[Finding]:
    """Whether a pooler stands in between that gives each transaction another session.

    Two connections take turns: through such a pooler the first comes back to another session than it had, or waits for one.
    """
    async with engine.connect() as first, engine.connect() as second:
        if not await takes_turns(first, second):
            return []
    said = "a pooler in transaction mode stands in between: NOTIFY does not reach the nodes, so runs begin when they are looked for (TARGCC_POLL_SECONDS)"
    advice = (
        "let the nodes connect to the server itself, or to a pool in session mode; all else works"
    )
    return [Finding("warn", "server", said, advice)]


async def takes_turns(first: AsyncConnection, second: AsyncConnection) -> bool:
    """Whether a connection has not the same session in its next transaction, while another uses what is free."""
    before = await _session(first)
    await first.rollback()
    try:
        async with asyncio.timeout(_LONGEST_WAIT):
            await _session(second)
            return await _session(first) != before
    except TimeoutError:
        return True


async def _session(connection: AsyncConnection) -> int:
    pid: int = (await connection.execute(_PID)).scalar_one()
    return pid
