"""Jobs of queues that share workers, and of a queue that counts waiting time."""

import asyncio

from targcc_scheduler import JobContext, job

from storm_jobs.evidence import execution
from storm_jobs.isolation import isolated


@job(queue="urgent", **isolated())
async def urgent(ctx: JobContext, token: str) -> str:
    """Job of the pool's first queue."""
    with execution(ctx, token):
        await asyncio.sleep(0.2)
        return token


@job(queue="bulk", **isolated())
async def bulk(ctx: JobContext, token: str) -> str:
    """Job of the pool's last queue, with many runs."""
    with execution(ctx, token):
        await asyncio.sleep(0.4)
        return token


@job(queue="aging", priority=4, **isolated())
async def eager(ctx: JobContext, token: str) -> str:
    """Job with a priority that other jobs reach only by waiting."""
    with execution(ctx, token):
        await asyncio.sleep(0.2)
        return token


@job(queue="aging", **isolated())
async def patient(ctx: JobContext, token: str) -> str:
    """Job that gains priority by waiting."""
    with execution(ctx, token):
        await asyncio.sleep(0.2)
        return token
