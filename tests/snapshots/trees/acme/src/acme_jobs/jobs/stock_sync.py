"""Fetches stock levels that have changed in the warehouse."""

from typing import Any

import httpx
import sqlalchemy as sa
from pydantic_settings import BaseSettings, SettingsConfigDict

from acme_jobs.scheduler import JobContext, JobResult, job
from acme_jobs.services import Cursors, Database

# The table for items of the other system: put your own here. The job creates this example when the table is missing.
ITEMS = sa.Table(
    "StockSync",
    sa.MetaData(),
    sa.Column("Id", sa.Unicode(100), primary_key=True),
    sa.Column("Body", sa.JSON, nullable=False),
)


class StockSyncSettings(BaseSettings):
    """Settings from environment variables or ``.env``: ``STOCK_SYNC_URL`` and ``STOCK_SYNC_TOKEN``."""

    model_config = SettingsConfigDict(env_prefix="STOCK_SYNC_", env_file=".env", extra="ignore")

    url: str = ""
    """The address to read. ``GET url?cursor=…`` returns ``{"items": [{"id": …}, …], "cursor": "…"}``."""
    token: str = ""
    """The bearer token; empty for none."""


@job(every="5m", after="completion", retries=5, backoff="10s")
class StockSyncJob:
    """Fetches stock levels that have changed in the warehouse."""

    def __init__(self, http: httpx.AsyncClient, database: Database, cursors: Cursors) -> None:
        self.http = http
        self.database = database
        self.cursors = cursors

    async def execute(self, ctx: JobContext) -> JobResult:
        settings = StockSyncSettings()
        if not settings.url:
            return JobResult.failure("Set STOCK_SYNC_URL to the address to read", retry=False)
        cursor = await self.cursors.get(ctx.job_name, *ctx.aliases)
        seen = {cursor}
        received = 0
        while True:
            ctx.raise_if_cancelled()
            items, following = await self.fetch(settings, cursor)
            if not items:
                break
            # Items and cursor of a page are stored in one transaction, so that after a crash the next run continues here.
            await self.store(ctx.job_name, items, following or cursor)
            received += len(items)
            ctx.log.info("Page stored", items=len(items), cursor=following)
            if following is None or following in seen:  # the last page, or a cursor that repeats
                break
            seen.add(following)
            cursor = following
        return JobResult.success(f"{received} items received").with_metadata(received=received)

    async def fetch(
        self, settings: StockSyncSettings, cursor: str | None
    ) -> tuple[list[dict[str, Any]], str | None]:
        """Return a page of changes after ``cursor``, and the next cursor. Some systems have none after the last page."""
        headers = {"Authorization": f"Bearer {settings.token}"} if settings.token else {}
        query = {"cursor": cursor} if cursor else {}
        response = await self.http.get(settings.url, params=query, headers=headers)
        response.raise_for_status()
        page = response.json()
        following = page.get("cursor")
        return page["items"] or [], None if following in {None, ""} else str(following)

    async def store(self, name: str, items: list[dict[str, Any]], cursor: str | None) -> None:
        """Store the items, replacing older versions, together with the cursor."""
        latest = {str(item["id"]): item for item in items}

        def work(connection: sa.Connection) -> None:
            ITEMS.create(connection, checkfirst=True)
            connection.execute(sa.delete(ITEMS).where(ITEMS.c.Id.in_(latest)))
            rows = [{"Id": key, "Body": item} for key, item in latest.items()]
            connection.execute(sa.insert(ITEMS), rows)
            if cursor is not None:
                self.cursors.save(connection, name, cursor)

        await self.database.run(work)
