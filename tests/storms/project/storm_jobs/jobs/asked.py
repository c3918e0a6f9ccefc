"""Jobs requested by the submitter, the same in every release."""

import asyncio
import time

from targcc_scheduler import JobContext, JobResult, job

from storm_jobs.evidence import execution
from storm_jobs.isolation import isolated


@job(retries=5, **isolated())
async def flaky(ctx: JobContext, token: str) -> str:
    """Fail in the first two attempts."""
    with execution(ctx, token):
        await asyncio.sleep(0.05)
        if ctx.attempt <= 2:
            raise ValueError(f"attempt {ctx.attempt} fails on purpose")
        return token


@job(retries=1, backoff="100ms", **isolated())
async def hopeless(ctx: JobContext, token: str) -> None:
    """Fail in each attempt."""
    with execution(ctx, token):
        raise ValueError(f"{token} fails on purpose")


@job(**isolated())
async def refusing(ctx: JobContext, token: str) -> JobResult:
    """Return a failure that is not retried."""
    with execution(ctx, token) as attempt:
        attempt.outcome = "failed"
        return JobResult.failure(f"{token} is refused", retry=False)


@job(retries=3, **isolated())
async def stepped(ctx: JobContext, token: str) -> str:
    """Run four durable steps."""
    with execution(ctx, token) as attempt:
        for name in ("one", "two", "three", "four"):
            await attempt.step(name)
            await asyncio.sleep(0.1)
        return token


@job(queue="long", **isolated())
async def long(ctx: JobContext, token: str, seconds: float) -> str:
    """Run for the given seconds."""
    with execution(ctx, token):
        await asyncio.sleep(seconds)
        return token


@job(**isolated())
def plain(ctx: JobContext, token: str) -> str:
    """Run in a thread and check for a stop request."""
    with execution(ctx, token):
        for _ in range(6):
            ctx.raise_if_cancelled()
            time.sleep(0.05)
        return token


@job(limit={"running": 2}, retries=5, backoff="100ms", **isolated())
async def limited(ctx: JobContext, token: str) -> str:
    """Run at most twice at a time across all nodes; one run in three fails in its first attempt."""
    with execution(ctx, token):
        await asyncio.sleep(0.3)
        if ctx.attempt == 1 and ctx.run_id % 3 == 0:
            raise ValueError(f"{token} fails on purpose")
        return token
