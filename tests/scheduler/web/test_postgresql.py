"""Web side on PostgreSQL: the parts that ``test_queries.py`` does not cover."""

import asyncio

from targcc_scheduler import Settings
from web_fixtures import running


async def test_pages_api_and_metrics_over_postgresql(migrated_postgresql_url: str):
    settings = Settings(database_url=migrated_postgresql_url)
    async with running(settings, work=True) as site:
        client = await site.program("operator")
        run_id = (await client.post("/api/jobs/DailyReport/trigger")).json()["run_id"]
        async with asyncio.timeout(30):
            while (await client.get(f"/api/runs/{run_id}")).json()["state"] != "succeeded":
                pass
        visitor = await site.user("admin")
        for path in (
            "/jobs",
            "/jobs/jobs",
            "/jobs/jobs/DailyReport",
            "/jobs/runs?q=daily",
            f"/jobs/runs/{run_id}",
            "/jobs/system",
            "/jobs/audit",
        ):
            await visitor.page(path)
        assert (await visitor.get("/health/ready")).status_code == 200
        assert "targcc_servers 1.0" in (await client.get("/metrics")).text
        nul = await visitor.get("/jobs/runs?q=%00")
        assert nul.status_code == 422
        assert "The request holds a text or a number that no database can store." in nul.text
