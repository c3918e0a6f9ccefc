"""Job that runs until the stop request."""

import asyncio

from targcc_scheduler import JobContext, JobType, job


@job(JobType.MANUAL, queue="critical")
async def slow_export(ctx: JobContext) -> str:
    """Exports everything."""
    ctx.progress(340, 1200)
    while not ctx.cancelled:
        await asyncio.sleep(0.02)
    return "stopped"
