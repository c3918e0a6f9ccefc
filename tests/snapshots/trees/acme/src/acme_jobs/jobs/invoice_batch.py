"""Makes invoices of the day's orders and posts them to the ledger."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from acme_jobs.scheduler import Alerts, JobContext, JobResult, job
from acme_jobs.services import Database

# The table of open items: put your own here. The job creates this example when the table is missing.
INVOICES = sa.Table(
    "InvoiceToPost",
    sa.MetaData(),
    sa.Column("Id", sa.Integer, primary_key=True),
    sa.Column("Number", sa.Unicode(50), nullable=False),
    sa.Column("Amount", sa.Numeric(12, 2), nullable=False),
    sa.Column("PostedAt", sa.DateTime),
)
CHUNK = 50


@job(
    "0 18 * * SUN-THU",
    queue="critical",
    priority=10,
    overlap="queue",
    alerts=Alerts(on=("failure", "missed"), email=("finance@example.com",)),
)
class InvoiceBatchJob:
    """Makes invoices of the day's orders and posts them to the ledger."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def execute(self, ctx: JobContext) -> JobResult:
        # Results of finished steps are stored: a retry, or another worker after a crash, continues with the first open chunk.
        ids = await ctx.step("find", self.find)
        refused: list[str] = []
        for start in range(0, len(ids), CHUNK):
            chunk = ids[start : start + CHUNK]
            refused += await ctx.step(f"post {start + 1}-{start + len(chunk)}", self.post, chunk)
            ctx.progress(start + len(chunk), len(ids))
        if refused:
            # A retry would not help: a person has to check the refused items.
            return JobResult.failure(
                f"{len(refused)} of {len(ids)} refused: {'; '.join(refused)}", retry=False
            )
        return JobResult.success(f"{len(ids)} posted").with_metadata(posted=len(ids))

    async def find(self) -> list[int]:
        """Return the keys of the open items."""

        def read(connection: sa.Connection) -> list[int]:
            INVOICES.create(connection, checkfirst=True)
            query = sa.select(INVOICES.c.Id).where(INVOICES.c.PostedAt.is_(None))
            return list(connection.scalars(query.order_by(INVOICES.c.Id)))

        return await self.database.run(read)

    async def post(self, ids: list[int]) -> list[str]:
        """Post a chunk in one transaction; return the refused items with their reasons."""

        def work(connection: sa.Connection) -> list[str]:
            # Check again for open items: after a crash a chunk may be posted although its step has no result.
            query = sa.select(INVOICES).where(INVOICES.c.Id.in_(ids), INVOICES.c.PostedAt.is_(None))
            return [
                f"{row.Number}: {reason}"
                for row in connection.execute(query).all()
                if (reason := post_one(connection, row))
            ]

        return await self.database.run(work)


def post_one(connection: sa.Connection, invoice: sa.Row[Any]) -> str | None:
    """Post an invoice; return the reason of a refusal, or None. Replace this by the work on one item of yours."""
    if invoice.Amount <= Decimal(0):
        return f"an amount of {invoice.Amount} cannot be posted"
    now = datetime.now(UTC).replace(tzinfo=None)
    update = sa.update(INVOICES).where(INVOICES.c.Id == invoice.Id).values(PostedAt=now)
    connection.execute(update)
    return None
