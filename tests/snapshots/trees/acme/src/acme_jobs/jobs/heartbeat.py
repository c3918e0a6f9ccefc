"""Shows that the scheduler is alive."""

from acme_jobs.scheduler import JobContext, JobResult, job


@job("* * * * *", retries=0, timeout="30s")
class HeartbeatJob:
    """Shows that the scheduler is alive."""

    async def execute(self, ctx: JobContext) -> JobResult:
        ctx.log.info("Nothing to do yet", attempt=ctx.attempt)
        return JobResult.success()
