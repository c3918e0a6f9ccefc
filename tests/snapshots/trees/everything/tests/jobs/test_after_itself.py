from golden_jobs.jobs.after_itself import AfterItselfJob
from golden_jobs.scheduler import run_job


async def test_succeeds() -> None:
    outcome = await run_job(AfterItselfJob())

    assert outcome.result.ok
