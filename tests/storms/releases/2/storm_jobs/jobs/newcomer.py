"""A job unknown to release 1."""

from storm_jobs.evidence import execution
from storm_jobs.isolation import isolated
from targcc_scheduler import JobContext, job


@job(**isolated())
async def newcomer(ctx: JobContext, token: str) -> str:
    """Return the token at once."""
    with execution(ctx, token):
        return token
