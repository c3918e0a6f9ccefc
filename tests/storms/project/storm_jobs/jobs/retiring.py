"""A job that a later release removes."""

from targcc_scheduler import JobContext, job

from storm_jobs.evidence import execution
from storm_jobs.isolation import isolated


@job(**isolated())
async def retiring(ctx: JobContext, token: str) -> str:
    """Job unknown to the last release."""
    with execution(ctx, token):
        return token
