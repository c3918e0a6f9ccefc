"""Do nothing yet."""

from golden_jobs.scheduler import JobContext, JobResult, JobType, job


@job(JobType.DELAYED)
class LaterJob:
    """Do nothing yet."""

    async def execute(self, ctx: JobContext) -> JobResult:
        ctx.log.info("Nothing to do yet", attempt=ctx.attempt)
        return JobResult.success()
