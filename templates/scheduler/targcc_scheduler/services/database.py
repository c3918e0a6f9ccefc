"""Database service for jobs."""

from __future__ import annotations

import asyncio
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


def _be_patient(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA busy_timeout = 30000")


def _with_driver(url: str) -> sa.URL:
    parsed = sa.make_url(url)
    return parsed.set(drivername=_DRIVERS.get(parsed.get_backend_name(), parsed.drivername))
