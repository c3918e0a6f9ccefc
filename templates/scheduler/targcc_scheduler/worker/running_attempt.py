"""An attempt that runs on this node."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

from ..jobs.context import JobContext, StopReason
from ..jobs.definition import JobDefinition
from ..schedules import format_duration
from ..storage.runs import values
from .recorder import RunRecorder
from .runner import InvocationResult


class RunningAttempt:
    """A run that belongs to this node, and everything about its present attempt."""

    def __init__(
        self, claim: values.Claim, definition: JobDefinition, recorder: RunRecorder
    ) -> None:
        loop = asyncio.get_running_loop()
        self.claim = claim
        self.definition = definition
        self.recorder = recorder
        self.ctx = _context(claim, definition, recorder)
        self.told: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[InvocationResult] = loop.create_future()
        self.forced = False
        self._timer: asyncio.TimerHandle | None = None

    def tell(self, reason: StopReason, message: str) -> None:
        """Tell the job to stop."""
        self.ctx.tell_to_stop(reason, message)
        if not self.told.done():
            self.told.set_result(None)

    def begun(self) -> None:
        """The job's own code begins now: its time runs."""
        timeout = self.definition.timeout
        if timeout is not None and not self.ended.done():
            self._timer = asyncio.get_running_loop().call_later(
                timeout.total_seconds(),
                self.tell,
                StopReason.TIMEOUT,
                f"timed out after {format_duration(timeout)}",
            )

    def end(self, finished: InvocationResult) -> None:
        """The job's own code has ended."""
        if self._timer is not None:
            self._timer.cancel()
        if not self.ended.done():
            self.ended.set_result(finished)


def joined(error: Exception) -> str:
    """What is wrong, on one line."""
    return "; ".join(str(error).splitlines())


def _context(claim: values.Claim, definition: JobDefinition, recorder: RunRecorder) -> JobContext:
    instant = claim.scheduled_for or claim.created_at
    return JobContext(
        definition,
        run_id=claim.run_id,
        attempt=claim.attempt,
        scheduled_for=instant.astimezone(ZoneInfo(definition.timezone)),
        triggered_by=claim.triggered_by,
        recorder=recorder,
    )


def on_job(loop: asyncio.AbstractEventLoop, function: Callable[..., None], *arguments: Any) -> None:
    """Call a function on the jobs' loop, if it still runs."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(function, *arguments)
