# Managed by targcc-gen: regenerate merges your edits; `targcc-gen eject PATH` makes the file yours.
"""The project as a whole: every job is found, the tables can be made, the app starts."""

import os

import httpx
import pytest

from heartbeat_jobs.main import app
from heartbeat_jobs.scheduler import JobDefinition, Scheduler, Settings, migrate

FOUND = Scheduler()


def test_every_job_file_imports() -> None:
    assert [broken.traceback for broken in FOUND.broken] == []


@pytest.mark.parametrize("definition", FOUND.definitions.values(), ids=str)
def test_every_job_can_be_described(definition: JobDefinition) -> None:
    assert definition.display_name
    assert definition.description  # the dashboard shows the docstring's first line
    if definition.schedule is not None:
        assert definition.schedule.describe()


def test_the_tables_can_be_made() -> None:
    url = os.environ["TARGCC_DATABASE_URL"]

    version = migrate(url)

    assert version
    assert migrate(url) == version  # there is nothing left to do


async def test_the_scheduler_starts() -> None:
    scheduler = Scheduler(Settings(mode="embedded"))  # under pytest it is off unless it is told
    await scheduler.start(work=False)
    try:
        assert scheduler.node is not None
    finally:
        await scheduler.stop()


async def test_the_app_starts() -> None:
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://jobs") as client,
    ):
        answer = await client.get(f"{Settings().dashboard_path}/health/live")

    assert answer.status_code == 200
