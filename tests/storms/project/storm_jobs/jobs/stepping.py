"""The jobs of the flow's steps; the flow is declared in ``storm_jobs/scheduler``."""

import asyncio

from targcc_scheduler import JobContext, JobResult, job

from storm_jobs.evidence import execution
from storm_jobs.isolation import isolated


@job(retries=5, backoff="100ms", **isolated())
async def split(ctx: JobContext, token: str, count: int) -> JobResult:
    """Says how many parts there are; one in three fails in its first attempt."""
    with execution(ctx, token):
        await asyncio.sleep(0.05)
        if ctx.attempt == 1 and ctx.run_id % 3 == 0:
            raise ValueError(f"{token} fails on purpose")
        return JobResult.success(token).with_metadata(parts=list(range(1, count + 1)), count=count)


@job(retries=5, backoff="100ms", **isolated())
async def part(ctx: JobContext, token: str, number: int, bad: int) -> JobResult:
    """One of the parts; gives ten times its number, and refuses one that is bad."""
    with execution(ctx, token) as mine:
        await asyncio.sleep(0.1)
        if number == bad:
            mine.outcome = "failed"
            return JobResult.failure(f"{token} is refused", retry=False)
        if ctx.attempt == 1 and ctx.run_id % 4 == 0:
            raise ValueError(f"{token} fails on purpose")
        return JobResult.success(token).with_metadata(tenfold=10 * number)


@job(**isolated())
async def join(ctx: JobContext, token: str, tenfold: list[int]) -> str:
    """Writes down what all parts gave."""
    with execution(ctx, token, seen=tenfold):
        return token


@job(**isolated())
async def branch(ctx: JobContext, token: str) -> str:
    """A step that is done under a condition."""
    with execution(ctx, token):
        return token
