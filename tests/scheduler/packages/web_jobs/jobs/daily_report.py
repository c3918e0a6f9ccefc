"""Recurring job that always succeeds."""

from targcc_scheduler import JobContext, JobResult, job


@job("0 2 * * *", timezone="Europe/London", description="Mails yesterday's sales to the managers")
class DailyReportJob:
    async def execute(self, ctx: JobContext) -> JobResult:
        ctx.log.info("loading", table="orders")
        for done in range(1, 4):
            ctx.progress(done, 3)
        await ctx.step("load", self.load)
        return JobResult.success("3 orders, 1,204.50").with_metadata(revenue=1204.5)

    async def load(self) -> int:
        return 3
