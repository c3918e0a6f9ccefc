"""An attempt that runs on this node."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from zoneinfo import ZoneInfo

from ..jobs.context import JobContext, StopReason
from ..jobs.definition import JobDefinition
from ..jobs.following.parents import Parents
from ..schedules import format_duration
from ..storage.runs import values
from .processes.invocation import ProcessInvocation
from .recorder import RunRecorder
from .runner import Invocation, InvocationResult


class RunningAttempt:
    """A run that belongs to this node, and everything about its present attempt."""

    def __init__(
        self,
        claim: values.Claim,
        definition: JobDefinition,
        recorder: RunRecorder,
        parents: Parents,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.claim = claim
        self.definition = definition
        self.recorder = recorder
        self.ctx = _context(claim, definition, recorder, parents)
        self.turned: asyncio.Future[None] = loop.create_future()
        """Done when the job's code has ended, or is told to stop."""
        self.ended: asyncio.Future[InvocationResult] = loop.create_future()
        self.forced = False
        self.began = time.monotonic()
        self.invocation: Invocation | ProcessInvocation | None = None
        self._again: asyncio.Future[None] | None = None
        self._has_begun = False
        self._timer: asyncio.TimerHandle | None = None

    def tell(self, reason: StopReason, message: str) -> None:
        """Tell the job to stop."""
        self.ctx.tell_to_stop(reason, message)
        if self.invocation is not None:
            self.invocation.tell(reason, message)
        if not self.turned.done():
            self.turned.set_result(None)

    def cancel(self, by: str) -> None:
        """Tell the job that somebody wants it cancelled; one that has timed out and does not stop is cancelled when it does."""
        self.tell(StopReason.CANCELLED, f"cancelled by {by}")
        if self.ctx.stop_reason is StopReason.TIMEOUT:
            self.ctx.stop_otherwise(
                StopReason.CANCELLED, f"cancelled by {by}; it had {self.ctx.cancel_reason}"
            )
            self.forced = True  # success would be too late
            if self._again is not None and not self._again.done():
                self._again.set_result(None)

    def told_again(self) -> asyncio.Future[None]:
        """Done when the reason why the job has to stop changes."""
        self._again = asyncio.get_running_loop().create_future()
        return self._again

    async def ends_within(self, seconds: float, hurried: asyncio.Event | None = None) -> bool:
        """Wait for the end of the job's code, but no longer once the process has to hurry; whether it has come."""
        hurry = asyncio.create_task(hurried.wait()) if hurried is not None else None
        ends = (self.ended,) if hurry is None else (self.ended, hurry)
        await asyncio.wait(ends, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if hurry is not None:
            hurry.cancel()
        return self.ended.done()

    def stop_note(self, since: datetime) -> str:
        """For people: why a job that does not stop was told to, and since when."""
        at = since.isoformat(sep=" ", timespec="seconds")
        return f"told to stop at {at}, still running: {self.ctx.cancel_reason}"

    def begun(self) -> None:
        """The job's own code begins now: its time runs. Called from any thread."""
        self.began = time.monotonic()
        self._has_begun = True

    def watch_time(self) -> None:
        """Tell the job to stop when its time is over. It begins elsewhere, and nobody is woken to say so: so it is asked then."""
        timeout = self.definition.timeout
        if timeout is None or self.ended.done():
            return
        left = timeout.total_seconds()
        if self._has_begun:
            left -= time.monotonic() - self.began
        if left <= 0:
            self.tell(StopReason.TIMEOUT, f"timed out after {format_duration(timeout)}")
        else:
            self._timer = asyncio.get_running_loop().call_later(left, self.watch_time)

    def end(self, finished: InvocationResult) -> None:
        """The job's own code has ended."""
        if self._timer is not None:
            self._timer.cancel()
        if not self.ended.done():
            self.ended.set_result(finished)
        if not self.turned.done():
            self.turned.set_result(None)


def _context(
    claim: values.Claim,
    definition: JobDefinition,
    recorder: RunRecorder,
    parents: Parents,
) -> JobContext:
    instant = claim.scheduled_for or claim.created_at
    return JobContext(
        definition,
        run_id=claim.run_id,
        attempt=claim.attempt,
        scheduled_for=instant.astimezone(ZoneInfo(definition.timezone)),
        triggered_by=claim.triggered_by,
        recorder=recorder,
        trace=claim.trace,
        parents=parents,
    )
