# Managed by targcc-gen: regenerate merges edits; `targcc-gen eject PATH` makes it yours
"""Check the whole project: job files, descriptions, tables, and the start of scheduler and app."""

import os

import httpx
import pytest

from golden_jobs.main import app
from golden_jobs.scheduler import JobDefinition, Scheduler, Settings, migrate

SCHEDULER = Scheduler()


def test_every_job_file_imports() -> None:
    broken = [module.traceback for module in SCHEDULER.broken]
    assert not broken, "\n".join(broken)


def test_every_job_can_run() -> None:
    """Check the services that constructors ask for, the schedules and the alerts."""
    findings = [str(finding) for finding in SCHEDULER.check_jobs() if finding.fails]
    assert not findings, "\n".join(findings)


@pytest.mark.parametrize("definition", SCHEDULER.definitions.values(), ids=str)
def test_every_job_has_a_description(definition: JobDefinition) -> None:
    assert definition.display_name
    assert definition.description  # the dashboard shows the docstring's first line
    if definition.schedule is not None:
        assert definition.schedule.describe()


def test_the_tables_are_created() -> None:
    url = os.environ["TARGCC_DATABASE_URL"]

    version = migrate(url)

    assert version
    assert migrate(url) == version  # a second migration changes nothing


async def test_the_scheduler_starts() -> None:
    scheduler = Scheduler(Settings(mode="embedded"))  # the default under pytest is off
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
        response = await client.get(f"{Settings().dashboard_path}/health/live")

    assert response.status_code == 200
