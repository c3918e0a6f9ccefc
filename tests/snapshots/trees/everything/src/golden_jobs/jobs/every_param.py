"""Do nothing yet."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

from golden_jobs.scheduler import JobContext, JobResult, JobType, job

DEFAULT_MOMENT = datetime.fromisoformat("2026-01-01T02:00:00")
DEFAULT_KEY = UUID("123e4567-e89b-12d3-a456-426614174000")


@job(JobType.MANUAL)
class EveryParamJob:
    """Do nothing yet."""

    async def execute(
        self,
        ctx: JobContext,
        *,
        text: str,
        count: int = 5,
        ratio: float = 0.5,
        dry_run: bool = False,
        day: date = date(2026, 1, 1),
        moment: datetime = DEFAULT_MOMENT,
        key: UUID = DEFAULT_KEY,
        names: Sequence[str] = ("a", "b"),
        numbers: list[int],
        options: Mapping[str, Any] = {"a": 1},
    ) -> JobResult:
        ctx.log.info("Nothing to do yet", attempt=ctx.attempt)
        return JobResult.success()
