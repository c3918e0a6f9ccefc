"""Record of a job: start and end of each execution, and its steps."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC
from typing import Any

from storms.record import note
from targcc_scheduler import JobCancelled, JobContext, JobType


class Execution:
    """One execution of a run; ``outcome`` is the recorded outcome of its end."""

    def __init__(self, ctx: JobContext) -> None:
        self._ctx = ctx
        self.outcome = "ok"

    async def step(self, name: str, seconds: float = 0.05) -> None:
        """Run a durable step; record its execution, and the return of its stored result."""
        await self._ctx.step(name, self._do, name, seconds)
        note("kept", run=self._ctx.run_id, attempt=self._ctx.attempt, step=name)

    async def _do(self, name: str, seconds: float) -> str:
        note("step", run=self._ctx.run_id, attempt=self._ctx.attempt, step=name)
        await asyncio.sleep(seconds)
        return name


@contextmanager
def execution(ctx: JobContext, token: str = "", **given: Any) -> Iterator[Execution]:
    """Record start and end of an execution around the job's body; ``given`` holds the run's other arguments."""
    is_recurring = ctx.definition.job_type == JobType.RECURRING
    slot = ctx.scheduled_for.astimezone(UTC).isoformat() if is_recurring else ""
    same = {"run": ctx.run_id, "attempt": ctx.attempt, "job": ctx.job_name}
    note("start", **same, token=token, slot=slot, **given)
    attempt = Execution(ctx)
    try:
        yield attempt
    except BaseException as error:
        stopped = isinstance(error, asyncio.CancelledError | JobCancelled | GeneratorExit)
        attempt.outcome = "interrupted" if stopped else "failed"
        raise
    finally:
        note("end", **same, outcome=attempt.outcome)
