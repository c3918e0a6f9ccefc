"""The job without a limit, and when its runs began."""

# ruff: noqa: ARG002 - arguments that runs have, and this job does nothing with

import time

from targcc_scheduler import JobContext, job

begun: list[float] = []


@job()
class PlainJob:
    """Without a limit."""

    async def execute(self, ctx: JobContext, number: int) -> None:
        """Say that it began."""
        begun.append(time.perf_counter())
