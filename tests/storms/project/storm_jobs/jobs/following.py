"""Jobs that run after others."""

import asyncio

from targcc_scheduler import JobContext, job

from storm_jobs.evidence import execution
from storm_jobs.isolation import isolated


@job(**isolated())
async def follower(ctx: JobContext, token: str) -> str:
    """Waits for one run or two."""
    with execution(ctx, token):
        await asyncio.sleep(0.05)
        return token


@job(**isolated())
async def gathered(ctx: JobContext) -> str:
    """Runs when all of a batch has succeeded."""
    with execution(ctx):
        return "all is well"


@job(**isolated())
async def finished(ctx: JobContext) -> str:
    """Runs when all of a batch is over."""
    with execution(ctx):
        return "all is over"
