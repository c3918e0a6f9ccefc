"""Read a database's rows in a read-only transaction, in a thread that is abandoned if the server hangs."""

from __future__ import annotations

import contextlib
import importlib
import math
import os
import queue
import re
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from zoneinfo import ZoneInfo

from targcc_gen.errors import ExportError, InputError, NoTableError, OldDatabaseError
from targcc_gen.readers.dates import EVERY_ORDER
from targcc_gen.readers.exports import ExportFile
from targcc_gen.readers.rows import Item, KnownTables, Remark, RemarkKind, Row, Value

if TYPE_CHECKING:
    import sqlite3

    import sqlalchemy as sa


# The address of a database: parse, redact, check the drivers.

PASSWORD_VARIABLE = "TARGCC_LEGACY_PASSWORD"  # noqa: S105 - its name
MASK = "***"
_URL = re.compile(
    r"([a-z][a-z0-9_]+(?:\+[a-z0-9_]+)?):/", re.IGNORECASE
)  # a drive letter is a single letter
_LIKE_A_PASSWORD = re.compile(
    r"(\b(?:pwd|password)\s*=\s*)(?:\{(?:[^}]|\}\})*\}|[^;\s]+)", re.IGNORECASE
)
_DRIVERS = {"mssql": "mssql_python", "postgresql": "psycopg", "sqlite": "sqlite3"}
_DIALECTS = {"mssql": "mssql+mssqlpython", "postgresql": "postgresql+psycopg", "sqlite": "sqlite+pysqlite"}  # fmt: skip
_PRODUCTS = {"mssql": "SQL Server", "postgresql": "PostgreSQL", "sqlite": "SQLite"}
_INSTALL = 'Install them with the generator: uv tool install "targcc-gen[databases]", or pip install "targcc-gen[databases]"'
_FORMS = (
    "mssql://user@server/database, postgresql://user@server/database or sqlite:///path/of/the/file"
)


def is_address(text: str) -> bool:
    """Whether a text is a database address and not a file name."""
    return _URL.match(text) is not None


@dataclass(frozen=True, slots=True)
class Address:
    """A database's address. Only ``url`` has the password.

    Attributes:
        url: The SQLAlchemy URL with the driver.
        label: The address to show, without user, password and options.
        kind: ``mssql``, ``postgresql`` or ``sqlite``.
    """

    url: sa.URL = field(repr=False)
    label: str
    kind: str

    @property
    def product(self) -> str:
        """The database product: SQL Server, PostgreSQL or SQLite."""
        return _PRODUCTS[self.kind]

    def redacted(self, text: str) -> str:
        """Return a driver's text with the password masked, in plain, quoted and escaped forms."""
        for secret in sorted(self._secrets(), key=len, reverse=True):
            text = text.replace(secret, MASK)
        return _LIKE_A_PASSWORD.sub(rf"\1{MASK}", text)

    def _secrets(self) -> set[str]:
        from urllib.parse import quote, quote_plus

        word = self.url.password
        if not word:
            return set()
        password = str(word)
        return {password, quote(password, safe=""), quote_plus(password), password.replace("}", "}}"), repr(password)[1:-1]}  # fmt: skip


def parse_address(text: str) -> Address:
    """Parse an address; a missing password comes from ``TARGCC_LEGACY_PASSWORD``.

    Raises:
        InputError: The text is not an address, the kind of database is not supported, or a driver is missing. The message holds no
            password.
    """
    match = _URL.match(text)
    scheme = match[1].lower() if match else "such a"
    kind = scheme.partition("+")[0]
    kind = {"postgres": "postgresql", "sqlserver": "mssql"}.get(kind, kind)
    if kind not in _DRIVERS:
        raise OldDatabaseError(
            f"import-legacy reads no {kind} database", hint=f"It reads {_FORMS}."
        )
    _need("sqlalchemy", kind)
    _need(_DRIVERS[kind], kind)
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(_DIALECTS[kind] + text[len(scheme) :])
    except (ArgumentError, ValueError):
        raise OldDatabaseError(f"this is no address of a {kind} database", hint=f"One looks like {_FORMS}.") from None  # fmt: skip
    server = url.host or url.query.get("host")
    if not url.database or (kind != "sqlite" and not server):
        missing = "file" if kind == "sqlite" else "database" if server else "server"
        raise OldDatabaseError(f"the address names no {missing}", hint=f"One looks like {_FORMS}.")
    if url.username and not url.password and (password := os.environ.get(PASSWORD_VARIABLE)):
        url = url.set(password=password)
    host = f"{url.host or ''}:{url.port}" if url.port else url.host or ""  # empty for a Unix socket
    return Address(url, f"{kind}://{host}/{url.database}", kind)


def _need(module: str, kind: str) -> None:
    try:
        importlib.import_module(module)
    except ImportError as error:
        missing = error.name == module
        what = "is not installed" if missing else f"cannot be loaded: {error}"
        raise OldDatabaseError(
            f"to read {_PRODUCTS[kind]} the package {module} is needed, and it {what}",
            hint=_INSTALL,
        ) from None


# Read a database within time limits.

_SLACK = 1.0
"""Extra seconds for the driver to report a silent server itself; the driver's message says more."""
_CHANGED = "somebody changed it while it was read, and the server allows no SNAPSHOT: import again to be sure of this instant"

Progress = Callable[[int, int], None]
"""Called with the number of rows read, and the total."""


@dataclass(frozen=True, slots=True)
class _Begun:
    """Announces a table: the name to report, and the number of rows of all tables."""

    name: str
    total: int


@dataclass(frozen=True, slots=True)
class _Failed:
    error: Exception


_Message = _Begun | _Failed | list[Row] | Remark | None
"""A message of the reading thread; ``None`` at the end."""


def read_database(
    text: str,
    wanted: Wanted,
    take: Callable[[Item], None],
    *,
    seconds: float,
    progress: Progress | None = None,
) -> list[ExportFile]:
    """Read the tables of a database in one read-only transaction.

    Args:
        text: The database's address.
        wanted: The wanted tables and procedures.
        take: Called with each row and each remark.
        seconds: Time limit of the log-in, of a statement, and of the wait for the next rows.
        progress: Called while reading.

    Returns:
        A file for each table, as for an export.

    Raises:
        InputError: The address is invalid, the server cannot be reached, refuses or stops answering, or there is no such table. No
            message holds the password.
    """
    address = parse_address(text)
    reader = _Reader(address, wanted, seconds)
    files: list[ExportFile] = []
    done = total = 0
    try:
        for message in reader.messages():
            if isinstance(message, _Begun):
                total = message.total
                files.append(ExportFile(message.name, "database", address.product, 0))
            elif isinstance(message, Remark):
                take(message)
            else:
                done += len(message)
                for row in message:
                    files[-1].counts[row.table] += 1
                    take(row)
                if progress is not None:
                    progress(min(done, total), total)
    finally:
        reader.stop()
    if not sum(file.counts[wanted.tables.main] for file in files):
        raise NoTableError(f"{address.label}: {wanted.tables.main_shown} has no rows")
    return files


class _Reader:
    """Reads in a thread, since a driver's time limits do not hold on every network."""

    def __init__(self, address: Address, wanted: Wanted, seconds: float) -> None:
        self._address = address
        self._wanted = wanted
        self._seconds = seconds
        self._queue: queue.Queue[_Message] = queue.Queue(8)
        self._stopped = threading.Event()
        self._doing = "to the log-in"

    def messages(self) -> Iterator[_Begun | list[Row] | Remark]:
        """Start the thread and yield its messages in order.

        Raises:
            InputError: The thread failed, or sent nothing in time.
        """
        threading.Thread(target=self._work, name="import-legacy", daemon=True).start()
        while True:
            try:
                message = self._queue.get(timeout=self._seconds + _SLACK)
            except queue.Empty:
                raise self._silent() from None
            if message is None:
                return
            if isinstance(message, _Failed):
                raise self._input_error(message.error) from None
            yield message

    def stop(self) -> None:
        """Stop the thread at its next message."""
        self._stopped.set()

    def _silent(self) -> InputError:
        return OldDatabaseError(
            f"{self._address.label} does not answer: nothing came for {self._seconds:g} s, {self._doing}",
            hint="Is the server up, and its port open from here? --timeout gives it longer. Nothing was written.",
        )

    def _input_error(self, error: Exception) -> InputError:
        if isinstance(error, InputError):
            return error
        lines = str(getattr(error, "orig", None) or error).strip().splitlines()
        words = self._address.redacted(" ".join(line.strip() for line in lines)) or type(error).__name__  # fmt: skip
        return OldDatabaseError(
            f"{self._address.label}: {words}", hint=f"This came {self._doing}. Nothing was written."
        )

    def _work(self) -> None:
        try:
            self._read()
        except Exception as error:  # noqa: BLE001 - a driver may raise anything
            self._send(_Failed(error))
        else:
            self._send(None)

    def _send(self, message: _Message) -> None:
        while not self._stopped.is_set():
            try:
                self._queue.put(message, timeout=0.2)
            except queue.Full:
                continue
            return

    def _read(self) -> None:

        with read_only(self._address, self._seconds) as session:
            self._doing = "in answer to the list of tables"
            contents = Contents(session, self._address, self._wanted)
            first = self._tables_of(contents, again=not session.is_consistent)
            if self._wanted.procedures is not None:
                self._doing = "in answer to the list of procedures"
                name, rows = contents.procedures(self._wanted.procedures)
                if rows:
                    self._send(_Begun(name, first + len(rows)))
                    self._send(rows)

    def _tables_of(self, contents: Contents, *, again: bool) -> int:
        """Send the rows of every table and return their number.

        Args:
            contents: The session's tables.
            again: Whether to read the main table a second time at the end and compare.
        """
        places = contents.places()
        for remark in contents.remarks:
            self._send(remark)
        total = sum(contents.count(place) for place in places)
        main: list[list[Row]] = []
        for place in places:
            self._doing = f"in {place.shown}"
            columns = contents.columns(place)
            if self._wanted.tables.strangers & set(columns):
                text = "it is another program's table of this name, and was not read"
                self._send(Remark(RemarkKind.WARNING, contents.name_of(place), 0, text))
                continue
            self._send(_Begun(contents.name_of(place), total))
            for rows in contents.rows(place, columns):
                if self._stopped.is_set():
                    return total
                if again and place.table == self._wanted.tables.main:
                    main.append(rows)
                self._send(rows)
        if again and [*contents.rows(places[0], contents.columns(places[0]))] != main:
            self._send(Remark(RemarkKind.WARNING, contents.name_of(places[0]), 0, _CHANGED))
        return total


# A read-only transaction for each kind of database; no writer is blocked.

_LOCK_SECONDS = 5
"""Seconds that a statement waits for a lock; only a change of the table's columns can hold a conflicting lock."""
_NAME = "targcc-gen import-legacy"
_VERSIONS = "SELECT snapshot_isolation_state, is_read_committed_snapshot_on FROM sys.databases WHERE database_id = DB_ID()"


class Session:
    """An open transaction.

    Attributes:
        connection: The connection for statements.
        is_consistent: Whether all statements see one snapshot. If not, writes between two tables, or inside one, may be visible.
    """

    def __init__(self, connection: sa.Connection, *, is_consistent: bool = True) -> None:
        self.connection = connection
        self.is_consistent = is_consistent


@contextlib.contextmanager
def read_only(address: Address, seconds: float) -> Iterator[Session]:
    """Open a transaction and roll back at the end.

    Args:
        address: The database's address.
        seconds: Time limit of the log-in and of each statement.

    Raises:
        InputError: The database file does not exist.
        Exception: The driver's own error, if the server cannot be reached or refuses.
    """
    openers = {"sqlite": _sqlite, "postgresql": _postgresql, "mssql": _sql_server}
    with openers[address.kind](address, seconds) as session:
        try:
            yield session
        finally:
            session.connection.rollback()


@contextlib.contextmanager
def _postgresql(address: Address, seconds: float) -> Iterator[Session]:
    """Open one snapshot: REPEATABLE READ READ ONLY. Its ``ACCESS SHARE`` lock conflicts only with ``ALTER TABLE`` and the like."""
    arguments = {"connect_timeout": max(math.ceil(seconds), 2), "application_name": _NAME}
    with _engine(address.url, arguments).connect() as plain:
        connection = plain.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )
        limit = math.ceil(seconds * 1000)
        connection.exec_driver_sql(f"SET LOCAL statement_timeout = {limit}")
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {_LOCK_SECONDS * 1000}")
        yield Session(connection)


@contextlib.contextmanager
def _sql_server(address: Address, seconds: float) -> Iterator[Session]:
    """Open a transaction that locks no row: SNAPSHOT if allowed, else READ COMMITTED over row versions, else READ UNCOMMITTED.

    READPAST is not used, since READPAST silently omits rows that a writer has locked. SQL Server has no read-only transactions, so
    only ``SELECT`` is sent, and the transaction is rolled back.
    """
    arguments = {"timeout": math.ceil(seconds)}
    with _engine(address.url, arguments).connect() as connection:
        driver: Any = connection.connection.driver_connection
        driver.timeout = math.ceil(seconds)  # the limit of each statement; cursors inherit it
        driver.autocommit = True  # an open transaction cannot change its isolation level
        level = _isolation(connection)
        connection.exec_driver_sql(f"SET TRANSACTION ISOLATION LEVEL {level}")
        connection.exec_driver_sql(f"SET LOCK_TIMEOUT {_LOCK_SECONDS * 1000}")
        connection.commit()
        driver.autocommit = False
        yield Session(connection, is_consistent=level == "SNAPSHOT")


def _isolation(connection: sa.Connection) -> str:
    row = connection.exec_driver_sql(_VERSIONS).first()
    snapshot, versions = (row[0], row[1]) if row else (0, 0)
    if snapshot == 1:
        return "SNAPSHOT"
    return "READ COMMITTED" if versions else "READ UNCOMMITTED"


@contextlib.contextmanager
def _sqlite(address: Address, seconds: float) -> Iterator[Session]:
    """Open a read transaction with ``mode=ro``. With a write-ahead log no writer waits.

    With a rollback journal a reader keeps writers from committing: copy the file first, under a short lock, and read the copy.
    """
    import sqlite3

    path = Path(str(address.url.database))
    if not path.is_file():
        raise ExportError(f"there is no file {path}")
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(contextlib.closing(_open(path, seconds)))
        (journal,) = source.execute("PRAGMA journal_mode").fetchone()
        if journal.lower() != "wal":
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="targcc-"))
            copy = Path(folder) / "copy.db"
            with contextlib.closing(sqlite3.connect(copy)) as target:
                source.backup(target)
            source = stack.enter_context(contextlib.closing(_open(copy, seconds)))
        connection = stack.enter_context(_engine(address.url, {}, lambda: source).connect())
        connection.exec_driver_sql("BEGIN")
        yield Session(connection)


def _open(path: Path, seconds: float) -> sqlite3.Connection:
    import sqlite3

    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=seconds, isolation_level=None)  # fmt: skip


def _engine(url: sa.URL, arguments: dict[str, Any], creator: Any = None) -> sa.Engine:
    import sqlalchemy as sa

    made = {} if creator is None else {"creator": creator}
    return sa.create_engine(url, connect_args=arguments, poolclass=sa.NullPool, **made)


# The wanted tables of a database, their rows, and its stored procedures.

BATCH = 500
_TABLES = {
    "sqlite": "SELECT '', name FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY name",
    "postgresql": "SELECT table_schema, table_name FROM information_schema.tables ORDER BY table_schema, table_name",
    "mssql": "SELECT TABLE_SCHEMA, TABLE_NAME FROM INFORMATION_SCHEMA.TABLES ORDER BY TABLE_SCHEMA, TABLE_NAME",
}
_OWN_SCHEMA = {"postgresql": "SELECT current_schema()", "mssql": "SELECT SCHEMA_NAME()"}
_PROCEDURES = {
    "postgresql": "SELECT n.nspname, p.proname, pg_get_functiondef(p.oid) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace"
    " WHERE p.prokind = 'p' AND n.nspname NOT IN ('pg_catalog', 'information_schema') ORDER BY n.nspname, p.proname",
    "mssql": "SELECT s.name, p.name, m.definition FROM sys.procedures AS p JOIN sys.schemas AS s ON s.schema_id = p.schema_id"
    " LEFT JOIN sys.sql_modules AS m ON m.object_id = p.object_id WHERE p.is_ms_shipped = 0 ORDER BY s.name, p.name",
}
_PROCEDURE_COLUMNS = ("schema", "name", "definition")


@dataclass(frozen=True, slots=True)
class Wanted:
    """The wanted tables and procedures of a database.

    Attributes:
        tables: The wanted tables.
        zone: The old server's time zone; instants are converted to its wall time.
        schema: The tables' schema; ``None`` for the schema of the main table.
        procedures: The table name for rows of stored procedures; ``None`` to read no procedures.
        orders: The possible orders of day, month and year in texts of dates.
    """

    tables: KnownTables
    zone: ZoneInfo
    schema: str | None = None
    procedures: str | None = None
    orders: frozenset[str] = EVERY_ORDER


@dataclass(frozen=True, slots=True)
class Place:
    """A table of the database.

    Attributes:
        table: The name of the wanted table.
        shown: Schema and name, for messages.
        sql: Schema and name, quoted for a statement.
    """

    table: str
    shown: str
    sql: str


class Contents:
    """Lists and reads the tables of a session.

    Args:
        session: The open transaction.
        address: The database's address.
        wanted: The wanted tables.
    """

    def __init__(self, session: Session, address: Address, wanted: Wanted) -> None:
        self._connection = session.connection
        self._address = address
        self._tables = wanted.tables
        self._zone = wanted.zone
        self._orders = wanted.orders
        self._schema = wanted.schema
        self.remarks: list[Remark] = []

    def places(self) -> list[Place]:
        """Return the wanted tables of the database, the main table first.

        Raises:
            InputError: The main table does not exist, or exists in several schemas but not in the log-in's own.
        """
        tables = [(schema, name) for schema, name in self._query(_TABLES[self._address.kind])]
        schema = self._chosen(
            [table_schema for table_schema, name in tables if name.lower() == self._tables.main]
        )
        ours = [
            self._place(table_schema, name)
            for table_schema, name in tables
            if table_schema == schema and name.lower() in self._tables
        ]
        return sorted(ours, key=lambda place: place.table != self._tables.main)

    def count(self, place: Place) -> int:
        """Return the number of a table's rows."""
        ((count,),) = self._query(f"SELECT COUNT(*) FROM {place.sql}")  # noqa: S608 - a quoted name
        return int(count)

    def columns(self, place: Place) -> list[str]:
        """Return a table's columns in lower case."""
        nothing = f"SELECT * FROM {place.sql} WHERE 1 = 0"  # noqa: S608 - a quoted name
        result = self._connection.exec_driver_sql(nothing)
        return [name.lower() for name in result.keys()]  # noqa: SIM118 - no mapping

    def rows(self, place: Place, columns: list[str]) -> Iterator[list[Row]]:
        """Yield a table's rows in batches, ordered by id if the table has one; a row's id is also its line."""
        order = f" ORDER BY {self._quoted('id', columns)}" if "id" in columns else ""
        statement = f"SELECT * FROM {place.sql}{order}"  # noqa: S608 - quoted names
        streamed = {"stream_results": True, "max_row_buffer": BATCH}
        result = self._connection.exec_driver_sql(statement, execution_options=streamed)
        number = 0
        with contextlib.closing(result):
            for part in result.partitions(BATCH):
                rows = []
                for cells in part:
                    number += 1
                    row_values = [_value(cell, self._zone) for cell in cells]
                    values = dict(zip(columns, row_values, strict=True))
                    rows.append(
                        Row(
                            place.table,
                            values,
                            self.name_of(place),
                            _line(values, number),
                            self._orders,
                        )
                    )
                yield rows

    def procedures(self, table: str) -> tuple[str, list[Row]]:
        """Return the stored procedures as rows of ``schema, name, definition``; a definition without read permission is NULL."""
        statement = _PROCEDURES.get(self._address.kind)
        name = f"{self._address.label}/{self._tables.names[table]}"
        if statement is None:
            return name, []
        rows = self._query(statement)
        return name, [
            Row(table, dict(zip(_PROCEDURE_COLUMNS, cells, strict=True)), name, number)
            for number, cells in enumerate(rows, 1)
        ]

    def name_of(self, place: Place) -> str:
        """Return a table's place for reports."""
        return f"{self._address.label}/{place.shown}"

    def _chosen(self, schemas: list[str]) -> str:
        if self._schema is not None:
            same = [schema for schema in schemas if schema.lower() == self._schema.lower()]
            if same:
                return same[0]
        elif len(schemas) == 1:
            return schemas[0]
        elif schemas:
            ((own,),) = self._query(_OWN_SCHEMA[self._address.kind])
            if own in schemas:
                others = ", ".join(schema for schema in schemas if schema != own)
                text = f"{self._tables.main_shown} is in {own}, which was read, and in {others}: --schema chooses"
                self.remarks.append(Remark(RemarkKind.WARNING, self._address.label, 0, text))
                return str(own)
        raise self._none(schemas)

    def _none(self, schemas: list[str]) -> InputError:
        name, label = self._tables.main_shown, self._address.label
        if schemas and self._schema is None:
            where = " and ".join(schemas)
            return NoTableError(f"{label} has {name} in {where}", hint="Choose one with --schema.")
        inside = f" in the schema {self._schema}" if self._schema else ""
        hint = "Is it the right database, and may this log-in see the table?"
        return NoTableError(f"{label} has no table {name}{inside}", hint=hint)

    def _place(self, schema: str, name: str) -> Place:
        quote = self._connection.dialect.identifier_preparer.quote_identifier
        sql = f"{quote(schema)}.{quote(name)}" if schema else quote(name)
        shown = f"{schema}.{name}" if schema else name
        return Place(name.lower(), shown, sql)

    def _quoted(self, column: str, columns: list[str]) -> str:
        """Return a column's position for ORDER BY, since the case of the name is not known."""
        return str(columns.index(column) + 1)

    def _query(self, statement: str) -> list[Any]:
        return list(self._connection.exec_driver_sql(statement).all())


def _line(values: Mapping[str, Value], number: int) -> int:
    identity = values.get("id")
    return identity if isinstance(identity, int) and identity > 0 else number


def _value(cell: object, zone: ZoneInfo) -> Value:
    """Convert a cell to a reader's value; an instant becomes the old server's wall time."""
    value = cell
    if isinstance(cell, bool):
        value = int(cell)
    elif isinstance(cell, datetime):
        value = cell if cell.tzinfo is None else cell.astimezone(zone).replace(tzinfo=None)
    elif isinstance(cell, date):
        value = datetime.combine(cell, time())
    elif isinstance(cell, Decimal):
        value = int(cell) if cell == cell.to_integral_value() else str(cell)
    elif isinstance(cell, memoryview | bytearray):
        value = bytes(cell)
    known = value is None or isinstance(value, str | int | float | bytes | datetime)
    return cast("Value", value) if known else str(cell)
