"""Do nothing yet."""

from golden_jobs.scheduler import JobContext, JobResult, job


@job(at="2026-12-31T02:00")
class OnceJob:
    """Do nothing yet."""

    async def execute(self, ctx: JobContext) -> JobResult:
        ctx.log.info("Nothing to do yet", attempt=ctx.attempt)
        return JobResult.success()
