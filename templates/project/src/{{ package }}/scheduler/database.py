# Managed by targcc-gen: regenerate merges your edits; `targcc-gen eject PATH` makes the file yours.
"""Connections to the scheduler's database, and bringing its tables up to date."""

from __future__ import annotations

import contextlib
import io
import select
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from . import inline

WRITES = {"targcc_writes": True}
"""Execution options of a connection that is going to write: on SQLite its transaction takes the write lock at once."""

_BUSY_SECONDS = 15
"""How long SQLite waits for another process to finish writing."""
_LOCK_KEY = 0x7461726763  # "targc": the PostgreSQL advisory lock that migrations hold
_PATIENCE = {"connect_timeout": 10, "tcp_user_timeout": 20_000}
"""How long PostgreSQL may say nothing: seconds while connecting, milliseconds later. The system's own default is many minutes."""
_ASYNC_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+psycopg"}
_SYNC_DRIVERS = {"sqlite": "sqlite+pysqlite", "postgresql": "postgresql+psycopg"}


def make_engine(url: str | sa.URL) -> AsyncEngine:
    """The async engine for a database URL; the driver is chosen here.

    Args:
        url: ``sqlite:///file.db`` or ``postgresql://…``.
    """
    parsed = _with_driver(url, _ASYNC_DRIVERS)
    if parsed.get_backend_name() == "sqlite":
        engine = create_async_engine(parsed, pool_size=4, max_overflow=4)
        _set_up_sqlite(engine.sync_engine)
        return engine
    options = {name: value for name, value in _PATIENCE.items() if name not in parsed.query}
    engine = create_async_engine(parsed, pool_size=5, max_overflow=10, connect_args=options)
    event.listen(engine.sync_engine, "checkout", _on_checkout)
    return engine


def make_inline_engine(url: str | sa.URL) -> AsyncEngine | None:
    """An engine for short transactions on the event loop itself; ``None`` where there is no such thing (all but SQLite).

    Its connections do not wait for other writers: "database is locked" comes at once, and the caller tries again.
    """
    parsed = _with_driver(url, _ASYNC_DRIVERS)
    if parsed.get_backend_name() != "sqlite":
        return None
    file = parsed.database or ""
    engine = create_async_engine(
        parsed, pool_size=2, max_overflow=8, async_creator=lambda *_, **__: inline.connect(file)
    )
    event.listen(engine.sync_engine, "connect", _on_inline_connect)
    event.listen(engine.sync_engine, "begin", _on_begin)
    return engine


def migrate(url: str | sa.URL, *, directory: Path | None = None) -> str:
    """Bring the tables up to date, and return the version they have then.

    Safe when several processes start at once on an empty database: one does it, the others wait.

    Args:
        url: The database.
        directory: The folder with the migrations; ``None`` looks beside the package and in it.

    Raises:
        FileNotFoundError: there are no migrations.
    """
    config, head = _alembic(directory), head_version(directory)
    with sync_engine(url) as engine:
        distributed = engine.dialect.name == "postgresql"
        if _version(engine) == head and not (distributed and _queue_is_outdated(engine)):
            return head
        with _exclusive(engine) as connection:
            from alembic import command  # the same

            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            if distributed:
                _install_engine(connection)
        if distributed:
            _analyze(engine)  # a plan made for empty tables is kept far too long
    return head


def head_version(directory: Path | None = None) -> str:
    """The version that the tables should have.

    Args:
        directory: The folder with the migrations; ``None`` looks beside the package and in it.

    Raises:
        FileNotFoundError: there are no migrations.
    """
    from alembic.script import ScriptDirectory  # takes long to import

    return ScriptDirectory.from_config(_alembic(directory)).get_current_head() or ""


def sql_script(dialect: str, revisions: str = "head", *, directory: Path | None = None) -> str:
    """The migrations as SQL, for people who review or run it by hand.

    Args:
        dialect: ``sqlite``, ``postgresql`` or ``mssql``.
        revisions: Up to which version, or from which to which: ``0001:0002``.
        directory: The folder with the migrations; ``None`` looks beside the package and in it.
    """
    from alembic import command

    config, script = _alembic(directory), io.StringIO()
    config.output_buffer = script
    config.attributes["dialect"] = dialect
    command.upgrade(config, revisions, sql=True)
    lines = [line.rstrip() for line in script.getvalue().strip().splitlines()]
    return "\n".join(lines) + "\n"


def current_version(url: str | sa.URL) -> str | None:
    """The version of the tables; ``None`` when there are none."""
    with sync_engine(url) as engine:
        return _version(engine)


def migrations_dir() -> Path:
    """The folder with the migrations: beside ``src`` in a checkout, in the package when installed.

    Raises:
        FileNotFoundError: it is in neither place.
    """
    package = Path(__file__).resolve().parent.parent
    places = [package / "migrations", package.parent.parent / "migrations", Path("migrations")]
    for place in places:
        if (place / "env.py").is_file():
            return place
    raise FileNotFoundError(f"no migrations in {' or '.join(str(place) for place in places)}")


def _install_engine(connection: sa.Connection) -> None:
    """The tables of the engine, which are its own business."""
    from .engine.procrastinate import install  # there only with the extra

    install(connection)


def _with_driver(url: str | sa.URL, drivers: dict[str, str]) -> sa.URL:
    parsed = sa.make_url(url)
    return parsed.set(drivername=drivers.get(parsed.get_backend_name(), parsed.drivername))


@contextlib.contextmanager
def sync_engine(url: str | sa.URL) -> Iterator[sa.Engine]:
    """A plain engine for a few statements; its connections are closed at the end."""
    engine = sa.create_engine(_with_driver(url, _SYNC_DRIVERS), poolclass=sa.NullPool)
    if engine.dialect.name == "sqlite":
        _set_up_sqlite(engine)
    try:
        yield engine
    finally:
        engine.dispose()


def _alembic(directory: Path | None) -> Any:
    from alembic.config import Config  # the same

    config = Config()
    config.set_main_option("script_location", str(directory or migrations_dir()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _queue_is_outdated(engine: sa.Engine) -> bool:
    from .engine.procrastinate import is_current  # there only with the extra

    with engine.connect() as connection:
        return not is_current(connection)


def _version(engine: sa.Engine) -> str | None:
    with engine.connect() as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


@contextlib.contextmanager
def _exclusive(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A transaction that only one process at a time can be in."""
    with engine.connect().execution_options(**WRITES) as connection, connection.begin():
        if engine.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK_KEY)))
        yield connection


def _analyze(engine: sa.Engine) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("ANALYZE"))


def _on_checkout(connection: Any, _record: Any, _proxy: Any) -> None:
    """Give nobody a connection that the server has closed.

    That makes its socket readable; looking costs a system call, where ``pool_pre_ping`` costs a round trip for each transaction.
    """
    socket = connection.driver_connection.fileno()
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(socket, select.POLLIN)
        readable = bool(poll.poll(0))
    else:
        readable = bool(select.select([socket], [], [], 0)[0])
    if readable:
        raise InvalidatePoolError("PostgreSQL has closed the connection")


def _set_up_sqlite(engine: sa.Engine) -> None:
    """WAL, and transactions that begin where SQLAlchemy says so.

    Python's ``sqlite3`` begins a transaction by itself, late and without the write lock; two processes that both read and then
    write would fail with "database is locked" at once. So it is told not to, and ``BEGIN IMMEDIATE`` is sent for writers.
    """
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "begin", _on_begin)


def _on_inline_connect(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    _tune(cursor)
    cursor.close()


def _on_connect(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {_BUSY_SECONDS * 1000}")
    _tune(cursor)
    cursor.close()


def _tune(cursor: Any) -> None:
    # A power cut may cost the last moments, never the file.
    cursor.execute("PRAGMA synchronous = NORMAL")
    _switch_to_wal(cursor)


def _switch_to_wal(cursor: Any) -> None:
    """Make the file a WAL database for ever. SQLite does not wait by itself when two processes try that at once."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode")
            if cursor.fetchone()[0] != "wal":
                cursor.execute("PRAGMA journal_mode = WAL")
                cursor.fetchone()
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def _on_begin(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get("targcc_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
