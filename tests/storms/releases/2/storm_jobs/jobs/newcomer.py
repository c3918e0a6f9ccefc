"""A job that release 1 does not know."""

from storm_jobs.evidence import execution
from storm_jobs.isolation import isolated
from targcc_scheduler import JobContext, job


@job(**isolated())
async def newcomer(ctx: JobContext, token: str) -> str:
    """As short as a job can be."""
    with execution(ctx, token):
        return token
