"""A job to which another release adds an argument."""

from targcc_scheduler import JobContext, job

from storm_jobs.evidence import execution
from storm_jobs.isolation import isolated


@job(**isolated())
async def token(ctx: JobContext, token: str) -> str:
    """Return the token at once."""
    with execution(ctx, token):
        return token
