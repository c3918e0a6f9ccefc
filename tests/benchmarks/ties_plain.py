"""Job without a limit, and the start times of its runs."""

# ruff: noqa: ARG002 - arguments that runs have, and this job does nothing with

import time

from targcc_scheduler import JobContext, job

begun: list[float] = []


@job()
class PlainJob:
    """Run without a limit."""

    async def execute(self, ctx: JobContext, number: int) -> None:
        """Record the start."""
        begun.append(time.perf_counter())
