"""The job of which one run of a key goes at a time; the release before the limits cannot import it."""

# ruff: noqa: ARG002 - arguments that runs have, and this job does nothing with

import time

from targcc_scheduler import JobContext, job
from ties_plain import begun


@job(limit={"key": "key", "running": 1})
class KeyedJob:
    """One run of a key at a time."""

    async def execute(self, ctx: JobContext, number: int, key: int) -> None:
        """Say that it began."""
        begun.append(time.perf_counter())
