from acme_jobs.jobs.send_welcome_email import SendWelcomeEmailJob
from acme_jobs.scheduler import run_job


async def test_succeeds() -> None:
    outcome = await run_job(SendWelcomeEmailJob(), customer_id=1)

    assert outcome.result.ok
