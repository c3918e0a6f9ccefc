"""Procrastinate as in its documentation, without our tables."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import procrastinate
from peer_notes import Send, note


def _app(url: str) -> procrastinate.App:
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=url))

    @app.task(name="tick")
    async def tick(sent: float) -> None:
        note(sent)

    return app


async def install(url: str) -> None:
    """Create Procrastinate's tables."""
    async with _app(url).open_async() as app:
        await app.schema_manager.apply_schema_async()


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Send]:
    """Yield a function that creates runs, as an application does."""
    async with _app(url).open_async() as app:

        async def send(sent: float, *, later: bool = False) -> None:
            at = datetime.fromtimestamp(sent, UTC) if later else None
            await app.configure_task("tick", schedule_at=at).defer_async(sent=sent)

        yield send


def work(url: str, schedules: int, hour: int) -> None:
    """Run a worker with five slots."""
    app = _app(url)

    async def scheduled(timestamp: int) -> None:
        """Do nothing."""

    for number in range(schedules):
        task = app.task(name=f"scheduled-{number}")(scheduled)
        app.periodic(cron=f"{number % 60} {hour} * * *")(task)

    async def main() -> None:
        async with app.open_async():
            await app.run_worker_async(concurrency=5)

    asyncio.run(main())
