"""A job whose schedule another release changes."""

from targcc_scheduler import JobContext, job

from storm_jobs.evidence import execution
from storm_jobs.isolation import isolated


@job("*/3 * * * * *", overlap="allow", **isolated())
async def shifting(ctx: JobContext) -> str:
    """Run every three seconds in release 1."""
    with execution(ctx):
        return "by the first schedule"
