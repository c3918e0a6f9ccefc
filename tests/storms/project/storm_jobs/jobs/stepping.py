"""Jobs of the flow's steps; ``storm_jobs/scheduler`` declares the flow."""

import asyncio

from targcc_scheduler import JobContext, JobResult, job

from storm_jobs.evidence import execution
from storm_jobs.isolation import isolated


@job(retries=5, backoff="100ms", **isolated())
async def split(ctx: JobContext, token: str, count: int) -> JobResult:
    """Return the number of parts; one run in three fails in its first attempt."""
    with execution(ctx, token):
        await asyncio.sleep(0.05)
        if ctx.attempt == 1 and ctx.run_id % 3 == 0:
            raise ValueError(f"{token} fails on purpose")
        return JobResult.success(token).with_metadata(parts=list(range(1, count + 1)), count=count)


@job(retries=5, backoff="100ms", **isolated())
async def part(ctx: JobContext, token: str, number: int, bad: int) -> JobResult:
    """Return ten times the part's number; refuse the bad part."""
    with execution(ctx, token) as attempt:
        await asyncio.sleep(0.1)
        if number == bad:
            attempt.outcome = "failed"
            return JobResult.failure(f"{token} is refused", retry=False)
        if ctx.attempt == 1 and ctx.run_id % 4 == 0:
            raise ValueError(f"{token} fails on purpose")
        return JobResult.success(token).with_metadata(tenfold=10 * number)


@job(**isolated())
async def join(ctx: JobContext, token: str, tenfold: list[int]) -> str:
    """Record the results of all parts."""
    with execution(ctx, token, seen=tenfold):
        return token


@job(**isolated())
async def branch(ctx: JobContext, token: str) -> str:
    """Step with a condition."""
    with execution(ctx, token):
        return token
