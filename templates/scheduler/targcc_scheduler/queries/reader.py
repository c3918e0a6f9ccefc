"""Where people's questions are answered: on a loop and connections of their own, which cannot write, within a time limit.

However slow a question is, the scheduler's loop, its connections and the write lock are free meanwhile, and so heartbeats go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from ..core.errors import QueryTimeout
from ..core.loop_thread import LoopOnDemand
from ..core.scope.visibility import Visibility, visibility
from ..storage.dialects import known
from ..storage.schema.narrowing import narrow

T = TypeVar("T")


class Reader:
    """Answers questions about one database; from any loop, several at a time.

    Args:
        url: The database.
        limit: After so many seconds a question is given up.
        looks_on: Leave even the settings of a database as they are, and have no patience when it is not there.
    """

    def __init__(self, url: str, *, limit: float, looks_on: bool = False) -> None:
        self._url = sa.make_url(url)
        self._dialect = known.for_url(self._url)
        self._limit = limit
        self._make = (
            self._dialect.make_looking_engine if looks_on else self._dialect.make_reading_engine
        )
        self._loop = LoopOnDemand("targcc reads")
        self._engine: AsyncEngine | None = None
        self._narrowing: AsyncEngine | None = None
        self._asked: set[asyncio.Task[object]] = set()
        self._ending: set[asyncio.Task[object]] = set()

    async def read(self, query: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """What ``query`` finds, of what may be seen. Cancelling the wait ends the query in the database too.

        Raises:
            QueryTimeout: it took too long.
            sqlalchemy.exc.DBAPIError: the database does not answer, or the query tried to write.
        """
        return await self._loop.open().call(self._read(query, visibility.get()))

    async def close(self) -> None:
        """End what is still asked, close every connection and end the loop; a later question opens it again."""
        await self._loop.stop(self._dispose)

    async def _dispose(self) -> None:
        for task in self._asked - self._ending:
            task.cancel()
        await asyncio.gather(*self._asked, return_exceptions=True)
        engines = self._engine, self._narrowing
        self._engine = self._narrowing = None
        for engine in engines:
            if engine is not None:
                await engine.dispose()

    async def _read(
        self, query: Callable[[AsyncConnection], Awaitable[T]], allowed: Visibility | None
    ) -> T:
        engine = self._engine_for(allowed)
        task = asyncio.current_task()
        assert task is not None
        self._asked.add(task)
        seen = visibility.set(allowed)
        try:
            async with engine.connect() as connection:
                if allowed is not None:
                    await connection.execution_options(compiled_cache=None)
                return await self._within_limit(task, connection, query)
        except sa.exc.TimeoutError as error:  # no connection became free
            raise QueryTimeout(f"other questions take longer than {self._limit:g} s") from error
        finally:
            visibility.reset(seen)
            self._asked.discard(task)
            self._ending.discard(task)

    def _engine_for(self, allowed: Visibility | None) -> AsyncEngine:
        """The connections for a question; those for part of the jobs are apart."""
        if allowed is None:
            if self._engine is None:
                self._engine = self._make(self._url, self._limit)
            return self._engine
        if self._narrowing is None:
            self._narrowing = self._make(self._url, self._limit)
            narrow(self._narrowing.sync_engine.dialect)
        return self._narrowing

    async def _within_limit(
        self,
        task: asyncio.Task[object],
        connection: AsyncConnection,
        query: Callable[[AsyncConnection], Awaitable[T]],
    ) -> T:
        asking = asyncio.ensure_future(query(connection))
        try:
            await asyncio.wait({asking}, timeout=self._limit)
        finally:
            in_time = asking.done()
            if not in_time:
                self._ending.add(task)
                await self._dialect.stop_query(connection, asking)
                await asyncio.gather(asking, return_exceptions=True)  # it was interrupted
        if not in_time:
            raise QueryTimeout(f"the question took longer than {self._limit:g} s")
        return asking.result()
