"""Do nothing yet."""

from golden_jobs.scheduler import JobContext, JobResult, JobType, job


@job(JobType.FIRE_AND_FORGET, unique=("user_id", "list"), on_duplicate="debounce 30s")
class DebouncedJob:
    """Do nothing yet."""

    async def execute(self, ctx: JobContext, *, user_id: int, list: str) -> JobResult:
        ctx.log.info("Nothing to do yet", attempt=ctx.attempt)
        return JobResult.success()
