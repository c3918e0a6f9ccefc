"""Check a database: server or file, sizes, locks, rights, write access."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from ...core.humanize import count, listed, mib
from ...core.owner_only import WINDOWS
from ...core.processes import mounts
from ...db import locks
from ...db.dialects.sqlite_driver import WORTH_TELLING, vacuum_advice
from ...db.engines import sync_engine
from ...db.tables import job_setting
from .findings import Finding, Level, reason_of

# Checks of a PostgreSQL server and its tables.

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


async def check_postgresql(connection: AsyncConnection) -> list[Finding]:
    """Check the server's version and its durability settings."""
    version, number, commit, fsync, pages = (await connection.execute(_SETTINGS)).one()
    findings = [Finding("ok", "server", f"PostgreSQL {version}")]
    if number < _OLDEST:
        message = f"PostgreSQL {version} is older than 13, the oldest that the engine works with"
        findings = [Finding("fail", "server", message, "upgrade the server")]
    if commit == "off":
        message = "synchronous_commit is off: a crash of the server loses the last runs that it had confirmed"
        advice = "set it to on (or local) for this database: ALTER DATABASE … SET synchronous_commit = on"
        findings.append(Finding("warn", "server", message, advice))
    for name, value in (("fsync", fsync), ("full_page_writes", pages)):
        if value == "off":
            message = f"{name} is off: a power cut can destroy the whole database"
            findings.append(
                Finding("warn", "server", message, f"set {name} = on in postgresql.conf")
            )
    return findings


async def tables(connection: AsyncConnection) -> list[Finding]:
    """Report the size of tables, and check planner statistics and dead rows."""
    rows = (await connection.execute(_TABLES)).all()
    findings = [finding for row in rows for finding in _table(row)]
    history = [row for row in rows if row.relname.startswith("c_loggedjob")]
    whole = sum(row.table_size + row.index_size for row in rows)
    logged = sum(row.table_size + row.index_size for row in history)
    largest = max(rows, key=lambda row: row.table_size + row.index_size, default=None)
    if largest is not None:
        message = (
            f"the tables take {mib(whole)}, {mib(sum(row.index_size for row in rows))} of it indexes; history {mib(logged)}; the largest is"
            f" {largest.relname} with {mib(largest.table_size + largest.index_size)}"
        )
        findings.append(Finding("ok", "size", message))
    return findings


def _table(row: Any) -> list[Finding]:
    findings = []
    rows = max(row.live, row.planned)
    if row.analyzed is None and rows > _MANY:
        message = f"{row.relname} has {count(rows, 'row')} and is not analyzed yet: plans for it are guesses"
        findings.append(
            Finding(
                "warn", "planner", message, f"ANALYZE {row.relname}; and see that autovacuum is on"
            )
        )
    elif row.changed > _MANY and row.changed > rows * _STALE:
        message = f"{row.relname} has changed by {count(row.changed, 'row')} of {rows:,} since it was analyzed"
        findings.append(Finding("warn", "planner", message, f"ANALYZE {row.relname}"))
    if row.dead > _MANY and row.dead > rows * _DEAD:
        message = f"{row.relname} has {count(row.dead, 'dead row')} for {rows:,} that live"
        advice = (
            f"VACUUM {row.relname}; does autovacuum run, or does an old transaction hold it up?"
        )
        findings.append(Finding("warn", "planner", message, advice))
    return findings


async def pooler(engine: AsyncEngine) -> list[Finding]:
    """Check for a connection pooler in transaction mode, which may change the session with each transaction.

    Two connections alternate. Through such a pooler, the first connection gets another session in its second transaction, or waits.
    """
    async with engine.connect() as first, engine.connect() as second:
        if not await takes_turns(first, second):
            return []
    message = "a pooler in transaction mode stands in between: NOTIFY does not reach the nodes, so runs begin when they are looked for (TARGCC_POLL_SECONDS)"
    advice = (
        "let the nodes connect to the server itself, or to a pool in session mode; all else works"
    )
    return [Finding("warn", "server", message, advice)]


async def takes_turns(first: AsyncConnection, second: AsyncConnection) -> bool:
    """Return whether a connection's session changes between two transactions while a second connection takes a free session.

    Waiting longer than two seconds for a session also counts as a change.
    """
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


# Checks of a SQLite file.

_INCREMENTAL = 2
_MOST_FAULTS = 5
_LONG_LOG = 256 * 2**20
_NETWORK = {"nfs", "nfs4", "cifs", "smb", "smb2", "smb3", "smbfs", "afpfs", "webdav", "9p", "afs", "ceph"} | {
    "lustre", "glusterfs", "fuse.sshfs", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs", "davfs", "ncpfs",
}  # fmt: skip


def file_checks(file: Path) -> Iterator[Finding]:
    """Check a SQLite file without opening it: existence, place, permissions, size of the write-ahead log."""
    if not file.exists():
        yield Finding(
            "fail",
            "database",
            f"there is no file {file.absolute()}",
            "targcc migrate makes it, or the first process that starts; TARGCC_DATABASE_URL says where it is",
        )
        return
    yield from _place(file)
    for path in (file, file.absolute().parent):
        if not os.access(path, os.W_OK):
            advice = (
                "give it to the user that runs the scheduler; SQLite writes beside its file too"
            )
            yield Finding("fail", "file", f"this user cannot write {path}", advice)
    beside = [Path(f"{file}{end}") for end in ("-wal", "-shm", "-journal")]
    for path in (file, *(companion for companion in beside if companion.exists())):
        yield from private(path, "with arguments of runs and hashes of passwords")
    log = Path(f"{file}-wal")
    if log.exists() and log.stat().st_size > max(_LONG_LOG, file.stat().st_size):
        message = f"the write-ahead log {log} is {mib(log.stat().st_size)}"
        advice = "some process reads for very long, such as a backup or an open sqlite3: end it"
        yield Finding("warn", "file", message, advice)


def _place(file: Path) -> Iterator[Finding]:
    kind = network_kind(file.resolve())
    if kind is not None:
        yield Finding(
            "fail",
            "file",
            f"{file} is on a network file system ({kind}): SQLite's locks and its write-ahead log do not work there",
            "move it to a local disk, or use PostgreSQL",
        )


def network_kind(file: Path) -> str | None:
    """Return the type of a file's network file system; ``None`` for a local disk or an unknown mount."""
    if str(file).startswith("\\\\"):
        return "a share"
    try:
        places = mounts()
    except (OSError, RuntimeError):
        return None
    above = [mount for mount in places if file.is_relative_to(mount.mountpoint)]
    place = max(above, key=lambda mount: len(Path(mount.mountpoint).parts), default=None)
    if place is None:
        return None
    remote = "remote" in place.opts.split(",")
    return place.fstype if remote or place.fstype.lower() in _NETWORK else None


def private(file: Path, holds: str) -> Iterator[Finding]:
    """Check that other users of this machine may neither read nor write a file.

    Args:
        file: An existing file.
        holds: Text about the content, for the message.
    """
    if WINDOWS is not None:
        if WINDOWS.is_shared(file):
            message = f"all users of this machine may read {file}, {holds}"
            yield Finding("warn", "file", message, WINDOWS.advice)
        return
    mode = file.stat().st_mode
    if mode & stat.S_IWOTH:
        message = f"anybody on this machine may write {file}, and so change runs, users and tokens"
        yield Finding("fail", "file", message, f"chmod 600 {file}*")
    elif mode & stat.S_IROTH:
        message = f"anybody on this machine may read {file}, {holds}"
        yield Finding("warn", "file", message, f"chmod 600 {file}*")


async def intact(connection: AsyncConnection, file: Path) -> list[Finding]:
    """Check the whole file for damage, by ``PRAGMA quick_check``."""
    rows = (await connection.exec_driver_sql(f"PRAGMA quick_check({_MOST_FAULTS})")).scalars().all()
    if list(rows) == ["ok"]:
        return [Finding("ok", "file", f"{file} is not damaged")]
    return [damaged(file, "; ".join(map(str, rows)))]


def damaged(file: Path, cause: str) -> Finding:
    """Build the finding of a damaged file."""
    advice = f"stop every process, keep a copy, and restore a backup; sqlite3 {file} .recover saves what can be read"
    return Finding("fail", "file", f"{file} is damaged: {cause}", advice)


async def check_sqlite(connection: AsyncConnection, file: Path) -> list[Finding]:
    """Check size, unused space, journal mode and ``auto_vacuum`` of a SQLite file."""
    mode = (await connection.exec_driver_sql("PRAGMA journal_mode")).scalar_one()
    pages, size, free, vacuum = [
        int((await connection.exec_driver_sql(f"PRAGMA {name}")).scalar_one())
        for name in ("page_count", "page_size", "freelist_count", "auto_vacuum")
    ]
    whole, unused = pages * size, free * size
    findings = [Finding("ok", "file", f"{file} is {mib(whole)}, of which {mib(unused)} are unused")]
    if mode != "wal":
        message = (
            f"{file} is in journal mode {mode}, not WAL: readers and writers wait for each other"
        )
        advice = "any process of the scheduler switches it on; who switched it off?"
        findings.append(Finding("warn", "file", message, advice))
    if vacuum != _INCREMENTAL:
        level: Level = "warn" if unused >= WORTH_TELLING else "ok"
        message = f"{file} does not shrink (auto_vacuum is not incremental, as in files of before 0.2); its unused space is used again"
        findings.append(Finding(level, "file", message, vacuum_advice(file, whole)))
    return findings


# Checks of locks and write access: write one row, then roll back.

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
    """Find locks that other sessions have held for long.

    Returns:
        The findings, and whether a lock prevents even reading.
    """
    held = await locks.held(connection)
    findings = [
        Finding(
            "fail" if lock.is_strong or lock.waiting else "warn",
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
    """Write a row into a SQLite file and roll back. The file and its settings stay unchanged."""
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
    """Check this user's rights on tables and sequences. If none is missing, write a row and roll back."""
    rows = (await connection.execute(_RIGHTS)).all()
    lacks: dict[str, list[str]] = {}
    for row in rows:
        for right in row.lacks:
            lacks.setdefault(right, []).append(row.relname)
    person = rows[0].person if rows else ""
    findings = [
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
    if findings:
        return findings
    url = connection.engine.url
    return await asyncio.to_thread(_write_postgresql, url)


def _write_postgresql(url: sa.URL) -> list[Finding]:
    return write_server(url, f"SET LOCAL lock_timeout = {int(locks.SHORT * 1000) or 1}")


def write_server(url: sa.URL, wait: str) -> list[Finding]:
    """Write a row into a database of a server and roll back.

    Args:
        url: The database.
        wait: The statement that limits the wait for locks.
    """
    values = {"Name": _TRIED, "Value": "", "UpdatedAt": datetime.now(UTC)}
    with sync_engine(url) as engine:
        try:
            with engine.connect() as connection:
                connection.execute(sa.text(wait))
                connection.execute(job_setting.insert().values(values))
                connection.rollback()
        except sa.exc.SQLAlchemyError as error:
            cause = reason_of(error)
            if "read-only transaction" in cause:
                message = f"the database is read-only: {cause}"
                advice = "connect to the primary server; or default_transaction_read_only is on for this user or database"
                return [Finding("fail", "write", message, advice)]
            message = f"nothing can be written: {cause}"
            return [Finding("fail", "write", message, "see the cause, and the check of locks")]
    return [Finding("ok", "write", "a row could be written (and was rolled back)")]


async def sequences(connection: AsyncConnection) -> list[Finding]:
    """Find sequences whose next number is already in use, for example after rows were loaded by hand."""
    findings = []
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
            message = f"the sequence of {table}.{column} gives {following} next, and {largest} is taken: new rows are refused"
            advice = f"SELECT setval('{sequence}', {largest})"
            findings.append(Finding("fail", "sequences", message, advice))
    return findings
