"""Notices a job that blocks the jobs' loop, and names it."""

from __future__ import annotations

import asyncio
import logging
import time

from ..core.clock import together
from .runner import JobLoop

log = logging.getLogger("targcc.worker.watchdog")

BLOCKED_SECONDS = 5.0
"""A loop that answers nothing for so long is blocked."""


async def watch(jobs: JobLoop, *, blocked_seconds: float = BLOCKED_SECONDS) -> None:
    """Ask the jobs' loop whether it still turns, until cancelled; nothing is asked while nothing runs.

    Args:
        jobs: The loop.
        blocked_seconds: No answer for so long is said in the log, once, and so is the next answer.
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
