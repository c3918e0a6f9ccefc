"""A plain connection of SQLAlchemy where statements expect an async one: they are executed at once, in the thread that asks."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa

P = ParamSpec("P")
T = TypeVar("T")


class Plain:
    """What a statement uses of an :class:`~sqlalchemy.ext.asyncio.AsyncConnection`, on a plain connection.

    Args:
        connection: The connection.
    """

    def __init__(self, connection: sa.Connection) -> None:
        self.sync_connection = connection
        self.dialect = connection.dialect

    async def execute(self, *args: Any, **options: Any) -> sa.CursorResult[Any]:
        """Execute a statement."""
        return self.sync_connection.execute(*args, **options)

    async def scalar(self, *args: Any, **options: Any) -> Any:
        """The first value of what a statement finds."""
        return self.sync_connection.scalar(*args, **options)

    async def scalars(self, *args: Any, **options: Any) -> sa.ScalarResult[Any]:
        """The first values of what a statement finds."""
        return self.sync_connection.scalars(*args, **options)

    async def run_sync(
        self,
        function: Callable[Concatenate[sa.Connection, P], T],
        *args: P.args,
        **options: P.kwargs,
    ) -> T:
        """Call a function with the plain connection."""
        return function(self.sync_connection, *args, **options)

    async def get_raw_connection(self) -> Any:
        """The connection of the pool, which knows that of the driver."""
        return self.sync_connection.connection


def finish(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that waits for nothing, without an event loop.

    Raises:
        RuntimeError: it does wait for something.
    """
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    coroutine.close()
    raise RuntimeError(
        "an async session in code that is not async: await Scheduler.enqueue instead"
    )
