"""Jobs with the same schedule in every release."""

import asyncio

from targcc_scheduler import JobContext, job

from storm_jobs.evidence import execution
from storm_jobs.isolation import isolated


@job("* * * * * *", overlap="allow", **isolated())
async def tick(ctx: JobContext) -> str:
    """Run every second."""
    with execution(ctx):
        await asyncio.sleep(0.02)
        return "ticked"


@job("*/2 * * * * *", overlap="skip", **isolated())
async def busy(ctx: JobContext) -> str:
    """Run every other second; some runs take longer, so their next slot is skipped."""
    with execution(ctx):
        await asyncio.sleep(2.6 if ctx.scheduled_for.second % 10 == 0 else 0.1)
        return "busy no more"


@job("*/3 * * * * *", overlap="queue", **isolated())
async def turns(ctx: JobContext) -> str:
    """Run every three seconds, one run at a time."""
    with execution(ctx):
        await asyncio.sleep(0.2)
        return "done in turn"


@job("* * * * *", overlap="allow", **isolated())
async def minute(ctx: JobContext) -> str:
    """Run every minute."""
    with execution(ctx):
        return "a minute has passed"
