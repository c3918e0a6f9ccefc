"""Jobs whose runs people change: cancel, delete, retry, add to batches."""

import asyncio

from targcc_scheduler import Alerts, JobContext, job

from storm_jobs.evidence import execution
from storm_jobs.isolation import isolated


@job(retries=1, backoff="100ms", **isolated())
async def handled(ctx: JobContext, token: str, seconds: float, fails: int) -> str:
    """Fail in the first attempts, as many as ``fails``."""
    with execution(ctx, token):
        await asyncio.sleep(seconds)
        if ctx.attempt <= fails:
            raise ValueError(f"{token} fails on purpose")
        return token


@job(**isolated())
async def settled(ctx: JobContext) -> str:
    """Run when all runs of a batch of people have ended."""
    with execution(ctx):
        return "all is settled"


@job(
    queue="prompt",
    must_start_within="1s",
    alerts=Alerts(on=("late",), other={"note": "storm"}),
    **isolated(),
)
async def prompt(ctx: JobContext, token: str) -> str:
    """Start within a second, which is broken by many runs at once."""
    with execution(ctx, token):
        await asyncio.sleep(3)
        return token
