"""Shows that the scheduler is alive."""

from heartbeat_jobs.scheduler import JobContext, JobResult, job


@job("* * * * *", retries=0)
class HeartbeatJob:
    """Shows that the scheduler is alive."""

    async def execute(self, ctx: JobContext) -> JobResult:
        ctx.log.info("Nothing to do yet", attempt=ctx.attempt)
        return JobResult.success()
