"""Do nothing yet."""

from golden_jobs.scheduler import JobContext, JobResult, job


@job(after=["SP_Every Option", "Once"], unique="day", unique_scope="1h", expires_in="10m")
class AfterBothJob:
    """Do nothing yet."""

    async def execute(self, ctx: JobContext, *, day: str = "today") -> JobResult:
        ctx.log.info("Nothing to do yet", attempt=ctx.attempt)
        return JobResult.success()
