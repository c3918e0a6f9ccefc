"""What jobs may ask for in their constructors.

A job says what it needs by type, and gets it::

    def __init__(self, database: Database, mailer: Mailer) -> None: ...

To offer something of your own, write its class and one ``@provide`` method in :class:`Services`; a method that yields cleans
up after its ``yield``. ``Scope.APP`` makes one for the whole process, ``Scope.REQUEST`` one for each attempt of a run.
"""

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from mimetypes import guess_type
from pathlib import Path
from typing import Any, Generic, TypeVar
from uuid import uuid4

import aiosmtplib
import httpx
import sqlalchemy as sa
from dishka import AsyncContainer, Provider, Scope, make_async_container, provide
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy import event

from .scheduler.settings import Settings

T = TypeVar("T")


class ServiceSettings(BaseSettings):
    """Environment variables that start with ``APP_``, or lines in ``.env``."""

    model_config = SettingsConfigDict(env_prefix="APP_", env_file=".env", extra="ignore")

    database_url: str = ""
    """The database the jobs work on; empty means the scheduler's own."""
    database_threads: int = 4
    """How many statements run at the same time in one process."""
    outbox: Path = Path("outbox")
    """Where mail is put as ``.eml`` files while ``TARGCC_SMTP_HOST`` is empty."""


@dataclass(frozen=True)
class ProcedureResult:
    """What a stored procedure gave back.

    Args:
        sets: Every result set, in order; a set is a list of rows, a row a mapping by column name.
        affected: How many rows its statements changed, as far as the database says so.
    """

    sets: tuple[list[dict[str, Any]], ...]
    affected: int

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The first result set; empty when there is none."""
        return self.sets[0] if self.sets else []


class _Transaction(Generic[T]):
    """One piece of work in a thread, which can be abandoned from outside."""

    def __init__(self, engine: sa.Engine, work: Callable[[sa.Connection], T]) -> None:
        self._engine = engine
        self._work = work
        self._lock = threading.Lock()
        self._driver: Any = None
        self._abandoned = False

    def __call__(self) -> T:
        with self._engine.begin() as connection:
            with self._lock:
                self._driver = connection.connection.driver_connection
            try:
                value = self._work(connection)
            finally:
                with self._lock:  # from here on the connection may serve somebody else
                    self._driver = None
            if self._abandoned:
                raise asyncio.CancelledError  # rolls back
            return value

    def abandon(self) -> None:
        """Interrupt the statement that runs now; the transaction is rolled back."""
        self._abandoned = True
        threading.Thread(target=self._interrupt, daemon=True).start()

    def _interrupt(self) -> None:
        with self._lock:
            for name in ("cancel", "interrupt"):  # psycopg's word, SQLite's word
                if stop := getattr(self._driver, name, None):
                    stop()
                    return


class Database:
    """The database that jobs work on. Statements run in a few threads of their own, so a slow one holds up no other job.

    Args:
        url: Any SQLAlchemy URL; SQLite, PostgreSQL and SQL Server get their driver by themselves.
        threads: How many statements may run at the same time; also the size of the connection pool.
    """

    def __init__(self, url: str, *, threads: int = 4) -> None:
        self.engine = sa.create_engine(_with_driver(url), pool_size=threads, pool_pre_ping=True)
        if self.engine.dialect.name == "sqlite":  # wait for whoever is writing, instead of failing
            event.listen(self.engine, "connect", _be_patient)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="database")

    async def run(self, work: Callable[[sa.Connection], T]) -> T:
        """Run ``work(connection)`` in one transaction and return what it returns.

        When the job is cancelled or times out, the statement is interrupted and the transaction rolled back.
        """
        return await self._in_thread(_Transaction(self.engine, work))

    async def call(self, procedure: str, **arguments: Any) -> ProcedureResult:
        """Call a stored procedure to its end, as ``EXEC`` on SQL Server and ``CALL`` on PostgreSQL.

        It runs in autocommit, so that a procedure may commit by itself.

        Args:
            procedure: Its name, such as ``dbo.SP_CloseMonth``.
            arguments: Its parameters by name, without ``@``.

        Raises:
            ValueError: the name is not one, or the database knows no procedures.
            Exception: the procedure failed, in whichever of its statements; the driver's own error.
        """
        statement = procedure_call(self.engine.dialect.name, procedure, arguments)
        engine = self.engine.execution_options(isolation_level="AUTOCOMMIT")

        def work(connection: sa.Connection) -> ProcedureResult:
            return _execute_to_the_end(connection, statement, list(arguments.values()))

        return await self._in_thread(_Transaction(engine, work))

    def close(self) -> None:
        """Give the connections and threads back."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self.engine.dispose()

    async def _in_thread(self, transaction: _Transaction[T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, transaction)
        except asyncio.CancelledError:
            transaction.abandon()
            raise


_DRIVERS = {
    "postgresql": "postgresql+psycopg",
    "mssql": "mssql+mssqlpython",
    "sqlite": "sqlite+pysqlite",
}
_PART = r'(?:[^\W\d][\w$#@]*|\[(?:[^\]]|\]\])+\]|"(?:[^"]|"")+")'
_PROCEDURE = re.compile(rf"{_PART}(?:\.\.?{_PART})*")
_BRACKETED = re.compile(r"\[((?:[^\]]|\]\])+)\]")


def _be_patient(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA busy_timeout = 30000")


def _with_driver(url: str) -> sa.URL:
    parsed = sa.make_url(url)
    return parsed.set(drivername=_DRIVERS.get(parsed.get_backend_name(), parsed.drivername))


def procedure_call(dialect: str, procedure: str, arguments: Mapping[str, Any]) -> str:
    """The statement that calls ``procedure``, with a mark for each argument.

    Args:
        dialect: ``mssql`` or ``postgresql``.
        procedure: Its name; parts may stand in brackets or quotes.
        arguments: Its parameters; only the names are used.

    Raises:
        ValueError: the name is not one, or the dialect knows no procedures.
    """
    if not _PROCEDURE.fullmatch(procedure):
        raise ValueError(f"not the name of a stored procedure: {procedure!r}")
    if wrong := [name for name in arguments if not name.isidentifier()]:
        raise ValueError(f"not the name of a parameter: {wrong[0]!r}")
    if dialect == "mssql":
        marks = ", ".join(f"@{name} = ?" for name in arguments)
        return f"EXEC {procedure} {marks}".rstrip()
    if dialect == "postgresql":
        marks = ", ".join(f"{name} => %s" for name in arguments)
        quoted = _BRACKETED.sub(_quoted, procedure).replace("%", "%%")
        return f"CALL {quoted}({marks})"
    raise ValueError(
        f"{dialect} has no stored procedures: set APP_DATABASE_URL to the database that holds {procedure}"
    )


def _quoted(bracketed: re.Match[str]) -> str:
    name = bracketed[1].replace("]]", "]").replace('"', '""')
    return f'"{name}"'


def _execute_to_the_end(
    connection: sa.Connection, statement: str, values: list[Any]
) -> ProcedureResult:
    # A plain DBAPI cursor: SQL Server reports an error in a later statement only to whoever reads every result before it.
    cursor = connection.connection.cursor()
    sets: list[list[dict[str, Any]]] = []
    affected = 0
    try:
        cursor.execute(statement, values)
        while True:
            if cursor.description:
                names = [column[0] for column in cursor.description]
                sets.append([dict(zip(names, row, strict=True)) for row in cursor.fetchall()])
            else:
                affected += max(cursor.rowcount, 0)
            if not cursor.nextset():
                return ProcedureResult(tuple(sets), affected)
    finally:
        cursor.close()


class Cursors:
    """How far a job came, kept between runs in the table ``JobCursor`` of the jobs' database.

    Save in the transaction that stores what was read: then both happened, or neither.
    """

    table = sa.Table(
        "JobCursor",
        sa.MetaData(),
        sa.Column("Name", sa.Unicode(100), primary_key=True),
        sa.Column("Value", sa.UnicodeText, nullable=False),
    )

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, name: str) -> str | None:
        """The saved value; ``None`` the first time."""

        def read(connection: sa.Connection) -> str | None:
            self.table.create(connection, checkfirst=True)
            query = sa.select(self.table.c.Value).where(self.table.c.Name == name)
            return connection.scalar(query)

        return await self._database.run(read)

    def save(self, connection: sa.Connection, name: str, value: str) -> None:
        """Keep ``value``; it lasts once the transaction of ``connection`` is committed."""
        connection.execute(sa.delete(self.table).where(self.table.c.Name == name))
        connection.execute(sa.insert(self.table).values(Name=name, Value=value))


class Mailer:
    """Sends mail through ``TARGCC_SMTP_HOST``; while that is empty, puts it into a folder to look at.

    Args:
        settings: Names the mail server and the sender.
        outbox: The folder; made when needed.
    """

    def __init__(self, settings: Settings, outbox: Path) -> None:
        self._settings = settings
        self._outbox = outbox

    async def send(
        self,
        to: Sequence[str],
        subject: str,
        text: str,
        *,
        html: str | None = None,
        attachments: Mapping[str, bytes] | None = None,
    ) -> None:
        """Send one message to all of ``to``.

        Args:
            to: Mail addresses.
            subject: One line.
            text: The message; also what readers without HTML see.
            html: The same as HTML.
            attachments: File names and contents.
        """
        message = EmailMessage()
        message["From"] = self._settings.smtp_from
        message["To"] = ", ".join(to)
        message["Subject"] = subject
        message.set_content(text)
        if html is not None:
            message.add_alternative(html, subtype="html")
        for name, content in (attachments or {}).items():
            main, _, sub = (guess_type(name)[0] or "application/octet-stream").partition("/")
            message.add_attachment(content, maintype=main, subtype=sub, filename=name)
        await self._deliver(message)

    async def _deliver(self, message: EmailMessage) -> None:
        settings = self._settings
        if not settings.smtp_host:
            await asyncio.to_thread(self._keep, message)
            return
        await aiosmtplib.send(
            message,
            hostname=settings.smtp_host,
            port=settings.smtp_port,
            username=settings.smtp_user or None,
            password=settings.smtp_password.get_secret_value() or None,
            use_tls=settings.smtp_tls == "tls",
            start_tls={"starttls": True, "none": False}.get(settings.smtp_tls),  # None: if offered
        )

    def _keep(self, message: EmailMessage) -> None:
        self._outbox.mkdir(parents=True, exist_ok=True)
        name = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{uuid4().hex[:8]}.eml"
        (self._outbox / name).write_bytes(bytes(message))


class Services(Provider):
    """What jobs may ask for, one method each; the return type is what a constructor names."""

    @provide(scope=Scope.APP)
    def settings(self) -> Settings:
        """The scheduler's settings, from ``TARGCC_…``."""
        return Settings()

    @provide(scope=Scope.APP)
    def service_settings(self) -> ServiceSettings:
        """The settings of this module, from ``APP_…``."""
        return ServiceSettings()

    @provide(scope=Scope.APP)
    def database(self, settings: Settings, own: ServiceSettings) -> Iterator[Database]:
        """The database the jobs work on."""
        database = Database(own.database_url or settings.database_url, threads=own.database_threads)
        yield database
        database.close()

    @provide(scope=Scope.APP)
    def cursors(self, database: Database) -> Cursors:
        """Where jobs remember how far they came."""
        return Cursors(database)

    @provide(scope=Scope.APP)
    def mailer(self, settings: Settings, own: ServiceSettings) -> Mailer:
        """Sends mail, or keeps it in the outbox folder while no mail server is set."""
        return Mailer(settings, own.outbox)

    @provide(scope=Scope.REQUEST)
    async def http(self) -> AsyncIterator[httpx.AsyncClient]:
        """An HTTP client; the body of an answer is waited for 30 seconds at most."""
        async with httpx.AsyncClient(timeout=30, follow_redirects=True) as client:
            yield client


def make_container() -> AsyncContainer:
    """What the scheduler asks for the services; called once in each process."""
    return make_async_container(Services())
