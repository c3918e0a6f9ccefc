"""Huey on SQLite as its documentation has it."""

import time
from contextlib import asynccontextmanager

from huey import SqliteHuey, crontab
from peer_notes import note


def _huey(url: str):
    huey = SqliteHuey(filename=url)
    return huey, huey.task(name="tick")(note)


@asynccontextmanager
async def connected(url: str):
    """How an application creates runs."""
    huey, tick = _huey(url)

    async def send(sent: float, *, later: bool = False) -> None:
        if later:
            tick.schedule(args=(sent,), delay=sent - time.time())
        else:
            tick(sent)

    yield send
    huey.storage.close()


def work(url: str, schedules: int, hour: int) -> None:
    """Be a consumer with five threads."""
    huey, _ = _huey(url)
    for number in range(schedules):
        when = crontab(minute=str(number % 60), hour=str(hour))
        huey.periodic_task(when, name=f"scheduled_{number}")(lambda: None)
    huey.create_consumer(workers=5).run()
