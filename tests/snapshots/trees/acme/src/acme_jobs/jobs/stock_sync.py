"""Fetches stock levels that have changed in the warehouse."""

from typing import Any

import httpx
import sqlalchemy as sa
from pydantic_settings import BaseSettings, SettingsConfigDict

from acme_jobs.scheduler import JobContext, JobResult, job
from acme_jobs.services import Cursors, Database

# Where the other system's items are kept. It is created when it is not there; put your own table here.
ITEMS = sa.Table(
    "StockSync",
    sa.MetaData(),
    sa.Column("Id", sa.Unicode(100), primary_key=True),
    sa.Column("Body", sa.JSON, nullable=False),
)


class StockSyncSettings(BaseSettings):
    """Environment variables, or lines in ``.env``: ``STOCK_SYNC_URL`` and ``STOCK_SYNC_TOKEN``."""

    model_config = SettingsConfigDict(env_prefix="STOCK_SYNC_", env_file=".env", extra="ignore")

    url: str = ""
    """What to read: answers ``{"items": [{"id": …}, …], "cursor": "…"}`` for ``GET url?cursor=…``."""
    token: str = ""
    """Sent as a bearer token, if there is one."""


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
            return JobResult.failure("Set STOCK_SYNC_URL to what is read", retry=False)
        cursor = await self.cursors.get(ctx.job_name, *ctx.aliases)
        seen = {cursor}
        received = 0
        while True:
            ctx.raise_if_cancelled()
            items, following = await self.fetch(settings, cursor)
            if not items:
                break
            # One page, one transaction, the cursor with it: after any crash the next run goes on exactly where this one was.
            await self.store(ctx.job_name, items, following or cursor)
            received += len(items)
            ctx.log.info("Page stored", items=len(items), cursor=following)
            if following is None or following in seen:  # the last page, or pages that go round
                break
            seen.add(following)
            cursor = following
        return JobResult.success(f"{received} items received").with_metadata(received=received)

    async def fetch(
        self, settings: StockSyncSettings, cursor: str | None
    ) -> tuple[list[dict[str, Any]], str | None]:
        """One page of what changed after ``cursor``, and the cursor behind it; none behind the last page of some systems."""
        headers = {"Authorization": f"Bearer {settings.token}"} if settings.token else {}
        query = {"cursor": cursor} if cursor else {}
        answer = await self.http.get(settings.url, params=query, headers=headers)
        answer.raise_for_status()
        page = answer.json()
        following = page.get("cursor")
        return page["items"] or [], None if following in {None, ""} else str(following)

    async def store(self, name: str, items: list[dict[str, Any]], cursor: str | None) -> None:
        """Keep the items, newer ones in the place of older ones, and how far we came."""
        latest = {str(item["id"]): item for item in items}

        def work(connection: sa.Connection) -> None:
            ITEMS.create(connection, checkfirst=True)
            connection.execute(sa.delete(ITEMS).where(ITEMS.c.Id.in_(latest)))
            rows = [{"Id": key, "Body": item} for key, item in latest.items()]
            connection.execute(sa.insert(ITEMS), rows)
            if cursor is not None:
                self.cursors.save(connection, name, cursor)

        await self.database.run(work)
