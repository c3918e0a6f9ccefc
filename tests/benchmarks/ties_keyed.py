"""Job with a limit of one concurrent run per key; releases before limits cannot import this module."""

# ruff: noqa: ARG002 - arguments that runs have, and this job does nothing with

import time

from targcc_scheduler import JobContext, job
from ties_plain import begun


@job(limit={"key": "key", "running": 1})
class KeyedJob:
    """Run once per key at a time."""

    async def execute(self, ctx: JobContext, number: int, key: int) -> None:
        """Record the start."""
        begun.append(time.perf_counter())
