"""Jobs of an old server as an import with --paused creates them; each run appends its slot to the file of both sides."""

import os
from datetime import UTC
from pathlib import Path

from targcc_scheduler import JobContext, JobResult, job

ZONE = "Asia/Jerusalem"


def _note(ctx: JobContext) -> JobResult:
    record = Path(os.environ["RECORD"])
    by_schedule = ctx.triggered_by == "System"
    slot = ctx.scheduled_for.astimezone(UTC).isoformat() if by_schedule else "by-hand"
    with record.open("a", encoding="utf-8") as file:
        file.write(f"new {ctx.job_name} {slot}\n")
    bad = record.with_suffix(".fail")
    if bad.exists() and bad.read_text(encoding="utf-8") == ctx.job_name:
        bad.unlink()
        return JobResult.failure("the disk was full", retry=False)
    return JobResult.success("done")


@job("0 2 * * *", name="NightReport", timezone=ZONE, retries=0, paused=True)
def night_report(ctx: JobContext) -> JobResult:
    """Report."""
    return _note(ctx)


@job("30 23 * * *", name="CloseDay", timezone=ZONE, retries=0, paused=True)
def close_day(ctx: JobContext) -> JobResult:
    """Close the day."""
    return _note(ctx)


@job("10 */4 * * *", name="Sync", timezone=ZONE, retries=0, paused=True)
def sync(ctx: JobContext) -> JobResult:
    """Synchronise."""
    return _note(ctx)


@job("45 */3 * * *", name="Orders", timezone=ZONE, retries=0, paused=True)
def orders(ctx: JobContext) -> JobResult:
    """Orders."""
    return _note(ctx)


@job("15 4 * * *", name="Cleanup", timezone=ZONE, retries=0, paused=True)
def cleanup(ctx: JobContext) -> JobResult:
    """Clean up."""
    return _note(ctx)
