"""Jobs with unique keys, and a job that expires."""

import asyncio

from targcc_scheduler import JobContext, job

from storm_jobs.evidence import execution
from storm_jobs.isolation import isolated


@job(unique="key", retries=5, backoff="100ms", **isolated())
async def single(ctx: JobContext, key: str, token: str) -> str:
    """Unique by its key until it has ended, retries included; one run in three fails in its first attempt."""
    with execution(ctx, token, key=key):
        await asyncio.sleep(0.6)
        if ctx.attempt == 1 and ctx.run_id % 3 == 0:
            raise ValueError(f"{token} fails on purpose")
        return token


@job(unique="key", on_duplicate="replace", retries=3, **isolated())
async def pending(ctx: JobContext, key: str, token: str) -> str:
    """Unique by its key while waiting; the latest token replaces earlier tokens."""
    with execution(ctx, token, key=key):
        await asyncio.sleep(0.2)
        return token


@job(expires_in="30s", **isolated())
async def brief(ctx: JobContext, token: str) -> str:
    """Expire; calls set a shorter time than this option."""
    with execution(ctx, token):
        await asyncio.sleep(0.05)
        return token
