"""Do nothing yet."""

from golden_jobs.scheduler import JobContext, JobResult, job


@job(every="5m", after="completion")
class AfterItselfJob:
    """Do nothing yet."""

    async def execute(self, ctx: JobContext) -> JobResult:
        ctx.log.info("Nothing to do yet", attempt=ctx.attempt)
        return JobResult.success()
