"""Jobs that do what tests need."""

import asyncio
import os
import signal
import time

from targcc_scheduler import JobContext, JobType, job

from rig_jobs.evidence import gate, note


@job(JobType.MANUAL)
async def hello(_: JobContext, n: int = 0) -> str:
    """Say hello."""
    return f"hello {n}"


@job(JobType.MANUAL)
async def noted(ctx: JobContext, n: int = 0) -> None:
    """Leave evidence."""
    note("noted", n, ctx.attempt)


@job(JobType.MANUAL, retries=1, backoff="50ms")
async def fail(_: JobContext) -> None:
    """Fail each time."""
    raise ValueError("it does not work")


@job(JobType.MANUAL, concurrency=2)
async def two(_: JobContext, n: int = 0) -> None:
    """At most two at a time."""
    note("two", "begin", n)
    await asyncio.sleep(0.05)
    note("two", "end", n)


@job(JobType.MANUAL, overlap="queue")
async def one(_: JobContext, n: int = 0) -> None:
    """One at a time."""
    note("one", "begin", n)
    await asyncio.sleep(0.02)
    note("one", "end", n)


@job(JobType.MANUAL)
async def until_opened(ctx: JobContext, name: str = "gate") -> str:
    """Go on until the test opens the gate, or until told to stop."""
    note("until_opened", "begin", ctx.run_id, ctx.attempt)
    while not gate(name):  # another process opens it
        ctx.raise_if_cancelled()
        await asyncio.sleep(0.02)
    note("until_opened", "end", ctx.run_id, ctx.attempt)
    return f"attempt {ctx.attempt}"


@job(JobType.MANUAL)
async def blocks_its_loop(ctx: JobContext, seconds: float = 5) -> None:
    """Do what an async job must not do."""
    note("blocks_its_loop", "begin", ctx.run_id, ctx.attempt)
    time.sleep(seconds)  # noqa: ASYNC251 - that is what it is for
    note("blocks_its_loop", "end", ctx.run_id, ctx.attempt)


@job(JobType.MANUAL)
async def three_steps(ctx: JobContext, name: str = "gate") -> None:
    """Two steps at once, the third once the gate is open."""
    await ctx.step("first", _step, "first", ctx.run_id)
    await ctx.step("second", _step, "second", ctx.run_id)
    note("waits", ctx.run_id, ctx.attempt)
    while not gate(name):
        await asyncio.sleep(0.02)
    await ctx.step("third", _step, "third", ctx.run_id)


@job(JobType.MANUAL)
async def poison(ctx: JobContext) -> None:
    """Kill the worker."""
    note("poison", ctx.attempt)
    os.kill(os.getpid(), signal.SIGKILL)


@job(JobType.MANUAL)
async def several_steps(ctx: JobContext, steps: int = 4, seconds: float = 0.1) -> None:
    """Steps that take a while, for storms."""
    for number in range(steps):
        await ctx.step(f"step {number}", _step, number, ctx.run_id)
        await asyncio.sleep(seconds)


async def _step(name: str | int, run_id: int) -> str:
    note("step", run_id, name)
    return f"{name}"
