"""Mails yesterday's sales to the managers."""

import csv
import io
from datetime import date, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from acme_jobs.scheduler import Alerts, JobContext, JobResult, job, logged_job
from acme_jobs.services import Database, Mailer

TITLE = "Daily Sales Report"
RECIPIENTS = ("reports@example.com",)


@job(
    "0 2 * * *",
    timezone="Europe/London",
    timeout="10m",
    misfire_grace="6h",
    alerts=Alerts(
        on=("failure", "missed", "slower than 5m"),
        email=("ops@example.com", "sales@example.com"),
        max_per_hour=4,
    ),
)
class DailySalesReportJob:
    """Mails yesterday's sales to the managers."""

    def __init__(self, database: Database, mailer: Mailer) -> None:
        self.database = database
        self.mailer = mailer

    async def execute(self, ctx: JobContext) -> JobResult:
        # Yesterday from midnight to midnight, in the job's time zone.
        end = ctx.scheduled_for.replace(hour=0, minute=0, second=0, microsecond=0)
        start = end - timedelta(days=1)
        rows = await ctx.step("read", self.read, start, end)
        if not rows:
            return JobResult.success(f"Nothing happened on {start:%d %B %Y}, no mail sent")
        # A retry skips a finished step, so that it sends no second mail.
        await ctx.step("mail", self.mail, start.date(), rows)
        return JobResult.success(
            f"{len(rows)} lines mailed to {', '.join(RECIPIENTS)}"
        ).with_metadata(lines=len(rows))

    async def read(self, start: datetime, end: datetime) -> list[dict[str, Any]]:
        """Return the lines of the report, here runs and failures of each job. Replace this by your own query."""
        query = (
            sa.select(
                logged_job.c.JobName.label("job"),
                sa.func.count().label("runs"),
                sa.func.sum(sa.case((logged_job.c.Success, 0), else_=1)).label("failures"),
                sa.func.max(logged_job.c.DurationMs).label("slowest_ms"),
            )
            .where(logged_job.c.StartedAt >= start, logged_job.c.StartedAt < end)
            .group_by(logged_job.c.JobName)
            .order_by(logged_job.c.JobName)
        )
        return await self.database.run(
            lambda connection: [dict(row) for row in connection.execute(query).mappings()]
        )

    async def mail(self, day: date, rows: list[dict[str, Any]]) -> None:
        """Send the lines as text, with a CSV table attached."""
        text = "\n".join(
            "  ".join(f"{name}: {value}" for name, value in row.items()) for row in rows
        )
        await self.mailer.send(
            RECIPIENTS,
            f"{TITLE}, {day:%d %B %Y}",
            text,
            attachments={f"{day:%Y-%m-%d}.csv": as_csv(rows)},
        )


def as_csv(rows: list[dict[str, Any]]) -> bytes:
    """Return the rows as CSV with a header. A UTF-8 mark at the start tells Excel the encoding."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode("utf-8-sig")
