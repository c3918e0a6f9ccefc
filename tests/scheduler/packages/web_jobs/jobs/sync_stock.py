"""Recurring job that always fails."""

from targcc_scheduler import JobContext, job


class WarehouseError(Exception):
    pass


@job("*/15 * * * *", retries=0, display_name="Sync Stock")
class SyncStockJob:
    """Fetches stock levels from the warehouse."""

    async def execute(self, ctx: JobContext) -> None:
        ctx.log.warning("the warehouse is slow", seconds=12)
        self.fetch()

    def fetch(self) -> None:
        raise WarehouseError("the warehouse answered 503 <b>Service Unavailable</b>")
