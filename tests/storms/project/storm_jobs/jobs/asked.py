"""Jobs that run when the submitter asks, the same in every release."""

import asyncio
import time

from targcc_scheduler import JobContext, JobResult, job

from storm_jobs.evidence import execution
from storm_jobs.isolation import isolated


@job(retries=5, **isolated())
async def flaky(ctx: JobContext, token: str) -> str:
    """Fails in its first two attempts, unless a fault ends them before."""
    with execution(ctx, token):
        await asyncio.sleep(0.05)
        if ctx.attempt <= 2:
            raise ValueError(f"attempt {ctx.attempt} fails on purpose")
        return token


@job(retries=1, backoff="100ms", **isolated())
async def hopeless(ctx: JobContext, token: str) -> None:
    """Fails each time."""
    with execution(ctx, token):
        raise ValueError(f"{token} fails on purpose")


@job(**isolated())
async def refusing(ctx: JobContext, token: str) -> JobResult:
    """Returns a failure that is not to be tried again."""
    with execution(ctx, token) as mine:
        mine.outcome = "failed"
        return JobResult.failure(f"{token} is refused", retry=False)


@job(retries=3, **isolated())
async def stepped(ctx: JobContext, token: str) -> str:
    """Four durable steps."""
    with execution(ctx, token) as mine:
        for name in ("one", "two", "three", "four"):
            await mine.step(name)
            await asyncio.sleep(0.1)
        return token


@job(queue="long", **isolated())
async def long(ctx: JobContext, token: str, seconds: float) -> str:
    """Takes its time."""
    with execution(ctx, token):
        await asyncio.sleep(seconds)
        return token


@job(**isolated())
def plain(ctx: JobContext, token: str) -> str:
    """Not async: it runs in a thread, and looks whether it should stop."""
    with execution(ctx, token):
        for _ in range(6):
            ctx.raise_if_cancelled()
            time.sleep(0.05)
        return token


@job(limit={"running": 2}, retries=5, backoff="100ms", **isolated())
async def limited(ctx: JobContext, token: str) -> str:
    """Two at a time on all nodes; one in three fails in its first attempt."""
    with execution(ctx, token):
        await asyncio.sleep(0.3)
        if ctx.attempt == 1 and ctx.run_id % 3 == 0:
            raise ValueError(f"{token} fails on purpose")
        return token
