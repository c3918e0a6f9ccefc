"""Huey on SQLite as in its documentation."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from huey import SqliteHuey, crontab
from huey.api import TaskWrapper
from peer_notes import Send, note


def _huey(url: str) -> tuple[SqliteHuey, TaskWrapper]:
    huey = SqliteHuey(filename=url)
    return huey, huey.task(name="tick")(note)


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Send]:
    """Yield a function that creates runs, as an application does."""
    huey, tick = _huey(url)

    async def send(sent: float, *, later: bool = False) -> None:
        if later:
            tick.schedule(args=(sent,), delay=sent - time.time())
        else:
            tick(sent)

    yield send
    huey.storage.close()


def work(url: str, schedules: int, hour: int) -> None:
    """Run a consumer with five threads."""
    huey, _ = _huey(url)
    for number in range(schedules):
        when = crontab(minute=str(number % 60), hour=str(hour))
        huey.periodic_task(when, name=f"scheduled_{number}")(lambda: None)
    huey.create_consumer(workers=5).run()
