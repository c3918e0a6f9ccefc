"""Manual job with typed arguments."""

from datetime import date
from typing import Literal

from pydantic import SecretStr
from targcc_scheduler import JobContext, JobResult, JobType, job


@job(JobType.MANUAL)
class MailUserJob:
    """Mails one user."""

    async def execute(
        self,
        ctx: JobContext,
        user_id: int,
        since: date = date(2026, 1, 1),
        tone: Literal["kind", "strict"] = "kind",
        copy_to: list[str] = [],
        dry_run: bool = False,
        api_key: SecretStr = SecretStr("none"),
    ) -> JobResult:
        return JobResult.success(f"mailed {user_id} since {since}, {tone}, {copy_to}, {dry_run}")
