"""Hold the state of an attempt that runs on this node; log jobs that block the jobs' loop."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import datetime
from zoneinfo import ZoneInfo

from ...core.clock import together
from ...schedules.words import format_duration
from ..jobs.chains import Parents
from ..jobs.context import JobContext, StopReason
from ..jobs.definition import JobDefinition
from ..runs import values
from .processes import ProcessInvocation
from .recorder import RunRecorder
from .runner import Invocation, InvocationResult, JobLoop

# RunningAttempt: the state of one running attempt.


class RunningAttempt:
    """Hold a claimed run and the state of its current attempt: context, recorder, timer, stop reason, result.

    Args:
        claim: The run and its attempt.
        definition: The job.
        recorder: Stores the log lines, progress and steps of the attempt.
        parents: The runs that the run has waited for.
    """

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
        """Resolved when the job's code has ended or the job is told to stop."""
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
        """Tell the job to stop because a user cancelled the run.

        If the run has already timed out and still runs, change its stop reason from timeout to cancelled.
        """
        self.tell(StopReason.CANCELLED, f"cancelled by {by}")
        if self.ctx.stop_reason is StopReason.TIMEOUT:
            self.ctx.stop_otherwise(
                StopReason.CANCELLED, f"cancelled by {by}; it had {self.ctx.cancel_reason}"
            )
            self.forced = True  # a later success counts as cancelled too
            if self._again is not None and not self._again.done():
                self._again.set_result(None)

    def told_again(self) -> asyncio.Future[None]:
        """Return a new future that resolves when the stop reason of the job changes."""
        self._again = asyncio.get_running_loop().create_future()
        return self._again

    async def ends_within(self, seconds: float, hurried: asyncio.Event | None = None) -> bool:
        """Wait until the job's code ends, ``seconds`` pass or ``hurried`` is set; return whether the code has ended."""
        hurry = asyncio.create_task(hurried.wait()) if hurried is not None else None
        ends = (self.ended,) if hurry is None else (self.ended, hurry)
        await asyncio.wait(ends, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if hurry is not None:
            hurry.cancel()
        return self.ended.done()

    def stop_note(self, since: datetime) -> str:
        """Return a human-readable note: since when, and why, a job that still runs was told to stop."""
        at = since.isoformat(sep=" ", timespec="seconds")
        return f"told to stop at {at}, still running: {self.ctx.cancel_reason}"

    def begun(self) -> None:
        """Start the clock of the job's timeout, as the job's own code begins now. Called from any thread."""
        self.began = time.monotonic()
        self._has_begun = True

    def watch_time(self) -> None:
        """Tell the job to stop when its timeout has passed.

        The job's code begins in another thread, and the beginning does not wake this loop. So the timer runs for one full timeout first;
        then subtract the time since the beginning, and wait again for the rest.
        """
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
        """Record the result of the job's own code, which has ended, and stop the timer."""
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


# Watchdog: detects that the jobs' loop is blocked and logs the job that blocks the loop.

log = logging.getLogger("targcc.worker.watchdog")

BLOCKED_SECONDS = 5.0
"""Seconds without an answer after which the loop counts as blocked."""


async def watch(jobs: JobLoop, *, blocked_seconds: float = BLOCKED_SECONDS) -> None:
    """Ping the jobs' loop until cancelled, and log when the loop is blocked. No ping is sent while no job runs.

    Args:
        jobs: The loop.
        blocked_seconds: Seconds without an answer before one warning is logged. The next answer is logged too. The pause between two
            pings is a fifth of this.
    """
    while True:
        await asyncio.sleep(together(blocked_seconds / 5))
        if jobs.contexts:
            await _ask(jobs, blocked_seconds)


async def _ask(jobs: JobLoop, blocked_seconds: float) -> None:
    here, answered = asyncio.get_running_loop(), asyncio.Event()
    asked = time.monotonic()
    jobs.thread.loop.call_soon_threadsafe(here.call_soon_threadsafe, answered.set)
    try:
        await asyncio.wait_for(answered.wait(), blocked_seconds)
    except TimeoutError:
        culprits, stack = _culprits(jobs), jobs.thread.stack()
        log.warning(
            "the jobs' loop has been blocked for %.0f s by %s; async jobs must not block, plain ones may:\n%s",
            blocked_seconds,
            culprits,
            stack,
        )
        jobs.stuck_in = f"{culprits}\n{stack}"
        try:
            await answered.wait()
        finally:
            jobs.stuck_in = None
        log.warning("the jobs' loop turns again after %.1f s", time.monotonic() - asked)


def _culprits(jobs: JobLoop) -> str:
    running = jobs.now_running
    contexts = [running] if running is not None else list(jobs.contexts)
    names = sorted(f"{ctx.job_name} (run {ctx.run_id})" for ctx in contexts)
    return names[0] if running is not None else "one of " + ", ".join(names)
