"""Greets a new customer."""

from acme_jobs.scheduler import JobContext, JobResult, JobType, job


@job(JobType.FIRE_AND_FORGET, display_name="Send Welcome E-mail", queue="critical", timeout="1m")
class SendWelcomeEmailJob:
    """Greets a new customer."""

    async def execute(
        self, ctx: JobContext, *, customer_id: int, language: str = "he"
    ) -> JobResult:
        ctx.log.info("Nothing to do yet", attempt=ctx.attempt)
        return JobResult.success()
