"""Whether the database takes writes: one row is written and rolled back, and locks are named."""

from __future__ import annotations

import asyncio
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..core.humanize import listed
from ..storage import locks
from ..storage.engines import sync_engine
from ..storage.tables import job_setting
from .findings import Finding

_TRIED = "doctor tries a write"
_OURS = "c.relname LIKE 'c\\_job%' OR c.relname LIKE 'c\\_loggedjob%' OR c.relname LIKE 'procrastinate%'"
_RIGHTS = sa.text(f"""
    SELECT c.relname, c.relkind::text AS kind, current_user AS person, CASE WHEN c.relkind = 'S'
        THEN array_remove(ARRAY[CASE WHEN has_sequence_privilege(c.oid, 'USAGE') THEN NULL ELSE 'USAGE' END], NULL)
        ELSE ARRAY(SELECT p FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS p WHERE NOT has_table_privilege(c.oid, p)) END AS lacks
    FROM pg_class c
    WHERE c.relkind IN ('r', 'p', 'S') AND NOT c.relispartition AND ({_OURS})
        AND c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('c_jobrun'))
    ORDER BY c.relname
    """)  # noqa: S608 - a text of ours
_SEQUENCES = sa.text(f"""
    SELECT c.relname AS table, a.attname AS column, pg_get_serial_sequence(c.oid::regclass::text, a.attname) AS sequence,
        has_sequence_privilege(pg_get_serial_sequence(c.oid::regclass::text, a.attname), 'SELECT') AS is_readable
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relkind IN ('r', 'p') AND ({_OURS})
        AND c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('c_jobrun'))
        AND pg_get_serial_sequence(c.oid::regclass::text, a.attname) IS NOT NULL
    ORDER BY c.relname
    """)  # noqa: S608 - a text of ours


async def locked(connection: AsyncConnection) -> tuple[list[Finding], bool]:
    """Name the locks that others have held for long, and say whether a table cannot even be read."""
    held = await locks.held(connection)
    findings = [
        Finding(
            (
                "fail"
                if connection.dialect.name == "sqlite" or lock.is_strong or lock.waiting
                else "warn"
            ),
            "locks",
            f"{lock.holder} holds a lock of {lock.on}" + _since(lock),
            "let it end, or end it: the scheduler waits meanwhile",
        )
        for lock in held
    ]
    return findings, any(lock.is_total for lock in held)


def _since(lock: locks.Lock) -> str:
    since = f" since {lock.since:%Y-%m-%d %H:%M:%S} UTC" if lock.since is not None else ""
    waits = f"; {lock.waiting} wait for it" if lock.waiting else ""
    return since + waits


async def write_sqlite(file: Path) -> list[Finding]:
    """Write a row into a SQLite file and roll it back; nothing of the file or its settings changes."""
    return await asyncio.to_thread(_write_sqlite, file)


def _write_sqlite(file: Path) -> list[Finding]:
    values = f"INSERT INTO {job_setting.name} (Name, Value, UpdatedAt) VALUES (?, '', '')"  # noqa: S608 - a name of ours
    try:
        connection = sqlite3.connect(
            f"{file.absolute().as_uri()}?mode=rw",
            uri=True,
            timeout=locks.SHORT,
            isolation_level=None,
        )
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(values, (_TRIED,))
            connection.execute("ROLLBACK")
        finally:
            connection.close()
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_READONLY:
            advice = f"{file}, its folder and the files beside it have to be writable; is the disk mounted read-only?"
            return [Finding("fail", "write", f"the database is read-only: {error}", advice)]
        if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            advice = "the check of locks names the process"
            return [Finding("fail", "write", f"nothing can be written: {error}", advice)]
        advice = "see the cause; is the disk full?"
        return [Finding("fail", "write", f"nothing can be written: {error}", advice)]
    return [Finding("ok", "write", "a row could be written (and was rolled back)")]


async def write_postgresql(connection: AsyncConnection) -> list[Finding]:
    """Write a row and roll it back, and look at the rights of this user and at the sequences."""
    rows = (await connection.execute(_RIGHTS)).all()
    lacks: dict[str, list[str]] = {}
    for row in rows:
        for right in row.lacks:
            lacks.setdefault(right, []).append(row.relname)
    person = rows[0].person if rows else ""
    found = [
        Finding(
            "fail",
            "rights",
            f"the user {person} lacks {right} on {len(names)} of {len(rows)} tables and sequences: {listed(names)}",
            (
                f"as the owner: GRANT {right} ON {', '.join(names)} TO {person}"
                if right != "USAGE"
                else f"as the owner: GRANT USAGE ON SEQUENCE {', '.join(names)} TO {person}"
            ),
        )
        for right, names in sorted(lacks.items())
    ]
    if found:
        return found
    url = connection.engine.url
    return await asyncio.to_thread(_write_postgresql, url)


def _write_postgresql(url: sa.URL) -> list[Finding]:
    values = {"Name": _TRIED, "Value": "", "UpdatedAt": datetime.now(UTC)}
    with sync_engine(url) as engine:
        try:
            with engine.connect() as connection:
                wait = f"SET LOCAL lock_timeout = {int(locks.SHORT * 1000) or 1}"
                connection.execute(sa.text(wait))
                connection.execute(job_setting.insert().values(values))
                connection.rollback()
        except sa.exc.SQLAlchemyError as error:
            cause = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
            if "read-only transaction" in cause:
                said = f"the database is read-only: {cause}"
                advice = "connect to the primary server; or default_transaction_read_only is on for this user or database"
                return [Finding("fail", "write", said, advice)]
            said = f"nothing can be written: {cause}"
            return [Finding("fail", "write", said, "see the cause, and the check of locks")]
    return [Finding("ok", "write", "a row could be written (and was rolled back)")]


async def sequences(connection: AsyncConnection) -> list[Finding]:
    """Find sequences whose next number is taken already, as after a load of rows by hand."""
    found = []
    for row in (await connection.execute(_SEQUENCES)).all():
        table, column, sequence = row.table, row.column, row.sequence
        largest = await connection.scalar(
            sa.text(f"SELECT max({column}) FROM {table}")  # noqa: S608 - names of the catalogue
        )
        last = (
            f"SELECT last_value + CASE WHEN is_called THEN 1 ELSE 0 END FROM {sequence}"  # noqa: S608 - a name of the catalogue's
            if row.is_readable
            else f"SELECT pg_sequence_last_value('{sequence}'::regclass) + 1"
        )
        following = await connection.scalar(sa.text(last))
        if largest is not None and following is not None and following <= largest:
            said = f"the sequence of {table}.{column} gives {following} next, and {largest} is taken: new rows are refused"
            advice = f"SELECT setval('{sequence}', {largest})"
            found.append(Finding("fail", "sequences", said, advice))
    return found
