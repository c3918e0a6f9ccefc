"""Jobs that run after other runs."""

import asyncio

from targcc_scheduler import JobContext, job

from storm_jobs.evidence import execution
from storm_jobs.isolation import isolated


@job(**isolated())
async def follower(ctx: JobContext, token: str) -> str:
    """Run after one or two parents."""
    with execution(ctx, token):
        await asyncio.sleep(0.05)
        return token


@job(**isolated())
async def gathered(ctx: JobContext) -> str:
    """Run when all runs of a batch have succeeded."""
    with execution(ctx):
        return "all is well"


@job(**isolated())
async def finished(ctx: JobContext) -> str:
    """Run when all runs of a batch have ended."""
    with execution(ctx):
        return "all is over"
