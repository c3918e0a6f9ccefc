"""Calls for the same keys at once, from several processes, in transactions that are committed or rolled back; and flows."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from random import Random
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from storms.record import ROLLED_BACK

Write = Callable[..., None]
_KEYS = ("a", "b", "c")
_WAYS = ("call", "commit", "commit", "roll back")
_DRIVERS = {"sqlite": "+aiosqlite", "postgresql": "+psycopg"}
_ARGUMENTS = {"sqlite": {"timeout": 30.0}, "postgresql": {}}
_MOST_PARTS = 4


class Contender:
    """Asks for runs that are unique by a key, and for flows.

    Args:
        scheduler: The application's scheduler.
        dice: Its chances.
        write: Adds a line to the record of what the application was told.
        patience: Seconds after which an answer is waited for no more.
    """

    def __init__(self, scheduler: Any, dice: Random, write: Write, patience: float) -> None:
        self._scheduler = scheduler
        self._dice = dice
        self._write = write
        self._patience = patience
        url = sa.make_url(os.environ["TARGCC_DATABASE_URL"])
        name = url.get_backend_name()
        self._engine = create_async_engine(
            url.set(drivername=name + _DRIVERS[name]),
            connect_args=_ARGUMENTS[name],
            pool_pre_ping=True,  # an application that outlives its server
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._engine.dispose()

    async def contend(self, job: str, token: str) -> None:
        """Up to three calls with one key at once, and a moment later some more."""
        key = self._dice.choice(_KEYS)
        for again in range(2):
            ways = self._dice.choices(_WAYS, k=self._dice.randint(1, 3))
            holds = self._dice.uniform(0, 0.1)
            calls = (
                self._call(job, key, f"{token}-{again}{number}", way, holds)
                for number, way in enumerate(ways)
            )
            await asyncio.gather(*calls)
            await asyncio.sleep(self._dice.uniform(0, 0.3))

    async def _call(self, job: str, key: str, token: str, way: str, holds: float) -> None:
        asked = time.monotonic()
        what = {"job": job, "token": token, "key": key, "asked": asked}
        try:
            run = await asyncio.wait_for(self._ask(job, key, token, way, holds), self._patience)
        except Exception as error:  # noqa: BLE001 - the database may be anywhere
            self._write("refused", error=repr(error)[:200], **what)
            return
        event = ROLLED_BACK if way == "roll back" else "acknowledged"
        self._write(event, run=int(run), existing=run.existing, **what)

    async def _ask(self, job: str, key: str, token: str, way: str, holds: float) -> Any:
        if way == "call":
            return await self._scheduler.enqueue(job, key=key, token=token)
        async with self._engine.connect() as connection:
            run = await self._scheduler.enqueue(job, session=connection, key=key, token=token)
            await asyncio.sleep(holds)
            await _end(connection, commits=way == "commit")
        return run

    async def ask_for_flow(self, token: str) -> None:
        """A flow of up to four parts, one of which is refused now and then: by its name, by its job, or in a transaction that is rolled back."""
        arguments = {
            "token": token,
            "count": self._dice.randint(0, _MOST_PARTS),
            "bad": self._dice.choice((0, 0, 1, 2)),
        }
        way = self._dice.choice(("name", "name", "job", "job", "roll back"))
        asking = self._ask_for_flow(way, arguments)
        found = await asyncio.wait_for(asking, self._patience)
        if way == "job":
            self._write("acknowledged", run=int(found), job="Fan", token=token)
        else:
            event = ROLLED_BACK if way == "roll back" else "flow"
            self._write(event, flow=found, **arguments)

    async def _ask_for_flow(self, way: str, arguments: dict[str, Any]) -> int:
        if way == "job":
            return int(await self._scheduler.enqueue("Fan", **arguments))
        if way == "name":
            return int(await self._scheduler.start_flow("Fan", arguments))
        async with self._engine.connect() as connection:
            started = await self._scheduler.start_flow("Fan", arguments, session=connection)
            await _end(connection, commits=False)
        return int(started)


async def _end(connection: AsyncConnection, *, commits: bool) -> None:
    if commits:
        await connection.commit()
    else:
        await connection.rollback()
