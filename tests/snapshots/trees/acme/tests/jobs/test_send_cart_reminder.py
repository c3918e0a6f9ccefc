from uuid import UUID

from acme_jobs.jobs.send_cart_reminder import SendCartReminderJob
from acme_jobs.scheduler import run_job


async def test_succeeds() -> None:
    outcome = await run_job(SendCartReminderJob(), cart_id=UUID(int=1))

    assert outcome.result.ok
