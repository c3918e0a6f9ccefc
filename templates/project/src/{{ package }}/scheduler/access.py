# Managed by targcc-gen: regenerate merges your edits; `targcc-gen eject PATH` makes the file yours.
"""How the dashboard, the API and the command line reach the tables: on the scheduler's home loop, where its connections live."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from .scheduler import Scheduler

T = TypeVar("T")


async def read(scheduler: Scheduler, query: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    """What ``query`` finds."""

    async def work() -> T:
        async with scheduler.store.read() as connection:
            return await query(connection)

    return await scheduler.call(work())


async def change(scheduler: Scheduler, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    """Do ``work`` in one transaction; an exception undoes it."""

    async def transaction() -> T:
        async with scheduler.store.write() as connection:
            return await work(connection)

    return await scheduler.call(transaction())
