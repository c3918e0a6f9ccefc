"""Do nothing yet."""

from golden_jobs.scheduler import JobContext, JobResult, JobType, job


@job(JobType.FIRE_AND_FORGET)
class FiredJob:
    """Do nothing yet."""

    async def execute(self, ctx: JobContext, *, user_id: int) -> JobResult:
        ctx.log.info("Nothing to do yet", attempt=ctx.attempt)
        return JobResult.success()
