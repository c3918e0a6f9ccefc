"""Celery on Redis as in its documentation, with stored results and one process per core."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from celery import Celery, Task
from celery.schedules import crontab
from peer_notes import Send, note


def _app(url: str) -> tuple[Celery, Task]:
    app = Celery("peers", broker=url, backend=url)
    app.conf.broker_connection_retry_on_startup = True
    return app, app.task(name="tick")(note)


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Send]:
    """Yield a function that creates runs, as an application does."""
    app, tick = _app(url)

    async def send(sent: float, *, later: bool = False) -> None:
        tick.apply_async((sent,), eta=datetime.fromtimestamp(sent, UTC) if later else None)

    yield send
    app.close()


def work(url: str, schedules: int, hour: int) -> None:
    """Run a worker, with the scheduler inside if there are schedules."""
    app, _ = _app(url)

    @app.task(name="scheduled")  # type: ignore[untyped-decorator]  # Celery leaves it untyped
    def scheduled() -> None:
        """Do nothing."""

    app.conf.beat_schedule = {
        f"scheduled-{number}": {
            "task": "scheduled",
            "schedule": crontab(minute=str(number % 60), hour=str(hour)),
        }
        for number in range(schedules)
    }
    scheduler = ["--beat"] if schedules else []
    app.worker_main(["--quiet", "worker", "--loglevel", "WARNING", *scheduler])
