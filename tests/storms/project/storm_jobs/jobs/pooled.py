"""Jobs of queues that share their workers, and of a queue in which waiting counts."""

import asyncio

from targcc_scheduler import JobContext, job

from storm_jobs.evidence import execution
from storm_jobs.isolation import isolated


@job(queue="urgent", **isolated())
async def urgent(ctx: JobContext, token: str) -> str:
    """Of the first queue of the pool."""
    with execution(ctx, token):
        await asyncio.sleep(0.2)
        return token


@job(queue="bulk", **isolated())
async def bulk(ctx: JobContext, token: str) -> str:
    """Of the last queue of the pool, and comes in numbers."""
    with execution(ctx, token):
        await asyncio.sleep(0.4)
        return token


@job(queue="aging", priority=4, **isolated())
async def eager(ctx: JobContext, token: str) -> str:
    """Has a priority that others have only when they have waited."""
    with execution(ctx, token):
        await asyncio.sleep(0.2)
        return token


@job(queue="aging", **isolated())
async def patient(ctx: JobContext, token: str) -> str:
    """Gains on others by waiting."""
    with execution(ctx, token):
        await asyncio.sleep(0.2)
        return token
