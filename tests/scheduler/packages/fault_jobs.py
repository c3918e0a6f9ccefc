"""Jobs for nodes in separate processes. The jobs record their work in the file that ``NOTES`` names."""

import asyncio
import os
import resource
import signal
import threading
import time
from pathlib import Path

from targcc_scheduler import JobContext, job


def note(*words: object) -> None:
    """Append a whole line, safe with concurrent writers."""
    with Path(os.environ["NOTES"]).open("a") as file:
        file.write(" ".join(str(word) for word in words) + "\n")


@job("* * * * * *", overlap="allow", misfire="run_all")  # a busy machine misses no slot
class EverySecondJob:
    async def execute(self, ctx: JobContext) -> None:
        note("slot", ctx.scheduled_for.isoformat(), os.getpid())


@job()
class LongJob:
    async def execute(self, ctx: JobContext, seconds: float = 30) -> str:
        note("begin", ctx.run_id, ctx.attempt, os.getpid())
        await asyncio.sleep(seconds)
        note("end", ctx.run_id, ctx.attempt, os.getpid())
        return "slept"


@job()
class SteppedJob:
    async def execute(self, ctx: JobContext) -> str:
        first = await ctx.step("first", self.first)
        note("waiting", ctx.run_id, ctx.attempt)
        go = Path(os.environ["NOTES"]).with_name("go")
        while not go.exists():
            await asyncio.sleep(0.02)
        return first + await ctx.step("second", self.second)

    async def first(self) -> str:
        note("first")
        return "a"

    def second(self) -> str:
        note("second")
        return "b"


@job(retries=0)
class PoisonJob:
    async def execute(self, ctx: JobContext) -> None:
        note("poison", ctx.attempt)
        os.kill(os.getpid(), signal.SIGKILL)


@job()
class BlockingJob:
    async def execute(self, ctx: JobContext, seconds: float) -> None:
        note("begin", ctx.run_id, ctx.attempt)
        time.sleep(seconds)  # noqa: ASYNC251 - that is the fault
        note("end", ctx.run_id, ctx.attempt)


@job()
class QuickJob:
    async def execute(self, ctx: JobContext) -> None:
        note("quick", ctx.run_id)


@job()
class FullDiskJob:
    """Make every file write of this process fail for a while."""

    async def execute(self, ctx: JobContext, seconds: float) -> None:
        note("full", ctx.run_id, ctx.attempt)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
        lift = threading.Timer(seconds, resource.setrlimit, (resource.RLIMIT_FSIZE, (soft, hard)))
        lift.daemon = True
        lift.start()
