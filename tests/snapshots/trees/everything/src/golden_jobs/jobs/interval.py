"""Do nothing yet."""

from golden_jobs.scheduler import JobContext, JobResult, job


@job(every="1h30m", anchor="2026-01-01T00:00")
class IntervalJob:
    """Do nothing yet."""

    async def execute(self, ctx: JobContext) -> JobResult:
        ctx.log.info("Nothing to do yet", attempt=ctx.attempt)
        return JobResult.success()
