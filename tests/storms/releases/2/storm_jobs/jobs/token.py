"""The job with the argument that release 2 adds."""

from storm_jobs.evidence import execution
from storm_jobs.isolation import isolated
from targcc_scheduler import JobContext, job


@job(**isolated())
async def token(ctx: JobContext, token: str, remark: str = "") -> str:
    """Return the token at once."""
    with execution(ctx, token):
        return f"{token} {remark}"
