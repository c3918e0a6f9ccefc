"""Databases that jobs work with."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, TypeVar

import sqlalchemy as sa
from sqlalchemy import event

from .procedures import ProcedureResult, execute_to_the_end, procedure_call

T = TypeVar("T")


class _Transaction(Generic[T]):
    """One piece of work in a thread, which other threads can interrupt."""

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
                with self._lock:  # from here on another piece of work may have the connection
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
    """The database that jobs work on. Statements run in a few threads of their own, so a slow one delays no other job.

    Args:
        url: Any SQLAlchemy URL; SQLite, PostgreSQL and SQL Server are given their driver.
        threads: How many statements may run at the same time; also the size of the connection pool.
    """

    def __init__(self, url: str, *, threads: int = 4) -> None:
        self.engine = sa.create_engine(_with_driver(url), pool_size=threads, pool_pre_ping=True)
        if self.engine.dialect.name == "sqlite":  # wait for another writer, instead of failing
            event.listen(self.engine, "connect", _be_patient)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="database")

    async def run(self, work: Callable[[sa.Connection], T]) -> T:
        """Run ``work(connection)`` in one transaction and return what it returns.

        When the job is cancelled or times out, the statement is interrupted and the transaction rolled back.
        """
        return await self._in_thread(_Transaction(self.engine, work))

    async def call(self, procedure: str, **arguments: Any) -> ProcedureResult:
        """Call a stored procedure and read all its results, by ``EXEC`` on SQL Server and ``CALL`` on PostgreSQL.

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
            return execute_to_the_end(connection, statement, list(arguments.values()))

        return await self._in_thread(_Transaction(engine, work))

    def close(self) -> None:
        """Close the connections and end the threads."""
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


def _be_patient(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA busy_timeout = 30000")


def _with_driver(url: str) -> sa.URL:
    parsed = sa.make_url(url)
    return parsed.set(drivername=_DRIVERS.get(parsed.get_backend_name(), parsed.drivername))
