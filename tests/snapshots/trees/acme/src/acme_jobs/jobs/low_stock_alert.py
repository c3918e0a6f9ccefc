"""Tells purchasing when a tool is about to run out."""

import shutil
from pathlib import Path

from acme_jobs.scheduler import JobContext, JobResult, job


@job(every="15m", anchor="2026-01-01T00:05", misfire="skip")
class LowStockAlertJob:
    """Tells purchasing when a tool is about to run out."""

    async def execute(
        self, ctx: JobContext, minimum_percent: float = 10, path: str = "."
    ) -> JobResult:
        free = free_percent(Path(path))
        ctx.log.info("Checked", free_percent=round(free, 1))
        if free < minimum_percent:
            # A failure sends the alert, to the recipients in `alerts=` above or in the table c_JobAlert. A retry would
            # only delay the alert.
            return JobResult.failure(
                f"Only {free:.1f}% of the disk is free, below the minimum of {minimum_percent:g}%",
                retry=False,
            )
        return JobResult.success(f"{free:.1f}% of the disk is free").with_metadata(
            free_percent=free
        )


def free_percent(path: Path) -> float:
    """Return the free space of the disk of ``path``, in percent. Replace this by your own check."""
    disk = shutil.disk_usage(path)
    return 100 * disk.free / disk.total
