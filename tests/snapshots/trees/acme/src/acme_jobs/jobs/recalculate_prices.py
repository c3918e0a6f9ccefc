"""Works out all prices again after a change of the exchange rate."""

from datetime import date
from typing import Any

from acme_jobs.scheduler import JobContext, JobResult, JobType, job
from acme_jobs.services import Database

PROCEDURE = "dbo.SP_RecalculatePrices"


@job(JobType.MANUAL, concurrency=1)
class RecalculatePricesJob:
    """Works out all prices again after a change of the exchange rate."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def execute(self, ctx: JobContext, *, currency: str = "ILS", as_of: date) -> JobResult:
        try:
            result = await self.database.call(PROCEDURE, currency=currency, as_of=as_of)
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
