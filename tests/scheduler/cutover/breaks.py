"""Breaks the connections of a switch, to either database, before a statement, before a commit and after it."""

import asyncio
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import psycopg
import sqlalchemy as sa
from sqlalchemy.engine.default import DefaultDialect

T = TypeVar("T")


class Breaks:
    """Which of the moments at which a connection may be lost are those at which it is; counted from 1.

    Args:
        first: The first of them.
        last: The last.
    """

    def __init__(self, first: int, last: int) -> None:
        self._first, self._last = first, last
        self._moment = 0
        self.made = 0

    def is_due(self) -> bool:
        """Whether this is one."""
        self._moment += 1
        due = self._first <= self._moment <= self._last
        self.made += due
        return due

    async def during(self, work: Awaitable[T]) -> T:
        """Do something while these are made; what else goes on in the process keeps its connections."""

        async def do() -> T:
            _BREAKS.set(self)
            return await work

        return await asyncio.create_task(do())


_BREAKS: ContextVar[Breaks | None] = ContextVar("breaks", default=None)


@contextmanager
def breakable(url: str) -> Iterator[None]:
    """Let :class:`Breaks` be made.

    Args:
        url: Any database of the server.
    """
    commit = DefaultDialect.do_commit

    def due() -> bool:
        breaks = _BREAKS.get()
        return breaks is not None and breaks.is_due()

    def lose(connection: Any) -> None:
        process = connection.driver_connection.info.backend_pid
        server.execute("SELECT pg_terminate_backend(%s, 20000)", (process,))

    def before(connection: sa.Connection, *_: object) -> None:
        if due():
            lose(connection.connection)

    def do_commit(dialect: DefaultDialect, connection: Any) -> None:
        if due():
            lose(connection)
        commit(dialect, connection)
        if due():
            lose(connection)
            connection.cursor().execute(
                "SELECT 1"
            )  # the driver's own error, as if the answer had not come

    with psycopg.connect(url, autocommit=True) as server:
        sa.event.listen(sa.Engine, "before_cursor_execute", before)
        DefaultDialect.do_commit = do_commit  # type: ignore[method-assign] - until the end
        try:
            yield
        finally:
            DefaultDialect.do_commit = commit  # type: ignore[method-assign]
            sa.event.remove(sa.Engine, "before_cursor_execute", before)
