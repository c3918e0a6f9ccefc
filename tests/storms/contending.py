"""Concurrent calls for the same keys from several processes, in transactions that commit or roll back; and starts of flows."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
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
_LOOKS = 150
"""Number of checks whether a run has begun, ten a second."""
_RECENT = 16_384
"""Bytes at the record's end that are searched for the start."""


class Contender:
    """Request runs with unique keys, and flows.

    Args:
        scheduler: The application's scheduler.
        dice: Source of randomness.
        write: Append a line to the application's record.
        patience: Seconds after which a call is given up.
    """

    def __init__(self, scheduler: Any, dice: Random, write: Write, patience: float) -> None:
        self._scheduler = scheduler
        self._dice = dice
        self._write = write
        self._patience = patience
        self._jobs = Path(os.environ["STORM_RECORD"])
        self._watches: dict[tuple[str, str], asyncio.Task[None]] = {}
        url = sa.make_url(os.environ["TARGCC_DATABASE_URL"])
        name = url.get_backend_name()
        self._engine = create_async_engine(
            url.set(drivername=name + _DRIVERS[name]),
            connect_args=_ARGUMENTS[name],
            pool_pre_ping=True,  # the application outlives its server
        )

    async def close(self) -> None:
        """Stop requesting and close the connections."""
        for task in self._watches.values():
            task.cancel()
        await asyncio.gather(*self._watches.values(), return_exceptions=True)
        await self._engine.dispose()

    async def contend(self, job: str, token: str) -> None:
        """Make up to three concurrent calls with one key, and more calls once the key's run has begun."""
        key = self._dice.choice(_KEYS)
        run_ids = await self._call_at_once(job, key, token)
        if run_ids and (job, key) not in self._watches:
            watch = asyncio.create_task(
                self._call_when_begun(job, key, f"{token}-begun", run_ids[-1])
            )
            self._watches[job, key] = watch
            watch.add_done_callback(lambda _: self._watches.pop((job, key), None))

    async def _call_when_begun(self, job: str, key: str, token: str, run: int) -> None:
        """Call again once the record says that the run has begun: from then on the key is held by a running run."""
        for _ in range(_LOOKS):
            if _has_begun(self._jobs, run):
                await self._call_at_once(job, key, token)
                return
            await asyncio.sleep(0.1)

    async def _call_at_once(self, job: str, key: str, token: str) -> list[int]:
        """Make up to three calls with one key; return the runs that the calls returned."""
        ways = self._dice.choices(_WAYS, k=self._dice.randint(1, 3))
        holds = self._dice.uniform(0, 0.1)
        calls = (
            self._call(job, key, f"{token}-{number}", way, holds) for number, way in enumerate(ways)
        )
        return [run for run in await asyncio.gather(*calls) if run is not None]

    async def _call(self, job: str, key: str, token: str, way: str, holds: float) -> int | None:
        """Make a call and record its outcome; return the run, if it exists."""
        started = time.monotonic()
        what = {"job": job, "token": token, "key": key, "asked": started}
        try:
            run = await asyncio.wait_for(self._ask(job, key, token, way, holds), self._patience)
        except Exception as error:  # noqa: BLE001 - the database may be anywhere
            self._write("refused", error=repr(error)[:200], **what)
            return None
        event = ROLLED_BACK if way == "roll back" else "acknowledged"
        self._write(event, run=int(run), existing=run.existing, **what)
        return None if event == ROLLED_BACK else int(run)

    async def _ask(self, job: str, key: str, token: str, way: str, holds: float) -> Any:
        if way == "call":
            return await self._scheduler.enqueue(job, key=key, token=token)
        async with self._engine.connect() as connection:
            run = await self._scheduler.enqueue(job, session=connection, key=key, token=token)
            await asyncio.sleep(holds)
            await _end(connection, commits=way == "commit")
        return run

    async def ask_for_flow(self, token: str) -> None:
        """Start a flow of up to four parts, sometimes with a refused part: by name, by its job, or in a transaction that is rolled back."""
        arguments = {
            "token": token,
            "count": self._dice.randint(0, _MOST_PARTS),
            "bad": self._dice.choice((0, 0, 1, 2)),
            "key": self._dice.choice(_KEYS),
        }
        way = self._dice.choice(("name", "name", "job", "job", "roll back"))
        asking = self._ask_for_flow(way, arguments)
        new_id = await asyncio.wait_for(asking, self._patience)
        if way == "job":
            self._write("acknowledged", run=int(new_id), job="Fan", token=token)
        else:
            event = ROLLED_BACK if way == "roll back" else "flow"
            self._write(event, flow=new_id, **arguments)

    async def _ask_for_flow(self, way: str, arguments: dict[str, Any]) -> int:
        if way == "job":
            return int(await self._scheduler.enqueue("Fan", **arguments))
        if way == "name":
            return int(await self._scheduler.start_flow("Fan", arguments))
        async with self._engine.connect() as connection:
            started = await self._scheduler.start_flow("Fan", arguments, session=connection)
            await _end(connection, commits=False)
        return int(started)


def _has_begun(record: Path, run: int) -> bool:
    """Return whether the end of the record says that a run has begun."""
    if not record.exists():
        return False
    with record.open("rb") as file:
        file.seek(max(0, record.stat().st_size - _RECENT))
        lines = file.read().decode(errors="replace").splitlines()
    return any('"event": "start"' in line and f'"run": {run},' in line for line in lines)


async def _end(connection: AsyncConnection, *, commits: bool) -> None:
    if commits:
        await connection.commit()
    else:
        await connection.rollback()
