"""Database service for jobs, and cursors that store the position up to which a job has read."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import event

from ..core.clock import deadline
from . import transaction
from .procedures import ProcedureResult, execute_to_the_end, look_up, procedure_call
from .transaction import Transaction

# Database service for jobs.

T = TypeVar("T")


class Database:
    """The database that jobs work on. Statements run in separate threads, so that a slow statement delays no other job.

    Args:
        url: Any SQLAlchemy URL; for SQLite, PostgreSQL and SQL Server the driver is set.
        threads: Number of concurrent statements; also the size of the connection pool.
    """

    def __init__(self, url: str, *, threads: int = 4) -> None:
        self.engine = sa.create_engine(
            _with_driver(url), pool_size=threads, pool_pre_ping=True, hide_parameters=True
        )
        if self.engine.dialect.name == "sqlite":  # wait for another writer, instead of failing
            event.listen(self.engine, "connect", _be_patient)
        transaction.watch(self.engine)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="database")

    async def run(self, work: Callable[[sa.Connection], T]) -> T:
        """Run ``work(connection)`` in one transaction and return its result.

        When the job is cancelled or times out, the statement is stopped on the server and the transaction is rolled back.

        Raises:
            TimeoutError: the job's time is over.
        """
        return await self._in_thread(self.engine, work)

    async def call(self, procedure: str, **arguments: Any) -> ProcedureResult:
        """Call a stored procedure and read all its results, by ``EXEC`` on SQL Server and ``CALL`` on PostgreSQL.

        The call runs in autocommit mode, so that a procedure may commit by itself. When the job is cancelled or times out, the procedure is
        stopped on the server; committed work stays.

        Args:
            procedure: The name of the procedure, such as ``dbo.SP_CloseMonth``.
            arguments: The arguments by parameter name, without ``@``.

        Raises:
            ValueError: the name is not valid, the database has no such procedure, or the database supports no procedures.
            TimeoutError: the job's time is over.
            Exception: the driver's own error, when any statement of the procedure failed.
        """
        statement = procedure_call(self.engine.dialect.name, procedure, arguments)
        engine = self.engine.execution_options(isolation_level="AUTOCOMMIT")

        def work(connection: sa.Connection) -> ProcedureResult:
            look_up(connection, procedure)
            return execute_to_the_end(connection, statement, list(arguments.values()))

        return await self._in_thread(engine, work)

    async def script(self, text: str) -> ProcedureResult:
        """Execute the batches of a script and read all their results, in autocommit mode on one connection.

        Batches are separated by lines with the word GO, as in the tools of SQL Server. When the job is cancelled or times out, the batch
        is stopped on the server; committed work stays.

        Args:
            text: The script.

        Returns:
            The result sets of all batches, and the number of changed rows.

        Raises:
            TimeoutError: the job's time is over.
            Exception: the driver's own error, when any statement failed. Later batches are not executed.
        """
        engine = self.engine.execution_options(isolation_level="AUTOCOMMIT")

        def work(connection: sa.Connection) -> ProcedureResult:
            results = [execute_to_the_end(connection, batch) for batch in _batches(text)]
            return ProcedureResult(
                tuple(rows for result in results for rows in result.sets),
                sum(result.affected for result in results),
            )

        return await self._in_thread(engine, work)

    def close(self) -> None:
        """Close the connections and end the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self.engine.dispose()

    async def _in_thread(self, engine: sa.Engine, work: Callable[[sa.Connection], T]) -> T:
        loop = asyncio.get_running_loop()
        transaction = Transaction(engine, work, _deadline())
        left = transaction.seconds_left
        timer = None if left is None else loop.call_later(left, transaction.expire)
        try:
            return await loop.run_in_executor(self._threads, transaction)
        except asyncio.CancelledError:
            transaction.abandon()
            raise
        finally:
            if timer is not None:
                timer.cancel()


_GO = re.compile(r"^[ \t]*GO[ \t]*;?[ \t]*$", re.IGNORECASE | re.MULTILINE)
_DRIVERS = {
    "postgresql": "postgresql+psycopg",
    "mssql": "mssql+mssqlpython",
    "sqlite": "sqlite+pysqlite",
}


def _deadline() -> float | None:
    """Return the job's deadline on the monotonic clock; ``None`` without a deadline.

    After the deadline, during the grace period, return ``None``: the end of the grace period then stops the work.
    """
    end = deadline.get()
    return None if end is None or end <= time.monotonic() else end


def _batches(text: str) -> list[str]:
    return [batch for batch in _GO.split(text) if batch.strip()]


def _be_patient(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA busy_timeout = 30000")


def _with_driver(url: str) -> sa.URL:
    parsed = sa.make_url(url)
    return parsed.set(drivername=_DRIVERS.get(parsed.get_backend_name(), parsed.drivername))


# Cursors: store the position up to which a job has read, between runs.


class Cursors:
    """Store the read position of each job, between runs, in the table ``JobCursor`` of the jobs' database.

    Save the position in the transaction that stores the rows read, so that both are committed or neither.
    """

    table = sa.Table(
        "JobCursor",
        sa.MetaData(),
        sa.Column("Name", sa.Unicode(100), primary_key=True),
        sa.Column("Value", sa.UnicodeText, nullable=False),
    )

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, name: str, *earlier: str) -> str | None:
        """Return the saved value; ``None`` before the first save.

        Args:
            name: The job's name.
            earlier: Earlier names of the job, newest first: ``*ctx.aliases``. The first name with a value counts.
        """

        def read(connection: sa.Connection) -> str | None:
            self.table.create(connection, checkfirst=True)
            names = [name, *earlier]
            query = sa.select(self.table).where(self.table.c.Name.in_(names))
            values = {row.Name: str(row.Value) for row in connection.execute(query)}
            return next((values[job_name] for job_name in names if job_name in values), None)

        return await self._database.run(read)

    def save(self, connection: sa.Connection, name: str, value: str) -> None:
        """Store ``value`` as part of the transaction of ``connection``."""
        connection.execute(sa.delete(self.table).where(self.table.c.Name == name))
        connection.execute(sa.insert(self.table).values(Name=name, Value=value))
