"""Sample jobs for tests."""

import asyncio
import ctypes
import os
import signal
import sqlite3
import time

from targcc_scheduler import JobContext, JobType, job

from rig_jobs.evidence import gate, note


@job(JobType.MANUAL)
async def hello(_: JobContext, n: int = 0) -> str:
    """Say hello."""
    return f"hello {n}"


@job(JobType.MANUAL)
async def noted(ctx: JobContext, n: int = 0) -> None:
    """Record the run."""
    note("noted", n, ctx.attempt)


@job(JobType.MANUAL, retries=1, backoff="50ms")
async def fail(_: JobContext) -> None:
    """Fail each time."""
    raise ValueError("it does not work")


@job(JobType.MANUAL, concurrency=2)
async def two(_: JobContext, n: int = 0) -> None:
    """Run at most two at a time."""
    note("two", "begin", n)
    await asyncio.sleep(0.05)
    note("two", "end", n)


@job(JobType.MANUAL, overlap="queue")
async def one(_: JobContext, n: int = 0) -> None:
    """Run one at a time."""
    note("one", "begin", n)
    await asyncio.sleep(0.02)
    note("one", "end", n)


@job(JobType.MANUAL)
async def until_opened(ctx: JobContext, name: str = "gate") -> str:
    """Run until the test opens the gate, or until the stop request."""
    note("until_opened", "begin", ctx.run_id, ctx.attempt)
    while not gate(name):  # another process opens it
        ctx.raise_if_cancelled()
        await asyncio.sleep(0.02)
    note("until_opened", "end", ctx.run_id, ctx.attempt)
    return f"attempt {ctx.attempt}"


@job(JobType.MANUAL)
async def blocks_its_loop(ctx: JobContext, seconds: float = 5) -> None:
    """Block the event loop, as an async job must not."""
    note("blocks_its_loop", "begin", ctx.run_id, ctx.attempt)
    time.sleep(seconds)  # noqa: ASYNC251 - that is what it is for
    note("blocks_its_loop", "end", ctx.run_id, ctx.attempt)


@job(JobType.MANUAL)
def stops_in_a_transaction(ctx: JobContext) -> None:
    """In the first attempt, stop the process while it has the write lock of the SQLite file."""
    note("stops_in_a_transaction", "begin", ctx.run_id, ctx.attempt)
    if ctx.attempt > 1:
        return
    file = os.environ["TARGCC_DATABASE_URL"].removeprefix("sqlite:///")
    database = sqlite3.connect(file, timeout=10, isolation_level=None)
    database.execute("BEGIN IMMEDIATE")
    signal.raise_signal(
        signal.SIGSTOP
    )  # signal this very thread: with another thread, this thread might continue for a moment
    database.close()


@job(JobType.MANUAL)
async def three_steps(ctx: JobContext, name: str = "gate") -> None:
    """Run two steps at once, and a third step after the gate opens."""
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


async def _step(name: str | int, run_id: int) -> str:
    note("step", run_id, name)
    return f"{name}"


@job(JobType.MANUAL)
def holds_the_gil(ctx: JobContext, first: int, later: int = 0, *, gated: bool = False) -> None:
    """Hold the interpreter's lock like C code, for ``first`` seconds in the first attempt; if ``gated``, once the gate is open."""
    note("holds_the_gil", "begin", ctx.run_id, ctx.attempt)
    while gated and not gate("gate"):
        time.sleep(0.02)
    ctypes.PyDLL(None).sleep(first if ctx.attempt == 1 else later)
    note("holds_the_gil", "end", ctx.run_id, ctx.attempt)
