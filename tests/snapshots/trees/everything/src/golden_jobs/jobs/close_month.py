"""Call a stored procedure."""

from datetime import date
from typing import Any

from golden_jobs.scheduler import JobContext, JobResult, JobType, job
from golden_jobs.services import Database

PROCEDURE = "[dbo].[SP Close Month]"


@job(JobType.MANUAL)
class CloseMonthJob:
    """Call a stored procedure."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def execute(self, ctx: JobContext, *, month: date) -> JobResult:
        try:
            result = await self.database.call(PROCEDURE, month=month)
        except ValueError as error:  # a wrong name, or a database without procedures
            return JobResult.failure(str(error), error, retry=False)
        ctx.log.info("Procedure done", result_sets=len(result.sets), rows_changed=result.affected)
        return JobResult.success(result.message(PROCEDURE)).with_metadata(
            first_row=first_row(result.rows)
        )


def first_row(rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the first row for the run's page. Of bytes, such as a row version or a picture, return the first 32 as hexadecimal."""
    if not rows:
        return None
    return {
        name: value[:32].hex() if isinstance(value, bytes) else value
        for name, value in rows[0].items()
    }
