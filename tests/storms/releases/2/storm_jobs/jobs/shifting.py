"""A job whose schedule another release changes."""

from storm_jobs.evidence import execution
from storm_jobs.isolation import isolated
from targcc_scheduler import JobContext, job


@job("*/4 * * * * *", overlap="allow", **isolated())
async def shifting(ctx: JobContext) -> str:
    """Run every four seconds since release 2."""
    with execution(ctx):
        return "by the second schedule"
