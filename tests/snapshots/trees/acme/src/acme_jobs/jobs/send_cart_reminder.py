"""Reminds a customer of a cart that was left behind."""

from uuid import UUID

from acme_jobs.scheduler import JobContext, JobResult, JobType, job


@job(JobType.DELAYED)
class SendCartReminderJob:
    """Reminds a customer of a cart that was left behind."""

    async def execute(self, ctx: JobContext, *, cart_id: UUID) -> JobResult:
        ctx.log.info("Nothing to do yet", attempt=ctx.attempt)
        return JobResult.success()
