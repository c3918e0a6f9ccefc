"""Deletes shopping carts that nobody has touched for 90 days."""

from datetime import datetime, timedelta

import sqlalchemy as sa

from acme_jobs.scheduler import JobContext, JobResult, job, job_log_line
from acme_jobs.services import Database

# The table to clean, here the log lines of old runs, and its key. For a table of yours, these columns are enough:
# sa.table("Orders", sa.column("Id"), sa.column("CreatedAt", sa.DateTime)). Change the condition in too_old() too.
TABLE = job_log_line
KEY = TABLE.c.Id


def too_old(cutoff: datetime) -> sa.ColumnElement[bool]:
    """Return the condition for rows to delete."""
    return TABLE.c.At < cutoff


@job("30 3 * * SUN#1", display_name="Monthly Clean-up")
class MonthlyCleanupJob:
    """Deletes shopping carts that nobody has touched for 90 days."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def execute(
        self,
        ctx: JobContext,
        older_than_days: int = 90,
        chunk: int = 1000,
        *,
        dry_run: bool = False,
    ) -> JobResult:
        if older_than_days < 1 or chunk < 1:
            return JobResult.failure("older_than_days and chunk must be 1 or more", retry=False)
        cutoff = ctx.scheduled_for - timedelta(days=older_than_days)
        total = await self.count(cutoff)
        if dry_run:
            return JobResult.success(
                f"{total:,} rows are older than {cutoff:%d %B %Y}; none deleted"
            )
        deleted = 0
        # Small transactions hold locks for a short time, and keep finished deletions when the job is stopped.
        while removed := await self.delete_chunk(cutoff, chunk):
            deleted += removed
            ctx.progress(deleted, max(deleted, total))
            ctx.raise_if_cancelled()
        return JobResult.success(f"{deleted:,} rows deleted").with_metadata(deleted=deleted)

    async def count(self, cutoff: datetime) -> int:
        """Count the rows older than ``cutoff``."""
        query = sa.select(sa.func.count()).select_from(TABLE).where(too_old(cutoff))
        return await self.database.run(lambda connection: connection.scalar(query) or 0)

    async def delete_chunk(self, cutoff: datetime, size: int) -> int:
        """Delete the first ``size`` rows older than ``cutoff``; return the number of deleted rows."""
        chunk = sa.select(KEY).where(too_old(cutoff)).order_by(KEY).limit(size)
        statement = sa.delete(TABLE).where(KEY.in_(chunk))
        return await self.database.run(lambda connection: connection.execute(statement).rowcount)
