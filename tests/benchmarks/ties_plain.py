"""The job without a limit, and when its runs began."""

import time

from targcc_scheduler import JobContext, job

begun: list[float] = []


@job()
class PlainJob:
    """Without a limit."""

    async def execute(self, ctx: JobContext, number: int) -> None:
        """Say that it began."""
        begun.append(time.perf_counter())
