"""While rows of an earlier release are not counted yet, every page with figures says so."""

from datetime import UTC, datetime

import pytest
from targcc_scheduler.db.tables import job_setting
from targcc_scheduler.kernel.node.pruner import count_history
from web_fixtures import Site

NOTE = "Still counting about 2 rows from an earlier release"


@pytest.fixture
async def old_site(site: Site) -> Site:
    """A site with two attempts of release 0.1."""
    for _ in range(2):
        await site.add_attempt("DailyReport", 0)
    row = {"Name": "uncounted attempts", "Value": "2", "UpdatedAt": datetime.now(UTC)}
    await site.change(lambda db: db.execute(job_setting.insert().values(row)))
    return site


async def test_pages_and_api_say_that_figures_still_grow(old_site: Site):
    viewer = await old_site.user("viewer")
    assert NOTE in await viewer.page("/jobs")
    assert NOTE in await viewer.page("/jobs/jobs/DailyReport")
    program = await old_site.program("viewer")
    figures = (await program.get("/api/jobs/DailyReport/stats")).json()
    assert figures["still_counting"] == 2
    assert figures["runs"] == 0


async def test_nothing_is_said_once_all_are_counted(old_site: Site):
    store = old_site.scheduler.store
    await old_site.scheduler.call(count_history(store))
    viewer = await old_site.user("viewer")
    assert "Still counting" not in await viewer.page("/jobs")
    assert "Still counting" not in await viewer.page("/jobs/jobs/DailyReport")
    program = await old_site.program("viewer")
    figures = (await program.get("/api/jobs/DailyReport/stats")).json()
    assert (figures["still_counting"], figures["runs"]) == (0, 1)
